"""The images of every arm of the comparison of generalist and specialists, by modality and split."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from medisyn_lib.data.pixels import blurred, load_pixels
from medisyn_lib.pipeline.arms import (
    AUTOENCODED,
    BLURRED,
    GENERALIST,
    LONG_SPECIALIST,
    OTHER_PATIENTS,
    OWN_BEST,
    REAL,
    SECOND_SAMPLE,
    SPECIALIST,
    UNDERTRAINED,
    ArmKey,
    Images,
)
from medisyn_lib.pipeline.denoisers import TrainedDenoiser, denoiser_plan, snapshot_steps
from medisyn_lib.pipeline.features import cached_features
from medisyn_lib.pipeline.judged import TRAINED, judged_generator
from medisyn_lib.pipeline.paired_samples import rows_of, sample_modalities
from medisyn_lib.pipeline.suite import TrainedModel

if TYPE_CHECKING:
    import datasets

    from medisyn_lib.pipeline.generators import Generator
    from medisyn_lib.pipeline.study import Study

CHOOSING_IMAGES = 100  # calibration images that choose a specialist's checkpoint
# Split numbers of their own, so that no claim shares their sampling seeds.
CHOOSING_SPLIT = 8
SECOND_SPLIT = 7


class OwnBest(NamedTuple):
    """A specialist's checkpoint whose images lie nearest to other patients' real ones."""

    checkpoint: str  # its step, or "equal exposure"
    candidates: int
    generator: Generator


def paired_images(
    study: Study, splits: Sequence[datasets.Dataset], modalities: Sequence[str], generator: str = ""
) -> Images:
    """Sample generalist and specialists from the captions of real images, with the same seeds.

    Parameters
    ----------
    study
        Profile and data.
    splits
        One per training seed, of the first ones where there are fewer.
    modalities
        Those with a specialist.
    generator
        Folder or hub id of a model to take the generalist's place; empty or `trained` for the one
        trained here.

    Returns
    -------
    dict
        Images of the arms `real`, `generalist` and `specialist`.
    """
    images: Images = {}
    for number, (seed, split) in enumerate(zip(study.settings.seeds, splits, strict=False)):
        if generator in ("", TRAINED):
            general = str(study.generator(seed=seed).folder)
        else:
            general = judged_generator(study, generator).model
        by_generalist = sample_modalities(general, split, modalities, number)
        for name in modalities:
            special = study.generator(name, seed=seed).folder
            by_specialist = sample_modalities(special, split, [name], number)
            images[ArmKey(REAL, name, number)] = load_pixels(split, rows_of(split, name))
            images[ArmKey(GENERALIST, name, number)] = by_generalist[name]
            images[ArmKey(SPECIALIST, name, number)] = by_specialist[name]
    return images


def control_images(
    study: Study,
    split: datasets.Dataset,
    calibration: datasets.Dataset,
    modalities: Sequence[str],
) -> Images:
    """Make the images of the controls and floors, for the first training seed.

    These are the generalist's after an eighth of its steps, those of the finished one from other
    noise, other patients' real images, those blurred by a Gaussian of one pixel, and the split's real
    images through the autoencoder.
    """
    first = study.settings.seeds[0]
    eighth, *_ = snapshot_steps(denoiser_plan(study.settings))
    undertrained = study.generator(seed=first, after=eighth)
    by_undertrained = sample_modalities(undertrained, split, modalities, 0)
    finished = study.generator(seed=first).folder
    again = sample_modalities(finished, split, modalities, SECOND_SPLIT)
    images: Images = {}
    for name in modalities:
        others = load_pixels(calibration, rows_of(calibration, name))
        real = load_pixels(split, rows_of(split, name))
        images[ArmKey(UNDERTRAINED, name, 0)] = by_undertrained[name]
        images[ArmKey(SECOND_SAMPLE, name, 0)] = again[name]
        images[ArmKey(OTHER_PATIENTS, name, 0)] = others
        images[ArmKey(BLURRED, name, 0)] = blurred(others)
        images[ArmKey(AUTOENCODED, name, 0)] = study.reconstruct(real)
    return images


def long_specialist_images(
    study: Study,
    denoisers: Mapping[TrainedModel, TrainedDenoiser],
    split: datasets.Dataset,
    own_best: Mapping[str, OwnBest],
) -> Images:
    """Sample the long specialists, finished and at their own best checkpoint."""
    images: Images = {}
    *_, finished = snapshot_steps(denoiser_plan(study.settings))
    for model, denoiser in denoisers.items():
        if model.kind != LONG_SPECIALIST:
            continue
        name = model.modality
        long = study.generator(name, seed=model.seed, after=finished, denoiser=denoiser)
        by_long = sample_modalities(long, split, [name], 0)
        by_best = sample_modalities(own_best[name].generator, split, [name], 0)
        images[ArmKey(LONG_SPECIALIST, name, 0)] = by_long[name]
        images[ArmKey(OWN_BEST, name, 0)] = by_best[name]
    return images


def choose_own_best(
    study: Study,
    denoisers: Mapping[TrainedModel, TrainedDenoiser],
    calibration: datasets.Dataset,
    measure: Callable[..., float],
) -> dict[str, OwnBest]:
    """Choose each long specialist's best checkpoint, on calibration patients.

    Parameters
    ----------
    study
        Profile and data.
    denoisers
        Of `train_denoisers`; the long specialists among them are looked at.
    calibration
        Real images of patients that no claim is tested on.
    measure
        The distance that decides, called as `measure(real=, synthetic=)`.

    Returns
    -------
    dict
        By modality.
    """
    chosen = {}
    for model, denoiser in denoisers.items():
        if model.kind == LONG_SPECIALIST:
            candidates = _checkpoints(study, model, denoiser)
            distances = [
                _distance(generator, calibration, model.modality, measure)
                for generator in candidates.values()
            ]
            best = list(candidates)[int(np.argmin(distances))]
            chosen[model.modality] = OwnBest(best, len(candidates), candidates[best])
    return chosen


def _distance(
    generator: Generator,
    calibration: datasets.Dataset,
    modality: str,
    measure: Callable[..., float],
) -> float:
    """How far a generator's images of calibration captions lie from the calibration images."""
    rows = rows_of(calibration, modality, CHOOSING_IMAGES)
    real = cached_features(load_pixels(calibration, rows))
    sampled = sample_modalities(generator, calibration, [modality], CHOOSING_SPLIT, CHOOSING_IMAGES)
    return measure(real=real, synthetic=cached_features(sampled[modality]))


def _checkpoints(
    study: Study, model: TrainedModel, denoiser: TrainedDenoiser
) -> dict[str, Generator]:
    """Generators of a long specialist's checkpoints, and the specialist of equal exposure."""
    checkpoints = {}
    for step in snapshot_steps(denoiser_plan(study.settings)):
        checkpoint = study.generator(model.modality, seed=model.seed, after=step, denoiser=denoiser)
        checkpoints[str(step)] = checkpoint
    checkpoints["equal exposure"] = study.generator(model.modality, seed=model.seed)
    return checkpoints
