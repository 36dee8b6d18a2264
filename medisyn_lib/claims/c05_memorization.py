"""Claim 05: synthetic images are visually distinct from real patient images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from medisyn_lib.claims.claim import (
    CONTRADICTED,
    INCONCLUSIVE,
    SUPPORTED,
    Claim,
    Control,
    Judgement,
    Measure,
    Measures,
    count,
    make_claim,
    measure,
)
from medisyn_lib.claims.floor import coverage_measures, under_floor
from medisyn_lib.claims.rules import rule
from medisyn_lib.evaluation.memorization.conformal import FALSE_ALARM_RATE, proportion_flagged
from medisyn_lib.evaluation.memorization.membership import MembershipInference
from medisyn_lib.evaluation.memorization.set_tests import PowerPoint, SetTests
from medisyn_lib.statistics.estimates import Estimate
from medisyn_lib.statistics.intervals import exact_proportion

RULE = rule("not-copies")
FLAGGED, FLAGGED_REAL = "share_flagged", "share_flagged_held_out"
RECALL = "recall_"  # and the distortion: its measure
COPY_RATE = "copy_rate"
FISHER, EXCEEDANCE = "p_fisher", "p_exceedance"
DETECTABLE_POWER = 0.8  # the smallest effect that a run could have seen is seen in this many sets


@dataclass(frozen=True)
class Findings:
    """What an audit for copies found.

    Attributes
    ----------
    flagged : bool (n,), the synthetic images
    tests : of the synthetic images as a set
    held_out_flagged : bool (m,), held-out real images
    recall : proportion of planted copies flagged, by distortion
    planted_tests : of all planted copies as a set
    power : of the rule on a set, by distortion and contamination fraction
    overfitted_flagged : bool (k,), images of the overfitted model
    overfitted_tests : of these as a set
    nearer_to_training : proportion of synthetic images whose closest record is a training image
    patients_matched : proportion of training patients that a flagged image matches
    membership : by model, as measures of the result are named
    coverage : proportion of held-out real images that the synthetic ones cover, by encoder
    extraction : proportion flagged among images of training captions; None if nothing can be sampled
    """

    flagged: np.ndarray
    tests: SetTests
    held_out_flagged: np.ndarray
    recall: Mapping[str, Estimate]
    planted_tests: SetTests
    power: Sequence[PowerPoint]
    overfitted_flagged: np.ndarray
    overfitted_tests: SetTests
    nearer_to_training: Estimate
    patients_matched: Estimate
    membership: Mapping[str, MembershipInference]
    coverage: Mapping[str, Estimate]
    extraction: Estimate | None = None


def controls(findings: Findings) -> list[Control]:
    """Planted copies and an overfitted model must break the rule; held-out real images must not be flagged."""
    worst_recall = min(findings.recall.values(), key=lambda estimate: estimate.ci_low or 0.0)
    overfitted = proportion_flagged(findings.overfitted_flagged)
    false_alarms = proportion_flagged(findings.held_out_flagged, level=0.999)
    rate = f"{FALSE_ALARM_RATE:.0%}"
    return [
        Control(
            "planted_copies",
            "positive",
            "rule broken",
            worst_recall.value,
            findings.planted_tests.broken,
        ),
        Control(
            "overfitted_to_64",
            "positive",
            "rule broken",
            overfitted.value,
            findings.overfitted_tests.broken,
        ),
        Control(
            "held_out_real",
            "negative",
            f"flagged at most at {rate}",
            false_alarms.value,
            not false_alarms.above(FALSE_ALARM_RATE),
        ),
    ]


def decide(measures: Measures) -> Judgement:
    """Apply the rule; a copier is contradicted however little it covers."""
    limits, rate, flagged = RULE.thresholds, measures[COPY_RATE], measures[FLAGGED]
    real = measures[FLAGGED_REAL]
    share = f"{flagged.value or 0:.1%} of {flagged.n} images are flagged as copies"
    beside = f"{real.value or 0:.1%} of held-out real ones"
    p_values = (measures[FISHER].value, measures[EXCEEDANCE].value)
    if any(p is not None and p <= limits["alpha"] for p in p_values):
        said = f"The images include copies of training images: {share}, against {beside}."
        return Judgement(CONTRADICTED, said)
    limit = 1.0 if rate.ci_high is None else rate.ci_high
    verdict = SUPPORTED if limit <= limits["copies"] else INCONCLUSIVE
    said = (
        f"No more images than chance allows lie close to training images ({share}, {beside}); at most "
        f"{limit:.1%} are copies like those planted."
    )
    return under_floor(Judgement(verdict, said), measures, limits["floor"])


def copy_rate(flagged: Estimate, real: Estimate, recall: Mapping[str, Estimate]) -> Estimate:
    """Bound the rate of copies, from the proportion flagged and the recall of planted copies.

    The upper limit is that of the proportion flagged over the lower limit of the recall that is worst; as
    false alarms are not taken off, it is cautious. The lower limit is what exceeds the false alarms of
    held-out real images.
    """
    worst = min(recall.values(), key=lambda one: one.ci_low or 0.0)
    low = max(0.0, (flagged.ci_low or 0.0) - (1.0 if real.ci_high is None else real.ci_high))
    least = worst.ci_low or 0.0
    high = 1.0 if flagged.ci_high is None else flagged.ci_high
    most = min(1.0, high / least) if least > 0 else 1.0
    value = min(most, (flagged.value or 0.0) / worst.value) if worst.value else most
    return Estimate(max(low, value), low, most, flagged.n)


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


def claim_not_copies(findings: Findings, evidence: str) -> Claim:
    """Judge the claim that no more synthetic images than images of unseen patients are copies."""
    return make_claim(
        RULE,
        decide,
        id=RULE.id,
        source="arXiv 2405.09806 v7, abstract; protocol our own",
        evidence=evidence,
        primary=COPY_RATE,
        detectable=detectable_contamination(findings.power),
        controls=controls(findings),
        measures=list_measures(findings),
    )


def list_measures(findings: Findings) -> list[Measure]:
    """List what was measured, what the rule is about first."""
    flagged = proportion_flagged(findings.flagged)
    real = proportion_flagged(findings.held_out_flagged)
    estimates = {
        COPY_RATE: copy_rate(flagged, real, findings.recall),
        FLAGGED: flagged,
        FLAGGED_REAL: real,
        "nearer_to_training": findings.nearer_to_training,
    }
    for kind, recall in findings.recall.items():
        estimates[RECALL + kind] = recall
    estimates["share_flagged_overfitted"] = proportion_flagged(findings.overfitted_flagged)
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
    p_values = {FISHER: findings.tests.flagged_p, EXCEEDANCE: findings.tests.exceedance_p}
    return [
        *(measure(name, estimate, unit="share") for name, estimate in estimates.items()),
        *coverage_measures(findings.coverage),
        *(count(name, p, unit="p", n=n) for name, p in p_values.items()),
    ]
