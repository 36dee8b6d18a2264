"""Claim 08: images of other patients are as diverse as the training images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medisyn_lib.claims.claim import (
    CONTRADICTED,
    INCONCLUSIVE,
    SUPPORTED,
    Claim,
    Control,
    Judgement,
    Measures,
    make_claim,
    measure,
)
from medisyn_lib.claims.rules import rule
from medisyn_lib.evaluation.diversity import diversity, vendi_score
from medisyn_lib.evaluation.fidelity.features import Features
from medisyn_lib.statistics.estimates import Estimate
from medisyn_lib.statistics.power import detectable_difference, standard_error

RULE = rule("as-diverse")
ROUNDING = 1e-9  # by which the score of images in another order may differ


@dataclass(frozen=True)
class Findings:
    """How diverse the images of two groups of patients are, and by how much the second is more so."""

    training: Estimate
    other_patients: Estimate
    difference: Estimate


def controls(features: Features) -> list[Control]:
    """Check that a set with each image twice is less diverse, and that order does not matter.

    Parameters
    ----------
    features : FeatureSet or np.ndarray
        (n, d), n >= 6, of real images.
    """
    values = np.asarray(features)
    n = len(values)
    score = vendi_score(values) / n
    doubled = diversity(np.repeat(values[: n // 2], 2, axis=0)).value or 0.0
    reordered = vendi_score(values[::-1]) / n
    same = abs(reordered - score) < ROUNDING
    return [
        Control("each_image_twice", "positive", "less diverse", doubled, doubled < score),
        Control("other_order", "negative", "as diverse", reordered, same),
    ]


def decide(measures: Measures) -> Judgement:
    """Say whether the difference lies within the margin, outside, or across it."""
    difference, margin = measures["difference"], RULE.thresholds["margin"]
    if difference.above(-margin) and difference.below(margin):
        verdict = SUPPORTED
    elif difference.above(margin) or difference.below(-margin):
        verdict = CONTRADICTED
    else:
        verdict = INCONCLUSIVE
    return Judgement(
        verdict, f"The diversity of other patients differs by {difference.value:+.2f}."
    )


def claim_as_diverse(findings: Findings, controls: Sequence[Control], evidence: str) -> Claim:
    """Judge the claim that images of other patients are as diverse as the training images."""
    estimates = {
        "difference": findings.difference,
        "diversity_training": findings.training,
        "diversity_other_patients": findings.other_patients,
    }
    return make_claim(
        RULE,
        decide,
        id=RULE.id,
        source="our own",
        evidence=evidence,
        controls=controls,
        primary="difference",
        detectable=detectable_difference(standard_error(findings.difference)),
        measures=[
            measure(name, estimate, unit="of n", encoder="efflite0")
            for name, estimate in estimates.items()
        ],
    )
