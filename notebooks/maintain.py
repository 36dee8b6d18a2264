"""Maintaining what is committed: `refresh` runs the stored notebooks anew, `publish` copies a finished full run.

`make refresh` and `make publish OUT=folder` call it; whoever reproduces, generates or compares needs it not.
"""

import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import jupytext
import nbclient
import nbformat

from medisyn_lib.claims.scorecard import scorecard, scorecard_markdown
from medisyn_lib.claims.statements import NOTEBOOKS
from medisyn_lib.cli import batch
from medisyn_lib.errors import InputError
from medisyn_lib.reporting.compare import results_of
from medisyn_lib.reporting.drawing import contact_sheet
from medisyn_lib.reporting.gallery import FIGURES
from medisyn_lib.runtime import store
from medisyn_lib.runtime.paths import from_shell, project_root
from medisyn_lib.runtime.provenance import run_name

STORED_LIMIT = 2**20  # bytes of a notebook kept in git
PUBLISHED = (".png", ".svg", ".csv")
SCORECARD = ("<!-- scorecard: written by `make publish` -->", "<!-- end of scorecard -->")


def refresh(*names: str) -> list[Path]:
    """Rebuilds stored notebooks from their paired .py, runs them with their defaults and writes them back.

    Timing metadata goes, execution counts and outputs stay. Raises InputError for one over 1 MiB;
    a cell that fails raises nbclient's error, and that notebook is left as it was.
    """
    return sorted(batch.side_by_side(_store_anew, batch.select(names, ".py")))


def _store_anew(source: Path) -> Path:
    path, notebook = source.with_suffix(".ipynb"), jupytext.read(source)
    nbclient.execute(
        notebook, str(path.parent), timeout=None, coalesce_streams=True, record_timing=False
    )
    notebook.metadata["language_info"] = {
        "name": "python"
    }  # the rest follows the interpreter's version
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number:02d}"  # not another one each time
        if (
            cell.cell_type == "code"
        ):  # libraries' chatter names this machine's folders; nbval ignores it
            cell.outputs = [out for out in cell.outputs if out.get("name") != "stderr"]
    notebook.metadata.pop("widgets", None)
    text = nbformat.writes(notebook) + "\n"
    if len(text.encode()) > STORED_LIMIT:
        raise InputError(
            f"notebook {path.stem}: {len(text.encode())} bytes; show fewer or smaller figures"
        )
    store.write_atomic(path, text)
    return path


def publish(folder: str, *names: str) -> str:
    """Copies a finished `full` run into results/ and figures/ and says under which name.

    Of a run that is finished in part, `names` (numbers or names of notebooks) are published beside what is there.
    Files named `*.real.*` show real images and stay behind, as do, of other sources than phantoms, all sheets of
    images: not every licence allows what was learnt from its images to be shown. Raises InputError for a run that is
    unfinished, failed, mixed or of another profile.
    """
    out, chosen = from_shell(folder), batch.select(names)
    needed = [Path("notebooks", path.name) for path in chosen]
    needed += [Path("results", f"{path.stem}.json") for path in needed if path.stem in NOTEBOOKS]
    if lacking := [path.stem for path in needed if not (out / path).is_file()]:
        raise InputError(
            f"run {out}: {lacking[0]} is not finished; run `medisyn reproduce --profile full` to its end"
        )
    found = results_of(out)
    made = {
        tuple(str(result.provenance.get(key)) for key in ("profile", "data"))
        for result in found.values()
    }
    if [profile for profile, _ in made] != ["full"]:
        raise InputError(f"run {out}: holds {sorted(made)}; publish one run of profile full")
    ((profile, source),) = made
    name, numbers = run_name(profile, source), {path.name[:2] for path in chosen}
    pictures = [
        p for p in (out / "figures").glob("*") if p.suffix in PUBLISHED and ".real." not in p.name
    ]
    if source != "phantom":
        sheets = {name for name, spec in FIGURES.items() if spec.draw is contact_sheet}
        pictures = [path for path in pictures if path.name.split(".")[0] not in sheets]
    results = [out / "results" / f"{stem}.json" for stem in found]
    for kind, files in (("results", results), ("figures", pictures)):
        target = project_root() / kind / name
        fresh = target.with_name(f"{name}.tmp")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        kept = [path for path in target.glob("*") if names and path.name[:2] not in numbers]
        for path in [*kept, *(path for path in files if path.name[:2] in numbers)]:
            shutil.copyfile(path, fresh / path.name)
        store.replace_folder(fresh, target)
    if (readme := project_root() / "README.md").is_file():
        store.write_atomic(readme, with_scorecard(readme.read_text("utf-8")))
    return name


def with_scorecard(text: str) -> str:
    """A page whose part between `SCORECARD`'s two marks is the table of every claim in each committed run."""
    runs = sorted(path.name for path in (project_root() / "results").iterdir() if path.is_dir())
    cells: dict[str, dict[str, str]] = {}
    for run in runs:
        for row in scorecard(project_root() / "results" / run):
            if row["verdict"] != "not run":
                found = f"{row['measure']} {row['value']} ({row['interval']}), n = {row['n']}"
                said = f"**{row['verdict']}**" + (f": {found}" if row["interval"] != "none" else "")
                cells.setdefault(f"{row['notebook'][:2]} {row['claim']}", {})[run] = said
    rows = [
        {"claim": claim} | {f"`{run}`": cells[claim].get(run, "not run") for run in runs}
        for claim in sorted(cells)
    ]
    before, _, rest = text.partition(SCORECARD[0])
    table = scorecard_markdown(rows)
    return (
        f"{before}{SCORECARD[0]}\n\n{table}\n{SCORECARD[1]}{rest.partition(SCORECARD[1])[2]}"
        if rest
        else text
    )


VERBS: dict[str, Callable[..., object]] = {"refresh": refresh, "publish": publish}


def main(arguments: Sequence[str]) -> int:
    """Runs one verb; 2 and one line on stderr for bad input, as `medisyn` does."""
    verb, *rest = arguments or [""]
    try:
        if verb not in VERBS or (verb == "publish" and not rest):
            raise InputError(
                f"{' '.join(arguments)!r}: write `refresh [NN ...]` or `publish FOLDER [NN ...]`"
            )
        print(VERBS[verb](*rest))
    except InputError as error:
        print(f"maintain: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
