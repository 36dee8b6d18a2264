"""Maintaining what is committed: `refresh` runs the stored notebooks anew, `publish` copies a full run.

`make refresh` and `make publish OUT=folder` call it; whoever reproduces, generates or compares needs
it not.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import jupytext
import nbclient
import nbformat

from medisyn_lib.claims.claim import NOT_RUN
from medisyn_lib.claims.results import Result, read_result
from medisyn_lib.claims.scorecard import scorecard_markdown
from medisyn_lib.claims.statements import NOTEBOOKS
from medisyn_lib.cli.kernels import run_side_by_side
from medisyn_lib.cli.options import FLAGSHIP
from medisyn_lib.cli.run_notebooks import select_notebooks
from medisyn_lib.errors import InputError
from medisyn_lib.profiles import named_profile
from medisyn_lib.reporting.compare import results_of
from medisyn_lib.reporting.publishable import publishable_figures
from medisyn_lib.runtime import store
from medisyn_lib.runtime.paths import from_shell, project_root
from medisyn_lib.runtime.provenance import run_name

STORED_LIMIT = 3 * 2**19  # bytes of a notebook kept in git: 1.5 MiB
TOY_PROFILE = "tiny"  # whose results say nothing
SCORECARD = ("<!-- scorecard: written by `make publish` -->", "<!-- end of scorecard -->")


def refresh(*names: str) -> list[Path]:
    """Rebuild stored notebooks from their paired .py, run them with their defaults, write them back.

    Timing metadata goes, execution counts and outputs stay. Raises InputError for one over 1.5 MiB; a
    cell that fails raises nbclient's error, and that notebook is left as it was.
    """
    return sorted(run_side_by_side(_store_anew, select_notebooks(names, ".py")))


def _store_anew(source: Path) -> Path:
    """Run one notebook and write it back."""
    path = source.with_suffix(".ipynb")
    notebook = jupytext.read(source)
    nbclient.execute(
        notebook, str(path.parent), timeout=None, coalesce_streams=True, record_timing=False
    )
    _clean(notebook)
    text = nbformat.writes(notebook) + "\n"
    size = len(text.encode())
    if size > STORED_LIMIT:
        raise InputError(f"notebook {path.stem}: {size} bytes; show fewer or smaller figures")
    store.write_atomic(path, text)
    return path


def _clean(notebook: nbformat.NotebookNode) -> None:
    """Take out what would differ each time or on another machine."""
    notebook.metadata["language_info"] = {"name": "python"}  # the rest is the interpreter's version
    notebook.metadata.pop("widgets", None)
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number:02d}"
        if cell.cell_type == "code":
            # Libraries' chatter names this machine's folders; nbval ignores it.
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]


def publish(folder: str, *names: str) -> str:
    """Copy a finished `full` run into results/ and figures/; return the name of its folders.

    Parameters
    ----------
    folder : str
        Of the run.
    *names : str
        Numbers or names of notebooks, to publish these beside what is there; all for none.

    Returns
    -------
    str
        Such as `full-phantom`; of a run that judged the flagship, where it need not, `flagship-phantom`.

    Raises
    ------
    InputError
        For a run that is unfinished, failed, mixed or of another profile.
    """
    out, chosen = from_shell(folder), select_notebooks(names)
    _check_finished(out, chosen)
    results = results_of(out)
    profile, source, base = _profile_source_and_base(out, results)
    name = run_name(_judged(profile, results) or profile, source, base)
    files = {
        "results": [out / "results" / f"{stem}.json" for stem in results],
        "figures": publishable_figures(out / "figures", source),
    }
    for kind, paths in files.items():
        target = project_root() / kind / name
        _replace(target, paths, {path.name[:2] for path in chosen}, keep_others=bool(names))
    readme = project_root() / "README.md"
    if readme.is_file():
        store.write_atomic(readme, with_scorecard(readme.read_text("utf-8")))
    return name


def _check_finished(out: Path, notebooks: Sequence[Path]) -> None:
    """Raise InputError for a notebook that was not executed or has left no result."""
    needed = [Path("notebooks", path.name) for path in notebooks]
    needed += [Path("results", f"{path.stem}.json") for path in needed if path.stem in NOTEBOOKS]
    for path in needed:
        if not (out / path).is_file():
            mend = "run `medisyn reproduce` to its end"
            raise InputError(f"run {out}: {path.stem} is not finished; {mend}")


def _profile_source_and_base(out: Path, results: Mapping[str, Result]) -> tuple[str, str, str]:
    """Return profile, data source and base (empty: none) of a run.

    Raises InputError unless it is one run, of another profile than tiny.
    """
    runs = set()
    for result in results.values():
        provenance = result.provenance
        names = (str(provenance.get(name, "")) for name in ("profile", "data", "base"))
        runs.add(tuple(names))
    if len(runs) != 1 or any(profile == TOY_PROFILE for profile, *_ in runs):
        fault = f"holds {sorted(runs)}; publish one run, of another profile than {TOY_PROFILE}"
        raise InputError(f"run {out}: {fault}")
    (found,) = runs
    return found


def _judged(profile: str, results: Mapping[str, Result]) -> str:
    """Return `flagship` where a run judged it although its profile judges what is trained here, else nothing."""
    generators = {result.provenance.get("generator") for result in results.values()}
    chosen = FLAGSHIP in generators and not named_profile(profile).judges_flagship
    return FLAGSHIP if chosen else ""


def _replace(target: Path, files: Iterable[Path], numbers: set[str], *, keep_others: bool) -> None:
    """Fill a folder anew with the files of these notebooks, beside those of others that it has."""
    fresh = target.with_name(f"{target.name}.tmp")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    if keep_others:
        for path in target.glob("*"):
            if path.name[:2] not in numbers:
                shutil.copyfile(path, fresh / path.name)
    for path in files:
        if path.name[:2] in numbers:
            shutil.copyfile(path, fresh / path.name)
    store.replace_folder(fresh, target)


def with_scorecard(text: str) -> str:
    """Return a page whose part between `SCORECARD`'s two marks is every claim in each committed run."""
    before, mark, rest = text.partition(SCORECARD[0])
    if not mark:
        return text
    table = scorecard_markdown(_scorecard_rows())
    after = rest.partition(SCORECARD[1])[2]
    return f"{before}{SCORECARD[0]}\n\n{table}\n{SCORECARD[1]}{after}"


