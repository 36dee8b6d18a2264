"""What the notebooks on quality and compute share: paired images of generators, features, the frozen pilot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medisyn_lib.data import sources
from medisyn_lib.errors import InputError
from medisyn_lib.pipeline.samples import load_samples, samples_entry

if TYPE_CHECKING:
    import datasets

    from medisyn_lib.pipeline.study import Study
SEEDS_APART = 1_000_000  # between the sampling seeds of two training seeds


def evaluation_splits(
    study: Study, role: str = "test", n: int | None = None
) -> list[datasets.Dataset]:
    """For each training seed `n` images a modality, ordered by modality; other images each where there are enough."""
    n, seeds = n or study.settings.quality_images, len(study.settings.seeds)
    images = sources.load(study.source, role=role, size=study.settings.size, per_modality=n * seeds)
    modality = np.array(images["modality"][:])
    places = [np.flatnonzero(modality == name) for name in dict.fromkeys(modality.tolist())]
    turns = [np.arange(k * n, k * n + n) for k in range(seeds)]
    return [
        images.select(np.concatenate([own[np.unique(turn % len(own))] for own in places]))
        for turn in turns
    ]


def rows_of(asked: datasets.Dataset, modality: str, most: int | None = None) -> np.ndarray:
    """Where the images of a modality, or the first of them, lie in a deal. Raises InputError if there are none."""
    rows = np.flatnonzero(np.array(asked["modality"][:]) == modality)[:most]
    if not len(rows):
        raise InputError(
            f"modality {modality!r}: no held-out image; choose among {sorted(set(asked['modality'][:]))}"
        )
    return rows


def sample_modalities(
    model: Path | str, asked: datasets.Dataset, names: Sequence[str], turn: int, most: int | None = None,
    whole: bool = False,
) -> dict[str, np.ndarray]:  # fmt: skip
    """Images of some modalities' captions in deal number `turn`, uint8; a row's place in the deal is its seed.

    So two models' images are paired. `whole` draws all of the deal at once, as notebook 01 does with a generalist.
    """
    rows = {name: rows_of(asked, name, most) for name in names}
    some = np.arange(len(asked)) if whole else np.concatenate(list(rows.values()))
    seeds = (SEEDS_APART * turn + some).tolist()
    entry = samples_entry(model, asked.select(some)["caption"][:], seeds=seeds)
    images = load_samples(entry, asked[0]["image"].width)
    return {name: images[np.flatnonzero(np.isin(some, own))] for name, own in rows.items()}
