"""What comes out of a pipeline: its arrays as pixels, once it is sure that they are images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from medisyn_lib.errors import InputError

__all__ = ["Sampled", "as_pixels", "checked_output", "joined"]

COLOURS = (1, 3)  # channels of an image: grey or RGB


class Sampled(NamedTuple):
    """Sampled images.

    Attributes
    ----------
    pixels : uint8 (n, h, w, 3)
    flagged : bool (n,), whether the pipeline's safety checker took offence; such an image is black
    """

    pixels: np.ndarray
    flagged: np.ndarray


def checked_output(output: Any, seeds: Sequence[int], model: str) -> Sampled:
    """Return what a diffusers pipeline has put out for these seeds, as images and flags.

    Parameters
    ----------
    output
        Of a call with `output_type="np"`: `images` in [0, 1], and perhaps `nsfw_content_detected`.
    seeds
        Of the images.
    model
        Names the pipeline in errors.

    Raises
    ------
    InputError
        As `as_pixels`.
    """
    pixels = as_pixels(output.images, seeds, model)
    flags = getattr(output, "nsfw_content_detected", None) or [False] * len(pixels)
    flagged = np.array(flags, bool)
    pixels[flagged] = 0  # as diffusers' own checker does
    return Sampled(pixels, flagged)


def as_pixels(images: np.ndarray, seeds: Sequence[int], model: str) -> np.ndarray:
    """Return images in [0, 1], float (n, h, w, c), as uint8 (n, h, w, 3); grey ones become RGB.

    Raises
    ------
    InputError
        For images that are not finite, or neither grey nor RGB.
    """
    channels = images.shape[3] if images.ndim == 4 else 0
    if channels not in COLOURS:
        fault = f"puts out arrays of shape {images.shape}, not grey or RGB images; give another"
        raise InputError(f"model {model}: {fault}")
    finite = np.isfinite(images).all(axis=(1, 2, 3))
    if not finite.all():
        seed = seeds[int(np.flatnonzero(~finite)[0])]
        fault = (
            f"{np.count_nonzero(~finite)} of {len(images)} images are not finite, first seed {seed}"
        )
        mend = "its weights are damaged, or overflow in half precision; save them again in float32"
        raise InputError(f"model {model}: {fault}: {mend}")
    pixels = np.rint(images * 255.0).astype(np.uint8)
    return np.repeat(pixels, 3, axis=3) if channels == 1 else pixels


def joined(parts: Sequence[Sampled]) -> Sampled:
    """Join sampled images, batch after batch."""
    return Sampled(
        np.concatenate([part.pixels for part in parts]),
        np.concatenate([part.flagged for part in parts]),
    )
