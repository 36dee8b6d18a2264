"""What an eleventh modality takes: distances on the way, and what the old modalities lose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from medisyn_lib.evaluation.arm_measures import Distances, deal_patients
from medisyn_lib.pipeline import added_modality
from medisyn_lib.pipeline.added_modality import (
    LEARNERS,
    TUNED_GENERALIST,
    Learner,
    added_modality_denoiser,
    added_plan,
    angiograms,
    with_angiogram_captions,
)
from medisyn_lib.pipeline.arm_images import ArmImages, RealImages, SampledImages
from medisyn_lib.pipeline.comparison_images import real_arm, sampled_arm
from medisyn_lib.pipeline.denoisers import snapshot_steps
from medisyn_lib.pipeline.paired_samples import evaluation_split, rows_of
from medisyn_lib.statistics.estimates import Estimate, student
from medisyn_lib.statistics.jackknife import jackknife_of
from medisyn_lib.statistics.noninferiority import contrast_of_distances, effect_of_one_seed

if TYPE_CHECKING:
    import datasets
    import pandas as pd

    from medisyn_lib.pipeline.generators import Generator
    from medisyn_lib.pipeline.study import Study

IMAGES = 20  # per point and modality, at most
NEW_SPLIT = 7  # a split number of their own, so that no claim shares their sampling seeds


@dataclass(frozen=True, eq=False)
class _OfAngiograms(ArmImages):
    """Images of the first captions of one modality, turned into those of its angiograms."""

    @cached_property
    def asked(self) -> datasets.Dataset:
        """The images that are turned into angiograms, with their captions."""
        images, (name,) = self.split.dataset, self.modalities
        return with_angiogram_captions(images.select(rows_of(images, name, self.limit)))


@dataclass(frozen=True, eq=False)
class Angiograms(_OfAngiograms, RealImages):
    """The angiograms themselves."""

    step = "angiograms"
    code = (*RealImages.code, added_modality)

    def images(self) -> dict[str, np.ndarray]:
        """Return the images by the modality that they are made from."""
        return {self.modalities[0]: angiograms(self.asked)[0]}


@dataclass(frozen=True, eq=False)
class SampledAngiograms(_OfAngiograms, SampledImages):
    """A generator's images of their captions."""

    step = "sampled_angiograms"
    code = (*SampledImages.code, added_modality)


def learning_distances(study: Study, learner: Learner, origin: str, limit: int) -> Distances:
    """Return the part with the distances of a learner's new images from held-out ones, at each of its `_stops`."""
    split, few = evaluation_split(study, 0), min(limit, IMAGES)
    real = Angiograms(split, (origin,), few)
    arms = tuple(
        SampledAngiograms(split, (origin,), few, generator, NEW_SPLIT)
        for generator in _stops(study, learner, origin).values()
    )
    return Distances(real, arms, deal_patients({0: {origin: real.patients(origin)}})[0])


def distances_while_learning(study: Study, origin: str, limit: int) -> pd.DataFrame:
    """Measure how near each learner's new images come to held-out ones.

    Parameters
    ----------
    study
        Profile and data.
    origin
        Modality that the new one is made from.
    limit
        Images per point at most, and never more than `IMAGES`.

    Returns
    -------
    pandas.DataFrame
        A row per learner and checkpoint: model, images seen, KID, low, high, n.
    """
    import pandas as pd

    rows = []
    for learner in LEARNERS:
        part, batch = (
            learning_distances(study, learner, origin, limit),
            added_plan(study, learner).batch,
        )
        values, variances, degrees = jackknife_of(part.of(origin))
        n = part.real.count(origin)
        steps = _stops(study, learner, origin)
        for step, value, variance in zip(steps, values, variances, strict=True):
            point = student(float(value), float(variance), degrees, n)
            numbers = (point.value, point.ci_low, point.ci_high, n)
            rows.append((learner.name, step * batch, *numbers))
    return pd.DataFrame(rows, columns=["model", "images seen", "KID", "low", "high", "n"])


def _stops(study: Study, learner: Learner, origin: str) -> dict[int, Generator]:
    """Generators of a learner by step: half way and at the end, and the generalist untuned at 0."""
    seed = study.settings.seeds[0]
    stops = {}
    if learner.from_generalist:
        stops[0] = study.generator(seed=seed)
    learnt = added_modality_denoiser(study, learner, origin)
    for step in snapshot_steps(added_plan(study, learner))[-2:]:
        stops[step] = study.generator(seed=seed, after=step, denoiser=learnt)
    return stops


def forgetting_distances(
    study: Study, origin: str, modalities: Sequence[str], limit: int
) -> Distances:
    """Return the part with the distances of the tuned generalist's old images, and of the untuned one's."""
    split, few = evaluation_split(study, 0), min(limit, IMAGES)
    seed, learnt = study.settings.seeds[0], added_modality_denoiser(study, TUNED_GENERALIST, origin)
    tuned = study.generator(seed=seed, denoiser=learnt)
    real = real_arm(split, modalities, few)
    arms = (
        sampled_arm(tuned, split, modalities, 0, few, sampled=few),
        sampled_arm(study.generator(seed=seed), split, modalities, 0, few),
    )
    patients = {name: real.patients(name) for name in modalities}
    return Distances(real, arms, deal_patients({0: patients})[0])


def forgetting(
    study: Study, origin: str, modalities: Sequence[str], limit: int
) -> dict[str, Estimate]:
    """Measure what the tuning did to the old modalities, as the log-ratio of KID after to before.

    Above zero the tuned generalist is worse than the one that it was tuned from.
    """
    part = forgetting_distances(study, origin, modalities, limit)
    effects = {}
    for name in modalities:
        after, before = part.of(name).T
        n = part.real.count(name)
        effects[name] = effect_of_one_seed(contrast_of_distances([after], [before], n))
    return effects
