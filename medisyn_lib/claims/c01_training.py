"""Claim 01: one text-guided model for six specialties and ten modalities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from medisyn_lib.claims.claim import Claim, Control, count, make_claim, measure
from medisyn_lib.claims.rules import compare_to_bound
from medisyn_lib.claims.statements import NOTEBOOKS
from medisyn_lib.data import check
from medisyn_lib.statistics.estimates import Estimate
from medisyn_lib.statistics.intervals import cluster_interval, paired_difference
from medisyn_lib.statistics.power import detectable_difference, standard_error

if TYPE_CHECKING:
    import datasets
    import pandas as pd

    from medisyn_lib.profiles import Profile
from medisyn_lib.evaluation.alignment import chance, share_right


def claim_one_model(
    read: Mapping[str, pd.DataFrame], asked: datasets.Dataset, settings: Profile, *, rule: str
) -> Claim:
    """Claim 01 from the readings of `real`, `synthetic` and `deranged` images, and of `untrained` denoisers' if any.

    These say in column `network` which of them made each image. Modalities with too few test patients count only where
    all have too few, and then decide nothing.
    """
    reasons = check.testable(asked)
    testable = [name for name, reason in reasons.items() if not reason]
    kept = testable or list(reasons)
    parts = {
        name: table[table["modality"].isin(kept)].reset_index(drop=True)
        for name, table in read.items()
    }
    asked = asked.select(np.flatnonzero(np.isin(asked["modality"][:], kept)).tolist())
    modality = share_right(parts["synthetic"], "modality_right")
    found, true = (parts[side]["finding_right"].to_numpy(float) for side in ("synthetic", "real"))
    gap = paired_difference(found, true, parts["real"]["patient"].to_numpy())
    shares_read = {"modality_read_back": modality, "finding_gap": gap} | {
        "finding_read_back_real": share_right(parts["real"], "finding_right"),
        "finding_read_back": share_right(parts["synthetic"], "finding_right"),
        "modality_read_back_real": share_right(parts["real"], "modality_right"),
    }
    outcomes = [
        compare_to_bound(modality, settings.modality_floor),
        compare_to_bound(gap, -settings.finding_margin),
    ]
    passed = None if None in outcomes or not testable else all(outcomes)
    drawn, there = (
        parts[side].groupby("modality")["finding_right"].mean() for side in ("synthetic", "real")
    )
    near = Estimate(int((drawn >= there - settings.finding_margin).sum()), None, None, len(drawn))
    measures = [
        measure(name, found, unit="share", encoder="reader") for name, found in shares_read.items()
    ]
    measures += [count("modalities_testable", len(testable))]
    measures += [measure("modalities_within_margin", near, unit="modalities")]
    return make_claim(
        id="one-model-ten-modalities", statement=NOTEBOOKS["01_training"], rule=rule, measures=measures,
        source="arXiv 2405.09806 v7, abstract; protocol our own", passed=passed, partly=True in outcomes,
        primary="finding_gap", detectable=detectable_difference(standard_error(gap)),
        controls=_controls(parts, asked),
    )  # fmt: skip


def _controls(parts: Mapping[str, pd.DataFrame], asked: datasets.Dataset) -> list[Control]:
    """Real images are read right; deranged captions and untrained models' images, if any, at chance (99.9% limits).

    One untrained network maps words to looks somehow, so its images agree with prompts a little more or less than by
    chance, and alike: the interval (99%) is over networks.
    """
    even, findings = 1 / len(set(asked["modality"][:])), chance(asked)
    seen, found = (
        share_right(parts["real"], column, 0.999) for column in ("modality_right", "finding_right")
    )
    at_chance = {
        "deranged_captions": (share_right(parts["deranged"], "finding_right", 0.999), findings)
    }
    if "untrained" in parts:
        blind = cluster_interval(
            parts["untrained"]["modality_right"], parts["untrained"]["network"], 0.99
        )
        at_chance = {"untrained_denoiser": (blind, even)} | at_chance
    controls = [
        Control(
            "real_modality",
            "positive",
            "at least 0.95",
            seen.value,
            bool((seen.value or 0) >= 0.95),
        ),
        Control(
            "real_finding",
            "positive",
            "above chance",
            found.value,
            bool((found.ci_low or 0) > findings),
        ),
    ]
    for name, (point, luck) in at_chance.items():
        controls.append(
            Control(name, "negative", "chance", point.value, bool((point.ci_low or 0) <= luck))
        )
    return controls
