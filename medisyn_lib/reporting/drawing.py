"""How a tidy table becomes a picture: forests of estimates, curves, contact sheets, class counts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from medisyn_lib.errors import InputError
from medisyn_lib.reporting.panels import (
    WIDTH,
    Group,
    ValueAxis,
    draw_panels,
    new_figure,
    readable,
    with_optional_columns,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NOT_CLINICAL = "not for clinical use"
FEW_POINTS = 12  # of a curve, each drawn with its own interval; a longer curve has a band
MARKERS, DASHES = "oDs^vPX*dh", ("-", "--", "-.", ":")
MARKER_SIZE, HOLE_SIZE, CAP_SIZE = 4.5, 3, 2  # points
CURVE_HEIGHT, CLASSES_HEIGHT = 2.2, 3.2  # inches
CURVE_STEP = 0.012  # of the axis: how far groups of few points stand apart
LETTER_WIDTH = 0.009  # of the longest bar
TILE_GAP = 2  # pixels
SHEET_MARGIN, SHEET_HEAD, SHEET_FOOT = 1.3, 0.4, 0.25  # inches
SHEET_TOP = 0.05  # inches above the title
LEAST_SHEET_DPI, LEAST_FACTOR = 130, 2
REFERENCE: dict[str, Any] = {"color": "0.25", "linestyle": "--", "linewidth": 1.2}


def _marker(group: Group) -> str:
    return MARKERS[group.place % len(MARKERS)]


def forest(table: pd.DataFrame) -> Figure:
    """Draw estimates with intervals, a row for each label.

    Parameters
    ----------
    table : DataFrame
        Columns `label`, `value`, `low`, `high`, `title` and those of `panels.OPTIONAL`. A marker
        whose interval is missing (NaN) is hollow. `reference` may differ from row to row.

    Returns
    -------
    Figure
    """
    table = with_optional_columns(table)
    labels = list(table["label"].unique())
    n_groups = table["group"].nunique()
    rows_of_labels = {label: row for row, label in enumerate(labels)}
    table["row"] = table["label"].map(rows_of_labels).astype(float)

    def fill(axis: Axes, rows: pd.DataFrame, groups: list[Group]) -> None:
        for group in groups:
            offset = 0.6 * ((group.place + 0.5) / n_groups - 0.5)
            _draw_estimates(axis, group, group.rows["row"] + offset)
        _draw_row_references(axis, rows)
        axis.set_yticks(range(len(labels)), map(readable, labels))
        axis.set_ylim(len(labels) - 0.5, -0.5)

    height = 0.4 + len(labels) * (0.12 + 0.08 * n_groups)
    return draw_panels(table, height, fill, ValueAxis("x", "value"))


def _draw_estimates(axis: Axes, group: Group, y: pd.Series) -> None:
    """Draw a group's estimates at these heights; a white dot hollows those without an interval."""
    value, low, high = (group.rows[name] for name in ("value", "low", "high"))
    axis.errorbar(
        value,
        y,
        xerr=[(value - low).abs(), (high - value).abs()],
        fmt=_marker(group),
        ms=MARKER_SIZE,
        capsize=CAP_SIZE,
        **group.style,
    )
    hollow = low.isna()
    axis.plot(value[hollow], y[hollow], _marker(group), ms=HOLE_SIZE, color="white", zorder=3)


def _draw_row_references(axis: Axes, rows: pd.DataFrame) -> None:
    """Draw the reference of each row of a forest, as high as the row."""
    for name, marked in rows.dropna(subset="reference").groupby("reference_label"):
        axis.vlines(
            marked["reference"],
            marked["row"] - 0.5,
            marked["row"] + 0.5,
            label=str(name),
            **REFERENCE,
        )


def curves(table: pd.DataFrame) -> Figure:
    """Draw curves with intervals, as a band or, for a few points, as bars.

    Parameters
    ----------
    table : DataFrame
        Columns `x`, `y`, `low`, `high`, `title` and those of `panels.OPTIONAL`. The dashed line of
        `reference` lies at this y, that of `upright` stands at this x.

    Returns
    -------
    Figure
    """
    table = with_optional_columns(table)
    n_groups = table["group"].nunique()

    def fill(axis: Axes, rows: pd.DataFrame, groups: list[Group]) -> None:
        extent = rows["x"].min(), rows["x"].max()
        for group in groups:
            if len(group.rows) > FEW_POINTS:
                _draw_band(axis, group)
            else:
                _draw_points(axis, group, n_groups, extent)
        label = rows["reference_label"].iloc[0]
        for value in rows["reference"].dropna().unique():
            axis.axhline(value, label=label, **REFERENCE)
        for value in rows["upright"].dropna().unique():
            axis.axvline(value, label=label, **REFERENCE)

    return draw_panels(table, CURVE_HEIGHT, fill, ValueAxis("y", "y"))


def _line_style(group: Group) -> dict[str, Any]:
    """Return matplotlib's keywords for a group's curve; loose points have no line."""
    dashes = DASHES[group.place % len(DASHES)]
    return {
        **group.style,
        "linestyle": "" if group.rows["loose"].any() else dashes,
        "drawstyle": group.rows["drawstyle"].iloc[0],
    }


def _draw_band(axis: Axes, group: Group) -> None:
    """Draw a curve of many points with its intervals as a band."""
    rows = group.rows.sort_values("x")
    axis.plot(rows["x"], rows["y"], **_line_style(group))
    axis.fill_between(
        rows["x"],
        rows["low"],
        rows["high"],
        color=group.style["color"],
        alpha=0.2,
        linewidth=0,
    )


