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

from medisyn_lib.reporting.drawing import DPI
from medisyn_lib.runtime import store

if TYPE_CHECKING:
    import pandas as pd
    from IPython.display import Image
    from matplotlib.figure import Figure

# Dates are left out: they would make files differ each time.
METADATA: dict[str, Any] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}


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
    """Write PNG, SVG, CSV and, for a contact sheet, the tiles of a figure into folder `out`.

    `real` marks a figure that shows real images. `also` is a third format: `pdf`, none, or `jpg`, which
    is returned for a notebook to show.
    """
    import IPython.display

    stem = f"{spec.name}.real" if real else spec.name
    sheets = [] if tiles is None else [tiles]

    def make(directory: Path) -> None:
        _write_pictures(directory, spec, table, sheets, also)

    seen = [f"{table.to_csv(index=False)}{table.dtypes.to_dict()}".encode()]
    seen += [tile.tobytes() for tile in sheets]
    what = {
        "figure": [spec.name, spec.draw.__name__, dict(spec.columns), dict(spec.labels)],
        "also": also,
        "seen": [hashlib.sha256(part).hexdigest() for part in seen],
        "by": [version(package) for package in ("matplotlib", "seaborn", "pillow")],
    }
    code = ("medisyn_lib.reporting.drawing", "medisyn_lib.reporting.render")
    entry = store.keep("figure", what, make, code=code)
    text = table.to_csv(index=False, float_format="%.6g", lineterminator="\n")
    store.write_atomic(out / f"{stem}.csv", text)
    for path in entry.iterdir():
        if path.name not in ("jpg", store.MANIFEST):
            store.write_atomic(out / f"{stem}.{path.name}", path.read_bytes())
    if also != "jpg":
        return None
    return IPython.display.Image(data=(entry / "jpg").read_bytes(), format="jpeg")


def _write_pictures(
    directory: Path, spec: FigureSpec, table: pd.DataFrame, sheets: list[np.ndarray], also: str
) -> None:
    import PIL.Image
    from matplotlib.backend_bases import get_registered_canvas_class

    for tiles in sheets:
        PIL.Image.fromarray(np.concatenate(tiles)).save(directory / "tiles.png")
    named = table.rename(columns=dict(spec.columns)).assign(**spec.labels)
    figure = spec.draw(named, *sheets)
    for kind in filter(None, ("png", "svg", also)):
        figure.set_dpi(DPI if kind == "jpg" else 2 * DPI)
        canvas = get_registered_canvas_class(kind)(figure)
        write = getattr(canvas, f"print_{kind}")  # Figure.savefig draws twice, to the same bytes
        write(directory / kind, metadata=METADATA.get(kind))
