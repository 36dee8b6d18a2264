"""Claim 01: one text-guided model for six specialties and ten modalities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from medisyn_lib.claims.claim import (
    CONTRADICTED,
    INCONCLUSIVE,
    PARTLY,
    SUPPORTED,
    TESTABLE,
    Claim,
    Control,
    Judgement,
    Measure,
    Measures,
    count,
    make_claim,
    measure,
    untestable,
)
from medisyn_lib.claims.rules import rule
from medisyn_lib.claims.words import how_often, listed, with_interval
from medisyn_lib.evaluation.alignment import (
    accuracy,
    chance_accuracy,
    finding_gap,
    judged_modalities,
)
from medisyn_lib.statistics.estimates import Estimate
from medisyn_lib.statistics.intervals import cluster_interval, simultaneous_level
from medisyn_lib.statistics.power import detectable_difference, standard_error

if TYPE_CHECKING:
    import datasets
    import pandas as pd

RULE = rule("one-model-ten-modalities")
SOURCE = "arXiv 2405.09806 v7, abstract; protocol our own"
MODALITY, SPREAD = "modality_recovered", "spread_ratio"
GAP = "finding_gap_by_"  # and the reader: its measure
IN = "_in_"  # and the modality
SIMULTANEOUS = "share, simultaneous 95%"
REAL_MODALITY_FLOOR = 0.95  # of the positive control
CONTROL_LEVEL = 0.999  # of intervals of controls over patients
NETWORK_LEVEL = 0.99  # of those over a handful of untrained networks
Tables = Mapping[str, "pd.DataFrame"]  # of `alignment.classify`, by set of images


def decide(measures: Measures) -> Judgement:
    """Apply the rule."""
    limits = RULE.thresholds
    modality, spread = measures[MODALITY], measures[SPREAD]
    gaps = [one for name, one in measures.items() if name.startswith(GAP) and IN not in name]
    beyond = modalities_beyond(measures, limits["margin"])
    within = [gap.above(-limits["margin"]) for gap in gaps]
    short = [gap.below(-limits["margin"]) for gap in gaps]
    recovered = modality.above(limits["modality"])
    if untestable(measures):
        verdict = INCONCLUSIVE
    elif recovered and all(within) and not beyond and spread.above(limits["spread"]):
        verdict = SUPPORTED
    elif modality.below(limits["modality"]) or spread.below(limits["spread"]) or all(short):
        verdict = CONTRADICTED
    elif recovered and any(within):
        verdict = PARTLY
    else:
        verdict = INCONCLUSIVE
    return Judgement(verdict, _summary(modality, gaps, beyond, spread))


def modalities_beyond(measures: Measures, margin: float) -> list[str]:
    """Name the modalities whose findings are surely recovered less often than the margin allows, by any reader."""
    beyond = {
        name.partition(IN)[2]: None
        for name, one in measures.items()
        if name.startswith(GAP) and IN in name and one.below(-margin)
    }
    return list(beyond)


def _summary(modality: Measure, gaps: list[Measure], beyond: list[str], spread: Measure) -> str:
    """What was found, in a few sentences."""
    points = " and ".join(map(how_often, gaps))
    said = (
        f"The modality named is recognised in {with_interval(modality, '.1%')} of images. Two classifiers recover "
        f"findings {points} than from real images"
    )
    if beyond:
        margin = 100 * RULE.thresholds["margin"]
        said += f", by more than the {margin:.0f} points allowed in {listed(beyond)}"
    if spread.value is not None:
        said += f". Images of one finding are {with_interval(spread, '.0%')} as varied as real ones"
    return said + "."


def claim_one_model(
    classified: Mapping[str, Tables],
    spread: Estimate,
    requested: datasets.Dataset,
    evidence: str,
) -> Claim:
    """Judge whether one model draws all modalities with the findings that were asked for.

    Modalities with too few test patients are left out; where all have too few, nothing can be decided.

    Parameters
    ----------
    classified
        By reader, tables of `alignment.classify`: of `real` and `synthetic` images, of synthetic images
        against `deranged` captions and, if there are any, of images of `untrained` denoisers, whose
        column `network` says which of them made each image.
    spread
        Of synthetic images within a prompt, as a proportion of real ones' (`evaluation.spread`).
    requested
        The held-out images whose captions were the prompts.
    evidence
        As of `Claim`.
    """
    judged = judged_modalities(requested)
    tables = {reader: _of(judged.names, sets) for reader, sets in classified.items()}
    rows = np.flatnonzero(np.isin(requested["modality"][:], judged.names))
    measures = list_measures(tables, spread, judged.testable)
    first = next(one for one in measures if one.name.startswith(GAP))
    return make_claim(
        RULE,
        decide,
        id=RULE.id,
        source=SOURCE,
        evidence=evidence,
        primary=first.name,
        detectable=detectable_difference(standard_error(_estimate(first))),
        measures=measures,
        controls=controls(tables, requested.select(rows.tolist())),
    )


def _of(modalities: list[str], tables: Tables) -> dict[str, pd.DataFrame]:
    """The rows of some modalities."""
    return {
        name: table[table["modality"].isin(modalities)].reset_index(drop=True)
        for name, table in tables.items()
    }


def _estimate(one: Measure) -> Estimate:
    return Estimate(one.value, one.ci_low, one.ci_high, one.n)


def list_measures(tables: Mapping[str, Tables], spread: Estimate, testable: int) -> list[Measure]:
    """List what was measured, and how many modalities can be tested."""
    first = next(iter(tables.values()))
    estimates = {MODALITY: accuracy(first["synthetic"], "modality_correct"), SPREAD: spread}
    listed = [
        measure(name, one, unit="share", encoder="cnn" if name == MODALITY else None)
        for name, one in estimates.items()
    ]
    for reader, sets in tables.items():
        gap = finding_gap(real=sets["real"], synthetic=sets["synthetic"])
        listed.append(measure(GAP + reader, gap, unit="share", encoder=reader))
        listed += [
            measure(GAP + reader + IN + name, one, unit=SIMULTANEOUS, encoder=reader)
            for name, one in gaps_by_modality(sets).items()
        ]
        for images in ("real", "synthetic"):
            found = accuracy(sets[images], "finding_correct")
            name = f"finding_recovered_by_{reader}_{images}"
            listed.append(measure(name, found, unit="share", encoder=reader))
    listed.append(count(TESTABLE, testable))
    return listed


def gaps_by_modality(sets: Tables) -> dict[str, Estimate]:
    """Return the gap of findings in each modality, with limits that hold for all together (Bonferroni)."""
    real, synthetic = sets["real"], sets["synthetic"]
    names = list(dict.fromkeys(real["modality"]))
    level = simultaneous_level(len(names))
    return {
        name: finding_gap(
            real=real[real["modality"] == name],
            synthetic=synthetic[synthetic["modality"] == name],
            level=level,
        )
        for name in names
    }


def controls(tables: Mapping[str, Tables], requested: datasets.Dataset) -> list[Control]:
    """Check that real images are recognised, and that what shows no prompt is right by chance alone."""
    chance = chance_accuracy(requested)
    checks = []
    for reader, sets in tables.items():
        checks += real_controls(reader, sets["real"], chance)
        deranged = accuracy(sets["deranged"], "finding_correct", CONTROL_LEVEL)
        checks.append(chance_control(f"deranged_captions_{reader}", deranged, chance))
        if "untrained" in sets:
            modalities = len(set(requested["modality"][:]))
            checks.append(untrained_control(sets["untrained"], 1 / modalities))
    return checks


def real_controls(reader: str, real: pd.DataFrame, chance_finding: float) -> list[Control]:
    """Check real images: modality at its floor at least, finding above chance (99.9% limit)."""
    modality = accuracy(real, "modality_correct", CONTROL_LEVEL)
    finding = accuracy(real, "finding_correct", CONTROL_LEVEL)
    recognised = (modality.value or 0) >= REAL_MODALITY_FLOOR
    above_chance = (finding.ci_low or 0) > chance_finding
    expected = f"at least {REAL_MODALITY_FLOOR:.2f}"
    return [
        Control(f"real_modality_{reader}", "positive", expected, modality.value, bool(recognised)),
        Control(
            f"real_finding_{reader}", "positive", "above chance", finding.value, bool(above_chance)
        ),
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
