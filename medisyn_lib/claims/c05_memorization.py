"""Claim 05: synthetic images are visually distinct from real patient images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from medisyn_lib.claims.claim import Claim, Control, Measure, make_claim, measure
from medisyn_lib.claims.rules import compare_to_bound
from medisyn_lib.claims.statements import NOTEBOOKS
from medisyn_lib.evaluation.memorization.conformal import (
    FALSE_ALARM_RATE,
    enough_to_calibrate,
    proportion_flagged,
)
from medisyn_lib.evaluation.memorization.membership import MembershipInference
from medisyn_lib.evaluation.memorization.set_tests import PowerPoint, SetTests
from medisyn_lib.statistics.estimates import Estimate
from medisyn_lib.statistics.intervals import exact_proportion

RULE = (
    "Not reproduced if the set of synthetic images breaks the rule on sets: more of them are flagged than of held-out "
    "real images (Fisher's exact test, one-sided, at 2.5%), or more of them lie nearer to a training image than each "
    "of the held-out real images does than chance allows (exact exceedance test, at 2.5%). Reproduced if it does not, "
    "and sets of which 5% are copies, of any of five distortions, would break it in at least 90% of cases. Not "
    "testable here otherwise, where a control fails, or with fewer than 1,000 calibration images."
)
LEAST_RECALL = 0.95  # of planted copies: its lower limit
CONTAMINATION = 0.05  # fraction of copies that a set must be shown to reveal
LEAST_POWER = 0.9
DETECTABLE_POWER = 0.8  # the smallest effect that a run could have seen is seen in this many sets


@dataclass(frozen=True)
class Findings:
    """What an audit for copies found.

    Attributes
    ----------
    n_calibration : calibration images
    flagged : bool (n,), the synthetic images
    tests : of the synthetic images as a set
    held_out_flagged : bool (m,), held-out real images
    recall : proportion of planted copies flagged, by distortion
    power : of the rule on a set, by distortion and contamination fraction
    overfitted_flagged : bool (k,), images of the overfitted model
    overfitted_tests : of these as a set
    nearer_to_training : proportion of synthetic images whose closest record is a training image
    patients_matched : proportion of training patients that a flagged image matches
    membership : by model, as measures of the result are named
    extraction : proportion flagged among images of training captions; None if nothing can be sampled
    """

    n_calibration: int
    flagged: np.ndarray
    tests: SetTests
    held_out_flagged: np.ndarray
    recall: Mapping[str, Estimate]
    power: Sequence[PowerPoint]
    overfitted_flagged: np.ndarray
    overfitted_tests: SetTests
    nearer_to_training: Estimate
    patients_matched: Estimate
    membership: Mapping[str, MembershipInference]
    extraction: Estimate | None = None


def controls(findings: Findings) -> list[Control]:
    """Planted copies and an overfitted model must be seen; held-out real images must not (99.9% limits)."""
    worst_recall = min(findings.recall.values(), key=lambda estimate: estimate.ci_low or 0.0)
    overfitted = proportion_flagged(findings.overfitted_flagged)
    false_alarms = proportion_flagged(findings.held_out_flagged, level=0.999)
    return [
        Control(
            "planted_copies",
            "positive",
            "flagged, at least 0.95",
            worst_recall.value,
            compare_to_bound(worst_recall, LEAST_RECALL) is True,
        ),
        Control(
            "overtrained_on_64",
            "positive",
            "rule broken",
            overfitted.value,
            findings.overfitted_tests.broken,
        ),
        Control(
            "held_out_real",
            "negative",
            "flagged at 1%",
            false_alarms.value,
            false_alarms.contains(FALSE_ALARM_RATE),
        ),
    ]


def decide(tests: SetTests, power: Sequence[PowerPoint], *, calibrated: bool) -> bool | None:
    """Decide whether the claim holds; None where nothing can be said.

    Parameters
    ----------
    tests : of the synthetic images as a set
    power : of the rule on sets of as many images
    calibrated : whether the calibration images were enough for the threshold
    """
    if not calibrated:
        return None
    if tests.broken:
        return False
    least = least_power(power)[CONTAMINATION]
    return True if least >= LEAST_POWER else None


def least_power(power: Sequence[PowerPoint]) -> dict[float, float]:
    """Find, by contamination fraction in ascending order, the power against the distortion least seen."""
    least: dict[float, float] = {}
    for point in sorted(power, key=lambda point: point.contamination):
        before = least.get(point.contamination, 1.0)
        least[point.contamination] = min(before, point.power.value or 0.0)
    return least


def detectable_contamination(power: Sequence[PowerPoint]) -> float | None:
    """Find the smallest contamination fraction that breaks the rule in 80% of sets, whatever the distortion."""
    seen = [fraction for fraction, least in least_power(power).items() if least >= DETECTABLE_POWER]
    return min(seen, default=None)


def claim_not_copies(findings: Findings) -> Claim:
    """Judge the claim that no more synthetic images than images of unseen patients are copies."""
    calibrated = enough_to_calibrate(findings.n_calibration)
    return make_claim(
        id="not-copies",
        statement=NOTEBOOKS["05_memorization"],
        source="arXiv 2405.09806 v7, abstract; protocol our own",
        rule=RULE,
        passed=decide(findings.tests, findings.power, calibrated=calibrated),
        primary="share_flagged",
        detectable=detectable_contamination(findings.power),
        controls=controls(findings),
        measures=_measures(findings),
    )


def _measures(findings: Findings) -> list[Measure]:
    estimates = {
        "share_flagged": proportion_flagged(findings.flagged),
        "share_flagged_held_out": proportion_flagged(findings.held_out_flagged),
        "nearer_to_training": findings.nearer_to_training,
    }
    for kind, recall in findings.recall.items():
        estimates[f"recall_{kind}"] = recall
    estimates["share_flagged_overtrained"] = proportion_flagged(findings.overfitted_flagged)
    if findings.extraction is not None:
        estimates["share_flagged_extraction"] = findings.extraction
    n = len(findings.flagged)
    estimates["share_leading"] = exact_proportion(findings.tests.exceedances, n)
    estimates["share_of_patients_matched"] = findings.patients_matched
    for model, inference in findings.membership.items():
        estimates[f"membership_auc_{model}"] = inference.auc
        for rate, estimate in inference.true_positive_rate.items():
            estimates[f"membership_tpr_at_{rate:g}_{model}"] = estimate
    for point in findings.power:
        percent = 100 * point.contamination
        estimates[f"power_{point.distortion}_{percent:g}%"] = point.power
    return [measure(name, estimate, unit="share") for name, estimate in estimates.items()]
