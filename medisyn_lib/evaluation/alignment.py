"""Reading prompts back: what evaluators see in generated images, against what was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from medisyn_lib.statistics.estimates import Estimate
from medisyn_lib.statistics.intervals import cluster_proportion
from medisyn_lib.training.classifier import AttributeClassifier

if TYPE_CHECKING:
    import datasets
    import pandas as pd


def readings(
    reader: AttributeClassifier, pixels: np.ndarray, asked: datasets.Dataset
) -> pd.DataFrame:
    """One row an image: modality, finding, patient, and whether both were read as in `asked`, row by row."""
    import pandas as pd

    modality, finding = asked["modality"][:], asked["finding"][:]
    scores = reader.scores(pixels)
    right = reader.modality_right(scores, modality), reader.finding_right(scores, modality, finding)
    table = pd.DataFrame(
        {"modality": modality, "finding": finding, "patient": asked["patient_id"][:]}
    )
    return table.assign(modality_right=right[0], finding_right=right[1])


def derange(asked: datasets.Dataset, *, seed: int = 0) -> datasets.Dataset:
    """The same rows with each caption taken from another patient of the image's modality."""
    modality, patient = np.asarray(asked["modality"][:]), np.asarray(asked["patient_id"][:])
    place = np.random.default_rng(seed).permutation(len(patient))
    first = {name: place[row] for row, name in enumerate(patient)}
    other = np.arange(len(modality))
    for name in np.unique(modality):
        rows = np.flatnonzero(modality == name)
        rows = rows[np.argsort([first[patient[row]] for row in rows], kind="stable")]
        most = max(
            np.unique(patient[rows], return_counts=True)[1]
        )  # a shift by this much leaves every patient
        other[rows] = np.roll(rows, most)
    return asked.select(other.tolist())


def chance(asked: datasets.Dataset) -> float:
    """How often a finding is right when captions of a modality are dealt at random: sum of squared shares."""
    import pandas as pd

    table = pd.DataFrame({"modality": asked["modality"][:], "finding": asked["finding"][:]})
    agree = table.groupby("modality")["finding"].agg(
        lambda f: (f.value_counts(normalize=True) ** 2).sum()
    )
    return float((agree * table["modality"].value_counts(normalize=True)).sum())


def share_right(table: pd.DataFrame, column: str, level: float = 0.95) -> Estimate:
    """The share of images read right, with the interval by patient."""
    return cluster_proportion(table[column].to_numpy(float), table["patient"].to_numpy(), level)


def by_modality(*, real: pd.DataFrame, synthetic: pd.DataFrame) -> pd.DataFrame:
    """Tidy table: modality, images (real or synthetic), what (modality or finding), share, low, high, n."""
    import pandas as pd

    rows = []
    for images, table in (("real", real), ("synthetic", synthetic)):
        for modality, part in table.groupby("modality", sort=False):
            for what in ("modality", "finding"):
                found = share_right(part, f"{what}_right")
                rows.append(
                    (modality, images, what, found.value, found.ci_low, found.ci_high, found.n)
                )
    return pd.DataFrame(rows, columns=["modality", "images", "what", "share", "low", "high", "n"])
