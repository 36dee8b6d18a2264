"""Images of several generators, paired by prompt and seed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from medisyn_lib.data import sources
from medisyn_lib.errors import InputError
from medisyn_lib.pipeline.samples import Model, sample_prompts

if TYPE_CHECKING:
    import datasets

    from medisyn_lib.pipeline.study import Study

SEEDS_APART = 1_000_000  # between the sampling seeds of two training seeds


def evaluation_splits(
    study: Study, role: str = "test", n: int | None = None
) -> list[datasets.Dataset]:
    """Give each training seed real images to be compared with, ordered by modality.

    Parameters
    ----------
    study
        Its profile says how many training seeds there are.
    role
        Whose images they are: of `test` or `calibration` patients.
    n
        Images per modality and training seed; by default the profile's `quality_images`.

    Returns
    -------
    list of datasets.Dataset
        One per training seed: other images in each, where there are enough.
    """
    n = n or study.settings.quality_images
    seeds = len(study.settings.seeds)
    images = sources.load(study.source, role=role, size=study.settings.size, per_modality=n * seeds)
    modality = np.array(images["modality"][:])
    names = dict.fromkeys(modality.tolist())
    rows_of_modality = [np.flatnonzero(modality == name) for name in names]
    splits = []
    for number in range(seeds):
        places = np.arange(number * n, number * n + n)
        # Where the images do not suffice the count begins anew.
        chosen = [rows[np.unique(places % len(rows))] for rows in rows_of_modality]
        splits.append(images.select(np.concatenate(chosen)))
    return splits


def rows_of(split: datasets.Dataset, modality: str, limit: int | None = None) -> np.ndarray:
    """Find the rows of a modality's images, or of the first `limit` of them, in an evaluation split.

    Raises InputError if there are none.
    """
    rows = np.flatnonzero(np.array(split["modality"][:]) == modality)[:limit]
    if not len(rows):
        there = sorted(set(split["modality"][:]))
        raise InputError(f"modality {modality!r}: no held-out image; choose among {there}")
    return rows


def patients_of(split: datasets.Dataset, modality: str, limit: int | None = None) -> np.ndarray:
    """Give the patient of each image that `rows_of` finds."""
    return np.array(split["patient_id"][:])[rows_of(split, modality, limit)]


def sample_modalities(
    model: Model,
    split: datasets.Dataset,
    modalities: Sequence[str],
    split_number: int,
    limit: int | None = None,
) -> dict[str, np.ndarray]:
    """Generate images from the captions of some modalities of an evaluation split.

    A row's place in the split is its seed, so the images of two models are paired.

    Parameters
    ----------
    model
        As of `sample_prompts`.
    split
        One of `evaluation_splits`.
    modalities
        Whose captions are taken.
    split_number
        Which one it is: sets its sampling seeds apart from those of other splits.
    limit
        Images per modality at most.

    Returns
    -------
    dict
        By modality, uint8 (n, h, w, 3), brought to the size of the real images.
    """
    rows_by_modality = {name: rows_of(split, name, limit) for name in modalities}
    sampled = np.concatenate(list(rows_by_modality.values()))
    seeds = (SEEDS_APART * split_number + sampled).tolist()
    prompts = split.select(sampled)["caption"][:]
    images = sample_prompts(model, prompts, seeds=seeds, side=split[0]["image"].width)
    return {
        name: images[np.flatnonzero(np.isin(sampled, rows))]
        for name, rows in rows_by_modality.items()
    }
