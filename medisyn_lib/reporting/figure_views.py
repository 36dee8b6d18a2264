"""Figures as the pages of a run show them: picture, words, table and the cell that drew it."""

from __future__ import annotations

import base64
import csv
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from medisyn_lib.reporting import web_pages
from medisyn_lib.reporting.gallery import FIGURES
from medisyn_lib.reporting.notebook_pages import ExecutedNotebook


@dataclass(frozen=True)
class FigureTable:
    """A figure's table as text: columns that vary, and those with one value in every row."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    numeric: frozenset[int]  # places of the columns that hold numbers
    constants: Mapping[str, str]


@dataclass(frozen=True)
class FigureView:
    """A figure on a page; `page` and `cell` are empty where its notebook has no page or does not show it."""

    stem: str
    number: str  # of its notebook
    label: str
    shows: str
    src: str
    width: int
    height: int
    csv: str
    svg: str
    page: str
    cell: str
    is_real: bool
    table: FigureTable


def read_table(path: Path) -> FigureTable:
    """Read a figure's table (CSV)."""
    with path.open(encoding="utf-8", newline="") as file:
        names, *rows = csv.reader(file)
    by_column = {name: [row[place] for row in rows] for place, name in enumerate(names)}
    constants = {
        name: values[0]
        for name, values in by_column.items()
        if len(rows) > 1 and len({*values}) == 1
    }
    varying = {name: values for name, values in by_column.items() if name not in constants}
    numeric = {
        place for place, values in enumerate(varying.values()) if all(map(_is_number, values))
    }
    return FigureTable(
        list(varying), list(zip(*varying.values(), strict=True)), frozenset(numeric), constants
    )


def _is_number(text: str) -> bool:
    try:
        float(text or "nan")  # a cell without a number is empty
    except ValueError:
        return False
    return True


def embedded(picture: Path) -> str:
    """Return a picture as an address that holds all of it."""
    return f"data:image/png;base64,{base64.b64encode(picture.read_bytes()).decode()}"


def figure_views(
    pictures: Sequence[Path],
    notebooks: Mapping[str, ExecutedNotebook],
    address: Callable[[Path], str],
    src: Callable[[Path], str] = embedded,
) -> list[FigureView]:
    """Collect a run's figures, those of each notebook in the order of its cells.

    Parameters
    ----------
    pictures : sequence of Path
        PNG files, each beside its table.
    notebooks : mapping of str to ExecutedNotebook
        By number, those that have a page.
    address : callable
        Returns the address of a file beside the page.
    src : callable
        Returns the address of a picture.
    """
    known = [path for path in pictures if path.stem.partition(".")[0] in FIGURES]
    ordered = sorted(known, key=lambda path: (path.stem[:2], _cell(path, notebooks), path.stem))
    views: list[FigureView] = []
    for path in ordered:
        before = sum(view.number == path.stem[:2] for view in views)
        views.append(_figure_view(path, before + 1, notebooks, address, src))
    return views


def _cell(path: Path, notebooks: Mapping[str, ExecutedNotebook]) -> float:
    """Return the number of the cell that shows a figure; infinity for none, so that it comes last."""
    notebook = notebooks.get(path.stem[:2])
    return notebook.figures.get(path.stem, math.inf) if notebook else math.inf


def _figure_view(
    path: Path,
    place: int,
    notebooks: Mapping[str, ExecutedNotebook],
    address: Callable[[Path], str],
    src: Callable[[Path], str],
) -> FigureView:
    """Collect one figure, the `place`-th of its notebook."""
    import PIL.Image

    with PIL.Image.open(path) as picture:
        width, height = picture.size
    number = path.stem[:2]
    page = f"{web_pages.PAGES}/{notebooks[number].file}" if number in notebooks else ""
    cell = _cell(path, notebooks)
    return FigureView(
        stem=path.stem,
        number=number,
        label=f"{number}.{place}",
        shows=FIGURES[path.stem.partition(".")[0]].shows,
        src=src(path),
        width=width,
        height=height,
        csv=address(path.with_suffix(".csv")),
        svg=address(path.with_suffix(".svg")),
        page=page,
        cell=f"{page}#cell-{cell}" if cell < math.inf else "",
        is_real=".real" in path.stem,
        table=read_table(path.with_suffix(".csv")),
    )
