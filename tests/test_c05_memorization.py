"""Claim 05: copies are never spared, the rate of copies is bounded, and each control can fail."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import beta
from test_memorization import index_of

from medisyn_lib.claims import c05_memorization as claim_05
from medisyn_lib.claims.claim import (
    BELOW_FLOOR,
    CONTRADICTED,
    CONTROL_FAILED,
    DEMONSTRATION,
    EXPLORATORY,
    INCONCLUSIVE,
    SUPPORTED,
    VERDICTS,
    Claim,
    Judgement,
)
from medisyn_lib.claims.decisions import replay
from medisyn_lib.evaluation.memorization.conformal import flag_copies, proportion_flagged
from medisyn_lib.evaluation.memorization.detectors import Detector, match
from medisyn_lib.evaluation.memorization.membership import MembershipInference
from medisyn_lib.evaluation.memorization.set_tests import (
    PowerPoint,
    SetTests,
    detection_power,
    fisher_p_value,
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


COPIES, CLEAN = SetTests(1e-9, 1e-9, 60), SetTests(0.6, 1.0, 0)
POOR = Estimate(0.02, 0.01, 0.03, 600)  # coverage


def findings(**changes: Any) -> claim_05.Findings:
    """What an audit of a generator that copies nothing finds; `changes` replace some of it."""
    recall = {kind: Estimate(0.99, 0.97, 1.0, 500) for kind in ("flip", "crop")}
    coverage = changes.pop("coverage", Estimate(0.5, 0.4, 0.6, 600))
    usual = claim_05.Findings(
        flagged=np.arange(600) < 5,
        tests=CLEAN,
        held_out_flagged=np.arange(1000) < 10,
        recall=recall,
        planted_tests=COPIES,
        power=power_of((0.05, 0.95), (0.05, 1.0)),
        overfitted_flagged=np.ones(64, bool),
        overfitted_tests=COPIES,
        nearer_to_training=Estimate(0.5, 0.4, 0.6, 600),
        patients_matched=Estimate(0.01, 0.0, 0.02, 300),
        membership={"generalist": MembershipInference(Estimate(0.5, 0.4, 0.6, 400), {})},
        coverage=dict.fromkeys(("efflite0", "transformer"), coverage),
    )
    return replace(usual, **changes)


def claimed(evidence: str = EXPLORATORY, **changes: Any) -> Claim:
    claim = claim_05.claim_not_copies(findings(**changes), evidence)
    assert replay(claim) == Judgement(claim.verdict, claim.summary, claim.problem)
    return claim


def none_flagged(n: int) -> dict[str, np.ndarray]:
    return {"flagged": np.zeros(n, bool)}


def recall_of(low: float) -> dict[str, dict[str, Estimate]]:
    """Recall of two distortions, the worse of which has this lower limit."""
    return {"recall": {"flip": Estimate(1, 0.97, 1, 500), "crop": Estimate(low, low, 1, 500)}}


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, SUPPORTED),
        (none_flagged(100), SUPPORTED),
        (none_flagged(40), INCONCLUSIVE),  # 3 in 40 might be copies all the same
        (recall_of(0.3), INCONCLUSIVE),
        ({"tests": SetTests(0.02, 1.0, 0)}, CONTRADICTED),
        ({"tests": SetTests(0.025, 1.0, 0)}, CONTRADICTED),
        ({"tests": SetTests(0.5, 0.02, 9)}, CONTRADICTED),
        ({"tests": SetTests(1.0, 1e-9, 30)} | none_flagged(40), CONTRADICTED),
    ],
)
def test_the_verdict_follows_the_rule(changes: dict[str, Any], verdict: str) -> None:
    claim = claimed(**changes)
    assert (claim.verdict, claim.problem) == (verdict, None)


def test_few_calibration_images_are_no_reason_to_spare_copies() -> None:
    few = {"held_out_flagged": np.zeros(60, bool), "tests": COPIES}
    assert claimed(**few).verdict == CONTRADICTED


def test_copies_are_contradicted_however_little_they_cover() -> None:
    for coverage in (POOR, Estimate(0.0, None, None, 600), Estimate(None, None, None, 0)):
        claim = claimed(tests=COPIES, coverage=coverage)
        assert (claim.verdict, claim.problem) == (CONTRADICTED, None)
        assert claim.summary.startswith("The images include copies of training images")


def test_poor_images_are_not_called_safe() -> None:
    claim = claimed(coverage=POOR)
    assert (claim.verdict, claim.problem) == (INCONCLUSIVE, BELOW_FLOOR)
    assert claim.summary.startswith(
        "Too poor to judge: the images cover 2% of real ones in features learnt from photographs"
    )
    assert claimed(coverage=Estimate(0.1, None, None, 600)).verdict == SUPPORTED
    unknown = claimed(coverage=Estimate(None, None, None, 0), **none_flagged(40))
    assert (unknown.verdict, unknown.problem) == (INCONCLUSIVE, BELOW_FLOOR)


def test_the_summary_says_the_proportions() -> None:
    share = "0.8% of 600 images are flagged as copies"
    assert claimed().summary == (
        f"No more images than chance allows lie close to training images ({share}, 1.0% of held-out "
        "real ones); at most 2.0% are copies like those planted."
    )
    assert claimed(tests=COPIES).summary == (
        f"The images include copies of training images: {share}, against 1.0% of held-out real ones."
    )


def test_a_demonstration_has_no_verdict() -> None:
    claim = claimed(DEMONSTRATION)
    assert (claim.verdict, claim.problem) == (None, None)


# The rate of copies.


def test_the_rate_of_copies_by_hand() -> None:
    """The worst recalled: crops. Flagged over recall; the upper limit over the lower one; false alarms off below."""
    recall = {"flip": Estimate(0.9, 0.8, 0.95, 200), "crop": Estimate(0.6, 0.5, 0.7, 200)}
    flagged, real = Estimate(0.05, 0.03, 0.08, 600), Estimate(0.01, 0.005, 0.02, 1000)
    found = claim_05.copy_rate(flagged, real, recall)
    assert found.value == pytest.approx(0.05 / 0.6)
    assert (found.ci_low, found.ci_high) == pytest.approx((0.03 - 0.02, 0.08 / 0.5))
    assert found.n == 600


def test_the_rate_of_copies_of_exact_proportions() -> None:
    rate = claimed().primary_measure
    assert rate.ci_high == pytest.approx(beta.ppf(0.975, 6, 595) / 0.97)
    assert (rate.value, rate.ci_low) == (pytest.approx(5 / 600 / 0.99), 0)


def test_copies_that_are_never_recalled_leave_the_rate_unbounded() -> None:
    nothing = {"flip": Estimate(0.0, 0.0, 0.01, 500)}
    found = claim_05.copy_rate(
        Estimate(0.0, 0.0, 0.005, 600), Estimate(0.01, 0.0, 0.02, 1000), nothing
    )
    assert (found.ci_low, found.ci_high) == (0, 1)


def test_the_limit_falls_with_n_and_rises_with_worse_recall() -> None:
    by_n = [claimed(**none_flagged(n)).primary_measure.ci_high for n in (20, 40, 100, 1000)]
    assert by_n == sorted(by_n, reverse=True) and len({*by_n}) == 4
    by_recall = [claimed(**recall_of(low)).primary_measure.ci_high for low in (0.97, 0.5, 0.1, 0.0)]
    assert by_recall == sorted(by_recall) and by_recall[-1] == 1


def test_fewer_copies_never_give_a_worse_verdict() -> None:
    for n in (40, 600):
        ranks = []
        for flagged in (n, n // 5, n // 20, n // 50, 0):
            synthetic, real = np.arange(n) < flagged, np.arange(1000) < 10
            p = fisher_p_value(
                flagged_real=10, n_real=1000, flagged_synthetic=flagged, n_synthetic=n
            )
            claim = claimed(flagged=synthetic, held_out_flagged=real, tests=SetTests(p, 1.0, 0))
            ranks.append(VERDICTS.index(claim.verdict or ""))
        assert ranks == sorted(ranks, reverse=True) and ranks[0] == 3


# Controls.


def test_a_collapsed_generator_gets_a_verdict() -> None:
    """40 equal images have one nearest record, so the proportion nearer to training has no interval."""
    collapsed = {"nearer_to_training": Estimate(1.0, None, None, 40), "coverage": POOR}
    claim = claimed(**collapsed, **none_flagged(40))
    assert (claim.verdict, claim.problem) == (INCONCLUSIVE, BELOW_FLOOR)
    assert claim.primary_measure.ci_high is not None
    copies = {"flagged": np.ones(40, bool), "tests": SetTests(1e-9, 1e-9, 40)}
    assert claimed(**collapsed, **copies).verdict == CONTRADICTED


@pytest.mark.parametrize(
    ("broken", "control"),
    [
        ({"planted_tests": SetTests(0.2, 1.0, 0)}, "planted_copies"),
        (
            {
                "overfitted_tests": SetTests(0.2, 1.0, 0),
                "overfitted_flagged": np.zeros(64, bool),
            },
            "overfitted_to_64",
        ),
        ({"held_out_flagged": np.arange(1000) < 60}, "held_out_real"),
    ],
)
@pytest.mark.parametrize("tests", [CLEAN, COPIES])
def test_a_broken_control_leaves_no_verdict(
    broken: dict[str, Any], control: str, tests: SetTests
) -> None:
    claim = claimed(**broken, tests=tests)
    assert [one.name for one in claim.controls if not one.passed] == [control]
    assert (claim.verdict, claim.problem) == (None, CONTROL_FAILED)
    assert control.replace("_", " ") in claim.summary


def test_the_smallest_detectable_contamination_is_seen_whatever_the_distortion() -> None:
    power = power_of((0.1, 1.0), (0.05, 1.0), (0.05, 0.8), (0.01, 1.0), (0.01, 0.79))
    assert claim_05.least_power(power) == {0.01: 0.79, 0.05: 0.8, 0.1: 1.0}
    assert claim_05.detectable_contamination(power) == 0.05
    assert claim_05.detectable_contamination(power_of((0.1, 0.5))) is None


def phantoms(n: int) -> np.ndarray:
    return np.stack([draw("ct", seed=2, index=i, size=32)[0] for i in range(n)])


@pytest.mark.parametrize("blind", [["pixels"], ["pixels", "photographs"]])
def test_encoders_that_see_nothing_leave_no_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blind: list[str]
) -> None:
    """Constant descriptions by all detectors: no planted copy is flagged, so there is no power and a control fails."""
    monkeypatch.setenv("MEDISYN_STORE", str(tmp_path / "store"))
    images = phantoms(60)

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
    claim = claimed(
        tests=tests,
        planted_tests=tests,
        power=[PowerPoint("flip", 0.05, power)],
        recall={"flip": proportion_flagged(flagged)},
    )
    assert [one.name for one in claim.controls if not one.passed] == ["planted_copies"]
    assert (claim.verdict, claim.problem, claim.detectable) == (None, CONTROL_FAILED, None)


def test_forty_equal_images_are_contradicted_or_inconclusive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forty copies of one training image are copies; of an unseen or a blank image nothing can be told."""
    monkeypatch.setenv("MEDISYN_STORE", str(tmp_path / "store"))
    images = phantoms(100)
    training, held_out = images[:60], images[60:]

    def describe(pixels: np.ndarray) -> np.ndarray:
        return pixels.reshape(len(pixels), -1)[:, ::7].astype(np.float32)

    detectors = [Detector("pixels", index_of(training, describe), describe)]
    real = match(detectors, held_out).ratio
    calibration = np.concatenate([real] * 4)
    verdicts = []
    for image in (training[3], held_out[5], np.zeros_like(images[0])):
        ratio = match(detectors, np.stack([image] * 40)).ratio
        claim = claimed(
            flagged=flag_copies(ratio, calibration),
            tests=flag_and_test(real=real, synthetic=ratio, calibration=calibration),
            held_out_flagged=flag_copies(real, calibration),
            coverage=POOR,
        )
        verdicts.append(claim.verdict)
    assert verdicts == [CONTRADICTED, INCONCLUSIVE, INCONCLUSIVE]
