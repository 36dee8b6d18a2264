"""Figures from tidy tables, each kept beside its table so that it can be redrawn.

A new figure is a table in `figures.toml`, which also says what columns its own table may have. A sheet of images keeps
its tiles as one lossless picture (`NAME.tiles.png`) beside its table. Files that show real images carry `.real.` in
their name and stay out of the repository.
"""

from __future__ import annotations

import hashlib
import textwrap
import tomllib
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medisyn_lib import store
from medisyn_lib.errors import InputError

if TYPE_CHECKING:
    import pandas as pd
    from IPython.display import Image
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 7.0  # inches: the text width of a page
DPI = 100
NOT_CLINICAL = "not for clinical use"
PANELS_A_ROW = 3
LETTER = 0.009  # of the longest bar: the width of a letter in it
FEW_POINTS = 12  # of a curve, each drawn with its own interval; a longer curve has a band
MARKERS, DASHES = "oDs^vPX*dh", ("-", "--", "-.", ":")
DATES = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}  # left out: they would make files differ each time
TABLE: dict[str, dict[str, Any]] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
FIGURES, OPTIONAL = TABLE["figures"], TABLE["optional"]
REFERENCE: dict[str, Any] = {"color": "0.25", "linestyle": "--", "linewidth": 1.2}
Parts = list[tuple[int, dict[str, Any], "pd.DataFrame"]]


def _words(name: object) -> str:
    return str(name).replace("_", " ")


def _new(table: pd.DataFrame, height: float, **subplots: Any) -> tuple[Figure, np.ndarray]:
    """A figure of this height in inches with the table's title, and its axes (rows, columns)."""
    import seaborn
    from matplotlib.figure import Figure

    seaborn.set_theme(**TABLE["look"])
    figure = Figure(figsize=(WIDTH, height), dpi=DPI, layout="constrained")
    figure.suptitle(textwrap.fill(table["title"].iloc[0], 110))  # characters: the figure's width
    return figure, figure.subplots(squeeze=False, **subplots)


def _panels(table: pd.DataFrame, height: float, fill: Callable[..., None], zero: tuple[str, str]) -> Figure:
    """Subplots, `height` inches each, that `fill` draws from the rows of their panel; one legend below them all.

    `fill` is also handed those rows by group: place and look (colour, legend entry), alike in all panels, and rows.
    A linear axis of side and column `zero` has a line at 0, unless all on axes labelled like it lies far above.
    """
    panels, groups = list(table.groupby("panel", sort=False)), list(table["group"].unique())
    lines, columns = -(-len(panels) // PANELS_A_ROW), min(len(panels), PANELS_A_ROW)
    alike = {f"share{side}": table[f"{side}label"].nunique() == 1 for side in "xy"}
    figure, axes = _new(table, lines * height + 0.7, nrows=lines, ncols=columns, **alike)
    named: dict[str, Any] = {}
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    for place, (axis, (panel, rows)) in enumerate(zip(axes.flat, panels, strict=False)):
        axis.set(**rows[["xlabel", "ylabel", "xscale", "yscale"]].iloc[0], title=_words(panel))
        axis.tick_params(labelbottom=True, which="both")
        if alike["sharey"] and place % columns:
            axis.set_ylabel("")
        parts = [(groups.index(name), part) for name, part in rows.groupby("group", sort=False)]
        same = table[f"{zero[0]}label"] == rows[f"{zero[0]}label"].iloc[0]
        values = table.loc[same, [zero[1], "low", "high"]].stack()
        if rows[f"{zero[0]}scale"].iloc[0] == "linear" and values.min() < values.max() / 2:
            (axis.axvline if zero[0] == "x" else axis.axhline)(0, color="0.6", linewidth=1)
        fill(axis, rows, [(k, {"color": f"C{k}", "label": _words(groups[k])}, part) for k, part in parts])
        named |= dict(zip(*reversed(axis.get_legend_handles_labels()), strict=True))
    order = [name for name in (*map(_words, groups), *table["reference_label"]) if name in named]
    if entries := {name: named[name] for name in order}:
        figure.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=4)
    return figure


def _complete(table: pd.DataFrame) -> pd.DataFrame:
    """The table with every optional column; an empty text, which a CSV file gives back as NaN, stays one."""
    absent = [name for name in OPTIONAL if name not in table or table[name].isna().all()]
    return table.assign(**{name: OPTIONAL[name] for name in absent}).fillna(OPTIONAL)


