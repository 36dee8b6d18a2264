"""Tidy tables that several figures are drawn from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from medisyn_lib.statistics.estimates import Estimate


def interval_columns(estimate: Estimate) -> dict[str, float | int | None]:
    """Return an estimate as columns of a table of figures: `value`, `low`, `high`, `n`."""
    return {
        "value": estimate.value,
        "low": estimate.ci_low,
        "high": estimate.ci_high,
        "n": estimate.n,
    }


def contact_sheet_table(row_labels: Sequence[str], n_columns: int) -> pd.DataFrame:
    """Return the table of a contact sheet whose tiles come row by row, `n_columns` in each.

    Its columns are `row`, `column` and `row_label`; a figure function adds `title` and what else it
    shows.
    """
    import pandas as pd

    tiles = []
    for row, row_label in enumerate(row_labels):
        for column in range(n_columns):
            tiles.append({"row": row, "column": column, "row_label": row_label})
    return pd.DataFrame(tiles, columns=["row", "column", "row_label"])
