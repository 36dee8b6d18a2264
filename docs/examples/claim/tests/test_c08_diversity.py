"""Claim 08: the verdict follows the rule, and each control can fail."""

import numpy as np
import pytest

from medisyn_lib.claims.c08_diversity import Findings, claim_as_diverse, controls, decide
from medisyn_lib.statistics.estimates import Estimate


@pytest.mark.parametrize(
    ("low", "high", "passed"),
    [
        (-0.05, 0.08, True),
        (0.11, 0.2, False),
        (-0.2, -0.11, False),
        (0.05, 0.15, None),
        (-0.2, 0.2, None),
        (None, None, None),
    ],
)
def test_the_verdict_follows_the_rule(low, high, passed) -> None:
    assert decide(Estimate(0.0, low, high, 60)) is passed


def test_images_that_differ_pass_the_controls() -> None:
    features = np.random.default_rng(0).normal(size=(60, 8))
    doubled, reordered = controls(features)
    assert doubled.passed
    assert reordered.passed


def test_a_failed_control_voids_the_verdict() -> None:
    estimate = Estimate(0.02, 0.0, 0.05, 60)
    findings = Findings(training=estimate, other_patients=estimate, difference=estimate)
    claim = claim_as_diverse(findings, controls(np.ones((60, 8))))
    assert [control.passed for control in claim.controls] == [False, True]
    assert claim.verdict == "not testable here"