def _scorecard_rows() -> list[dict[str, str]]:
    """Return a row for each claim and committed run: verdict, evidence, and the sentence of what was found.

    A run of a profile that demonstrates has a row where no larger one says anything of the claim.
    """
    rows: dict[bool, list[dict[str, str]]] = {True: [], False: []}  # by whether it demonstrates
    for path in sorted((project_root() / "results").glob("*/[0-9][0-9]_*.json")):
        result = read_result(path)
        demonstrates = named_profile(result.provenance["profile"]).demonstrates
        for claim in result.claims:
            if claim.problem != NOT_RUN:
                rows[demonstrates].append(
                    {
                        "claim": f"{path.stem[:2]} {claim.statement}",
                        "verdict": f"**{claim.outcome}**",
                        "evidence": f"{claim.evidence}, `{path.parent.name}`",
                        "found": claim.summary,
                    }
                )
    judged = {row["claim"] for row in rows[False]}
    shown = [*rows[False], *(row for row in rows[True] if row["claim"] not in judged)]
    return sorted(shown, key=lambda row: row["claim"])


VERBS: dict[str, Callable[..., object]] = {"refresh": refresh, "publish": publish}


def main(arguments: Sequence[str]) -> int:
    """Run one verb; return 2, with one line on stderr, for bad input, as `medisyn` does."""
    verb, *rest = arguments or [""]
    try:
        if verb not in VERBS or (verb == "publish" and not rest):
            usage = "write `refresh [NN ...]` or `publish FOLDER [NN ...]`"
            raise InputError(f"{' '.join(arguments)!r}: {usage}")
        print(VERBS[verb](*rest))
    except InputError as error:
        print(f"maintain: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
