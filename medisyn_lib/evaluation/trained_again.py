"""Specialists trained a second time, from other weights: what the controls of compute are read from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from medisyn_lib.data.pixels import load_pixels
from medisyn_lib.pipeline.denoisers import denoiser_plan, snapshot_steps
from medisyn_lib.pipeline.features import cached_features
from medisyn_lib.pipeline.paired_samples import rows_of, sample_modalities
from medisyn_lib.pipeline.study import Study

if TYPE_CHECKING:
    import datasets

SECOND_TRAINING = 23  # a training seed that no claim uses
MOST_MODALITIES = 3  # that are trained again: one network's luck is too much of a control


class TrainedAgain(NamedTuple):
    """The second training's checkpoints, beside the first network half-way through its training.

    Attributes
    ----------
    features
        float64 (n, 1 + checkpoints + 1, d): of the real images, of each checkpoint's images of their captions,
        and of the half-trained first network's.
    steps
        After which the second network's checkpoints were taken, rising.
    half
        The step of the half-trained first network.
    """

    features: np.ndarray
    steps: tuple[int, ...]
    half: int


def train_again(
    study: Study, split: datasets.Dataset, modalities: Sequence[str], limit: int
) -> list[TrainedAgain]:
    """Train some specialists anew, and sample their checkpoints and the first ones half-trained.

    Parameters
    ----------
    study
        Profile and data.
    split
        Real images whose captions are taken.
    modalities
        Those with a specialist; the first `MOST_MODALITIES` are taken.
    limit
        Images per checkpoint and modality at most.
    """
    plan = denoiser_plan(study.settings, modalities[0])
    steps, half = snapshot_steps(plan), max(1, plan.steps // 2)
    return [
        TrainedAgain(_features(study, split, name, limit, steps, half), steps, half)
        for name in modalities[:MOST_MODALITIES]
    ]


def _features(
    study: Study,
    split: datasets.Dataset,
    modality: str,
    limit: int,
    steps: Sequence[int],
    half: int,
) -> np.ndarray:
    """What `TrainedAgain.features` holds, of one modality."""
    generators = [study.generator(modality, seed=SECOND_TRAINING, after=step) for step in steps]
    generators.append(study.generator(modality, seed=study.settings.seeds[0], after=half))
    arms = [load_pixels(split, rows_of(split, modality, limit))]
    for generator in generators:
        arms.append(sample_modalities(generator.folder, split, [modality], 0, limit)[modality])
    return np.stack([cached_features(arm).values for arm in arms], 1)
