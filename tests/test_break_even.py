"""Where a gain crosses zero, by hand."""

from __future__ import annotations

import pandas as pd
import pytest

from medisyn_lib.evaluation.grading import break_even
from medisyn_lib.statistics.estimates import Estimate


def test_a_line_crosses_zero_between_its_points() -> None:
    assert break_even.zero_crossing([0, 1, 2], [-1, 1, -1]) == pytest.approx(0.5)
    assert break_even.break_even([0, 10], [3, -1]) == "at about 7.50"


def test_a_gain_that_never_crosses_zero_is_one_everywhere() -> None:
    assert break_even.break_even([0, 1], [1, 2]) == "none: gain everywhere"
    assert break_even.break_even([0, 1], [-1, -2]) == "none: loss everywhere"


def test_a_table_says_where_intervals_hold_zero() -> None:
    estimates = [
        Estimate(0.1, -0.1, 0.3, 9),
        Estimate(0.2, 0.1, 0.3, 9),
        Estimate(0.1, None, None, 9),
    ]
    gains = pd.DataFrame({"panel": "a", "group": "b", "x": [0.0, 0.5, 1.0], "estimate": estimates})
    (row,) = break_even.break_even_table(gains).itertuples(index=False)
    assert tuple(row) == ("a", "b", "none: gain everywhere", "0")
