"""Which function applies which rule, so that a decision can be repeated from a result file."""

from __future__ import annotations

from medisyn_lib.claims import (
    c01_training,
    c02_quality,
    c03_compute_efficiency,
    c04_text_alignment,
    c05_memorization,
    c06_augmentation,
    c07_reference_standards,
)
from medisyn_lib.claims.claim import Claim, Decide, Judgement, judge
from medisyn_lib.claims.rules import rule_of_fingerprint

DECIDERS: dict[str, Decide] = {
    "one-model-ten-modalities": c01_training.decide,
    "quality": c02_quality.decide,
    "less-compute": c03_compute_efficiency.decide,
    "text-aligned": c04_text_alignment.decide_aligned,
    "word-by-word": c04_text_alignment.decide_words,
    "realistic": c04_text_alignment.decide_realistic,
    "not-copies": c05_memorization.decide,
    "augmentation": c06_augmentation.decide,
    "graders-vary": c07_reference_standards.decide_graders_vary,
    "standards-differ": c07_reference_standards.decide_standards_differ,
    "adjudicated-tuning": c07_reference_standards.decide_adjudicated_tuning,
    "on-par": c07_reference_standards.decide_on_par,
}


def replay(claim: Claim) -> Judgement:
    """Decide a claim again, from nothing but what its result file holds.

    Raises
    ------
    ValueError
        Where its rule is none of today's.
    """
    rule = rule_of_fingerprint(claim.rule_sha)
    if rule is None:
        raise ValueError(f"claim {claim.id!r}: judged by a rule that is no longer in force")
    measures = {one.name: one for one in claim.measures}
    return judge(
        DECIDERS[rule.id],
        measures,
        claim.controls,
        primary=claim.primary,
        evidence=claim.evidence,
    )