def forest(table: pd.DataFrame) -> Figure:
    """Estimates with intervals, a row for each `label`: columns `label`, `value`, and `low`, `high`.

    A marker whose interval is missing (NaN) is hollow. `reference` may differ from row to row.
    """
    table = _complete(table)
    labels, groups = list(table["label"].unique()), table["group"].nunique()
    table["row"] = table["label"].map({label: row for row, label in enumerate(labels)}).astype(float)

    def fill(axis: Axes, rows: pd.DataFrame, parts: Parts) -> None:
        for place, look, part in parts:
            y = part["row"] + 0.6 * ((place + 0.5) / groups - 0.5)
            spread = [(part["value"] - part["low"]).abs(), (part["high"] - part["value"]).abs()]
            axis.errorbar(part["value"], y, xerr=spread, fmt=MARKERS[place % len(MARKERS)], ms=4.5, capsize=2, **look)
            bare = part["low"].isna()
            axis.plot(part["value"][bare], y[bare], MARKERS[place % len(MARKERS)], ms=3, color="white", zorder=3)
        for name, marked in rows.dropna(subset="reference").groupby("reference_label"):
            axis.vlines(marked["reference"], marked["row"] - 0.5, marked["row"] + 0.5, label=str(name), **REFERENCE)
        axis.set_yticks(range(len(labels)), map(_words, labels))
        axis.set_ylim(len(labels) - 0.5, -0.5)

    return _panels(table, 0.4 + len(labels) * (0.12 + 0.08 * groups), fill, ("x", "value"))


def curves(table: pd.DataFrame) -> Figure:
    """Curves with intervals: columns `x`, `y`, and `low`, `high`, drawn as a band or, for a few points, as bars.

    The dashed line of `reference` lies at this y, that of `upright` stands at this x. Groups of few points stand apart.
    """
    table = _complete(table)

    def fill(axis: Axes, rows: pd.DataFrame, parts: Parts) -> None:
        left, right, log = rows["x"].min(), rows["x"].max(), axis.get_xscale() == "log"
        for place, look, part in parts:
            x, y, low, high = (part.sort_values("x")[name] for name in ("x", "y", "low", "high"))
            loose = part["loose"].any()
            look |= {"linestyle": "" if loose else DASHES[place % len(DASHES)], "drawstyle": part["drawstyle"].iloc[0]}
            if len(part) > FEW_POINTS:
                axis.plot(x, y, **look)
                axis.fill_between(x, low, high, color=look["color"], alpha=0.2, linewidth=0)
            else:
                beside = (not loose) * (place + 0.5 - table["group"].nunique() / 2) * 0.012  # of the axis
                x = x * (right / left) ** beside if log else x + (right - left) * beside
                spread, marker = [(y - low).abs(), (high - y).abs()], MARKERS[place % len(MARKERS)]
                axis.errorbar(x, y, yerr=spread, marker=marker, ms=4.5, capsize=2, **look)
        for name, line in (("reference", axis.axhline), ("upright", axis.axvline)):
            for value in rows[name].dropna().unique():
                line(value, label=rows["reference_label"].iloc[0], **REFERENCE)

    return _panels(table, 2.2, fill, ("y", "y"))


def sheet(table: pd.DataFrame, tiles: np.ndarray | None = None) -> Figure:
    """A sheet of images: `table` has row, column, row_label, title; tile i belongs to table row i."""
    rows, columns = int(table["row"].max()) + 1, int(table["column"].max()) + 1
    if tiles is None or len(tiles) != len(table):
        raise InputError(f"sheet: needs {len(table)} tiles, got {0 if tiles is None else len(tiles)}; run its notebook")
    side, pitch = tiles.shape[1], tiles.shape[1] + 2
    canvas = np.full((rows, pitch, columns, pitch, 3), 255, np.uint8)
    canvas[table["row"], :side, table["column"], :side] = tiles
    figure, ((axis,),) = _new(table, 0.35 + (WIDTH - 1.3) / columns * rows)
    axis.imshow(canvas.reshape(rows * pitch, columns * pitch, 3), interpolation="nearest")
    labels = table.drop_duplicates("row").sort_values("row")["row_label"]
    axis.set_yticks((np.arange(rows) + 0.5) * pitch, labels, fontsize=7)
    names: Any = table.drop_duplicates("column").sort_values("column").get("column_label", [])
    axis.set_xticks((np.arange(len(names)) + 0.5) * pitch, names, fontsize=7)
    axis.grid(visible=False)
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)
    return figure


