"""Sharing planted in the accounts: two generalists of one recipe, which the controls of compute are read from."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from medisyn_lib.evaluation.quality_curves import SPECIALIST_COLUMN, QualityCurves
from medisyn_lib.pipeline.comparison_images import SECOND_SPLIT
from medisyn_lib.pipeline.denoisers import denoiser_plan, snapshot_steps
from medisyn_lib.pipeline.features import cached_features
from medisyn_lib.pipeline.paired_samples import sample_modalities
from medisyn_lib.pipeline.study import Study

if TYPE_CHECKING:
    import datasets


class PlantedSharing(NamedTuple):
    """One modality's images by a generalist's checkpoints, beside another of its recipe half-way.

    Attributes
    ----------
    features
        float64 (n, 1 + checkpoints + 1, d): of the real images, of each checkpoint's images of their captions,
        and of the other's after half of its training.
    steps
        After which the checkpoints were taken, rising.
    half
        The step of the half-trained one.
    """

    features: np.ndarray
    steps: tuple[int, ...]
    half: int


def plant_sharing(
    study: Study, split: datasets.Dataset, curves: QualityCurves
) -> list[PlantedSharing]:
    """Sample another generalist half-way through its training, for the first seed's real images.

    It is the one of the second training seed, really trained apart; where the profile has a single seed, the
    same network from other noise.

    Parameters
    ----------
    study
        Profile and data.
    split
        Real images of the first training seed.
    curves
        Of which the first seed's checkpoints are taken.

    Returns
    -------
    list of PlantedSharing
        One per modality of the curves.
    """
    plan = denoiser_plan(study.settings)
    half, several = max(1, plan.steps // 2), len(study.settings.seeds) > 1
    seed, noise = (
        (study.settings.seeds[1], 0) if several else (study.settings.seeds[0], SECOND_SPLIT)
    )
    other = study.generator(seed=seed, after=half)
    sampled = sample_modalities(other, split, curves.modalities, noise, curves.images)
    planted = []
    for name in curves.modalities:
        of_other = cached_features(sampled[name]).values[:, None]
        features = np.concatenate([curves.features[name, 0][:, :SPECIALIST_COLUMN], of_other], 1)
        planted.append(PlantedSharing(features, snapshot_steps(plan), half))
    return planted
