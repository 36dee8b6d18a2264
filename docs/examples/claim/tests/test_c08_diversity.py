"""Claim 08: the verdict follows the rule, and each control can fail."""

import numpy as np
import pytest

from medisyn_lib.claims.c08_diversity import Findings, claim_as_diverse, controls
from medisyn_lib.claims.claim import EXPLORATORY, Claim, Judgement
from medisyn_lib.claims.decisions import replay
from medisyn_lib.statistics.estimates import Estimate

FEATURES = np.random.default_rng(0).normal(size=(60, 8))


def claimed(low: float | None, high: float | None, features: np.ndarray = FEATURES) -> Claim:
    """The claim of a difference with these limits; it follows from its own result file."""
    value = 0.0 if low is None or high is None else (low + high) / 2
    one = Estimate(value, low, high, 60)
    findings = Findings(training=one, other_patients=one, difference=one)
    claim = claim_as_diverse(findings, controls(features), EXPLORATORY)
    assert replay(claim) == Judgement(claim.verdict, claim.summary, claim.problem)
    return claim


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (-0.05, 0.08, "supported"),
        (0.11, 0.2, "contradicted"),
        (-0.2, -0.11, "contradicted"),
        (0.05, 0.15, "inconclusive"),
        (-0.2, 0.2, "inconclusive"),
        (None, None, "inconclusive"),
    ],
)
def test_the_verdict_follows_the_rule(low, high, verdict) -> None:
    assert claimed(low, high).verdict == verdict


def test_images_that_differ_pass_the_controls() -> None:
    doubled, reordered = controls(FEATURES)
    assert doubled.passed
    assert reordered.passed


def test_a_failed_control_leaves_no_verdict() -> None:
    claim = claimed(0.0, 0.05, np.ones((60, 8)))
    assert [control.passed for control in claim.controls] == [False, True]
    assert (claim.verdict, claim.problem) == (None, "control failed")