def _draw_points(axis: Axes, group: Group, n_groups: int, extent: tuple[float, float]) -> None:
    """Draw a curve of few points with a bar each, beside those of the other groups.

    `extent` is where the panel's curves begin and end; loose points are drawn where they lie.
    """
    left, right = extent
    rows = group.rows.sort_values("x")
    x, y = rows["x"], rows["y"]
    is_loose = rows["loose"].any()
    beside = 0.0 if is_loose else (group.place + 0.5 - n_groups / 2) * CURVE_STEP
    if axis.get_xscale() == "log":
        x = x * (right / left) ** beside
    else:
        x = x + (right - left) * beside
    axis.errorbar(
        x,
        y,
        yerr=[(y - rows["low"]).abs(), (rows["high"] - y).abs()],
        marker=_marker(group),
        ms=MARKER_SIZE,
        capsize=CAP_SIZE,
        **_line_style(group),
    )


def contact_sheet(table: pd.DataFrame, tiles: np.ndarray | None = None) -> Figure:
    """Draw a grid of images, each pixel as a square of 2 x 2 or more, unsmoothed.

    Parameters
    ----------
    table : DataFrame
        Columns `row`, `column`, `row_label`, `title` and perhaps `column_label`.
    tiles : (n, side, side, 3) uint8 array
        The image of each of the table's n rows.

    Raises
    ------
    InputError
        Where there is not one tile for each row of the table.
    """
    if tiles is None or len(tiles) != len(table):
        present = 0 if tiles is None else len(tiles)
        fault = f"needs {len(table)} tiles, got {present}; run its notebook"
        raise InputError(f"contact sheet: {fault}")
    n_rows, n_columns = int(table["row"].max()) + 1, int(table["column"].max()) + 1
    pitch = tiles.shape[1] + TILE_GAP
    canvas = _tiled(table, tiles, n_rows, n_columns)
    figure, axis = _sheet(table, canvas)
    row_labels = table.drop_duplicates("row").sort_values("row")["row_label"]
    axis.set_yticks((np.arange(n_rows) + 0.5) * pitch, row_labels, fontsize=7)
    column_labels: list[str] = []
    if "column_label" in table:
        column_labels = list(table.drop_duplicates("column").sort_values("column")["column_label"])
    axis.set_xticks((np.arange(len(column_labels)) + 0.5) * pitch, column_labels, fontsize=7)
    axis.grid(visible=False)
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)
    return figure


def _sheet(table: pd.DataFrame, canvas: np.ndarray) -> tuple[Figure, Axes]:
    """A figure whose one axis shows a picture by a whole factor: its margins are whole pixels, too."""
    height, width = canvas.shape[:2]
    inner = WIDTH - SHEET_MARGIN  # inches
    factor = max(LEAST_FACTOR, math.ceil(LEAST_SHEET_DPI * inner / width))
    dpi = factor * width / inner
    left, foot, head = (round(size * dpi) for size in (SHEET_MARGIN, SHEET_FOOT, SHEET_HEAD))
    whole_width, whole_height = left + factor * width, foot + factor * height + head
    figure, axes = new_figure(table, whole_height / dpi)
    figure.set_layout_engine("none")
    figure.set_dpi(dpi)
    figure.set_size_inches(whole_width / dpi, whole_height / dpi)
    axis = axes[0, 0]
    place = (left / whole_width, foot / whole_height)
    size = (factor * width / whole_width, factor * height / whole_height)
    axis.set_position((*place, *size))
    axis.imshow(canvas, interpolation="nearest", aspect="auto")
    # By itself it would stand at a fraction of the height, within the images of a tall sheet.
    figure.suptitle(figure.get_suptitle(), y=1 - SHEET_TOP * dpi / whole_height)
    return figure, axis


def _tiled(table: pd.DataFrame, tiles: np.ndarray, n_rows: int, n_columns: int) -> np.ndarray:
    """Return one uint8 picture of all tiles, each in its row and column, on white."""
    side = tiles.shape[1]
    pitch = side + TILE_GAP
    canvas = np.full((n_rows, pitch, n_columns, pitch, 3), 255, np.uint8)
    canvas[table["row"], :side, table["column"], :side] = tiles
    return canvas.reshape(n_rows * pitch, n_columns * pitch, 3)


def classes(table: pd.DataFrame) -> Figure:
    """Draw how many images each finding of each modality has, as stacked bars.

    A finding whose bar is too short for its name is named beside the bars.

    Parameters
    ----------
    table : DataFrame
        Columns `modality`, `finding`, `images`, `title`.
    """
    import seaborn

    figure, axes = new_figure(table, CLASSES_HEIGHT)
    axis = axes[0, 0]
    shades = seaborn.color_palette("pastel")
    widest = table.groupby("modality")["images"].sum().max()
    for modality, rows in table.groupby("modality", sort=False):
        bars = axis.barh(
            [readable(modality)] * len(rows),
            rows["images"],
            left=rows["images"].cumsum() - rows["images"],
            color=shades,
            edgecolor="white",
        )
        names = rows["finding"].map(readable)
        fits = rows["images"] > names.str.len() * LETTER_WIDTH * widest
        axis.bar_label(bars, names.where(fits, ""), label_type="center", fontsize=5)
        beside = [""] * len(rows)
        beside[-1] = ", ".join(names[~fits])
        axis.bar_label(bars, beside, padding=2, fontsize=5)
    axis.invert_yaxis()
    axis.grid(visible=False, axis="y")
    axis.set(xlabel="images (n)")
    return figure
