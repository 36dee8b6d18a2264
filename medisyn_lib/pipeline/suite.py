"""Generalist and specialists of a study: which there are, trained, and their images sampled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from medisyn_lib.pipeline.arms import GENERALIST, LONG_SPECIALIST, SPECIALIST
from medisyn_lib.pipeline.denoisers import TrainedDenoiser
from medisyn_lib.pipeline.features import cached_features
from medisyn_lib.pipeline.paired_samples import evaluation_splits, sample_modalities
from medisyn_lib.runtime.distributed import agreed, deal

if TYPE_CHECKING:
    from medisyn_lib.pipeline.study import Study


class TrainedModel(NamedTuple):
    """One denoiser of a suite."""

    kind: str
    modality: str  # empty: all of them
    seed: int  # of training


def compared_modalities(specialists: Sequence[str], reasons: Mapping[str, str]) -> list[str]:
    """Choose the modalities in which a generalist is compared with a specialist.

    Parameters
    ----------
    specialists
        Modalities that the profile trains a specialist for.
    reasons
        By modality of the data, why it cannot be tested; empty where it can.

    Returns
    -------
    list of str
        Those with too few patients count only where all have too few.
    """
    present = [name for name in specialists if name in reasons]
    testable = [name for name in present if not reasons[name]]
    return testable or present


def train_denoisers(
    study: Study, modalities: Sequence[str], *, long_specialists: bool = False
) -> dict[TrainedModel, TrainedDenoiser]:
    """Train the denoisers of generalist and specialists, for each training seed; of finished ones a record is enough.

    On several processes whole trainings are dealt to them where there are enough of a kind (`distributed.deal`).

    Parameters
    ----------
    study
        Profile and data.
    modalities
        Those with a specialist.
    long_specialists
        Also train, with the first seed, those specialists of the profile that see as many images
        as the generalist.

    Returns
    -------
    dict
        Each by what it is. Generalists come after specialists, as notebook 01 may be training
        the first of them at the same time.
    """
    denoisers = {}
    for seed in study.settings.seeds:
        for name in modalities:
            denoisers[TrainedModel(SPECIALIST, name, seed)] = study.denoiser(name, seed=seed)
        denoisers[TrainedModel(GENERALIST, "", seed)] = study.denoiser(seed=seed)
    if long_specialists:
        first = study.settings.seeds[0]
        for name in study.settings.long_specialists:
            if name in modalities:
                long = study.denoiser(name, seed=first, long=True)
                denoisers[TrainedModel(LONG_SPECIALIST, name, first)] = long
    records = [made.record for made in denoisers.values()]
    if agreed(lambda: not all(record.is_stored for record in records)):
        study.latents.ensure()
        study.embeddings.ensure()
    for kind in (SPECIALIST, GENERALIST, LONG_SPECIALIST):
        # As long as one another, so that whole ones can be dealt to processes.
        deal([made.record.ensure for model, made in denoisers.items() if model.kind == kind])
    return denoisers


def suite(study: Study) -> list[Path]:
    """Make the generators that notebook 02 compares, their images and features, by all processes."""
    generators: list[Path] = []
    splits = evaluation_splits(study)
    there = set(splits[0]["modality"][:])
    train_denoisers(study, [name for name in study.settings.specialists if name in there])
    for number, (seed, split) in enumerate(zip(study.settings.seeds, splits, strict=True)):
        present = [name for name in study.settings.specialists if name in set(split["modality"][:])]
        for name in (None, *present):
            generator = study.generator(name, seed=seed).folder
            generators.append(generator)
            modalities = present if name is None else [name]
            images = sample_modalities(generator, split, modalities, number)
            for pixels in images.values():
                cached_features(pixels)
    return generators
