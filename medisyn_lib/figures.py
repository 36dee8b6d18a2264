"""One function per figure, each from a tidy table that is kept beside it, so that it can be redrawn.

A sheet of images keeps its tiles as one lossless picture (`NAME.tiles.png`) beside its table. Files
that show real images carry `.real.` in their name and stay out of the repository.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medisyn_lib import store
from medisyn_lib.errors import InputError

if TYPE_CHECKING:
    import pandas as pd
    from IPython.display import Image
    from matplotlib.figure import Figure

WIDTH = 7.0  # inches: the text width of a page
DPI = 100
NOT_CLINICAL = "not for clinical use"


def _style() -> None:
    import seaborn

    seaborn.set_theme(context="paper", style="whitegrid", palette="colorblind", font="DejaVu Sans", font_scale=1.0)


def _new(height: float, rows: int = 1, columns: int = 1) -> tuple[Figure, np.ndarray]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    _style()
    figure = Figure(figsize=(WIDTH, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False)


def sheet(table: pd.DataFrame, tiles: np.ndarray | None) -> Figure:
    """A sheet of images: `table` has row, column, row_label, title; tile i belongs to table row i."""
    rows, columns = int(table["row"].max()) + 1, int(table["column"].max()) + 1
    if tiles is None or len(tiles) != len(table):
        raise InputError(f"sheet: needs {len(table)} tiles, got {0 if tiles is None else len(tiles)}; run its notebook")
    side = tiles.shape[1]
    canvas = np.full((rows * (side + 2), columns * (side + 2), 3), 255, np.uint8)
    for tile, r, c in zip(tiles, table["row"], table["column"], strict=True):
        y, x = r * (side + 2), c * (side + 2)
        canvas[y : y + side, x : x + side] = tile
    figure, axes = _new(0.35 + (WIDTH - 1.3) / columns * rows)
    axis = axes[0, 0]
    axis.imshow(canvas, interpolation="nearest")
    labels = table.drop_duplicates("row").sort_values("row")["row_label"]
    axis.set_yticks([(r + 0.5) * (side + 2) for r in range(rows)], labels, fontsize=7)
    if "column_label" in table:
        names = table.drop_duplicates("column").sort_values("column")["column_label"]
        axis.set_xticks([(c + 0.5) * (side + 2) for c in range(columns)], names, fontsize=7)
    else:
        axis.set_xticks([])
    axis.grid(visible=False)
    for spine in axis.spines.values():
        spine.set_visible(False)
    axis.tick_params(length=0)
    axis.set_title(table["title"].iloc[0], fontsize=8)
    return figure


def losses(table: pd.DataFrame, tiles: np.ndarray | None = None) -> Figure:
    """Training loss against images seen: `table` has model, images_seen, loss, title."""
    import seaborn

    figure, axes = _new(2.6)
    seaborn.lineplot(table, x="images_seen", y="loss", hue="model", style="model", ax=axes[0, 0], errorbar=None)
    axes[0, 0].set(xlabel="images seen in training", ylabel="flow-matching loss", ylim=(0, None))
    axes[0, 0].legend(title=None, fontsize=7)
    axes[0, 0].set_title(table["title"].iloc[0], fontsize=8)
    return figure


def read_back(table: pd.DataFrame, tiles: np.ndarray | None = None) -> Figure:
    """Share of images read right a modality, real beside synthetic, with intervals (`alignment.by_modality`)."""
    import seaborn

    figure, axes = _new(3.4, 1, 2)
    names = list(dict.fromkeys(table["modality"]))
    colours = seaborn.color_palette("colorblind")
    for axis, what in zip(axes[0], ("modality", "finding"), strict=True):
        for shift, (images, marker) in enumerate((("real", "o"), ("synthetic", "D"))):
            part = table[(table["what"] == what) & (table["images"] == images)].set_index("modality").loc[names]
            y = np.arange(len(names)) + 0.3 * shift - 0.15
            spread = np.stack([part["share"] - part["low"], part["high"] - part["share"]]).clip(0)
            axis.errorbar(
                part["share"], y, xerr=spread, fmt=marker, ms=4, capsize=2, color=colours[shift], label=images
            )
        axis.set(xlim=(-0.02, 1.04), xlabel=f"share with the {what} read right", ylim=(len(names) - 0.5, -0.5))
        axis.set_yticks(range(len(names)), [name.replace("_", " ") for name in names] if what == "modality" else [])
    figure.legend(*axes[0, 1].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=7)
    figure.suptitle(table["title"].iloc[0], fontsize=8)
    return figure


def classes(table: pd.DataFrame, tiles: np.ndarray | None = None) -> Figure:
    """Images a finding and modality: `table` has modality, finding, images, title."""
    import seaborn

    names = list(dict.fromkeys(table["modality"]))
    figure, axes = _new(3.2)
    axis = axes[0, 0]
    left = dict.fromkeys(names, 0.0)
    shades = seaborn.color_palette("pastel")
    for name in names:
        for place, row in enumerate(table[table["modality"] == name].itertuples()):
            axis.barh(name.replace("_", " "), row.images, left=left[name], color=shades[place % 10], edgecolor="white")
            axis.text(
                left[name] + row.images / 2,
                names.index(name),
                row.finding.replace("_", " "),
                ha="center",
                va="center",
                fontsize=4.5,
            )
            left[name] += row.images
    axis.invert_yaxis()
    axis.grid(visible=False, axis="y")
    axis.set(xlabel="images (n)")
    axis.set_title(table["title"].iloc[0], fontsize=8)
    return figure


FIGURES: dict[str, Callable[[pd.DataFrame, np.ndarray | None], Figure]] = {
    "00_modalities": sheet,
    "00_classes": classes,
    "01_losses": losses,
    "01_progress": sheet,
    "01_first_stage": sheet,
    "01_prompts": sheet,
    "01_read_back": read_back,
}


def draw(name: str, table: pd.DataFrame, out: Path, tiles: np.ndarray | None = None, *, real: bool = False) -> Image:
    """Draws figure `name` and keeps PNG, SVG, CSV and, for a sheet, its tiles, in folder `out`.

    `real` marks a figure that shows real images. Returns a light picture of it, for a notebook to show.
    """
    from IPython.display import Image

    stem = f"{name}.real" if real else name
    store.write_atomic(out / f"{stem}.csv", table.to_csv(index=False, float_format="%.6g", lineterminator="\n"))
    if tiles is not None:
        store.write_atomic(out / f"{stem}.tiles.png", _strip(tiles))
    figure = FIGURES[name](table, tiles)
    pictures = {}
    for kind, scale in (("png", 2), ("svg", 2), ("jpeg", 1)):
        buffer = io.BytesIO()
        figure.savefig(buffer, format=kind, dpi=scale * DPI, metadata={"Date": None} if kind == "svg" else None)
        pictures[kind] = buffer.getvalue()
    for kind in ("png", "svg"):
        store.write_atomic(out / f"{stem}.{kind}", pictures[kind])
    return Image(data=pictures["jpeg"], format="jpeg")


def _strip(tiles: np.ndarray) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.concatenate(list(tiles), axis=0)).save(buffer, "PNG")
    return buffer.getvalue()


def _tiles(path: Path) -> np.ndarray | None:
    from PIL import Image

    if not path.is_file():
        return None
    strip = np.asarray(Image.open(path).convert("RGB"))
    return strip.reshape(-1, strip.shape[1], strip.shape[1], 3)


def redraw(results: Path) -> list[Path]:
    """Redraws every figure below a folder from its table, without computing anything; returns the PNGs.

    Raises InputError where there is no figure's table.
    """
    import pandas as pd

    tables = [path for path in sorted(results.rglob("*.csv")) if path.name.split(".")[0] in FIGURES]
    if not tables:
        raise InputError(f"results {results}: no figure's table (CSV) below it; run medisyn reproduce first")
    for path in tables:
        stem = path.name.removesuffix(".csv")
        tiles = _tiles(path.with_name(f"{stem}.tiles.png"))
        draw(stem.split(".")[0], pd.read_csv(path), path.parent, tiles, real=stem.endswith(".real"))
    return [path.with_suffix(".png") for path in tables]
