"""The page of a run, `index.html`, beside pages of its notebooks and cards: all that it found, offline."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medisyn_lib.reporting import web_pages
from medisyn_lib.reporting.card_pages import Card, cards_of_run, write_cards
from medisyn_lib.reporting.figure_views import figure_views
from medisyn_lib.reporting.notebook_pages import ExecutedNotebook, read_notebook, write_notebooks
from medisyn_lib.reporting.run_view import RunView, in_words, run_view
from medisyn_lib.runtime.provenance import data_label, run_name
from medisyn_lib.runtime.store import replace_folder, write_atomic

MADE_BY = "medisyn reproduce"
LEDE = (
    "One text-guided generator for six specialties and ten imaging modalities: what holds of it, "
    "claim by claim, each by a rule with an interval and controls."
)
REAL = (
    "This notebook shows real images of the data source. Do not pass it on unless the terms of those "
    "data allow it."
)


def write_run_page(out: Path, profile: str, data: str) -> Path:
    """Write the page of a run into its folder.

    Parameters
    ----------
    out : Path
        The run's folder: executed notebooks, results, figures, model card.
    profile, data : str
        The run's size and its data source.

    Returns
    -------
    Path
        `index.html`, which holds its pictures; `pages/` beside it has notebooks and cards.
    """
    source = data_label(data)
    paths = sorted((out / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    notebooks = [read_notebook(path) for path in paths if path.suffixes == [".ipynb"]]
    cards = cards_of_run(out, source)
    pictures = sorted(
        path for path in (out / "figures").glob("*.png") if ".tiles" not in path.suffixes
    )
    by_number = {notebook.number: notebook for notebook in notebooks}
    figures = figure_views(pictures, by_number, lambda path: path.relative_to(out).as_posix())
    run = run_view(run_name(profile, data), source, out / "results", by_number, figures)
    shows_real = source != "phantom"
    write_pages(out, notebooks, cards, MADE_BY, warning=REAL if shows_real else "")
    failed = [path.name.partition(".")[0] for path in paths if ".failed" in path.suffixes]
    page = index_page([run], notebooks, cards, MADE_BY, failed=failed, real_images=shows_real)
    write_atomic(out / web_pages.INDEX, page)
    return out / web_pages.INDEX


def write_pages(
    out: Path,
    notebooks: Sequence[ExecutedNotebook],
    cards: Sequence[Card],
    made_by: str,
    warning: str = "",
) -> None:
    """Write the pages of notebooks and cards in place of older ones."""
    fresh = out / f"{web_pages.PAGES}.tmp"
    shutil.rmtree(fresh, ignore_errors=True)
    write_notebooks(fresh, notebooks, made_by, warning)
    write_cards(fresh, cards, made_by)
    replace_folder(fresh, out / web_pages.PAGES)


def index_page(
    runs: Sequence[RunView],
    notebooks: Sequence[ExecutedNotebook],
    cards: Sequence[Card],
    made_by: str,
    *,
    failed: Sequence[str] = (),
    **options: Any,
) -> str:
    """Return `index.html` of one or several runs.

    Parameters
    ----------
    runs : sequence of RunView
    notebooks, cards : sequences
        Those that have pages.
    made_by : str
        The command that writes it.
    failed : sequence of str
        Notebooks that failed.
    **options : Any
        `real_images`: whether real images are shown; `pictures_beside`: see `web_pages.render`.
    """
    listed = []
    for notebook in notebooks:
        note = "" if notebook.took is None else f"Ran in {in_words(notebook.took)}."
        listed.append({"title": notebook.title, "page": _page(notebook.file), "note": note})
    for stem in failed:
        note = f"Failed; notebooks/{stem}.failed.log says why."
        listed.append({"title": stem.replace("_", " "), "page": "", "note": note})
    return web_pages.render(
        "index.html",
        made_by,
        lede=LEDE,
        runs=runs,
        notebooks=listed,
        titles={notebook.number: notebook.title for notebook in notebooks},
        cards=[
            {"title": card.title, "page": _page(card.file), "kind": card.kind} for card in cards
        ],
        **options,
    )


def _page(file: str) -> str:
    return f"{web_pages.PAGES}/{file}"
