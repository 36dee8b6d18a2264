"""At which checkpoint generalist and specialists are at their best, chosen on calibration patients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from medisyn_lib.data.pixels import load_pixels
from medisyn_lib.evaluation.fidelity import kernel_distance
from medisyn_lib.pipeline.comparison_images import CHOOSING_SPLIT
from medisyn_lib.pipeline.denoisers import denoiser_plan, snapshot_steps
from medisyn_lib.pipeline.features import cached_features
from medisyn_lib.pipeline.paired_samples import rows_of, sample_modalities
from medisyn_lib.pipeline.samples import Model
from medisyn_lib.pipeline.study import Study

if TYPE_CHECKING:
    import datasets

CHOOSING_IMAGES = 24  # calibration images per checkpoint, modality and seed: a choice, no estimate
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


def choose_checkpoints(
    study: Study, calibration: Sequence[datasets.Dataset], modalities: Sequence[str]
) -> Chosen:
    """Choose the checkpoint whose images of calibration captions lie nearest to the calibration images.

    Parameters
    ----------
    study
        Profile and data.
    calibration
        Real images of patients that no claim is tested on, one split per training seed.
    modalities
        Those with a specialist.
    """
    best_so_far, specialists = {}, {}
    for number, (seed, split) in enumerate(zip(study.settings.seeds, calibration, strict=True)):
        steps = snapshot_steps(denoiser_plan(study.settings))
        distances = [
            _log_distance(study.generator(seed=seed, after=step), split, modalities)
            for step in steps
        ]
        best_so_far[number] = best_until_now(distances)
        for name in modalities:
            steps = snapshot_steps(denoiser_plan(study.settings, name))
            distances = [
                _log_distance(study.generator(name, seed=seed, after=step), split, [name])
                for step in steps
            ]
            specialists[name, number] = steps[best_until_now(distances)[-1]]
    return Chosen(best_so_far, specialists)


def best_until_now(distances: Sequence[float]) -> tuple[int, ...]:
    """Return, for each place of a sequence, the place of the least distance up to it, the first of equals."""
    return tuple(int(np.argmin(distances[: place + 1])) for place in range(len(distances)))


def _log_distance(generator: Model, split: datasets.Dataset, modalities: Sequence[str]) -> float:
    """The mean over modalities of the log of KID between a generator's images and the real ones of a split."""
    sampled = sample_modalities(generator, split, modalities, CHOOSING_SPLIT, CHOOSING_IMAGES)
    logs = []
    for name in modalities:
        real = cached_features(load_pixels(split, rows_of(split, name, CHOOSING_IMAGES)))
        distance = kernel_distance(real=real, synthetic=cached_features(sampled[name]))
        logs.append(np.log(max(distance, LEAST_DISTANCE)))
    return float(np.mean(logs))
