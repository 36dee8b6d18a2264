"""How a tidy table becomes a picture: forests of estimates, curves, contact sheets, class counts."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from medisyn_lib.errors import InputError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 7.0  # inches: the text width of a page
DPI = 100
NOT_CLINICAL = "not for clinical use"
PANELS_A_ROW = 3
LETTER = 0.009  # of the longest bar: the width of a letter in it
FEW_POINTS = 12  # of a curve, each drawn with its own interval; a longer curve has a band
MARKERS, DASHES = "oDs^vPX*dh", ("-", "--", "-.", ":")
LOOK: dict[str, Any] = {  # seaborn's theme
    "context": "paper",
    "style": "whitegrid",
    "palette": "colorblind",
    "font": "DejaVu Sans",
    "font_scale": 0.9,
    "rc": {
        "figure.titlesize": 8,
        "axes.titlesize": 8,
        "axes.formatter.min_exponent": 4,
        "xtick.minor.size": 4.8,  # as major ticks have: their labels stand on one line
        "xtick.minor.pad": 3.5,
        "legend.fontsize": 7,
        "svg.hashsalt": "medisyn",  # the same bytes each time
        "pdf.fonttype": 42,  # letters that can be edited
    },
}
# Columns that a table may leave out, and what then stands for them. Every table has a `title`.
OPTIONAL: dict[str, Any] = {
    "group": "",  # a colour and a marker or dash for each, named in the legend
    "panel": "",  # a subplot for each; panels whose axes are labelled alike share them
    "xlabel": "",  # with the unit
    "ylabel": "",
    "xscale": "linear",  # or "log"
    "yscale": "linear",
    "low": np.nan,  # of an interval
    "high": np.nan,
    "loose": False,  # true for points that are no curve, drawn unjoined where they lie
    "drawstyle": "default",  # of a curve, or matplotlib's "steps-post": a histogram
    "reference": np.nan,  # a value, such as a margin, that a dashed line marks
    "upright": np.nan,  # the same of curves, at an x
    "reference_label": "",  # the name of either
}
REFERENCE: dict[str, Any] = {"color": "0.25", "linestyle": "--", "linewidth": 1.2}
Parts = list[tuple[int, dict[str, Any], "pd.DataFrame"]]


def _words(name: object) -> str:
    return str(name).replace("_", " ")


def _new(table: pd.DataFrame, height: float, **subplots: Any) -> tuple[Figure, np.ndarray]:
    """A figure of this height in inches with the table's title, and its axes (rows, columns)."""
    import seaborn
    from matplotlib.figure import Figure

    seaborn.set_theme(**LOOK)
    figure = Figure(figsize=(WIDTH, height), dpi=DPI, layout="constrained")
    figure.suptitle(textwrap.fill(table["title"].iloc[0], 110))  # characters: the figure's width
    return figure, figure.subplots(squeeze=False, **subplots)


def _panels(
    table: pd.DataFrame, height: float, fill: Callable[..., None], zero: tuple[str, str]
) -> Figure:
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
        fill(
            axis,
            rows,
            [(k, {"color": f"C{k}", "label": _words(groups[k])}, part) for k, part in parts],
        )
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
    table["row"] = (
        table["label"].map({label: row for row, label in enumerate(labels)}).astype(float)
    )

    def fill(axis: Axes, rows: pd.DataFrame, parts: Parts) -> None:
        for place, look, part in parts:
            y = part["row"] + 0.6 * ((place + 0.5) / groups - 0.5)
            spread = [(part["value"] - part["low"]).abs(), (part["high"] - part["value"]).abs()]
            axis.errorbar(
                part["value"],
                y,
                xerr=spread,
                fmt=MARKERS[place % len(MARKERS)],
                ms=4.5,
                capsize=2,
                **look,
            )
            bare = part["low"].isna()
            axis.plot(
                part["value"][bare],
                y[bare],
                MARKERS[place % len(MARKERS)],
                ms=3,
                color="white",
                zorder=3,
            )
        for name, marked in rows.dropna(subset="reference").groupby("reference_label"):
            axis.vlines(
                marked["reference"],
                marked["row"] - 0.5,
                marked["row"] + 0.5,
                label=str(name),
                **REFERENCE,
            )
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
            look |= {
                "linestyle": "" if loose else DASHES[place % len(DASHES)],
                "drawstyle": part["drawstyle"].iloc[0],
            }
            if len(part) > FEW_POINTS:
                axis.plot(x, y, **look)
                axis.fill_between(x, low, high, color=look["color"], alpha=0.2, linewidth=0)
            else:
                beside = (
                    (not loose) * (place + 0.5 - table["group"].nunique() / 2) * 0.012
                )  # of the axis
                x = x * (right / left) ** beside if log else x + (right - left) * beside
                spread, marker = [(y - low).abs(), (high - y).abs()], MARKERS[place % len(MARKERS)]
                axis.errorbar(x, y, yerr=spread, marker=marker, ms=4.5, capsize=2, **look)
        for name, line in (("reference", axis.axhline), ("upright", axis.axvline)):
            for value in rows[name].dropna().unique():
                line(value, label=rows["reference_label"].iloc[0], **REFERENCE)

    return _panels(table, 2.2, fill, ("y", "y"))


def contact_sheet(table: pd.DataFrame, tiles: np.ndarray | None = None) -> Figure:
    """A contact sheet of images: `table` has row, column, row_label, title; tile i belongs to table row i."""
    rows, columns = int(table["row"].max()) + 1, int(table["column"].max()) + 1
    if tiles is None or len(tiles) != len(table):
        raise InputError(
            f"contact sheet: needs {len(table)} tiles, got {0 if tiles is None else len(tiles)}; run its notebook"
        )
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
    shades, widest = (
        seaborn.color_palette("pastel"),
        table.groupby("modality")["images"].sum().max(),
    )
    for name, rows in table.groupby("modality", sort=False):
        left = rows["images"].cumsum() - rows["images"]
        bars = axis.barh(
            [_words(name)] * len(rows), rows["images"], left=left, color=shades, edgecolor="white"
        )
        words = rows["finding"].map(_words)
        fits = rows["images"] > words.str.len() * LETTER * widest
        axis.bar_label(bars, words.where(fits, ""), label_type="center", fontsize=5)
        axis.bar_label(
            bars, [*[""] * (len(rows) - 1), ", ".join(words[~fits])], padding=2, fontsize=5
        )
    axis.invert_yaxis()
    axis.grid(visible=False, axis="y")
    axis.set(xlabel="images (n)")
    return figure
