"""Synthetic images of prompts, cached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from medisyn_lib.data.pixels import centre_squares, is_blank
from medisyn_lib.errors import InputError
from medisyn_lib.pipeline.artifacts import UNKEYED, ArrayArtifact
from medisyn_lib.pipeline.generators import Generator
from medisyn_lib.sampling import outcome, pipeline
from medisyn_lib.sampling.pipeline import (
    BLANK_REMEDY,
    load_pipeline,
    model_fingerprint,
    sample_images,
    sampling_settings,
)

Model = Path | str | Generator


@dataclass(frozen=True, eq=False)
class Samples(ArrayArtifact):
    """One image for each prompt and seed, uint8 (n, h, w, 3)."""

    step = "samples"
    code = (pipeline, outcome)
    fingerprint: str  # of the model
    prompts: tuple[str, ...]
    seeds: tuple[int, ...]
    call: dict[str, Any] = field(default_factory=dict)
    model: str | Generator = field(metadata=UNKEYED, kw_only=True)

    def count(self) -> int:
        """Return the number of images."""
        return len(self.prompts)

    def block(self, rows: np.ndarray) -> np.ndarray:
        """Sample the images of some prompts."""
        prompts, seeds = [self.prompts[i] for i in rows], [self.seeds[i] for i in rows]
        model = self.model
        loaded = model.pipeline() if isinstance(model, Generator) else load_pipeline(model)
        return sample_images(loaded, prompts, seeds, **self.call)


def sample_prompts(
    model: Model,
    prompts: Sequence[str],
    *,
    first_seed: int = 0,
    seeds: Sequence[int] = (),
    side: int = 0,
    refuse_blank: bool = True,
    **changed: float,
) -> np.ndarray:
    """Return one image for each prompt by a pipeline, cached.

    Parameters
    ----------
    model : Path, str or Generator
        A pipeline folder or a hub id; or a generator of a study, which leaves no folder in the store
        if it is one `after` so many steps.
    prompts : sequence of str
        One for each image.
    first_seed : int
        Seed of the first image; the next ones count on. Not used where `seeds` are given.
    seeds : sequence of int
        One for each image.
    side : int
        Side in pixels that images are brought to, by their centre square; 0 leaves them as the
        pipeline makes them.
    refuse_blank : bool
        Whether images of one colour, as a safety checker leaves them, are refused.
    **changed : float
        Arguments of the pipeline's call, such as `guidance_scale`, other than the generator's own.

    Returns
    -------
    ndarray
        uint8 (n, h, w, 3), memory-mapped unless resized.

    Raises
    ------
    InputError
        Where images are blank, and as `sample_images`.
    """
    if isinstance(model, Generator) and model.after is None:
        model = model.folder
    given = model if isinstance(model, Generator) else str(model)
    samples = Samples(
        fingerprint=_fingerprint(given),
        prompts=tuple(prompts),
        seeds=tuple(seeds) or tuple(range(first_seed, first_seed + len(prompts))),
        call=_call(given) | changed,
        model=given,
    )
    images = samples.array()
    blank = is_blank(images).sum() if refuse_blank else 0
    if blank:
        fault = f"{blank} of {len(images)} images are of one colour"
        raise InputError(f"model {name_of(model)}: {fault}: {BLANK_REMEDY}")
    return centre_squares(images, side) if side else images


def name_of(model: Model) -> str:
    """Return what a model is called in messages."""
    return model.name if isinstance(model, Generator) else Path(model).name


def _fingerprint(model: str | Generator) -> str:
    """What the images of a model depend on; of one that is not in the store, what it would be called there."""
    return model.name if isinstance(model, Generator) else model_fingerprint(model)


def _call(model: str | Generator) -> dict[str, Any]:
    """The sampling arguments that suit a model."""
    return asdict(model.call) if isinstance(model, Generator) else sampling_settings(model)
