"""The quality floor: what two bad models could be is supported by nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from medisyn_lib.claims.claim import (
    BELOW_FLOOR,
    CONTRADICTED,
    INCONCLUSIVE,
    Judgement,
    Measure,
    Measures,
    measure,
)

if TYPE_CHECKING:
    from medisyn_lib.statistics.estimates import Estimate

# And the encoder: of held-out real images, by the better of the compared models: its measure.
COVERAGE = "coverage_by_"
# What a physician reads in place of an encoder's name.
FEATURES = {
    "efflite0": "in features learnt from photographs",
    "transformer": "in features learnt from these modalities",
}


def coverage_measures(coverage: Mapping[str, Estimate]) -> list[Measure]:
    """Make the measures that the floor is held against, of `evaluation.quality_floor`, one for each encoder."""
    return [
        measure(COVERAGE + encoder, covered, unit="share", encoder=encoder)
        for encoder, covered in coverage.items()
    ]


def better_covered(*coverages: Mapping[str, Estimate]) -> Mapping[str, Estimate]:
    """Return the coverage of the better model: the one that covers more by the encoder that sees less of it covered."""
    return max(coverages, key=lambda one: min(covered.value or 0.0 for covered in one.values()))


def under_floor(judgement: Judgement, measures: Measures, floor: float) -> Judgement:
    """Take back what two bad models could be: nothing is supported below the quality floor.

    Parameters
    ----------
    judgement : Judgement
        By the rest of the rule.
    measures : mapping of str to Measure
        Of the claim. Those of `coverage_measures` are the proportions of held-out real images that the
        better of the compared models covers; by each encoder it must reach the floor.
    floor : float
        The least that each must be.
    """
    coverage = [one for name, one in measures.items() if name.startswith(COVERAGE)]
    least = min(coverage, key=lambda one: -1.0 if one.value is None else one.value)
    if least.value is not None and least.value >= floor:
        return judgement
    verdict = CONTRADICTED if judgement.verdict == CONTRADICTED else INCONCLUSIVE
    covered = "an unknown part" if least.value is None else f"{least.value:.0%}"
    seen = FEATURES.get(least.encoder or "", f"by {least.encoder}")
    poor = f"Too poor to judge: the images cover {covered} of real ones {seen}; {floor:.0%} is asked for. "
    return Judgement(verdict, poor + judgement.summary, BELOW_FLOOR)
