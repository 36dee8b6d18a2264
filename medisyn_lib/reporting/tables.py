"""Estimates as columns of a figure's table; estimates and controls in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medisyn_lib.claims.claim import Control, Measure
    from medisyn_lib.statistics.estimates import Estimate


def interval_columns(estimate: Estimate) -> dict[str, float | int | None]:
    """Return an estimate as the columns of a figure's table: value, interval, n."""
    return {
        "value": estimate.value,
        "low": estimate.ci_low,
        "high": estimate.ci_high,
        "n": estimate.n,
    }


def interval_in_words(estimate: Estimate | Measure, digits: int = 3) -> str:
    """Return value and 95% interval, rounded; what there is not is None."""
    ends = (estimate.value, estimate.ci_low, estimate.ci_high)
    value, low, high = (None if end is None else round(end, digits) for end in ends)
    return f"{value} (95% interval {low} to {high})"


def points_in_words(estimate: Estimate | Measure) -> str:
    """Return a proportion and its 95% interval in whole percentage points; what there is not is None."""
    ends = (estimate.value, estimate.ci_low, estimate.ci_high)
    value, low, high = (None if end is None else round(100 * end) for end in ends)
    return f"{value} points (95% interval {low} to {high})"


def control_in_words(control: Control) -> str:
    """Return a control's name, outcome and expectation."""
    outcome = "passed" if control.passed else "FAILED"
    return f"control {control.name}: {outcome} (expected {control.expected})"
