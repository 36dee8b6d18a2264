"""Generalist against specialists: features of every arm, and the effects in each modality."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from medisyn_lib.evaluation.fidelity import kernel_distance, measures
from medisyn_lib.models.encoders import FeatureSet
from medisyn_lib.pipeline.arms import (
    AUTOENCODED,
    BLURRED,
    GENERALIST,
    LONG_SPECIALIST,
    OTHER_PATIENTS,
    OWN_BEST,
    REAL,
    SPECIALIST,
    UNDERTRAINED,
    ArmKey,
    Images,
)
from medisyn_lib.pipeline.features import cached_features
from medisyn_lib.pipeline.paired_samples import patients_of
from medisyn_lib.statistics.estimates import Estimate, student
from medisyn_lib.statistics.jackknife import delete_group
from medisyn_lib.statistics.noninferiority import Contrast, FeatureTriple, contrast

if TYPE_CHECKING:
    import datasets
    import pandas as pd

MEASURED_ARMS = (
    OTHER_PATIENTS,
    AUTOENCODED,
    BLURRED,
    GENERALIST,
    UNDERTRAINED,
    SPECIALIST,
    LONG_SPECIALIST,
    OWN_BEST,
)
Encode = Callable[[np.ndarray], FeatureSet]  # images uint8 (n, h, w, 3) to their features
NEIGHBOURS = 5  # of precision, recall, density and coverage
JACKKNIFE_GROUPS = 10  # of patients, of the intervals of all measures


class Budget(NamedTuple):
    """How long the specialists train that the generalist is compared with."""

    name: str
    specialists: str  # the arm that they are


EQUAL_EXPOSURE = Budget("equal exposure", SPECIALIST)
EQUAL_COMPUTE = Budget("equal compute", LONG_SPECIALIST)
OWN_BEST_BUDGET = Budget("own best", OWN_BEST)
BUDGETS = (EQUAL_EXPOSURE, EQUAL_COMPUTE, OWN_BEST_BUDGET)


@dataclass(frozen=True)
class Comparison:
    """Features of every arm.

    Attributes
    ----------
    modalities
        Those with a specialist.
    features
        By arm, modality and evaluation split.
    patients
        The patient of each row (n,), by modality and evaluation split.
    """

    modalities: Sequence[str]
    features: Mapping[ArmKey, FeatureSet]
    patients: Mapping[tuple[str, int], np.ndarray]


def compare(
    images: Images,
    splits: Sequence[datasets.Dataset],
    modalities: Sequence[str],
    encode: Encode = cached_features,
) -> Comparison:
    """Compute the features of all arms' images, by EfficientNet-Lite0 or another encoder."""
    features = {key: encode(pixels) for key, pixels in images.items()}
    patients = {
        (name, number): patients_of(split, name)
        for number, split in enumerate(splits)
        for name in modalities
    }
    return Comparison(modalities, features, patients)


def cut_to_shortest(*arms: FeatureSet) -> list[FeatureSet]:
    """Cut features to as many rows as the shortest has."""
    n = min(len(rows) for rows in arms)
    return [rows[:n] for rows in arms]


def contrasts(
    comparison: Comparison, candidate: str, reference: str, *, ratio: bool = True
) -> dict[str, Contrast]:
    """Contrast two arms in every modality, over the splits, that have both.

    Parameters
    ----------
    comparison
        Features of all arms.
    candidate, reference
        Arms; above zero the candidate is worse.
    ratio
        Log-ratios of the kernel distance, else differences.

    Returns
    -------
    dict
        By modality.
    """
    found = {}
    for name in comparison.modalities:
        sets, patients = [], []
        for number in _splits_with(comparison, name, candidate, reference):
            arms = [ArmKey(arm, name, number) for arm in (REAL, candidate, reference)]
            features = cut_to_shortest(*(comparison.features[arm] for arm in arms))
            triple = FeatureTriple(*(part.values for part in features))
            sets.append(triple)
            patients.append(comparison.patients[name, number][: len(triple.real)])
        if sets:
            found[name] = contrast(kernel_distance, sets, patients, ratio)
    return found


def _splits_with(comparison: Comparison, modality: str, *arms: str) -> Iterator[int]:
    """Numbers of the evaluation splits in which a modality has all these arms."""
    for name, number in comparison.patients:
        keys = [ArmKey(arm, modality, number) for arm in arms]
        if name == modality and all(key in comparison.features for key in keys):
            yield number


def floors(comparison: Comparison) -> dict[str, Contrast]:
    """Measure the kernel distance of real images from other patients' in each modality.

    It may be negative, so that its mean over modalities is at zero where there is no distance.
    """
    found = {}
    for name in comparison.modalities:
        real, others = cut_to_shortest(
            comparison.features[ArmKey(REAL, name, 0)],
            comparison.features[ArmKey(OTHER_PATIENTS, name, 0)],
        )
        values, variances, degrees = delete_group(
            lambda x, y: kernel_distance(real=x, synthetic=y),
            [real.values, others.values],
            comparison.patients[name, 0][: len(real)],
        )
        found[name] = Contrast(values.tolist(), float(variances[0]), degrees, len(real))
    return found


def mean_effect(by_modality: Mapping[str, Contrast], level: float = 0.95) -> Estimate:
    """Average effects over modalities and training seeds.

    Parameters
    ----------
    by_modality
        Contrasts of the same training seeds; may be empty.
    level
        Of the interval: over patients and, where there are several, training seeds, with
        Satterthwaite's degrees of freedom.
    """
    rows = list(by_modality.values())
    if not rows:
        return Estimate(None, None, None, 0)
    effects = np.array([row.effects for row in rows])  # (modalities, seeds)
    seeds = effects.shape[1]
    of_images = sum(row.variance for row in rows) / len(rows) ** 2
    of_seeds = effects.mean(0).var(ddof=1) / seeds if seeds > 1 else 0.0
    parts = np.array([of_images, of_seeds])
    degrees = np.array([sum(row.degrees_of_freedom for row in rows), max(seeds - 1, 1)])
    variance = parts.sum()
    degrees_of_freedom = variance**2 / max((parts**2 / np.maximum(degrees, 1)).sum(), 1e-300)
    n = sum(row.n for row in rows)
    return student(float(effects.mean()), float(variance), degrees_of_freedom, n, level)


def measure_arms(comparison: Comparison) -> pd.DataFrame:
    """Measure the distance and overlap of each arm with real images, for the first training seed.

    Returns
    -------
    pandas.DataFrame
        A row per modality (`label`), arm (`group`) and measure (`panel`): value, low, high, n.
    """
    import pandas as pd

    rows = []
    for key, features in comparison.features.items():
        if key.arm in MEASURED_ARMS and key.split == 0:
            real, synthetic = cut_to_shortest(
                comparison.features[ArmKey(REAL, key.modality, 0)], features
            )
            patients = comparison.patients[key.modality, 0][: len(real)]
            for name, one in _measured(real, synthetic, patients).items():
                numbers = (one.value, one.ci_low, one.ci_high)
                rows.append((key.modality, key.arm, name, *numbers, len(real)))
    return pd.DataFrame(rows, columns=["label", "group", "panel", "value", "low", "high", "n"])


def _measured(real: FeatureSet, synthetic: FeatureSet, patients: np.ndarray) -> dict[str, Estimate]:
    """All measures of fidelity with intervals by patient, over few enough neighbours for the n."""
    return measures(
        real=real,
        synthetic=synthetic,
        k=max(1, min(NEIGHBOURS, len(real) // 4)),
        clusters=patients,
        groups=JACKKNIFE_GROUPS,
    )
