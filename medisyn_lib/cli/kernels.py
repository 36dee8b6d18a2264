"""Notebook kernels: several at a time, all of this interpreter, none of which outlives an interrupt."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from medisyn_lib.runtime.paths import project_root, store_dir

# 05 has the longest way of its own, before and after what 01 trains; 03, 04 and 06 begin with that.
START_ORDER = ("00", "01", "05", "02", "07", "03", "04", "06")


def run_side_by_side(
    run: Callable[[Path], Any], notebooks: Sequence[Path], jobs: int = 3
) -> Iterator[Any]:
    """Yield what `run` returns for each notebook as they end; the scorecard runs after all others.

    Where two train the same, one waits for the other's lock. On SIGINT and SIGTERM all kernels end.

    Parameters
    ----------
    run : callable
        Executes one notebook.
    notebooks : sequence of Path
        The scorecard's name begins with 99.
    jobs : int
        How many run at a time; each has its part of the threads, or OMP_NUM_THREADS.
    """
    pool = ThreadPoolExecutor(jobs)
    previous_handler = signal.signal(signal.SIGTERM, signal.default_int_handler)
    running: list[Future] = []
    try:
        # Here and not by papermill's `cwd`, which each of several threads would set for all.
        with kernel_of_this_interpreter(jobs), contextlib.chdir(project_root() / "notebooks"):
            for stage in _stages(notebooks):
                running = [pool.submit(run, path) for path in stage]
                for ended in as_completed(running):
                    yield ended.result()
    except BaseException:
        # An interrupt reaches this thread alone: the others end when their kernels do.
        pool.shutdown(wait=False, cancel_futures=True)
        _end_kernels(running)
        raise
    finally:
        signal.signal(signal.SIGTERM, previous_handler)


def _stages(notebooks: Sequence[Path]) -> list[list[Path]]:
    """Return the notebooks in the order of their start, and apart from them the scorecard."""
    scorecard = [path for path in notebooks if path.stem.startswith("99")]
    others = [path for path in notebooks if path not in scorecard]
    return [sorted(others, key=_place), scorecard]


def _place(notebook: Path) -> int:
    """Where a notebook stands in the order of their start; one that is new comes last."""
    number = notebook.stem[:2]
    return START_ORDER.index(number) if number in START_ORDER else len(START_ORDER)


def _end_kernels(running: Sequence[Future]) -> None:
    """Kill this process's kernels until all runs have ended; one may be about to start."""
    import psutil

    while not all(future.done() for future in running):
        for kernel in psutil.Process().children():
            with contextlib.suppress(psutil.NoSuchProcess):
                kernel.kill()
        time.sleep(0.1)


def threads_each(jobs: int) -> str:
    """Return how many threads each of several processes has: its part of the cores, or OMP_NUM_THREADS."""
    return os.environ.get("OMP_NUM_THREADS") or str(max(1, (os.cpu_count() or 1) // jobs))


@contextlib.contextmanager
def kernel_of_this_interpreter(jobs: int) -> Iterator[None]:
    """While this lasts, kernel `python3` is this interpreter, whatever kernels the user has installed."""
    from unittest import mock  # brings asyncio, which the command line need not wait for

    from ipykernel.kernelspec import write_kernel_spec

    # Quiet, since what a cell says reaches the notebook anyhow; no history, since two runs would
    # share its file.
    quiet = ["--Application.log_level=CRITICAL", "--HistoryManager.enabled=False"]
    # Kernels start in another folder, so relative settings are made absolute for them.
    settings = {
        "MEDISYN_ROOT": str(project_root()),
        "MEDISYN_STORE": str(store_dir()),
        "OMP_NUM_THREADS": threads_each(jobs),
    }
    with tempfile.TemporaryDirectory(prefix="medisyn-kernel-") as folder:
        write_kernel_spec(Path(folder, "kernels", "python3"), extra_arguments=quiet)
        with mock.patch.dict(os.environ, settings, JUPYTER_PATH=folder):
            yield
