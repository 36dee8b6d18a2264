"""Synthetic images of prompts, cached."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import interpolate

from medisyn_lib.runtime import distributed
from medisyn_lib.sampling.pipeline import (
    load_pipeline,
    model_fingerprint,
    sample_images,
    sampling_settings,
)


def samples_entry(
    generator: Path | str,
    prompts: Sequence[str],
    *,
    first_seed: int = 0,
    seeds: Sequence[int] = (),
    **changed: float,
) -> Path:
    """Folder with `samples.npy`, uint8 (n, h, w, 3): one image a prompt, of these seeds, else from `first_seed` on.

    `changed` are settings of the pipeline's call, such as guidance_scale, other than the generator's own.
    """
    call = sampling_settings(str(generator)) | changed
    name = model_fingerprint(str(generator))
    seeds = list(seeds) or list(range(first_seed, first_seed + len(prompts)))

    def part(rows: np.ndarray) -> np.ndarray:
        pipeline = load_pipeline(str(generator))
        return sample_images(pipeline, [prompts[i] for i in rows], [seeds[i] for i in rows], **call)

    what: dict[str, object] = {"prompts": list(prompts), "first_seed": seeds[0], "call": call}
    if seeds != list(range(seeds[0], seeds[0] + len(seeds))):
        what["seeds"] = seeds
    count, code = lambda: len(prompts), ("medisyn_lib.sampling.pipeline",)
    return distributed.keep_array("samples", what, count, part, inputs=[name], code=code).parent


def load_samples(entry: Path, side: int = 0) -> np.ndarray:
    """The images of a samples entry, memory-mapped, or brought to a `side` in pixels where theirs is another."""
    images = np.load(entry / "samples.npy", mmap_mode="r")
    if not side or images.shape[1:3] == (side, side):
        return images
    pixels = torch.from_numpy(np.array(images)).movedim(3, 1)
    return interpolate(pixels, (side, side), mode="bilinear", antialias=True).movedim(1, 3).numpy()
