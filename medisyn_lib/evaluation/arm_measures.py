"""What is measured of one arm's images, a few numbers each, so that they stay where images and weights do not.

Every number that notebooks 02 and 03 report of generators follows from these parts: distances and coverage of
all images and without each group of patients, from which estimates over several arms and seeds are composed.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np

from medisyn_lib.evaluation import fidelity, quality_floor
from medisyn_lib.evaluation.fidelity import blocks, kernel, kernel_distance, prdc
from medisyn_lib.evaluation.fidelity.features import checked_pair
from medisyn_lib.models import encoders
from medisyn_lib.models.encoders import FeatureSet
from medisyn_lib.pipeline.arm_images import ArmImages
from medisyn_lib.pipeline.features import cached_features
from medisyn_lib.pipeline.parts import Part
from medisyn_lib.pipeline.transformer import TransformerEncoder
from medisyn_lib.statistics import jackknife, noninferiority
from medisyn_lib.statistics.estimates import Estimate
from medisyn_lib.statistics.noninferiority import distances_without_groups

NEIGHBOURS = 5  # of precision, recall, density and coverage
JACKKNIFE_GROUPS = 10  # of patients, of the intervals of all measures of fidelity


@dataclass(frozen=True)
class Groups:
    """Patients in groups that are left out in turn.

    Attributes
    ----------
    by_modality
        The group of each row, int (n,); no modality where none is left out.
    counts
        Number of groups by modality.
    """

    by_modality: Mapping[str, np.ndarray]
    counts: Mapping[str, int]

    def key(self) -> dict[str, Any]:
        """Return what decides what is left out."""
        digest = hashlib.sha256()
        for name, group in self.by_modality.items():
            digest.update(f"{name} {self.counts[name]} {np.asarray(group).tolist()}\n".encode())
        return {"sha256": digest.hexdigest()}

    def of(self, modalities: Sequence[str]) -> Groups:
        """Return those of some modalities."""
        names = [name for name in modalities if name in self.counts]
        return Groups(
            {name: self.by_modality[name] for name in names},
            {name: self.counts[name] for name in names},
        )


WHOLE = Groups({}, {})  # nothing is left out


@dataclass(frozen=True, eq=False)
class ArmPart(Part):
    """A measurement of an arm's images beside real ones."""

    real: ArmImages

    def features_of(self, images: ArmImages) -> dict[str, FeatureSet]:
        """Return features by the first encoder, EfficientNet-Lite0, by modality."""
        return {name: cached_features(pixels) for name, pixels in images.images().items()}


@dataclass(frozen=True, eq=False)
class Distances(ArmPart):
    """Kernel distances (KID) of arms, such as the checkpoints of one training, from real images.

    Attributes
    ----------
    arms
        Each of the same modalities.
    groups
        Of the rows that both have.
    encoder
        None: EfficientNet-Lite0.
    """

    step = "distances"
    code = (kernel, blocks, noninferiority, encoders, sys.modules[__name__])
    arms: tuple[ArmImages, ...]
    groups: Groups = WHOLE
    encoder: TransformerEncoder | None = None

    def features_of(self, images: ArmImages) -> dict[str, FeatureSet]:
        """Return features by the encoder, by modality."""
        if self.encoder is None:
            return super().features_of(images)
        return {name: self.encoder.features(pixels) for name, pixels in images.images().items()}

    def measure(self) -> dict[str, Any]:
        """Measure them: by modality, of each arm `distances_without_groups`."""
        names = self.arms[0].modalities
        found: dict[str, list[list[float]]] = {name: [] for name in names}
        real = self.features_of(self.real)
        for arm in self.arms:
            by_modality = self.features_of(arm)
            for name in names:
                x, y = cut_to_shortest(real[name], by_modality[name])
                distances = distances_without_groups(
                    kernel_distance,
                    x.values,
                    y.values,
                    self.groups.by_modality.get(name),
                    self.groups.counts.get(name, 0),
                )
                found[name].append(distances)
        return found

    def of(self, modality: str) -> np.ndarray:
        """Return a modality's distances, of all images and without each group: float64 (1 + groups, arms)."""
        return np.array(self.value[modality]).T


