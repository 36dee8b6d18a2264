"""Classical augmentation: images mirrored, shifted, brighter or darker."""

from __future__ import annotations

import numpy as np

VIEWS = 3  # of an image: itself, and two augmented
SHIFT = 8  # an image is shifted by up to its side divided by this
BRIGHTNESS = (0.8, 1.2)


def augmented_views(pixels: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return each image with its augmented views.

    A view is mirrored with probability 1/2, shifted by up to an eighth of the side, and up to 20% brighter
    or darker.

    Parameters
    ----------
    pixels
        uint8 (n, h, w, 3), square.
    seed
        Seed of what each view is.

    Returns
    -------
    views
        uint8 (n, VIEWS, h, w, 3), the image itself first.
    """
    rng = np.random.default_rng([seed, 11])
    views = np.repeat(pixels[:, None], VIEWS, 1)
    for i, k in np.ndindex(len(pixels), VIEWS - 1):
        views[i, k + 1] = _augmented(pixels[i], rng)
    return views


def _augmented(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    side = len(image)
    reach = side // SHIFT
    mirrored = image[:, :: rng.choice([1, -1])]
    padded = np.pad(mirrored, ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    top, left = rng.integers(0, 2 * reach + 1, 2)
    shifted = padded[top : top + side, left : left + side]
    return (shifted * rng.uniform(*BRIGHTNESS)).clip(0, 255)
