"""Images of several generators, paired by prompt and seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from medisyn_lib.errors import InputError
from medisyn_lib.pipeline.artifacts import ImageSet
from medisyn_lib.pipeline.samples import Model, sample_prompts

if TYPE_CHECKING:
    import datasets

    from medisyn_lib.pipeline.study import Study

SEEDS_APART = 1_000_000  # between the sampling seeds of two training seeds


@dataclass(frozen=True)
class EvaluationSplit:
    """Real images that one training seed is compared with, ordered by modality.

    Attributes
    ----------
    images
        Those of all training seeds.
    per_seed
        Images per modality and training seed.
    seeds
        Training seeds.
    number
        Which of them this one is.
    """

    images: ImageSet
    per_seed: int
    seeds: int
    number: int

    @cached_property
    def dataset(self) -> datasets.Dataset:
        """The images: other ones for each seed, where there are enough."""
        everything = self.images.load()
        modality = np.array(everything["modality"][:])
        places = np.arange(self.number * self.per_seed, (self.number + 1) * self.per_seed)
        rows = (np.flatnonzero(modality == name) for name in dict.fromkeys(modality.tolist()))
        # Where the images do not suffice the count begins anew.
        chosen = [of_name[np.unique(places % len(of_name))] for of_name in rows]
        return everything.select(np.concatenate(chosen))

    @cached_property
    def patients(self) -> dict[str, np.ndarray]:
        """The patient of each image, by modality."""
        modality = np.array(self.dataset["modality"][:])
        patient = np.array(self.dataset["patient_id"][:])
        return {name: patient[modality == name] for name in dict.fromkeys(modality.tolist())}

    @cached_property
    def _content(self) -> dict[str, Any]:
        mine = {"per_seed": self.per_seed, "seeds": self.seeds, "number": self.number}
        return {**self.images.key(), **mine}

    def key(self) -> dict[str, Any]:
        """Return what these images are."""
        return self._content


def evaluation_split(
    study: Study, number: int, role: str = "test", n: int | None = None
) -> EvaluationSplit:
    """Name the real images that a training seed, by its number, is compared with (see `evaluation_splits`)."""
    settings = study.settings
    per_seed = n or settings.quality_images
    images = study.image_set(role, per_seed * len(settings.seeds))
    return _evaluation_split(images, per_seed, len(settings.seeds), number)


@lru_cache(maxsize=32)  # many measurements share a split, and read its columns
def _evaluation_split(images: ImageSet, per_seed: int, seeds: int, number: int) -> EvaluationSplit:
    return EvaluationSplit(images, per_seed, seeds, number)


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
    numbers = range(len(study.settings.seeds))
    return [evaluation_split(study, number, role, n).dataset for number in numbers]


def rows_of(split: datasets.Dataset, modality: str, limit: int | None = None) -> np.ndarray:
    """Find the rows of a modality's images, or of the first `limit` of them, in an evaluation split.

    Raises InputError if there are none.
    """
    rows = np.flatnonzero(np.array(split["modality"][:]) == modality)[:limit]
    if not len(rows):
        there = sorted(set(split["modality"][:]))
        raise InputError(f"modality {modality!r}: no held-out image; choose among {there}")
    return rows


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
