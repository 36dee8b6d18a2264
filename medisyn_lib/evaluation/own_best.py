"""At which checkpoint generalist and specialists are at their best, chosen on calibration patients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from medisyn_lib.evaluation.arm_measures import Distances
from medisyn_lib.pipeline.arm_images import RealImages
from medisyn_lib.pipeline.comparison_images import (
    CHOOSING_SPLIT,
    long_checkpoints,
    long_specialist_at,
    long_specialists,
    real_arm,
    sampled_arm,
)
from medisyn_lib.pipeline.denoisers import denoiser_plan, snapshot_steps
from medisyn_lib.pipeline.generators import Generator
from medisyn_lib.pipeline.paired_samples import evaluation_split
from medisyn_lib.pipeline.study import Study

LONG_CHOOSING_IMAGES = 100  # that choose a long specialist's checkpoint
LEAST_DISTANCE = 1e-3  # KID whose logarithm is taken; real images of other patients lie at 0.01


class Chosen(NamedTuple):
    """Own best checkpoints.

    Attributes
    ----------
    best_so_far
        By number of the training seed: for each of the generalist's checkpoints, the number of the best one
        up to it, over all modalities together, as one network serves them.
    specialists
        By modality and number of the training seed: the step of the specialist's best checkpoint.
    """

    best_so_far: Mapping[int, tuple[int, ...]]
    specialists: Mapping[tuple[str, int], int]


def choosing_distances(
    study: Study, number: int, modality: str | None, modalities: Sequence[str]
) -> Distances:
    """Return the part by which a model's checkpoint is chosen: distances of each from calibration images.

    Parameters
    ----------
    study
        Profile and data.
    number
        Of the training seed.
    modality
        Of a specialist; None is the generalist.
    modalities
        Those with a specialist.
    """
    n = study.settings.choosing_images  # a choice, no estimate
    split = evaluation_split(study, number, "calibration", n)
    seed, names = study.settings.seeds[number], [modality] if modality else modalities
    generators = [
        study.generator(modality, seed=seed, after=step)
        for step in snapshot_steps(denoiser_plan(study.settings, modality))
    ]
    return _distances(generators, real_arm(split, names, n))


def _distances(generators: Sequence[Generator], real: RealImages) -> Distances:
    """Distances of generators' images of calibration captions from the calibration images."""
    arms = [
        sampled_arm(
            one, real.split, real.modalities, CHOOSING_SPLIT, real.limit, sampled=real.limit
        )
        for one in generators
    ]
    return Distances(real, tuple(arms))


def choose_checkpoints(study: Study, modalities: Sequence[str]) -> Chosen:
    """Choose the checkpoint whose images of calibration captions lie nearest to the calibration images.

    Parameters
    ----------
    study
        Profile and data.
    modalities
        Those with a specialist.
    """
    best_so_far, specialists = {}, {}
    for number in range(len(study.settings.seeds)):
        by_generalist = choosing_distances(study, number, None, modalities)
        best_so_far[number] = best_until_now(mean_logarithms(by_generalist))
        for name in modalities:
            specialists[name, number] = own_best_step(study, number, name, modalities)
    return Chosen(best_so_far, specialists)


def own_best_step(study: Study, number: int, modality: str, modalities: Sequence[str]) -> int:
    """Return the step of a specialist's best checkpoint."""
    steps = snapshot_steps(denoiser_plan(study.settings, modality))
    by_specialist = choosing_distances(study, number, modality, modalities)
    return steps[best_until_now(mean_logarithms(by_specialist))[-1]]


def best_until_now(distances: Sequence[float]) -> tuple[int, ...]:
    """Return, for each place of a sequence, the place of the least distance up to it, the first of equals."""
    return tuple(int(np.argmin(distances[: place + 1])) for place in range(len(distances)))


def mean_logarithms(distances: Distances) -> list[float]:
    """Return of each arm the mean over modalities of the log of KID."""
    by_modality = [distances.of(name)[0] for name in distances.arms[0].modalities]
    return np.log(np.maximum(by_modality, LEAST_DISTANCE)).mean(0).tolist()


def long_choosing_distances(study: Study, modality: str) -> Distances:
    """Return the part by which a long specialist's checkpoint is chosen, that of equal exposure among them."""
    split = evaluation_split(study, 0, "calibration")
    generators = [long_specialist_at(study, modality, one) for one in long_checkpoints(study)]
    return _distances(generators, real_arm(split, [modality], LONG_CHOOSING_IMAGES))


def choose_own_best(study: Study, modalities: Sequence[str]) -> dict[str, str]:
    """Choose each long specialist's best checkpoint on calibration patients: by modality one of `long_checkpoints`."""
    candidates = long_checkpoints(study)
    return {
        name: candidates[int(np.argmin(long_choosing_distances(study, name).of(name)[0]))]
        for name in long_specialists(study, modalities)
    }
