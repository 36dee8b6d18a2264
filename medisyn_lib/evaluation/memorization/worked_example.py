"""How a copy is found, step by step: an image and the training images that lie nearest to it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from medisyn_lib.data.pixels import load_pixels
from medisyn_lib.evaluation.memorization.detectors import Detector, nearest_training
from medisyn_lib.evaluation.memorization.images import RealImages
from medisyn_lib.evaluation.memorization.planted_copies import distort
from medisyn_lib.pipeline.artifacts import Pixels

__all__ = ["WorkedExample", "work_examples"]


class WorkedExample(NamedTuple):
    """An image and its neighbours, by one detector.

    Attributes
    ----------
    pixels : uint8 (h, h, 3)
    row : int (k,), rows of the training images, the nearest first
    distance : float64 (k,)
    """

    pixels: np.ndarray
    row: np.ndarray
    distance: np.ndarray

    @property
    def relative(self) -> np.ndarray:
        """The distances over the last of them, float64 (k,): the first is the ratio that is judged."""
        return self.distance / max(self.distance[-1], 1e-12)


def work_examples(
    detector: Detector, real: RealImages, distortion: str = "crop"
) -> dict[str, WorkedExample]:
    """Search for a held-out image and for a copy of a training image, as `match` does, and keep every step.

    They are the first held-out image and a distortion (of `planted_copies.DISTORTIONS`) of the training image
    in the middle: not chosen by eye.
    """
    original = load_pixels(real.training, [len(real.training) // 2])
    images = {
        "held out": load_pixels(real.held_out, [0])[0],
        f"copy: {distortion}": distort(original, distortion, seed=5)[0],
    }
    pixels = np.stack(list(images.values()))
    found = nearest_training(detector, Pixels(pixels))
    return {
        name: WorkedExample(pixels[place], found.row[place], found.distance[place])
        for place, name in enumerate(images)
    }