def classes(table: pd.DataFrame) -> Figure:
    """Images a finding and modality: `table` has modality, finding, images, title. Bars too short are named beside."""
    import seaborn

    figure, ((axis,),) = _new(table, 3.2)
    shades, widest = seaborn.color_palette("pastel"), table.groupby("modality")["images"].sum().max()
    for name, rows in table.groupby("modality", sort=False):
        left = rows["images"].cumsum() - rows["images"]
        bars = axis.barh([_words(name)] * len(rows), rows["images"], left=left, color=shades, edgecolor="white")
        words = rows["finding"].map(_words)
        fits = rows["images"] > words.str.len() * LETTER * widest
        axis.bar_label(bars, words.where(fits, ""), label_type="center", fontsize=5)
        axis.bar_label(bars, [*[""] * (len(rows) - 1), ", ".join(words[~fits])], padding=2, fontsize=5)
    axis.invert_yaxis()
    axis.grid(visible=False, axis="y")
    axis.set(xlabel="images (n)")
    return figure


KINDS: dict[str, Callable[..., Figure]] = {f.__name__: f for f in (forest, curves, sheet, classes)}


def draw(
    name: str, table: pd.DataFrame, out: Path, tiles: np.ndarray | None = None, *, real: bool = False, also: str = "jpg"
) -> Image | None:
    """Puts PNG, SVG, CSV and, for a sheet, the tiles of figure `name` into folder `out`; what was drawn once is kept.

    `real` marks a figure that shows real images. `also`: a third kind, `pdf`, none or, returned for a notebook, `jpg`.
    """
    import IPython.display
    from matplotlib.backend_bases import get_registered_canvas_class as canvas

    row, stem, sheets = FIGURES[name], f"{name}.real" if real else name, [] if tiles is None else [tiles]

    def make(directory: Path) -> None:
        import PIL.Image

        for strip in map(np.concatenate, sheets):
            PIL.Image.fromarray(strip).save(directory / "tiles.png")
        plot = KINDS[row["draw"]](table.rename(columns=row.get("columns", {})).assign(**row.get("labels", {})), *sheets)
        for kind in filter(None, ("png", "svg", also)):
            plot.set_dpi(DPI if kind == "jpg" else 2 * DPI)
            write = getattr(canvas(kind)(plot), f"print_{kind}")  # Figure.savefig draws twice, to the same bytes
            write(directory / kind, metadata=DATES.get(kind))

    seen = f"{table.to_csv(index=False)}{table.dtypes.to_dict()}".encode(), *(tile.tobytes() for tile in sheets)
    what = {"row": row, "also": also, "seen": [hashlib.sha256(part).hexdigest() for part in seen]}
    what["by"] = [version(package) for package in ("matplotlib", "seaborn", "pillow")]
    entry = store.keep("figure", what, make, code=("medisyn_lib.figures",))
    store.write_atomic(out / f"{stem}.csv", table.to_csv(index=False, float_format="%.6g", lineterminator="\n"))
    for path in entry.iterdir():
        if path.name not in ("jpg", store.MANIFEST):
            store.write_atomic(out / f"{stem}.{path.name}", path.read_bytes())
    return IPython.display.Image(data=(entry / "jpg").read_bytes(), format="jpeg") if also == "jpg" else None


def redraw(results: Path, jobs: int = 1, *, pdf: bool = False) -> list[Path]:
    """Redraws every figure below a folder from its table, also as `pdf`, and their gallery; returns the PNGs.

    `jobs` processes draw. Raises InputError where there is no figure's table.
    """
    tables = [path for path in sorted(results.rglob("*.csv")) if path.name.split(".")[0] in FIGURES]
    if not tables:
        raise InputError(f"results folder {results}: not there or without figures' tables; run `reproduce` first")
    import jinja2

    side_by_side: Any = ProcessPoolExecutor(jobs, get_context("spawn")).map if jobs > 1 else map
    pictures = list(side_by_side(_redrawn, tables, ["pdf" if pdf else ""] * len(tables)))
    gallery = jinja2.Template(Path(__file__).with_name("gallery.md").read_text("utf-8"), trim_blocks=True)
    places = [path.relative_to(results) for path in pictures]
    store.write_atomic(results / "README.md", gallery.render(places=places, figures=FIGURES))
    return pictures


def _redrawn(path: Path, also: str) -> Path:
    import pandas as pd
    import PIL.Image

    stem, tiles = path.name.removesuffix(".csv"), None
    if (kept := path.with_name(f"{stem}.tiles.png")).is_file():
        strip = np.asarray(PIL.Image.open(kept).convert("RGB"))
        tiles = strip.reshape(-1, strip.shape[1], strip.shape[1], 3)
    draw(stem.split(".")[0], pd.read_csv(path), path.parent, tiles, real=stem.endswith(".real"), also=also)
    return path.with_suffix(".png")
