"""Generalist against specialists: distances of every arm, and the effects in each modality."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from medisyn_lib.evaluation.arm_measures import (
    Distances,
    Fidelity,
    Groups,
    deal_patients,
)
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
    Arms,
)
from medisyn_lib.pipeline.transformer import TransformerEncoder
from medisyn_lib.statistics.estimates import Estimate, student
from medisyn_lib.statistics.jackknife import jackknife_of
from medisyn_lib.statistics.noninferiority import (
    Contrast,
    contrast_of_distances,
)

if TYPE_CHECKING:
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


class Budget(NamedTuple):
    """How long the specialists train that the generalist is compared with."""

    name: str
    specialists: str  # the arm that they are


EQUAL_EXPOSURE = Budget("equal exposure", SPECIALIST)
EQUAL_COMPUTE = Budget("equal compute", LONG_SPECIALIST)
OWN_BEST_BUDGET = Budget("own best", OWN_BEST)
BUDGETS = (EQUAL_EXPOSURE, EQUAL_COMPUTE, OWN_BEST_BUDGET)


@dataclass(frozen=True)
class Comparison(ABC):
    """What is measured of every arm.

    Attributes
    ----------
    modalities
        Those with a specialist.
    """

    modalities: Sequence[str]

    @abstractmethod
    def keys(self) -> Collection[ArmKey]:
        """Return the arms that there are, by modality and evaluation split."""

    @abstractmethod
    def patients(self, key: ArmKey) -> np.ndarray:
        """Return the patient of each image of an arm that has a real one beside it, (n,)."""

    @abstractmethod
    def distances(self, key: ArmKey, groups: Groups) -> np.ndarray:
        """Return an arm's kernel distance from real images: of all, then without each group, (1 + groups,)."""


@dataclass(frozen=True)
class ArmComparison(Comparison):
    """A comparison whose distances are parts of the study, measured once for all modalities of an arm.

    Attributes
    ----------
    arms
        By arm, modality and evaluation split.
    encoder
        None: EfficientNet-Lite0.
    """

    arms: Arms
    encoder: TransformerEncoder | None = None

    def keys(self) -> Collection[ArmKey]:
        """Return the arms that there are."""
        return self.arms.keys()

    def patients(self, key: ArmKey) -> np.ndarray:
        """Return the patient of each image of an arm that has a real one beside it."""
        real = self.arms[key._replace(arm=REAL)]
        return real.patients(key.modality)[: self.arms[key].count(key.modality)]

    def distances(self, key: ArmKey, groups: Groups) -> np.ndarray:
        """Return an arm's distances from real images."""
        return self.part(key, groups).of(key.modality)[:, 0]

    def part(self, key: ArmKey, groups: Groups) -> Distances:
        """Return the part that holds them."""
        images, real = self.arms[key], self.arms[key._replace(arm=REAL)]
        groups = groups.of(images.modalities)
        return Distances(
            replace(real, modalities=images.modalities), (images,), groups, self.encoder
        )


def grouped_patients(comparison: Comparison, *arms: str) -> dict[int, Groups]:
    """Deal the patients of all splits that have some arms into groups to leave out, by number of the split."""
    numbers = sorted({key.split for key in comparison.keys() if key.arm == arms[0]})
    by_split: dict[int, dict[str, np.ndarray]] = {number: {} for number in numbers}
    for name in comparison.modalities:
        for number in _splits_with(comparison, name, *arms):
            keys = [ArmKey(arm, name, number) for arm in arms]
            by_split[number][name] = min(map(comparison.patients, keys), key=len)
    return deal_patients({number: found for number, found in by_split.items() if found})


def contrasts(
    comparison: Comparison, candidate: str, reference: str, *, ratio: bool = True
) -> dict[str, Contrast]:
    """Contrast two arms in every modality, over the splits, that have both.

    Parameters
    ----------
    comparison
        Of all arms.
    candidate, reference
        Arms; above zero the candidate is worse.
    ratio
        Log-ratios of the kernel distance, else differences.

    Returns
    -------
    dict
        By modality.
    """
    groups, found = grouped_patients(comparison, candidate, reference), {}
    for name in comparison.modalities:
        numbers = list(_splits_with(comparison, name, candidate, reference))
        if numbers:
            distances = {
                arm: [comparison.distances(ArmKey(arm, name, one), groups[one]) for one in numbers]
                for arm in (candidate, reference)
            }
            n = sum(len(groups[one].by_modality[name]) for one in numbers)
            found[name] = contrast_of_distances(
                distances[candidate], distances[reference], n, ratio
            )
    return found


def _splits_with(comparison: Comparison, modality: str, *arms: str) -> Iterator[int]:
    """Numbers of the evaluation splits in which a modality has all these arms."""
    present = comparison.keys()
    for number in sorted({key.split for key in present}):
        if all(ArmKey(arm, modality, number) in present for arm in (REAL, *arms)):
            yield number


def floors(comparison: Comparison) -> dict[str, Contrast]:
    """Measure the kernel distance of real images from other patients' in each modality.

    It may be negative, so that its mean over modalities is at zero where there is no distance.
    """
    (groups,) = grouped_patients(comparison, OTHER_PATIENTS).values()
    found = {}
    for name in comparison.modalities:
        distances = comparison.distances(ArmKey(OTHER_PATIENTS, name, 0), groups)
        values, variances, degrees = jackknife_of(distances[:, None])
        n = len(groups.by_modality[name])
        found[name] = Contrast(values.tolist(), float(variances[0]), degrees, n)
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


def measured_arms(arms: Arms) -> dict[ArmKey, Fidelity]:
    """Return the part that measures each arm with real images, for the first training seed."""
    found = {}
    for key, images in arms.items():
        if key.arm in MEASURED_ARMS and key.split == 0:
            real = arms[key._replace(arm=REAL)]
            found[key] = Fidelity(replace(real, modalities=images.modalities), images)
    return found


def measure_arms(arms: Arms) -> pd.DataFrame:
    """Measure the distance and overlap of each arm with real images, for the first training seed.

    Returns
    -------
    pandas.DataFrame
        A row per modality (`label`), arm (`group`) and measure (`panel`): value, low, high, n.
    """
    import pandas as pd

    rows = []
    for key, part in measured_arms(arms).items():
        for name, one in part.of(key.modality).items():
            rows.append((key.modality, key.arm, name, *astuple(one)))
    return pd.DataFrame(rows, columns=["label", "group", "panel", "value", "low", "high", "n"])
