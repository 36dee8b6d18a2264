"""Sharing planted in the accounts: two generalists of one recipe, which the controls of compute are read from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from medisyn_lib.evaluation.arm_measures import Distances
from medisyn_lib.evaluation.quality_curves import SPECIALIST_COLUMN, QualityCurves, curves_split
from medisyn_lib.pipeline.comparison_images import SECOND_SPLIT, sampled_arm
from medisyn_lib.pipeline.denoisers import denoiser_plan, snapshot_steps
from medisyn_lib.pipeline.study import Study


class PlantedSharing(NamedTuple):
    """One modality's images by a generalist's checkpoints, beside another of its recipe half-way.

    Attributes
    ----------
    distances
        KID, (checkpoints + 1,): of each checkpoint's images from the real ones of their captions, and of the other's
        after half of its training.
    steps
        After which the checkpoints were taken, rising.
    half
        The step of the half-trained one.
    """

    distances: np.ndarray
    steps: tuple[int, ...]
    half: int


def half_trained_distances(study: Study, modalities: Sequence[str], limit: int) -> Distances:
    """Return the part with another generalist's distances, half-way through its training, from the first seed's images.

    It is the one of the second training seed, really trained apart; where the profile has a single seed, the
    same network from other noise.
    """
    seeds, several = study.settings.seeds, len(study.settings.seeds) > 1
    seed, noise = (seeds[1], 0) if several else (seeds[0], SECOND_SPLIT)
    other = study.generator(seed=seed, after=half_way(study))
    real = curves_split(study, 0, modalities, limit)
    arm = sampled_arm(other, real.split, real.modalities, noise, limit, sampled=limit)
    return Distances(real, (arm,))


def half_way(study: Study) -> int:
    """Return the step half-way through the generalist's training."""
    return max(1, denoiser_plan(study.settings).steps // 2)


def plant_sharing(study: Study, curves: QualityCurves) -> list[PlantedSharing]:
    """Set another generalist half-way through its training beside the first seed's curves.

    Parameters
    ----------
    study
        Profile and data.
    curves
        Of which the first seed's checkpoints are taken.

    Returns
    -------
    list of PlantedSharing
        One per modality of the curves.
    """
    steps = snapshot_steps(denoiser_plan(study.settings))
    of_other = half_trained_distances(study, curves.modalities, curves.images)
    planted = []
    for name in curves.modalities:
        on_the_way = curves.distances[name, 0][0, :SPECIALIST_COLUMN]
        distances = np.append(on_the_way, of_other.of(name)[0])
        planted.append(PlantedSharing(distances, steps, half_way(study)))
    return planted
