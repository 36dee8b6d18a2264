"""The notebooks in batch: run them all with one set of parameters."""

import contextlib
import functools
import io
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medisyn_lib.claims.results import read_result
from medisyn_lib.errors import InputError
from medisyn_lib.runtime.paths import from_root, project_root, store_dir
from medisyn_lib.runtime.provenance import data_label
from medisyn_lib.runtime.store import write_atomic

WAITING = {"03", "04", "05", "06"}  # they begin with what 01 trains, 02 and 07 end with it


@dataclass(frozen=True)
class Outcome:
    """How one notebook ended: `error` is one line, None where it ran; `bad_input` if the input was to blame."""

    name: str
    seconds: float
    error: str | None = None
    bad_input: bool = False


def select(names: Sequence[str] = (), suffix: str = ".ipynb") -> list[Path]:
    """The notebooks of these numbers or names, in order; all for none. Raises InputError for an unknown one."""
    folder = project_root() / "notebooks"
    if not (found := sorted(folder.glob(f"[0-9][0-9]_*{suffix}"))):
        raise InputError(
            f"folder {folder}: holds no notebooks; run in the checkout or set MEDISYN_ROOT to it"
        )
    known = {name: path for path in found for name in (path.stem, path.stem[:2])}
    if unknown := [name for name in names if name not in known]:
        raise InputError(
            f"notebook {unknown[0]!r} is unknown: choose among {', '.join(p.stem for p in found)}"
        )
    return sorted({known[name] for name in names}) or found


def preflight(out: Path, profile: str, data: str) -> None:
    """Raises InputError where `out` holds results of another profile or data source: they would mix."""
    for path in sorted((out / "results").glob("[0-9][0-9]_*.json")):
        try:
            made = read_result(path).provenance
        except InputError:
            continue  # a damaged result is made anew, or named by the scorecard
        if (made.get("profile"), made.get("data")) != (profile, data_label(data)):
            was = f"profile {made.get('profile')!r} on {made.get('data')!r}"
            raise InputError(f"output folder {out}: holds results of {was}; give another --out")


def reproduce(
    names: Sequence[str],
    *,
    profile: str,
    data: str,
    generator: str,
    out: Path,
    jobs: int = 3,
    **more: int,
) -> list[Outcome]:
    """Runs notebooks with these parameters into `out`, `jobs` at a time, and says how each ended, in their order.

    `out` is absolute; notebooks come to `<out>/notebooks/`, one that fails as NN_name.failed.ipynb and .log. `more` are
    parameters that only some have. Raises InputError beforehand for an unknown notebook or parameter or a mixed `out`.
    """
    import papermill

    notebooks, outcomes = select(names), []
    preflight(out, profile, data)
    given: dict[str, Any] = {
        "profile": profile,
        "data": data,
        "generator": generator,
        "out": from_root(out),
        **more,
    }
    for notebook in notebooks:
        # papermill only warns of a parameter that the notebook lacks, and then runs with the defaults.
        if lacking := sorted(given.keys() - papermill.inspect_notebook(str(notebook))):
            raise InputError(
                f"notebook {notebook.stem}: has no parameter {lacking[0]!r}; add it to its `parameters`"
            )
    (out / "notebooks").mkdir(parents=True, exist_ok=True)
    for outcome in side_by_side(functools.partial(_execute, given=given, out=out), notebooks, jobs):
        outcomes.append(outcome)
        print(
            f"{outcome.name:24}{'failed' if outcome.error else 'done'} {outcome.seconds:7.1f} s",
            flush=True,
        )
        if outcome.error:
            print(f"medisyn: {outcome.error}", file=sys.stderr, flush=True)
    return sorted(outcomes, key=lambda outcome: outcome.name)


