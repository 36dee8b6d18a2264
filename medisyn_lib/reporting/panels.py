"""What all figures share: their theme, the columns of their tables, subplots and the legend below."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from medisyn_lib.claims.words import plain_name

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 7.0  # inches: the text width of a page
DPI = 100
TITLE_WIDTH = 110  # characters
PANELS_A_ROW = 3  # at most
LEGEND_HEIGHT = 0.7  # inches
LEGEND_COLUMNS = 4
THEME: dict[str, Any] = {  # seaborn's
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
    "panel": "",  # a subplot for each; panels whose axes have the same label share them
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


class Group(NamedTuple):
    """The rows of one group in one panel, drawn alike in all panels."""

    place: int  # among all groups of the figure
    rows: pd.DataFrame
    style: dict[str, Any]  # colour and legend entry, as matplotlib's keywords


class ValueAxis(NamedTuple):
    """The axis that shows the values: its side, and their column in the table."""

    side: str  # "x" or "y"
    column: str


def readable(name: object) -> str:
    """Return a name as it stands in a figure."""
    return plain_name(str(name))


def with_optional_columns(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with every optional column.

    An empty text, which a CSV file gives back as NaN, stays empty.
    """
    absent = [name for name in OPTIONAL if name not in table or table[name].isna().all()]
    defaults = {name: OPTIONAL[name] for name in absent}
    return table.assign(**defaults).fillna(OPTIONAL)


def new_figure(table: pd.DataFrame, height: float, **subplots: Any) -> tuple[Figure, np.ndarray]:
    """Return a figure of this height in inches with the table's title, and its axes (rows, columns)."""
    import seaborn
    from matplotlib.figure import Figure

    seaborn.set_theme(**THEME)
    figure = Figure(figsize=(WIDTH, height), dpi=DPI, layout="constrained")
    figure.suptitle(textwrap.fill(table["title"].iloc[0], TITLE_WIDTH))
    return figure, figure.subplots(squeeze=False, **subplots)


def draw_panels(
    table: pd.DataFrame,
    height: float,
    fill: Callable[[Axes, pd.DataFrame, list[Group]], None],
    values: ValueAxis,
) -> Figure:
    """Draw a subplot for each panel and one legend below them all.

    Parameters
    ----------
    table : DataFrame
        With every optional column.
    height : float
        Of a subplot, in inches.
    fill : callable
        Draws a panel's rows, which it is also given by group.
    values : ValueAxis
        The axis that has a line at 0, unless all values lie far above it.

    Returns
    -------
    Figure
    """
    panels = list(table.groupby("panel", sort=False))
    names = list(table["group"].unique())
    lines = math.ceil(len(panels) / PANELS_A_ROW)
    columns = math.ceil(len(panels) / lines)  # four panels make two rows of two
    shared = {side: table[f"{side}label"].nunique() == 1 for side in "xy"}
    figure, axes = new_figure(
        table,
        lines * height + LEGEND_HEIGHT,
        nrows=lines,
        ncols=columns,
        sharex=shared["x"],
        sharey=shared["y"],
    )
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    entries: dict[str, Any] = {}
    for place, (panel, rows) in enumerate(panels):
        axis = axes.flat[place]
        _label_axis(axis, panel, rows, is_inner=shared["y"] and place % columns > 0)
        _draw_zero(axis, table, rows, values)
        fill(axis, rows, _groups(rows, names))
        handles, labels = axis.get_legend_handles_labels()
        entries.update(zip(labels, handles, strict=True))
    _draw_legend(figure, entries, [*map(readable, names), *table["reference_label"]])
    return figure


def _label_axis(axis: Axes, panel: object, rows: pd.DataFrame, *, is_inner: bool) -> None:
    """Set title, labels and scales of a panel; inner ones share the label at the left."""
    settings = rows[["xlabel", "ylabel", "xscale", "yscale"]].iloc[0]
    axis.set(**settings, title=readable(panel))
    axis.tick_params(labelbottom=True, which="both")
    if is_inner:
        axis.set_ylabel("")


def _draw_zero(axis: Axes, table: pd.DataFrame, rows: pd.DataFrame, values: ValueAxis) -> None:
    """Draw a line at 0 on a linear axis, unless all on axes labelled like it lies far above."""
    side, column = values
    same_label = table[f"{side}label"] == rows[f"{side}label"].iloc[0]
    numbers = table.loc[same_label, [column, "low", "high"]].stack()
    if rows[f"{side}scale"].iloc[0] != "linear" or numbers.min() >= numbers.max() / 2:
        return
    line = axis.axvline if side == "x" else axis.axhline
    line(0, color="0.6", linewidth=1)


def _groups(rows: pd.DataFrame, names: list[Any]) -> list[Group]:
    """Return a panel's rows by group; `names` are those of all groups of the figure."""
    groups = []
    for name, part in rows.groupby("group", sort=False):
        place = names.index(name)
        style = {"color": f"C{place}", "label": readable(name)}
        groups.append(Group(place, part, style))
    return groups


def _draw_legend(figure: Figure, entries: dict[str, Any], order: list[str]) -> None:
    """Draw the legend of all panels; an entry that is drawn nowhere has no place in it."""
    labels = [label for label in dict.fromkeys(order) if label in entries]
    if labels:
        handles = [entries[label] for label in labels]
        figure.legend(handles, labels, loc="outside lower center", ncols=LEGEND_COLUMNS)
