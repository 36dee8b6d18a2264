"""Synthetic images of prompts, cached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from medisyn_lib.pipeline.artifacts import UNKEYED, ArrayArtifact
from medisyn_lib.sampling import pipeline
from medisyn_lib.sampling.pipeline import (
    load_pipeline,
    model_fingerprint,
    sample_images,
    sampling_settings,
)


@dataclass(frozen=True, eq=False)
class Samples(ArrayArtifact):
    """One image for each prompt and seed, uint8 (n, h, w, 3)."""

    step = "samples"
    code = (pipeline,)
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
        Side in pixels that images are brought to; 0 leaves them as the pipeline makes them.
    **changed : float
        Arguments of the pipeline's call, such as `guidance_scale`, other than the generator's own.

    Returns
    -------
    ndarray
        uint8 (n, h, w, 3), memory-mapped unless resized.
    """
    samples = Samples(
        fingerprint=model_fingerprint(str(model)),
        prompts=tuple(prompts),
        seeds=tuple(seeds) or tuple(range(first_seed, first_seed + len(prompts))),
        call=sampling_settings(str(model)) | changed,
        model=str(model),
    )
    return resized(samples.array(), side)


def resized(images: np.ndarray, side: int) -> np.ndarray:
    """Bring uint8 images (n, h, w, 3) to a side in pixels (bilinear, antialiased); 0 leaves them."""
    if not side or images.shape[1:3] == (side, side):
        return images
    import torch
    from torch.nn.functional import interpolate

    pixels = torch.from_numpy(np.array(images)).movedim(3, 1)
    return interpolate(pixels, (side, side), mode="bilinear", antialias=True).movedim(1, 3).numpy()
