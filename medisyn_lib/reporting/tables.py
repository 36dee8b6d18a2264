"""Tables that notebooks show and figures are drawn from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from medisyn_lib.statistics.estimates import Estimate


def estimate_table(estimates: Mapping[str, Estimate]) -> pd.DataFrame:
    """Lay out estimates, one row each by name: value, ci_low, ci_high, n, rounded to three decimals."""
    import pandas as pd

    rows = [(point.value, point.ci_low, point.ci_high, point.n) for point in estimates.values()]
    columns = ["value", "ci_low", "ci_high", "n"]
    return pd.DataFrame(rows, index=list(estimates), columns=columns).round(3)
