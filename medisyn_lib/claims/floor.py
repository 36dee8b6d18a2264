"""The quality floor: what two bad models could be is supported by nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medisyn_lib.claims.claim import (
    BELOW_FLOOR,
    CONTRADICTED,
    INCONCLUSIVE,
    Judgement,
    Measure,
    measure,
)

if TYPE_CHECKING:
    from medisyn_lib.statistics.estimates import Estimate

COVERAGE = "coverage"  # of held-out real images, by the better of the compared models: its measure


def coverage_measure(coverage: Estimate) -> Measure:
    """Make the measure that the floor is held against, of `evaluation.quality_floor`."""
    return measure(COVERAGE, coverage, unit="share", encoder="two encoders")


def under_floor(judgement: Judgement, coverage: Measure, floor: float) -> Judgement:
    """Take back what two bad models could be: nothing is supported below the quality floor.

    Parameters
    ----------
    judgement : Judgement
        By the rest of the rule.
    coverage : Measure
        Proportion of held-out real images that the better of the compared models covers.
    floor : float
        The least that it must be.
    """
    if coverage.value is not None and coverage.value >= floor:
        return judgement
    verdict = CONTRADICTED if judgement.verdict == CONTRADICTED else INCONCLUSIVE
    covered = "an unknown part" if coverage.value is None else f"{coverage.value:.0%}"
    poor = f"The images cover {covered} of real ones, too little to support anything. "
    return Judgement(verdict, poor + judgement.summary, BELOW_FLOOR)
