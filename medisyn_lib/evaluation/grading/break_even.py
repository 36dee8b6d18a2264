"""Where a gain that is measured at a few points crosses zero."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd


def zero_crossing(x: Sequence[float], y: Sequence[float]) -> float | None:
    """Find where the line through the points (x, y) first crosses zero; None where it never does."""
    signs = np.sign(y)
    changes = np.flatnonzero(signs[1:] != signs[:-1])
    if not len(changes):
        return None
    k = int(changes[0])
    return float(x[k] - y[k] * (x[k + 1] - x[k]) / (y[k + 1] - y[k]))


def break_even(x: Sequence[float], y: Sequence[float]) -> str:
    """Say where a gain y over x breaks even, in words."""
    crossing = zero_crossing(x, y)
    if crossing is not None:
        return f"at about {crossing:.2f}"
    everywhere = "gain" if y[0] > 0 else "loss"
    return f"none: {everywhere} everywhere"


def break_even_table(gains: pd.DataFrame) -> pd.DataFrame:
    """Tabulate where each gain breaks even, and where zero is not excluded.

    Parameters
    ----------
    gains : DataFrame
        Columns panel, group, x and estimate.

    Returns
    -------
    DataFrame
        Columns panel, group, break-even (in words), zero not excluded at (the x whose interval holds it).
    """
    import pandas as pd

    rows = []
    for (panel, group), part in gains.groupby(["panel", "group"], sort=False):
        estimates = list(part["estimate"])
        x = part["x"].tolist()
        y = [estimate.value for estimate in estimates]
        unsure = [
            f"{at:g}" for at, estimate in zip(x, estimates, strict=True) if estimate.contains(0)
        ]
        rows.append((panel, group, break_even(x, y), ", ".join(unsure) or "none of them"))
    return pd.DataFrame(rows, columns=["panel", "group", "break-even", "zero not excluded at"])
