"""A figure's three files, PNG, SVG and CSV, from its table; what was drawn once is cached.

A contact sheet keeps its tiles as one lossless picture (`NAME.tiles.png`) beside its table. Files that
show real images carry `.real.` in their name and stay out of the repository.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medisyn_lib.reporting.panels import DPI
from medisyn_lib.runtime import store

if TYPE_CHECKING:
    import pandas as pd
    from IPython.display import Image
    from matplotlib.figure import Figure

# Modules that decide what a picture looks like: a change of theirs draws it anew.
CODE = tuple(f"medisyn_lib.reporting.{name}" for name in ("drawing", "panels", "render"))
FIGURE_KEY = "figure"  # of a notebook output's metadata: the figure's name
# Dates are left out: they would make files differ each time.
KEYWORDS: dict[str, dict[str, Any]] = {
    "svg": {"metadata": {"Date": None}},
    "pdf": {"metadata": {"CreationDate": None}},
    # At the default, 75, speckle and grain change their look.
    "jpg": {"pil_kwargs": {"quality": 80}},
}


@dataclass(frozen=True)
class FigureSpec:
    """One figure: its name (notebook number first), the function that draws it, what it shows.

    `columns` maps columns of its own table to those that `draw` knows; `labels` are columns with one
    value, such as the axes' labels, that its table lacks.
    """

    name: str
    draw: Callable[..., Figure]
    shows: str
    columns: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)


def draw(
    spec: FigureSpec,
    table: pd.DataFrame,
    out: Path,
    tiles: np.ndarray | None = None,
    *,
    real: bool = False,
    also: str = "jpg",
) -> Image | None:
    """Write a figure's files to a folder; what was drawn from the same table before is read.

    Parameters
    ----------
    spec : FigureSpec
        The figure.
    table : DataFrame
        What it shows; it is written beside the picture as CSV.
    out : Path
        The folder.
    tiles : (n, side, side, 3) uint8 array, optional
        The images of a contact sheet, one for each row of its table.
    real : bool
        Marks a figure that shows real images.
    also : str
        A third format beside PNG and SVG: `pdf`, none, or `jpg`, which is returned and not written.

    Returns
    -------
    Image or None
        The JPEG, for a notebook to show; its metadata names the figure, so that a page of the run can
        link to the cell that drew it.
    """
    import IPython.display

    stem = f"{spec.name}.real" if real else spec.name
    sheets = [] if tiles is None else [tiles]

    def make(directory: Path) -> None:
        _write_pictures(directory, spec, table, sheets, also)

    contents = [f"{table.to_csv(index=False)}{table.dtypes.to_dict()}".encode()]
    contents += [sheet.tobytes() for sheet in sheets]
    settings = {
        "figure": [spec.name, spec.draw.__name__, dict(spec.columns), dict(spec.labels)],
        "also": also,
        "contents": [hashlib.sha256(content).hexdigest() for content in contents],
        "packages": [version(package) for package in ("matplotlib", "seaborn", "pillow")],
    }
    entry = store.cache("figure", settings, make, code=CODE)
    text = table.to_csv(index=False, float_format="%.6g", lineterminator="\n")
    store.write_atomic(out / f"{stem}.csv", text)
    for path in entry.iterdir():
        if path.name not in ("jpg", store.MANIFEST):
            store.write_atomic(out / f"{stem}.{path.name}", path.read_bytes())
    if also != "jpg":
        return None
    picture = (entry / "jpg").read_bytes()
    return IPython.display.Image(data=picture, format="jpeg", metadata={FIGURE_KEY: stem})


def _write_pictures(
    directory: Path, spec: FigureSpec, table: pd.DataFrame, sheets: list[np.ndarray], also: str
) -> None:
    """Write a figure in each format to files named by it, and a contact sheet's tiles in one column."""
    import PIL.Image
    from matplotlib.backend_bases import get_registered_canvas_class

    for tiles in sheets:
        PIL.Image.fromarray(np.concatenate(tiles)).save(directory / "tiles.png")
    columns = table.rename(columns=dict(spec.columns)).assign(**spec.labels)
    figure = spec.draw(columns, *sheets)
    sheet_dpi = figure.get_dpi()
    for kind in ("png", "svg", also):
        if kind:
            # A contact sheet's own resolution shows each pixel by a whole factor.
            figure.set_dpi(sheet_dpi if sheets else DPI if kind == "jpg" else 2 * DPI)
            canvas = get_registered_canvas_class(kind)(figure)
            # Figure.savefig draws twice, to the same bytes.
            write = getattr(canvas, f"print_{kind}")
            write(directory / kind, **KEYWORDS.get(kind, {}))
