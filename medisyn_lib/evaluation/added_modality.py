"""What an eleventh modality takes: distances on the way, and what the old modalities lose."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from medisyn_lib.evaluation.fidelity import kernel_distance
from medisyn_lib.evaluation.quality_curves import FINISHED_COLUMN, REAL_COLUMN, QualityCurves
from medisyn_lib.pipeline.added_modality import (
    LEARNERS,
    TUNED_GENERALIST,
    Learner,
    added_modality_denoiser,
    added_plan,
    angiograms,
    with_angiogram_captions,
)
from medisyn_lib.pipeline.denoisers import snapshot_steps
from medisyn_lib.pipeline.features import cached_features
from medisyn_lib.pipeline.paired_samples import rows_of, sample_modalities
from medisyn_lib.statistics.estimates import Estimate, student
from medisyn_lib.statistics.jackknife import delete_group
from medisyn_lib.statistics.noninferiority import FeatureTriple, contrast, effect_of_one_seed

if TYPE_CHECKING:
    import datasets
    import pandas as pd

    from medisyn_lib.pipeline.generators import Generator
    from medisyn_lib.pipeline.study import Study

IMAGES = 20  # per point and modality, at most
NEW_SPLIT = 7  # a split number of their own, so that no claim shares their sampling seeds


def distances_while_learning(
    study: Study, split: datasets.Dataset, origin: str, limit: int
) -> pd.DataFrame:
    """Measure how near each learner's new images come to held-out ones.

    Parameters
    ----------
    study
        Profile and data.
    split
        Held-out real images.
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

    held_out = split.select(rows_of(split, origin, min(limit, IMAGES)))
    pixels, _ = angiograms(held_out)
    prompts = with_angiogram_captions(held_out)
    real = cached_features(pixels).values
    patients = np.array(prompts["patient_id"][:])
    rows = []
    for learner in LEARNERS:
        for step, generator in _stops(study, learner, origin).items():
            sampled = sample_modalities(generator, prompts, [origin], NEW_SPLIT)[origin]
            values, variances, degrees = delete_group(
                lambda x, y: kernel_distance(real=x, synthetic=y),
                [real, cached_features(sampled).values],
                patients,
            )
            point = student(float(values[0]), float(variances[0]), degrees, len(prompts))
            seen = step * added_plan(study, learner).batch
            rows.append((learner.name, seen, point.value, point.ci_low, point.ci_high, point.n))
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


def forgetting(
    study: Study, split: datasets.Dataset, origin: str, curves: QualityCurves
) -> dict[str, Estimate]:
    """Measure what the tuning did to the old modalities, as the log-ratio of KID after to before.

    Above zero the tuned generalist is worse than the one that it was tuned from.
    """
    learnt = added_modality_denoiser(study, TUNED_GENERALIST, origin)
    seed, steps = study.settings.seeds[0], added_plan(study, TUNED_GENERALIST).steps
    tuned = study.generator(seed=seed, after=steps, denoiser=learnt)
    n = min(curves.images, IMAGES)
    sampled = sample_modalities(tuned, split, curves.modalities, 0, n)
    effects = {}
    for name in curves.modalities:
        before = curves.features[name, 0][:n]
        triple = FeatureTriple(
            real=before[:, REAL_COLUMN],
            candidate=cached_features(sampled[name]).values,
            reference=before[:, FINISHED_COLUMN],
        )
        patients = curves.patients[name, 0][:n]
        effects[name] = effect_of_one_seed(contrast(kernel_distance, [triple], [patients]))
    return effects
