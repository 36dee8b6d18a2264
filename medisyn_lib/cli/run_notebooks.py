"""The notebooks in batch: run them all with one set of parameters."""

from __future__ import annotations

import functools
import io
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medisyn_lib.claims.results import read_result
from medisyn_lib.cli.kernels import run_side_by_side
from medisyn_lib.errors import InputError
from medisyn_lib.models.bases import base_label
from medisyn_lib.reporting import audit_report, web_pages
from medisyn_lib.runtime.paths import from_root, project_root
from medisyn_lib.runtime.provenance import data_label
from medisyn_lib.runtime.store import write_atomic

LONGEST_MESSAGE = 200  # characters of a notebook's error on its line


@dataclass(frozen=True)
class Outcome:
    """How one notebook ended.

    `error` is one line, None where it ran to its end; `bad_input` says that the input was to blame.
    """

    name: str
    seconds: float
    error: str | None = None
    bad_input: bool = False


def select_notebooks(names: Sequence[str] = (), suffix: str = ".ipynb") -> list[Path]:
    """Return the notebooks of these numbers or names, in order; all for none.

    Raises InputError for an unknown one, or where there are no notebooks.
    """
    folder = project_root() / "notebooks"
    present = sorted(folder.glob(f"[0-9][0-9]_*{suffix}"))
    if not present:
        fault = "holds no notebooks; run in the checkout or set MEDISYN_ROOT to it"
        raise InputError(f"folder {folder}: {fault}")
    by_name = {path.stem: path for path in present} | {path.stem[:2]: path for path in present}
    for name in names:
        if name not in by_name:
            choice = ", ".join(path.stem for path in present)
            raise InputError(f"notebook {name!r} is unknown: choose among {choice}")
    return sorted({by_name[name] for name in names}) or present


def check_folder(out: Path, profile: str, data: str, base: str = "") -> None:
    """Raise InputError where `out` holds results of another profile, data source or base: they would mix."""
    for path in sorted((out / "results").glob("[0-9][0-9]_*.json")):
        try:
            provenance = read_result(path).provenance
        except InputError:
            continue  # a damaged result is made anew, or named by the scorecard
        found = [provenance.get(name) for name in ("profile", "data", "base")]
        if found != [profile, data_label(data), base_label(base) or None]:
            other = f"profile {found[0]!r} on {found[1]!r}" + (
                f" from {found[2]!r}" if found[2] else ""
            )
            raise InputError(f"output folder {out}: holds results of {other}; give another --out")


def reproduce(
    names: Sequence[str],
    *,
    profile: str,
    data: str,
    generator: str,
    out: Path,
    base: str = "",
    jobs: int = 3,
    **own_parameters: int | str,
) -> list[Outcome]:
    """Run notebooks with these parameters into `out` and say how each ended.

    Notebooks come to `<out>/notebooks/`, one that fails as NN_name.failed.ipynb and .log.

    Parameters
    ----------
    names : sequence of str
        Numbers or names; all for none.
    profile, data, generator : str
        Parameters of every notebook.
    out : Path
        Absolute output folder.
    base : str
        Another; a notebook need not have it where it is empty.
    jobs : int
        How many run at a time.
    **own_parameters : int or str
        Parameters that only some notebooks have, such as `seed`.

    Returns
    -------
    list of Outcome
        In the notebooks' order.

    Raises
    ------
    InputError
        Before anything runs, for an unknown notebook or parameter or a mixed `out`.
    """
    notebooks = select_notebooks(names)
    check_folder(out, profile, data, base)
    parameters: dict[str, Any] = {
        "profile": profile,
        "data": data,
        "generator": generator,
        "out": from_root(out),
        **({"base": base} if base else {}),
        **own_parameters,
    }
    _check_parameters(notebooks, parameters)
    (out / "notebooks").mkdir(parents=True, exist_ok=True)
    # Of results that are about to be replaced.
    audit_report.remove_report(out)
    (out / web_pages.INDEX).unlink(missing_ok=True)
    execute = functools.partial(_execute, parameters=parameters, out=out)
    outcomes = []
    for outcome in run_side_by_side(execute, notebooks, jobs):
        outcomes.append(outcome)
        _print_outcome(outcome)
    return sorted(outcomes, key=lambda outcome: outcome.name)


def _check_parameters(notebooks: Sequence[Path], parameters: dict[str, Any]) -> None:
    """Raise InputError for a notebook that cannot be read, or that lacks a parameter.

    papermill only warns of the latter, and then runs with the notebook's defaults.
    """
    import papermill

    for notebook in notebooks:
        try:
            taken = papermill.inspect_notebook(str(notebook))
        except (OSError, ValueError) as error:  # no JSON, or no kernelspec
            reason = " ".join(str(error).split())[:LONGEST_MESSAGE]
            fault = f"cannot be read ({reason}); open and save it once in JupyterLab"
            raise InputError(f"notebook {notebook.stem}: {fault}") from error
        lacking = sorted(parameters.keys() - taken)
        if lacking:
            fault = f"has no parameter {lacking[0]!r}; add it to its `parameters`"
            raise InputError(f"notebook {notebook.stem}: {fault}")


def _print_outcome(outcome: Outcome) -> None:
    """Print a line on a notebook that has ended, and on stderr why it failed."""
    ending = "failed" if outcome.error else "done"
    print(f"{outcome.name:24}{ending} {outcome.seconds:7.1f} s", flush=True)
    if outcome.error:
        print(f"medisyn: {outcome.error}", file=sys.stderr, flush=True)


def _execute(notebook: Path, parameters: dict[str, Any], out: Path) -> Outcome:
    """Execute one notebook; whatever goes wrong must not stop the others."""
    import papermill

    start = time.perf_counter()
    folder, name = out / "notebooks", notebook.stem
    running = folder / f"{name}.tmp.ipynb"
    failed = folder / f"{name}.failed.ipynb"
    log = folder / f"{name}.failed.log"
    for stale in (folder / notebook.name, running, failed, log, *_outputs(out, name)):
        stale.unlink(missing_ok=True)
    stderr = io.StringIO()
    try:
        papermill.execute_notebook(
            str(notebook),
            str(running).replace("{", "{{").replace("}", "}}"),  # papermill fills in braces
            parameters,
            stderr_file=stderr,
            kernel_name="python3",
            progress_bar=False,
            log_output=False,
        )
        running.replace(folder / notebook.name)
        return Outcome(name, time.perf_counter() - start)
    except Exception as error:  # also of a kernel that dies, say of memory
        if running.exists():
            running.replace(failed)
        write_atomic(log, stderr.getvalue() + f"{type(error).__name__}: {error}\n")
        line, bad_input = _error_line(name, error, log)
        return Outcome(name, time.perf_counter() - start, line, bad_input)


def _outputs(out: Path, name: str) -> list[Path]:
    """Return what an earlier run of a notebook has left: its result and its figures."""
    return [out / "results" / f"{name}.json", *(out / "figures").glob(f"{name[:2]}_*")]


def _error_line(name: str, error: Exception, log: Path) -> tuple[str, bool]:
    """Return the line that says why a notebook failed, and whether its input was to blame."""
    message = getattr(error, "evalue", None) or f"{type(error).__name__} {error}".strip()
    if getattr(error, "ename", "") == "InputError":
        return message, True
    short = " ".join(message.split())[:LONGEST_MESSAGE]
    return f"notebook {name} failed: {short} (see {log})", False
