"""Planted copies: training images distorted in known ways, which detectors must flag."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from medisyn_lib.data.pixels import load_pixels
from medisyn_lib.evaluation.memorization.conformal import flag_copies, proportion_flagged
from medisyn_lib.evaluation.memorization.detectors import Detector, match
from medisyn_lib.evaluation.memorization.set_tests import SetTests, flag_and_test
from medisyn_lib.statistics.estimates import Estimate

if TYPE_CHECKING:
    import datasets

CROP_AREA = 0.8  # fraction of the area that a crop keeps
BRIGHTNESS = (0.8, 1.2)  # factors, one of which is drawn
NOISE = 8  # standard deviation, of 255
JPEG_QUALITY = 50


def _flip(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return image[:, ::-1]


def _crop(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Crop anywhere and enlarge to the side of before."""
    side = round(CROP_AREA**0.5 * len(image))
    top, left = rng.integers(0, len(image) - side + 1, 2)
    window = Image.fromarray(image[top : top + side, left : left + side])
    return np.asarray(window.resize((len(image), len(image)), Image.Resampling.BICUBIC))


def _brightness(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return image * rng.choice(BRIGHTNESS)


def _noise(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return image + rng.normal(0, NOISE, image.shape)


def _jpeg(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=JPEG_QUALITY)
    return np.asarray(Image.open(buffer))


DISTORTIONS: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "flip": _flip,
    "crop": _crop,
    "brightness": _brightness,
    "noise": _noise,
    "jpeg": _jpeg,
}


def distort(pixels: np.ndarray, kind: str, *, seed: int) -> np.ndarray:
    """Copy square images, uint8 (n, h, h, 3), by one of DISTORTIONS; image i has its own random numbers."""
    copies = []
    for i, image in enumerate(pixels):
        rng = np.random.default_rng([seed, i])
        copies.append(DISTORTIONS[kind](image, rng))
    return np.clip(np.rint(np.array(copies)), 0, 255).astype(np.uint8)


def plant_copies(images: datasets.Dataset, n: int, *, seed: int = 5) -> dict[str, np.ndarray]:
    """Distort n training images, or all if there are fewer, in each of the ways of DISTORTIONS.

    Returns
    -------
    dict of distortion to uint8 (n, h, h, 3), of the same originals in the same order
    """
    rng = np.random.default_rng(seed)
    rows = rng.choice(len(images), min(n, len(images)), replace=False)
    originals = load_pixels(images, rows)
    return {kind: distort(originals, kind, seed=seed) for kind in DISTORTIONS}


class PlantedCopies(NamedTuple):
    """What the detectors make of planted copies.

    Attributes
    ----------
    ratio
        By distortion, float64 (n, l), of l detectors.
    recall
        By distortion, the proportion flagged.
    tests
        Of all of them as one set.
    """

    ratio: Mapping[str, np.ndarray]
    recall: Mapping[str, Estimate]
    tests: SetTests


def find_planted_copies(
    detectors: Sequence[Detector],
    images: datasets.Dataset,
    n: int,
    *,
    real: np.ndarray,
    calibration: np.ndarray,
) -> PlantedCopies:
    """Plant copies of n training images and search for them.

    Parameters
    ----------
    detectors, images
        Of copies, and the training images that they index.
    n
        Copies of each distortion.
    real, calibration
        Ratios of held-out and of calibration images, float64 (m, l).
    """
    planted = plant_copies(images, n)
    ratio = {kind: match(detectors, pixels).ratio for kind, pixels in planted.items()}
    recall = {kind: proportion_flagged(flag_copies(ratio[kind], calibration)) for kind in ratio}
    everything = np.concatenate([*ratio.values()])
    tests = flag_and_test(real=real, synthetic=everything, calibration=calibration)
    return PlantedCopies(ratio, recall, tests)
