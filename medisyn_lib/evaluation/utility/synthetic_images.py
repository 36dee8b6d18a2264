"""The synthetic images of a task: a released generator's, or those of generators with no outside data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medisyn_lib.evaluation.utility.arms import RATIOS
from medisyn_lib.evaluation.utility.images import Images, draw_order, take
from medisyn_lib.pipeline.own_generator import own_generator_images
from medisyn_lib.pipeline.paired_samples import SEEDS_APART
from medisyn_lib.pipeline.samples import sample_prompts

if TYPE_CHECKING:
    from medisyn_lib.pipeline.study import Study


def sample_released_model(study: Study, model: Path | str, modality: str, turn: int) -> Images:
    """Sample a modality's images from one generator, as many as the profile sets.

    Prompts are captions of the generator's own training images, so that no caption of a classifier's
    patient is used. An image's class is the finding of its prompt, whether it can be seen or not.

    Parameters
    ----------
    study
        Whose captions.
    model
        Folder of the generator, or its id on the hub.
    modality
        Of which images.
    turn
        The generator's number, from 0, which seeds the order of prompts and the images.
    """
    count = study.settings.augmentation.synthetic_images
    captions = study.images("generator").remove_columns("image").to_pandas()
    captions = captions[captions["modality"] == modality]
    captions = captions.iloc[np.resize(draw_order(captions["finding"], turn), count)]
    prompts = captions["caption"].tolist()
    seeds = [SEEDS_APART * (turn + 1) + k for k in range(count)]
    pixels = np.array(sample_prompts(model, prompts, seeds=seeds, side=study.settings.size))
    return _of_no_patient(pixels, captions["finding"].to_numpy())


def sample_released_models(
    study: Study, models: Sequence[Path | str], modalities: Iterable[str]
) -> dict[str, list[Images]]:
    """Sample the images of each modality from each of these generators (see `sample_released_model`)."""
    return {
        modality: [
            sample_released_model(study, model, modality, turn) for turn, model in enumerate(models)
        ]
        for modality in modalities
    }


def sample_own_generators(study: Study, real: Images, draws: Sequence[int]) -> list[Images]:
    """Train a generator on the smallest n real images of each draw, and nothing else; sample from each.

    As many images as of the released model, at most the largest of RATIOS per real one.
    """
    settings = study.settings.augmentation
    count = min(max(RATIOS) * settings.smallest_n, settings.synthetic_images)
    sampled = []
    for draw in draws:
        few = take(real, draw_order(real.finding, draw)[: settings.smallest_n])
        requested = np.resize(few.finding, count)
        pixels = own_generator_images(
            few.pixels,
            few.finding,
            requested,
            settings=study.settings,
            steps=settings.own_generator_steps,
            seed=draw,
        )
        sampled.append(_of_no_patient(pixels, requested))
    return sampled


def _of_no_patient(pixels: np.ndarray, finding: np.ndarray) -> Images:
    """Synthetic images, whose patient column is filled and never used."""
    return Images(pixels, finding, patient_id=finding)
