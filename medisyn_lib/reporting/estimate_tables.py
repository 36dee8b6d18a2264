"""Tables that hold estimates, made ready for a figure or for print."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from medisyn_lib.statistics.estimates import Estimate

if TYPE_CHECKING:
    import pandas as pd


def expand_estimates(table: pd.DataFrame, column: str, value: str = "value") -> pd.DataFrame:
    """Replace a column of estimates by its numbers: columns `value` (so named), low and high, NaN where there is none.

    They take the column's place.
    """
    estimates = list(table[column])
    numbers = {
        value: [estimate.value for estimate in estimates],
        "low": [estimate.ci_low for estimate in estimates],
        "high": [estimate.ci_high for estimate in estimates],
    }
    expanded = table.assign(**numbers).astype(dict.fromkeys(numbers, float))
    place = list(table.columns).index(column)
    before, after = list(table.columns[:place]), list(table.columns[place + 1 :])
    return expanded[[*before, *numbers, *after]]


def in_words(table: pd.DataFrame) -> str:
    """Lay a table out as text, an estimate as its value and interval, numbers with two decimals."""
    return table.map(_in_words).to_string(index=False)


def _in_words(cell: Any) -> Any:
    if isinstance(cell, Estimate):
        value = "none" if cell.value is None else f"{cell.value:.2f}"
        interval = "none" if cell.ci_low is None else f"{cell.ci_low:.2f} to {cell.ci_high:.2f}"
        return f"{value} ({interval})"
    return f"{cell:.2f}" if isinstance(cell, float) else cell
