"""The committed runs as a site for a static host, in which no real image has a place."""

from __future__ import annotations

import ast
import shutil
from pathlib import Path

from medisyn_lib.claims.results import read_result
from medisyn_lib.errors import InputError
from medisyn_lib.reporting import web_pages
from medisyn_lib.reporting.card_pages import data_cards, model_cards
from medisyn_lib.reporting.figure_views import figure_views
from medisyn_lib.reporting.notebook_pages import ExecutedNotebook, read_notebook
from medisyn_lib.reporting.publishable import publishable_figures
from medisyn_lib.reporting.run_page import index_page, write_pages
from medisyn_lib.reporting.run_view import RunView, run_view
from medisyn_lib.runtime.paths import project_root
from medisyn_lib.runtime.store import replace_folder, write_atomic

MADE_BY = "medisyn site"


def write_site(out: Path) -> Path:
    """Write the site of the committed results, figures and stored notebooks.

    Parameters
    ----------
    out : Path
        Its folder: new, empty, or an older site, which is replaced as a whole.

    Returns
    -------
    Path
        Its `index.html`.

    Raises
    ------
    InputError
        Where the folder holds something else, nothing is committed, or a stored notebook ran on other
        data than phantoms.
    """
    check_folder(out)
    folders = sorted(
        {path.parent for path in (project_root() / "results").glob("*/[0-9][0-9]_*.json")}
    )
    if not folders:
        raise InputError(
            f"folder {project_root() / 'results'}: holds no run; `make publish` one first"
        )
    paths = sorted((project_root() / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    notebooks = [read_notebook(path) for path in paths]
    for notebook in notebooks:
        check_notebook(notebook)
    cards = [*model_cards(), *data_cards()]
    fresh = out.with_name(f"{out.name}.tmp")
    shutil.rmtree(fresh, ignore_errors=True)
    runs = [_published_run(folder, notebooks, fresh) for folder in folders]
    write_pages(fresh, notebooks, cards, MADE_BY)
    page = index_page(runs, notebooks, cards, MADE_BY, real_images=False, pictures_beside=True)
    write_atomic(fresh / web_pages.INDEX, page)
    replace_folder(fresh, out)
    return out / web_pages.INDEX


def check_folder(out: Path) -> None:
    """Raise InputError for a folder that holds anything but a site: it would be replaced."""
    if not out.is_dir() or not any(out.iterdir()):
        return
    index = out / web_pages.INDEX
    marked = f'<meta name="generator" content="{MADE_BY}">'
    if not index.is_file() or marked not in index.read_text("utf-8", "replace"):
        raise InputError(
            f"output folder {out}: holds something else than a site; give another --out"
        )


def check_notebook(notebook: ExecutedNotebook) -> None:
    """Raise InputError for a stored notebook whose parameter `data` is not `phantom`: it may show real images."""
    found = []
    for cell in notebook.content.cells:
        tags = cell.metadata.get("tags", [])
        if "parameters" in tags or "injected-parameters" in tags:
            found += _values_of(cell.source, "data")
    if set(found) != {"phantom"}:
        fault = f"ran with data {found}, and a site shows phantoms only"
        raise InputError(f"notebook {notebook.stem}: {fault}; run `make refresh`")


def _values_of(source: str, name: str) -> list[object]:
    """Return what is assigned to a variable in a cell of literals."""
    values = []
    for node in ast.parse(source).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            values.append(ast.literal_eval(node.value))  # type: ignore[attr-defined]
    return values


def _published_run(folder: Path, notebooks: list[ExecutedNotebook], out: Path) -> RunView:
    """Copy the figures of a committed run that may be shown, and collect the run."""
    name = folder.name
    first = sorted(folder.glob("[0-9][0-9]_*.json"))[0]
    source = str(read_result(first).provenance["data"])
    shown = publishable_figures(project_root() / "figures" / name, source)
    copies = [out / "figures" / name / path.name for path in shown if ".tiles." not in path.name]
    for copy in copies:
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(project_root() / "figures" / name / copy.name, copy)
    by_number = {notebook.number: notebook for notebook in notebooks}
    pictures = [copy for copy in copies if copy.suffix == ".png"]

    def address(path: Path) -> str:
        return path.relative_to(out).as_posix()

    figures = figure_views(pictures, by_number, address, src=address)
    return run_view(name, source, folder, by_number, figures)
