"""Claim 05: the verdict follows the rule, each control can fail, and a failed one voids the verdict."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_memorization import index_of

from medisyn_lib.claims import c05_memorization as claim_05
from medisyn_lib.claims.claim import NOT_TESTABLE, judge
from medisyn_lib.evaluation.memorization.conformal import flag_copies, proportion_flagged
from medisyn_lib.evaluation.memorization.detectors import Detector, match
from medisyn_lib.evaluation.memorization.membership import MembershipInference
from medisyn_lib.evaluation.memorization.set_tests import (
    PowerPoint,
    SetTests,
    detection_power,
    flag_and_test,
)
from medisyn_lib.phantoms import draw
from medisyn_lib.statistics.estimates import Estimate


def power_of(*points: tuple[float, float]) -> list[PowerPoint]:
    """Power at contamination fractions, one distortion each."""
    return [
        PowerPoint(f"distortion {k}", fraction, Estimate(value, 0.0, 1.0, 200))
        for k, (fraction, value) in enumerate(points)
    ]


def findings(**changes: Any) -> claim_05.Findings:
    """What an audit of a generator that copies nothing finds; `changes` replace some of it."""
    recall = {kind: Estimate(0.99, 0.97, 1.0, 500) for kind in ("flip", "crop")}
    usual = claim_05.Findings(
        n_calibration=1000,
        flagged=np.arange(600) < 5,
        tests=SetTests(0.6, 1.0, 0),
        held_out_flagged=np.arange(1000) < 10,
        recall=recall,
        power=power_of((0.05, 0.95), (0.05, 1.0)),
        overfitted_flagged=np.ones(64, bool),
        overfitted_tests=SetTests(1e-9, 1e-9, 60),
        nearer_to_training=Estimate(0.5, 0.4, 0.6, 600),
        patients_matched=Estimate(0.01, 0.0, 0.02, 300),
        membership={"generalist": MembershipInference(Estimate(0.5, 0.4, 0.6, 400), {})},
    )
    return replace(usual, **changes)


def test_the_verdict_follows_the_rule() -> None:
    power = power_of((0.01, 0.1), (0.05, 0.95), (0.05, 0.9))
    clean = SetTests(0.5, 1.0, 0)
    assert claim_05.decide(clean, power, calibrated=True) is True
    assert claim_05.decide(SetTests(0.02, 1.0, 0), power, calibrated=True) is False
    assert claim_05.decide(SetTests(0.5, 0.02, 9), power, calibrated=True) is False
    weak = power_of((0.01, 0.8), (0.05, 0.8), (0.05, 0.8))
    assert claim_05.decide(clean, weak, calibrated=True) is None
    assert claim_05.decide(SetTests(0.01, 1.0, 0), power, calibrated=False) is None


def test_the_claim_holds_where_nothing_is_copied() -> None:
    claim = claim_05.claim_not_copies(findings())
    assert claim.verdict == "reproduced" and claim.detectable == 0.05
    assert claim.rule_sha == "1642bbcf3325180d"  # of the committed results
    assert claim_05.claim_not_copies(findings(n_calibration=999)).verdict == NOT_TESTABLE
    copies = claim_05.claim_not_copies(findings(tests=SetTests(1e-4, 1.0, 0)))
    assert copies.verdict == "not reproduced"


@pytest.mark.parametrize(
    ("broken", "control"),
    [
        (
            {
                "recall": {
                    "flip": Estimate(0.99, 0.97, 1, 500),
                    "crop": Estimate(0.95, 0.92, 0.97, 500),
                }
            },
            "planted_copies",
        ),
        (
            {
                "overfitted_tests": SetTests(0.2, 1.0, 0),
                "overfitted_flagged": np.zeros(64, bool),
            },
            "overtrained_on_64",
        ),
        ({"held_out_flagged": np.arange(1000) < 60}, "held_out_real"),
    ],
)
def test_a_broken_control_voids_the_verdict(broken: dict[str, Any], control: str) -> None:
    claim = claim_05.claim_not_copies(findings(**broken))
    assert [one.name for one in claim.controls if not one.passed] == [control]
    assert claim.verdict == NOT_TESTABLE


def test_the_smallest_detectable_contamination_is_seen_whatever_the_distortion() -> None:
    power = power_of((0.1, 1.0), (0.05, 1.0), (0.05, 0.8), (0.01, 1.0), (0.01, 0.79))
    assert claim_05.least_power(power) == {0.01: 0.79, 0.05: 0.8, 0.1: 1.0}
    assert claim_05.detectable_contamination(power) == 0.05
    assert claim_05.detectable_contamination(power_of((0.1, 0.5))) is None


@pytest.mark.parametrize("blind", [["pixels"], ["pixels", "photographs"]])
def test_encoders_that_see_nothing_void_the_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blind: list[str]
) -> None:
    """Constant descriptions by all detectors: no planted copy is flagged, so there is no power and a control fails."""
    monkeypatch.setenv("MEDISYN_STORE", str(tmp_path / "store"))
    images = np.stack([draw("ct", seed=2, index=i, size=32)[0] for i in range(60)])

    def constant(pixels: np.ndarray) -> np.ndarray:
        return np.ones((len(pixels), 4), np.float32)

    detectors = [Detector(name, index_of(images, constant), constant) for name in blind]
    copies, real = (match(detectors, part).ratio for part in (images[:30], images[30:]))
    calibration = np.concatenate([real] * 40)
    flagged = flag_copies(copies, calibration)
    assert not flagged.any() and not flag_copies(real, calibration).any()
    power = detection_power(
        real=real, copies=copies, calibration=calibration, contamination=0.05, n=30, replicates=5
    )
    tests = flag_and_test(real=real, synthetic=copies, calibration=calibration)
    assert power.value == 0 and tests == (1.0, 1.0, 0)
    points = [PowerPoint("flip", 0.05, power)]
    passed = claim_05.decide(tests, points, calibrated=True)
    assert passed is None and judge(passed) == NOT_TESTABLE == "not testable here"
    seen = findings(tests=tests, power=points, recall={"flip": proportion_flagged(flagged)})
    claim = claim_05.claim_not_copies(seen)
    assert [one.name for one in claim.controls if not one.passed] == ["planted_copies"]
