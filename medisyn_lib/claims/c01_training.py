"""Claim 01: one text-guided model for six specialties and ten modalities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from medisyn_lib.claims.claim import Claim, Control, Measure, count, make_claim, measure
from medisyn_lib.claims.outcome import RuleOutcome
from medisyn_lib.claims.rules import compare_to_bound
from medisyn_lib.claims.statements import NOTEBOOKS
from medisyn_lib.evaluation.alignment import (
    accuracy,
    chance_accuracy,
    finding_gap,
    judged_modalities,
)
from medisyn_lib.statistics.estimates import Estimate
from medisyn_lib.statistics.intervals import cluster_interval
from medisyn_lib.statistics.power import detectable_difference, standard_error

if TYPE_CHECKING:
    import datasets
    import pandas as pd

    from medisyn_lib.profiles import Profile

RULE = (
    "Reproduced if the lower 95% limit of the share of images whose modality is read as prompted is at least 95%, "
    "and the lower 95% limit of the difference (synthetic minus real images of the same captions) in the share of "
    "findings read right is above minus the margin of the profile: 15 points in tiny and quick, 5 points in full, "
    "gpu and cluster."
)
REAL_MODALITY_FLOOR = 0.95  # of the positive control
CONTROL_LEVEL = 0.999  # of intervals of controls over patients
NETWORK_LEVEL = 0.99  # of those over a handful of untrained networks


def claim_one_model(
    classified: Mapping[str, pd.DataFrame], requested: datasets.Dataset, settings: Profile
) -> Claim:
    """Judge whether one model draws all modalities with the findings that were asked for.

    Modalities with too few test patients count only where all have too few, and then decide nothing.

    Parameters
    ----------
    classified
        Tables of `alignment.classify`: of `real` and `synthetic` images, of synthetic images against
        `deranged` captions and, if there are any, of images of `untrained` denoisers, whose column
        `network` says which of them made each image.
    requested
        The held-out images whose captions were the prompts.
    settings
        Bring the floor of the modality's accuracy and the margin of the finding's.
    """
    judged = judged_modalities(requested)
    tables = {
        name: table[table["modality"].isin(judged.names)].reset_index(drop=True)
        for name, table in classified.items()
    }
    rows = np.flatnonzero(np.isin(requested["modality"][:], judged.names))
    requested = requested.select(rows.tolist())
    modality = accuracy(tables["synthetic"], "modality_correct")
    gap = finding_gap(real=tables["real"], synthetic=tables["synthetic"])
    outcome = decide(modality, gap, settings, testable=judged.testable)
    return make_claim(
        id="one-model-ten-modalities",
        statement=NOTEBOOKS["01_training"],
        source="arXiv 2405.09806 v7, abstract; protocol our own",
        rule=RULE,
        passed=outcome.passed,
        partly=outcome.partly,
        primary="finding_gap",
        detectable=detectable_difference(standard_error(gap)),
        measures=measures(tables, modality, gap, settings.finding_margin, judged.testable),
        controls=controls(tables, requested),
    )


def decide(modality: Estimate, gap: Estimate, settings: Profile, *, testable: int) -> RuleOutcome:
    """Apply the rule: the modality's accuracy against its floor, the finding's gap against its margin."""
    outcomes = [
        compare_to_bound(modality, settings.modality_floor),
        compare_to_bound(gap, -settings.finding_margin),
    ]
    undecided = None in outcomes or not testable
    return RuleOutcome(None if undecided else all(outcomes), True in outcomes)


def measures(
    tables: Mapping[str, pd.DataFrame],
    modality: Estimate,
    gap: Estimate,
    margin: float,
    testable: int,
) -> list[Measure]:
    """List what was measured, the two that the rule is about first."""
    real, synthetic = tables["real"], tables["synthetic"]
    accuracies = {
        "modality_read_back": modality,
        "finding_gap": gap,
        "finding_read_back_real": accuracy(real, "finding_correct"),
        "finding_read_back": accuracy(synthetic, "finding_correct"),
        "modality_read_back_real": accuracy(real, "modality_correct"),
    }
    listed = [
        measure(name, estimate, unit="share", encoder="reader")
        for name, estimate in accuracies.items()
    ]
    near = modalities_within(margin, real=real, synthetic=synthetic)
    listed.append(count("modalities_testable", testable))
    listed.append(measure("modalities_within_margin", near, unit="modalities"))
    return listed


def modalities_within(margin: float, *, real: pd.DataFrame, synthetic: pd.DataFrame) -> Estimate:
    """Count the modalities whose findings in synthetic images lie within a margin of real ones."""
    found = synthetic.groupby("modality")["finding_correct"].mean()
    ceiling = real.groupby("modality")["finding_correct"].mean()
    near = int((found >= ceiling - margin).sum())
    return Estimate(near, None, None, len(found))


def controls(tables: Mapping[str, pd.DataFrame], requested: datasets.Dataset) -> list[Control]:
    """Check that real images are recognised, and that what shows no prompt is right by chance alone."""
    chance_finding = chance_accuracy(requested)
    checks = real_controls(tables["real"], chance_finding)
    if "untrained" in tables:
        modalities = len(set(requested["modality"][:]))
        checks.append(untrained_control(tables["untrained"], 1 / modalities))
    deranged = accuracy(tables["deranged"], "finding_correct", CONTROL_LEVEL)
    checks.append(chance_control("deranged_captions", deranged, chance_finding))
    return checks


def real_controls(real: pd.DataFrame, chance_finding: float) -> list[Control]:
    """Check real images: modality at its floor at least, finding above chance (99.9% limit)."""
    modality = accuracy(real, "modality_correct", CONTROL_LEVEL)
    finding = accuracy(real, "finding_correct", CONTROL_LEVEL)
    recognised = (modality.value or 0) >= REAL_MODALITY_FLOOR
    above_chance = (finding.ci_low or 0) > chance_finding
    return [
        Control("real_modality", "positive", "at least 0.95", modality.value, bool(recognised)),
        Control("real_finding", "positive", "above chance", finding.value, bool(above_chance)),
    ]


def untrained_control(untrained: pd.DataFrame, chance_modality: float) -> Control:
    """Check that images of untrained networks show the prompted modality by chance alone.

    One untrained network maps words to images somehow, so its images agree with prompts a little more
    or less than by chance, and alike: the interval (99%) is over networks.
    """
    agreement = cluster_interval(untrained["modality_correct"], untrained["network"], NETWORK_LEVEL)
    return chance_control("untrained_denoiser", agreement, chance_modality)


def chance_control(name: str, estimate: Estimate, chance: float) -> Control:
    """Check that an accuracy is not above chance by its lower limit."""
    at_chance = (estimate.ci_low or 0) <= chance
    return Control(name, "negative", "chance", estimate.value, bool(at_chance))
