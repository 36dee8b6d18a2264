"""How quality rises while the generalist is trained, beside the specialists at their own best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medisyn_lib.data.pixels import load_pixels
from medisyn_lib.evaluation.fidelity import kernel_distance
from medisyn_lib.pipeline.arms import GENERALIST, SPECIALIST
from medisyn_lib.pipeline.denoisers import denoiser_plan, snapshot_steps
from medisyn_lib.pipeline.features import cached_features
from medisyn_lib.pipeline.paired_samples import patients_of, rows_of, sample_modalities
from medisyn_lib.pipeline.study import Study
from medisyn_lib.statistics.estimates import student
from medisyn_lib.statistics.jackknife import delete_group

if TYPE_CHECKING:
    import datasets
    import pandas as pd

    from medisyn_lib.evaluation.own_best import Chosen
    from medisyn_lib.evaluation.training_costs import SuiteCosts

# Of the second axis of `QualityCurves.features`; the checkpoints lie between.
REAL_COLUMN, FINISHED_COLUMN, SPECIALIST_COLUMN = 0, -2, -1


@dataclass(frozen=True)
class QualityCurves:
    """Features of real images, of each checkpoint's of the generalist and of a specialist's.

    Attributes
    ----------
    modalities
        Those with a specialist.
    seeds
        Training seeds.
    images
        Per checkpoint, modality and seed, at most.
    features
        By modality and number of the seed, float64 (n, 1 + checkpoints + 1, d): of the real images,
        of each checkpoint's images of their captions, and of the specialist's at its own best.
    patients
        The patient of each row (n,), by modality and number of the seed.
    best_so_far
        By number of the seed, as of `own_best.Chosen`.
    """

    modalities: Sequence[str]
    seeds: int
    images: int
    features: Mapping[tuple[str, int], np.ndarray]
    patients: Mapping[tuple[str, int], np.ndarray]
    best_so_far: Mapping[int, tuple[int, ...]]

    def at_own_best(self, number: int) -> list[np.ndarray]:
        """Return a seed's features by modality, each checkpoint's images those of the best one so far."""
        best = [1 + place for place in self.best_so_far[number]]
        columns = [REAL_COLUMN, *best, SPECIALIST_COLUMN]
        return [self.features[name, number][:, columns] for name in self.modalities]


def sample_quality_curves(
    study: Study,
    splits: Sequence[datasets.Dataset],
    modalities: Sequence[str],
    limit: int,
    chosen: Chosen,
) -> QualityCurves:
    """Sample the generalist's checkpoints and the specialists at their own best, and compute their features.

    Parameters
    ----------
    study
        Profile and data.
    splits
        Real images whose captions are taken, one split per training seed.
    modalities
        Those with a specialist.
    limit
        Images per checkpoint, modality and seed, at most.
    chosen
        Whose checkpoints are the best.
    """
    steps = snapshot_steps(denoiser_plan(study.settings))
    features, patients = {}, {}
    for number, (seed, split) in enumerate(zip(study.settings.seeds, splits, strict=True)):
        checkpoints = []
        for step in steps[:-1]:
            generator = study.generator(seed=seed, after=step)
            checkpoints.append(sample_modalities(generator, split, modalities, number, limit))
        # All of the finished ones, as in notebook 02, so that the samples in the store serve both.
        finished = study.generator(seed=seed).folder
        by_generalist = sample_modalities(finished, split, modalities, number)
        checkpoints.append({name: images[:limit] for name, images in by_generalist.items()})
        for name in modalities:
            best = chosen.specialists[name, number]
            special = study.generator(name, seed=seed, after=best)
            by_specialist = sample_modalities(special, split, [name], number)[name][:limit]
            real = load_pixels(split, rows_of(split, name, limit))
            arms = [real, *(images[name] for images in checkpoints), by_specialist]
            features[name, number] = np.stack([cached_features(arm) for arm in arms], 1)
            patients[name, number] = patients_of(split, name, limit)
    seeds = len(study.settings.seeds)
    return QualityCurves(modalities, seeds, limit, features, patients, chosen.best_so_far)


def distances_from_real(features: np.ndarray) -> list[float]:
    """Measure KID of each checkpoint and, last, of the specialist from the real images.

    `features` is float64 (n, 1 + checkpoints + 1, d), as in `QualityCurves`.
    """
    real = features[:, REAL_COLUMN]
    return [
        kernel_distance(real=real, synthetic=features[:, column])
        for column in range(1, features.shape[1])
    ]


def curve_points(curves: QualityCurves, costs: SuiteCosts) -> pd.DataFrame:
    """Tabulate KID against training compute for the first training seed, with intervals by patient.

    Returns
    -------
    pandas.DataFrame
        A row per modality and model, of the generalist per checkpoint: modality, model, TFLOP,
        KID, low, high.
    """
    import pandas as pd

    rows = []
    for name in curves.modalities:
        values, variances, degrees = delete_group(
            distances_from_real, [curves.features[name, 0]], curves.patients[name, 0]
        )
        models = [(GENERALIST, flops) for flops in costs.checkpoints]
        models.append((SPECIALIST, float(np.mean(costs.specialists[name]))))
        for (model, flops), value, variance in zip(models, values, variances, strict=True):
            point = student(float(value), float(variance), degrees, curves.images)
            rows.append(
                (name, model, flops / 1e12, point.value, point.ci_low, point.ci_high),
            )
    return pd.DataFrame(rows, columns=["modality", "model", "TFLOP", "KID", "low", "high"])
