"""Measures and controls in words, as notebooks print them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medisyn_lib.claims.claim import Control, Measure


def interval_in_words(measure: Measure, digits: int = 3) -> str:
    """Return value and 95% interval, rounded; what there is not is None."""
    ends = (measure.value, measure.ci_low, measure.ci_high)
    value, low, high = (None if end is None else round(end, digits) for end in ends)
    return f"{value} (95% interval {low} to {high})"


def points_in_words(measure: Measure) -> str:
    """Return a proportion and its 95% interval in whole percentage points; what there is not is None."""
    ends = (measure.value, measure.ci_low, measure.ci_high)
    value, low, high = (None if end is None else round(100 * end) for end in ends)
    return f"{value} points (95% interval {low} to {high})"


def control_in_words(control: Control) -> str:
    """Return a control's name, outcome and expectation."""
    outcome = "passed" if control.passed else "FAILED"
    return f"control {control.name}: {outcome} (expected {control.expected})"
