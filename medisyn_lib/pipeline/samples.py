"""Synthetic images of prompts, cached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from medisyn_lib.data.pixels import centre_squares, is_blank
from medisyn_lib.errors import InputError
from medisyn_lib.pipeline.artifacts import UNKEYED, ArrayArtifact
from medisyn_lib.sampling import outcome, pipeline
from medisyn_lib.sampling.pipeline import (
    BLANK_REMEDY,
    load_pipeline,
    model_fingerprint,
    sample_images,
    sampling_settings,
)


@dataclass(frozen=True, eq=False)
class Samples(ArrayArtifact):
    """One image for each prompt and seed, uint8 (n, h, w, 3)."""

    step = "samples"
    code = (pipeline, outcome)
    fingerprint: str
    prompts: tuple[str, ...]
    seeds: tuple[int, ...]
    call: dict[str, Any] = field(default_factory=dict)
    model: str = field(metadata=UNKEYED, kw_only=True)

    def count(self) -> int:
        """Return the number of images."""
        return len(self.prompts)

    def block(self, rows: np.ndarray) -> np.ndarray:
        """Sample the images of some prompts."""
        prompts, seeds = [self.prompts[i] for i in rows], [self.seeds[i] for i in rows]
        return sample_images(load_pipeline(self.model), prompts, seeds, **self.call)


def sample_prompts(
    model: Path | str,
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
    model : Path or str
        A pipeline folder or a hub id.
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
    samples = Samples(
        fingerprint=model_fingerprint(str(model)),
        prompts=tuple(prompts),
        seeds=tuple(seeds) or tuple(range(first_seed, first_seed + len(prompts))),
        call=sampling_settings(str(model)) | changed,
        model=str(model),
    )
    images = samples.array()
    blank = is_blank(images).sum() if refuse_blank else 0
    if blank:
        fault = f"{blank} of {len(images)} images are of one colour"
        raise InputError(f"model {Path(model).name}: {fault}: {BLANK_REMEDY}")
    return centre_squares(images, side) if side else images
