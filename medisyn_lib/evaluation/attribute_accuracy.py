"""How accurately attributes are recovered: each of them, by modality, and against real images.

`recovered` maps the name of a set of images to its table of `attributes.recover`. Names are "real",
"real, autoencoded" (real images through the autoencoder), "synthetic" and "deranged captions"
(synthetic images against captions of other patients).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from medisyn_lib.evaluation.alignment import accuracy
from medisyn_lib.evaluation.attributes import CAPTION_ATTRIBUTES
from medisyn_lib.statistics.estimates import Estimate
from medisyn_lib.statistics.intervals import paired_proportions, simultaneous_level

if TYPE_CHECKING:
    import pandas as pd

REAL, AUTOENCODED, SYNTHETIC = "real", "real, autoencoded", "synthetic"
DERANGED = "deranged captions"
# Attributes that a rule takes together.
GROUPS = {"modality": ("modality",), "finding": ("finding",), "named": CAPTION_ATTRIBUTES}


class AttributeAccuracy(NamedTuple):
    """How often one attribute is recovered from one set of images."""

    attribute: str
    images: str
    accuracy: Estimate


class ModalityAccuracy(NamedTuple):
    """How often findings, or the other attributes together, are recovered in one modality."""

    modality: str
    images: str
    what: str
    accuracy: Estimate


def by_attribute(recovered: Mapping[str, pd.DataFrame]) -> list[AttributeAccuracy]:
    """Return the accuracy of each attribute in each set of images, with intervals by patient."""
    accuracies = []
    for images, table in recovered.items():
        for attribute, part in table.groupby("attribute", sort=False):
            found = accuracy(part, "correct")
            accuracies.append(AttributeAccuracy(str(attribute), images, found))
    return accuracies


def by_modality(recovered: Mapping[str, pd.DataFrame]) -> list[ModalityAccuracy]:
    """Return accuracies by modality of "finding" and "other attributes", deranged captions left out."""
    accuracies = []
    for images, every in recovered.items():
        if images == DERANGED:
            continue
        table = every[every["attribute"] != "modality"]
        what = np.where(table["attribute"] == "finding", "finding", "other attributes")
        for (modality, panel), part in table.groupby(["modality", what], sort=False):
            found = accuracy(part, "correct")
            accuracies.append(ModalityAccuracy(str(modality), images, str(panel), found))
    return accuracies


def finding_shortfall(accuracies: Sequence[ModalityAccuracy]) -> pd.DataFrame:
    """Return how far below real images the finding accuracy of other images lies, by modality.

    One column per set of images; rows from the smallest shortfall of synthetic images to the largest.
    """
    import pandas as pd

    findings = [row for row in accuracies if row.what == "finding"]
    table = pd.DataFrame(
        {
            "modality": [row.modality for row in findings],
            "images": [row.images for row in findings],
            "accuracy": [row.accuracy.value for row in findings],
        }
    ).pivot(index="modality", columns="images", values="accuracy")
    shortfall = -table.drop(columns=REAL).sub(table[REAL], axis=0)
    return shortfall.sort_values(SYNTHETIC)


def shortfall_in_words(shortfall: pd.DataFrame, margin: float) -> str:
    """Say how many modalities lie within a margin of real images, and by how many points others do not."""
    near = int((shortfall[SYNTHETIC] <= margin).sum())
    points = (100 * shortfall[shortfall[SYNTHETIC] > margin]).round().astype(int)
    first = (
        f"within {100 * margin:.0f} points of real images: {near} of {len(shortfall)} modalities"
    )
    return f"{first}\n{points.to_string()}"


def in_group(table: pd.DataFrame, group: str) -> pd.DataFrame:
    """Return the rows of one of GROUPS of attributes."""
    return table[table["attribute"].isin(list(GROUPS[group]))]


def accuracy_gaps(*, real: pd.DataFrame, synthetic: pd.DataFrame) -> dict[str, Estimate]:
    """Return accuracy of synthetic minus real images of the same captions, paired, by patient.

    For each of GROUPS that captions name.
    """
    gaps = {}
    for group in GROUPS:
        true, generated = in_group(real, group), in_group(synthetic, group)
        if len(true):
            gaps[group] = paired_proportions(
                generated["correct"].astype(float), true["correct"].astype(float), true["patient"]
            )
    return gaps


def gaps_by_attribute(*, real: pd.DataFrame, synthetic: pd.DataFrame) -> dict[str, Estimate]:
    """Return the gap of each attribute beyond modality and finding, paired, by patient.

    Limits hold for all of them together (Bonferroni).
    """
    true, generated = in_group(real, "named"), in_group(synthetic, "named")
    names = list(dict.fromkeys(true["attribute"]))
    gaps = {}
    for name in names:
        of_true, of_generated = (part[part["attribute"] == name] for part in (true, generated))
        gaps[str(name)] = paired_proportions(
            of_generated["correct"].astype(float),
            of_true["correct"].astype(float),
            of_true["patient"],
            simultaneous_level(len(names)),
        )
    return gaps


def chance_accuracy(table: pd.DataFrame) -> float:
    """Return the accuracy if captions were shuffled within modality and attribute.

    The recovered values stay; each is right as often as its value is requested.
    """
    expected = 0.0
    for _, part in table.groupby(["modality", "attribute"]):
        recovered, requested = part["recovered"].value_counts(), part["value"].value_counts()
        expected += recovered.mul(requested, fill_value=0).sum() / recovered.sum()
    return float(expected / len(table))