@dataclass(frozen=True, eq=False)
class Fidelity(ArmPart):
    """All measures of fidelity of an arm, with intervals by patient."""

    step = "fidelity"
    code = (fidelity, jackknife, encoders, sys.modules[__name__])
    arm: ArmImages

    def measure(self) -> dict[str, Any]:
        """Measure them: by modality and measure an estimate."""
        real, synthetic = self.features_of(self.real), self.features_of(self.arm)
        found = {}
        for name in self.arm.modalities:
            x, y = cut_to_shortest(real[name], synthetic[name])
            # Over few enough neighbours for the n.
            measured = fidelity.measures(
                real=x,
                synthetic=y,
                k=max(1, min(NEIGHBOURS, len(x) // 4)),
                clusters=self.real.patients(name)[: len(x)],
                groups=JACKKNIFE_GROUPS,
            )
            found[name] = {measure: astuple(one) for measure, one in measured.items()}
        return found

    def of(self, modality: str) -> dict[str, Estimate]:
        """Return a modality's measures by name."""
        return {name: Estimate(*one) for name, one in self.value[modality].items()}


@dataclass(frozen=True, eq=False)
class CoveredImages(ArmPart):
    """How much of the real images an arm covers, by two encoders.

    Attributes
    ----------
    arm
        Whose images of the same split, or of another, one for each of its images.
    together
        The modalities over which the median is taken: those of this arm and of the other specialists.
    encoder
        The second encoder.
    """

    step = "covered"
    code = (quality_floor, blocks, prdc, jackknife, encoders, sys.modules[__name__])
    arm: ArmImages
    together: tuple[str, ...]
    encoder: TransformerEncoder

    def measure(self) -> dict[str, Any]:
        """Measure it: by modality, of all images and without each group of patients, by each encoder."""
        if not self._with_enough():
            return {}
        deal = quality_floor.deal_images(self._labels(self.real), self._labels(self.arm))
        real, synthetic = self.real.images(), self.arm.images()
        found = {}
        for name in set(self._with_enough()) & set(self.arm.modalities):
            pairs = [
                checked_pair(
                    real=encode(real[name]), synthetic=encode(synthetic[name]), unequal=True
                )
                for encode in (cached_features, self.encoder.features)
            ]
            found[name] = deal.of(name).coverage(pairs).tolist()
        return found

    def _labels(self, images: ArmImages) -> quality_floor.Labels:
        """Modality and patient of the images of all modalities together; patients are those of the real ones."""
        names = self._with_enough()
        counts = [images.count(name) for name in names]
        patients = [
            np.resize(self.real.patients(name), n) for name, n in zip(names, counts, strict=True)
        ]
        return quality_floor.Labels(np.repeat(names, counts), np.concatenate(patients))

    def _with_enough(self) -> list[str]:
        """The modalities of which there are enough images to have neighbours."""
        return [name for name in self.together if self._fewest(name) > quality_floor.NEIGHBOURS]

    def _fewest(self, name: str) -> int:
        return min(self.real.count(name), self.arm.count(name))

    @property
    def n(self) -> int:
        """Return how many images there are of all modalities together, of real or synthetic ones the fewer."""
        return sum(map(self._fewest, self._with_enough()))


def cut_to_shortest(*arms: FeatureSet) -> list[FeatureSet]:
    """Cut features to as many rows as the shortest has."""
    n = min(len(rows) for rows in arms)
    return [rows[:n] for rows in arms]


def deal_patients(patients: Mapping[int, Mapping[str, np.ndarray]]) -> dict[int, Groups]:
    """Deal patients into groups, those of several evaluation splits together, in each modality alone.

    Parameters
    ----------
    patients
        By number of the split and modality, the patient of each row, (n,).

    Returns
    -------
    dict of int to Groups
        By number of the split.
    """
    dealt: dict[int, dict[str, np.ndarray]] = {number: {} for number in patients}
    counts = {}
    for name in dict.fromkeys(name for of_split in patients.values() for name in of_split):
        having = [number for number, of_split in patients.items() if name in of_split]
        parts = [patients[number][name] for number in having]
        group = jackknife.deal_groups(sum(map(len, parts)), np.concatenate(parts))
        counts[name] = int(group.max()) + 1
        pieces = np.split(group, np.cumsum([len(part) for part in parts])[:-1])
        for number, piece in zip(having, pieces, strict=True):
            dealt[number][name] = piece
    return {
        number: Groups(of_split, {name: counts[name] for name in of_split})
        for number, of_split in dealt.items()
    }