def side_by_side(
    run: Callable[[Path], Any], notebooks: Sequence[Path], jobs: int = 3
) -> Iterator[Any]:
    """What `run` makes of each notebook, as they end: `jobs` at a time, the scorecard when all others have ended.

    One waits for another's lock where both train the same. Each has its share of the threads, or OMP_NUM_THREADS.
    """
    import psutil

    pool, was = ThreadPoolExecutor(jobs), signal.signal(signal.SIGTERM, signal.default_int_handler)
    running: list[Future] = []
    try:
        with kernel_of_this_interpreter(jobs), contextlib.chdir(project_root() / "notebooks"):
            for last in (False, True):
                now = [path for path in notebooks if path.stem.startswith("99") == last]
                now.sort(key=lambda path: path.stem[:2] in WAITING)
                running = [pool.submit(run, path) for path in now]
                for done in as_completed(running):
                    yield done.result()
    except (
        BaseException
    ):  # an interrupt reaches this thread alone: the others end when their kernels do
        pool.shutdown(wait=False, cancel_futures=True)
        while not all(future.done() for future in running):  # a kernel may be about to start
            for kernel in psutil.Process().children():
                with contextlib.suppress(psutil.NoSuchProcess):
                    kernel.kill()
            time.sleep(0.1)
        raise
    finally:
        signal.signal(signal.SIGTERM, was)


@contextlib.contextmanager
def kernel_of_this_interpreter(jobs: int) -> Iterator[None]:
    """While this lasts, kernel `python3` is this interpreter, whatever kernels the user has installed."""
    from unittest import mock  # brings asyncio, which the command line need not wait for

    from ipykernel.kernelspec import write_kernel_spec

    # Quiet, since what a cell says reaches the notebook anyhow; no history, since two runs would share its file.
    quiet = ["--Application.log_level=CRITICAL", "--HistoryManager.enabled=False"]
    # Kernels start in another folder, so relative settings are made absolute for them.
    set_here = {"MEDISYN_ROOT": str(project_root()), "MEDISYN_STORE": str(store_dir())}
    set_here["OMP_NUM_THREADS"] = os.environ.get("OMP_NUM_THREADS") or str(
        max(1, (os.cpu_count() or 1) // jobs)
    )
    with tempfile.TemporaryDirectory(prefix="medisyn-kernel-") as folder:
        write_kernel_spec(Path(folder, "kernels", "python3"), extra_arguments=quiet)
        with mock.patch.dict(os.environ, set_here, JUPYTER_PATH=folder):
            yield


def _execute(notebook: Path, given: dict[str, Any], out: Path) -> Outcome:
    import papermill

    folder, name, start = out / "notebooks", notebook.stem, time.perf_counter()
    running, failed, log = (
        folder / f"{name}{end}" for end in (".tmp.ipynb", ".failed.ipynb", ".failed.log")
    )
    drawn = (out / "figures").glob(f"{name[:2]}_*")
    for stale in (
        out / "results" / f"{name}.json",
        folder / notebook.name,
        running,
        failed,
        log,
        *drawn,
    ):
        stale.unlink(missing_ok=True)
    quiet = {
        "kernel_name": "python3",
        "progress_bar": False,
        "log_output": False,
    }  # `cwd` would be all threads'
    stderr, braced = (
        io.StringIO(),
        str(running).replace("{", "{{").replace("}", "}}"),
    )  # papermill fills in braces
    try:
        papermill.execute_notebook(str(notebook), braced, given, stderr_file=stderr, **quiet)
        running.replace(folder / notebook.name)
        return Outcome(name, time.perf_counter() - start)
    except (
        Exception
    ) as error:  # a kernel that dies, say of memory, must not stop the other notebooks
        if running.exists():
            running.replace(failed)
        write_atomic(log, stderr.getvalue() + f"{type(error).__name__}: {error}\n")
        bad_input = getattr(error, "ename", "") == "InputError"
        said = getattr(error, "evalue", None) or f"{type(error).__name__} {error}".strip()
        line = (
            said
            if bad_input
            else f"notebook {name} failed: {' '.join(said.split())[:200]} (see {log})"
        )
        return Outcome(name, time.perf_counter() - start, line, bad_input)
