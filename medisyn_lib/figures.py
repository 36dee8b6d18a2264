"""Figures from tidy tables, each kept beside its table so that it can be redrawn.

A new figure is one line in FIGURES: most are a `forest`, `curves` or a `histogram`. Their tables have
a `title`, which says data, scale and n, and may have these columns besides their own:

- `group`: a colour and a marker or dash for each, named in the legend;
- `panel`: a subplot for each; panels whose axes are labelled alike share them;
- `xlabel`, `ylabel`: with the unit; `xscale`, `yscale`: "linear" (the default) or "log";
- `loose`: true for points that are no curve, drawn unjoined where they lie;
- `reference`: a value, such as a margin, that a dashed line marks; `reference_label`: its name.

A sheet of images keeps its tiles as one lossless picture (`NAME.tiles.png`) beside its table. Files
that show real images carry `.real.` in their name and stay out of the repository.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Callable, Iterator
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
OPTIONAL: dict[str, Any] = {
    **dict.fromkeys(("group", "panel", "xlabel", "ylabel", "reference_label"), ""),
    **dict.fromkeys(("xscale", "yscale"), "linear"),
    "loose": False,
    **dict.fromkeys(("low", "high", "reference"), np.nan),
}
PANELS_A_ROW = 3
FEW_POINTS = 12  # of a curve, each drawn with its own interval; a longer curve has a band
MARKERS, DASHES = "oDs^vPX*dh", ("-", "--", "-.", ":")
REFERENCE: dict[str, Any] = {"color": "0.25", "linestyle": "--", "linewidth": 1.2}


def _words(name: object) -> str:
    return str(name).replace("_", " ")


def _title(table: pd.DataFrame) -> str:
    return textwrap.fill(table["title"].iloc[0], 110)  # characters: the figure's width


def _new(height: float, **subplots: Any) -> tuple[Figure, np.ndarray]:
    """A figure of this height in inches, and its axes (rows, columns)."""
    import seaborn
    from matplotlib.figure import Figure

    seaborn.set_theme(context="paper", style="whitegrid", palette="colorblind", font="DejaVu Sans", font_scale=0.9)
    figure = Figure(figsize=(WIDTH, height), dpi=DPI, layout="constrained")
    return figure, figure.subplots(squeeze=False, **subplots)


def _panels(table: pd.DataFrame, height: float, fill: Callable[[Axes, pd.DataFrame], None]) -> Figure:
    """Subplots, `height` inches each, that `fill` draws from the rows of their panel; one legend below them all."""
    from matplotlib.ticker import LogFormatter

    parts = [rows for _, rows in table.groupby("panel", sort=False)]
    lines, columns = -(-len(parts) // PANELS_A_ROW), min(len(parts), PANELS_A_ROW)
    alike = {f"share{side}": table[f"{side}label"].nunique() == 1 for side in "xy"}
    figure, axes = _new(lines * height + 0.7, nrows=lines, ncols=columns, **alike)
    figure.suptitle(_title(table), fontsize=8)
    named: dict[str, Any] = {}
    for axis in axes.flat[len(parts) :]:
        axis.set_visible(False)
    for place, (axis, rows) in enumerate(zip(axes.flat, parts, strict=False)):
        axis.set(**rows[["xlabel", "ylabel", "xscale", "yscale"]].iloc[0])
        axis.set_title(_words(rows["panel"].iloc[0]), fontsize=8)
        axis.tick_params(labelbottom=True)
        for side in (axis.xaxis, axis.yaxis):
            if side.get_scale() == "log":  # 40 rather than 4 x 10^1
                side.set_major_formatter(LogFormatter())
                side.set_minor_formatter(LogFormatter())
        if alike["sharey"] and place % columns:
            axis.set_ylabel("")
        fill(axis, rows)
        named |= dict(zip(*reversed(axis.get_legend_handles_labels()), strict=True))
    order = [name for name in (*map(_words, table["group"].unique()), *table["reference_label"]) if name in named]
    if entries := {name: named[name] for name in order}:
        figure.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=4, fontsize=7)
    return figure


def _groups(table: pd.DataFrame, rows: pd.DataFrame) -> Iterator[tuple[int, dict[str, Any], pd.DataFrame]]:
    """Place, colour and legend entry of each group of the table, alike in all panels, with its share of `rows`."""
    import seaborn

    colours = seaborn.color_palette("colorblind")
    for place, name in enumerate(table["group"].unique()):
        if not (part := rows[rows["group"] == name]).empty:
            yield place, {"color": colours[place % len(colours)], "label": _words(name)}, part


def _complete(table: pd.DataFrame) -> pd.DataFrame:
    """The table with every optional column; an empty text, which a CSV file gives back as NaN, stays one."""
    absent = [name for name in OPTIONAL if name not in table or table[name].isna().all()]
    return table.assign(**{name: OPTIONAL[name] for name in absent}).fillna(OPTIONAL)


def _mark_zero(table: pd.DataFrame, rows: pd.DataFrame, side: str, columns: list[str], line: Callable) -> None:
    """Draws a line at zero on a linear axis, unless everything on axes labelled like it lies far above zero."""
    values = table.loc[table[f"{side}label"] == rows[f"{side}label"].iloc[0], columns]
    if rows[f"{side}scale"].iloc[0] == "linear" and values.min().min() < values.max().max() / 2:
        line(0, color="0.6", linewidth=1)


def forest(table: pd.DataFrame) -> Figure:
    """Estimates with intervals, a row for each `label`: columns `label`, `value`, and `low`, `high`.

    A marker whose interval is missing (NaN) is hollow. `reference` may differ from row to row.
    """
    table = _complete(table)
    labels, groups = list(table["label"].unique()), table["group"].nunique()
    table["row"] = table["label"].map({label: row for row, label in enumerate(labels)}).astype(float)

    def fill(axis: Axes, rows: pd.DataFrame) -> None:
        _mark_zero(table, rows, "x", ["value", "low", "high"], axis.axvline)
        for place, look, part in _groups(table, rows):
            y = part["row"] + 0.6 * ((place + 0.5) / groups - 0.5)
            spread = [(part["value"] - part["low"]).abs(), (part["high"] - part["value"]).abs()]
            axis.errorbar(part["value"], y, xerr=spread, fmt=MARKERS[place % len(MARKERS)], ms=4.5, capsize=2, **look)
            bare = part["low"].isna()
            axis.plot(part["value"][bare], y[bare], MARKERS[place % len(MARKERS)], ms=3, color="white", zorder=3)
        for name, marked in rows.dropna(subset="reference").groupby("reference_label"):
            low, high = marked["row"] - 0.5, marked["row"] + 0.5
            axis.vlines(marked["reference"], low, high, label=str(name), **REFERENCE)
        axis.set_yticks(range(len(labels)), map(_words, labels))
        axis.set_ylim(len(labels) - 0.5, -0.5)

    return _panels(table, 0.4 + len(labels) * (0.12 + 0.08 * groups), fill)


def curves(table: pd.DataFrame) -> Figure:
    """Curves with intervals: columns `x`, `y`, and `low`, `high`, drawn as a band or, for a few points, as bars.

    The dashed line of `reference` lies at this y. Groups of few points stand beside one another at the same x.
    """
    table = _complete(table)

    def fill(axis: Axes, rows: pd.DataFrame) -> None:
        _mark_zero(table, rows, "y", ["y", "low", "high"], axis.axhline)
        left, right, log = rows["x"].min(), rows["x"].max(), rows["xscale"].iloc[0] == "log"
        for place, look, part in _groups(table, rows):
            x, y, low, high = (part.sort_values("x")[name] for name in ("x", "y", "low", "high"))
            loose = part["loose"].any()
            dash = "" if loose else DASHES[place % len(DASHES)]
            if len(part) > FEW_POINTS:
                axis.plot(x, y, linestyle=dash, **look)
                axis.fill_between(x, low, high, color=look["color"], alpha=0.2, linewidth=0)
            else:
                beside = (not loose) * (place + 0.5 - table["group"].nunique() / 2) * 0.012  # of the axis
                x = x * (right / left) ** beside if log else x + (right - left) * beside
                spread, marker = [(y - low).abs(), (high - y).abs()], MARKERS[place % len(MARKERS)]
                axis.errorbar(x, y, yerr=spread, marker=marker, ms=4.5, capsize=2, linestyle=dash, **look)
        for value in rows["reference"].dropna().unique():
            axis.axhline(value, label=rows["reference_label"].iloc[0], **REFERENCE)

    return _panels(table, 2.2, fill)


def histogram(table: pd.DataFrame) -> Figure:
    """How values spread, in per cent of each group: column `value`, a row for each observation."""
    table = _complete(table.assign(ylabel="share of the group (%)"))

    def fill(axis: Axes, rows: pd.DataFrame) -> None:
        spaced = np.geomspace if rows["xscale"].iloc[0] == "log" else np.linspace
        edges = spaced(rows["value"].min(), rows["value"].max(), 31).tolist()
        for place, look, part in _groups(table, rows):
            look |= {"histtype": "stepfilled", "linestyle": DASHES[place % len(DASHES)], "linewidth": 1.5}
            colour, weights = look.pop("color"), np.full(len(part), 100 / len(part))
            axis.hist(part["value"], edges, weights=weights, facecolor=(*colour, 0.25), edgecolor=colour, **look)
        for value in rows["reference"].dropna().unique():
            axis.axvline(value, label=rows["reference_label"].iloc[0], **REFERENCE)

    return _panels(table, 2.2, fill)


def sheet(table: pd.DataFrame, tiles: np.ndarray | None = None) -> Figure:
    """A sheet of images: `table` has row, column, row_label, title; tile i belongs to table row i."""
    rows, columns = int(table["row"].max()) + 1, int(table["column"].max()) + 1
    if tiles is None or len(tiles) != len(table):
        raise InputError(f"sheet: needs {len(table)} tiles, got {0 if tiles is None else len(tiles)}; run its notebook")
    side, pitch = tiles.shape[1], tiles.shape[1] + 2
    canvas = np.full((rows, pitch, columns, pitch, 3), 255, np.uint8)
    canvas[table["row"], :side, table["column"], :side] = tiles
    figure, axes = _new(0.35 + (WIDTH - 1.3) / columns * rows)
    axis = axes[0, 0]
    axis.imshow(canvas.reshape(rows * pitch, columns * pitch, 3), interpolation="nearest")
    labels = table.drop_duplicates("row").sort_values("row")["row_label"]
    axis.set_yticks((np.arange(rows) + 0.5) * pitch, labels, fontsize=7)
    names: Any = table.drop_duplicates("column").sort_values("column").get("column_label", [])
    axis.set_xticks((np.arange(len(names)) + 0.5) * pitch, names, fontsize=7)
    axis.grid(visible=False)
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)
    axis.set_title(_title(table), fontsize=8)
    return figure


def classes(table: pd.DataFrame) -> Figure:
    """Images a finding and modality: `table` has modality, finding, images, title."""
    import seaborn

    figure, axes = _new(3.2)
    axis, shades = axes[0, 0], seaborn.color_palette("pastel")
    for name, rows in table.groupby("modality", sort=False):
        left = rows["images"].cumsum() - rows["images"]
        bars = axis.barh([_words(name)] * len(rows), rows["images"], left=left, color=shades, edgecolor="white")
        axis.bar_label(bars, rows["finding"].map(_words), label_type="center", fontsize=5)
    axis.invert_yaxis()
    axis.grid(visible=False, axis="y")
    axis.set(xlabel="images (n)")
    axis.set_title(_title(table), fontsize=8)
    return figure


def _of(figure: Callable[..., Figure], labels: dict[str, str], **columns: str) -> Callable[..., Figure]:
    """A figure whose table has names of its own for `columns` and whose axes are named by `labels`."""
    return lambda table: figure(table.rename(columns={own: name for name, own in columns.items()}).assign(**labels))


SHARE_AXIS = {"xlabel": "share of images read right"}
LOSS_AXES = {"xlabel": "images seen in training", "ylabel": "flow-matching loss"}
FIGURES: dict[str, Callable[..., Figure]] = {
    "00_modalities": sheet,
    "00_classes": classes,
    "01_losses": _of(curves, LOSS_AXES, x="images_seen", y="loss", group="model"),
    "01_progress": sheet,
    "01_first_stage": sheet,
    "01_prompts": sheet,
    "01_read_back": _of(forest, SHARE_AXIS, label="modality", value="share", group="images", panel="what"),
    **dict.fromkeys(("04_read_back", "04_by_modality", "04_word_by_word", "04_recovered"), forest),
    **dict.fromkeys(("04_told_apart", "04_ratings", "04_agreement"), forest),
    **{"04_guidance": curves, "04_pairs": sheet},
    **dict.fromkeys(("07_kappas", "07_modes", "07_synthetic"), forest),
    **dict.fromkeys(("07_roc", "07_tuning", "07_correlation"), curves),
}


def draw(name: str, table: pd.DataFrame, out: Path, tiles: np.ndarray | None = None, *, real: bool = False) -> Image:
    """Draws figure `name` and keeps PNG, SVG, CSV and, for a sheet, its tiles, in folder `out`.

    `real` marks a figure that shows real images. Returns a light picture of it, for a notebook to show.
    """
    import IPython.display
    import PIL.Image

    stem = f"{name}.real" if real else name
    store.write_atomic(out / f"{stem}.csv", table.to_csv(index=False, float_format="%.6g", lineterminator="\n"))
    if tiles is not None:
        strip = PIL.Image.fromarray(np.concatenate(tiles))
        store.write_atomic(out / f"{stem}.tiles.png", _bytes(strip.save, format="png"))
    figure = FIGURES[name](table) if tiles is None else FIGURES[name](table, tiles)
    store.write_atomic(out / f"{stem}.png", _bytes(figure.savefig, format="png", dpi=2 * DPI))
    store.write_atomic(out / f"{stem}.svg", _bytes(figure.savefig, format="svg", dpi=2 * DPI, metadata={"Date": None}))
    return IPython.display.Image(data=_bytes(figure.savefig, format="jpeg", dpi=DPI), format="jpeg")


def _bytes(save: Callable[..., None], **how: Any) -> bytes:
    """What a picture's `save` writes into a file."""
    buffer = io.BytesIO()
    save(buffer, **how)
    return buffer.getvalue()


def redraw(results: Path) -> list[Path]:
    """Redraws every figure below a folder from its table, without computing anything; returns the PNGs.

    Raises InputError where there is no figure's table.
    """
    tables = [path for path in sorted(results.rglob("*.csv")) if path.name.split(".")[0] in FIGURES]
    if not tables:
        raise InputError(f"results folder {results}: not there or without figures' tables; run `reproduce` first")
    import pandas as pd
    import PIL.Image

    for path in tables:
        stem = path.name.removesuffix(".csv")
        tiles = None
        if (kept := path.with_name(f"{stem}.tiles.png")).is_file():
            strip = np.asarray(PIL.Image.open(kept).convert("RGB"))
            tiles = strip.reshape(-1, strip.shape[1], strip.shape[1], 3)
        draw(stem.split(".")[0], pd.read_csv(path), path.parent, tiles, real=stem.endswith(".real"))
    return [path.with_suffix(".png") for path in tables]
