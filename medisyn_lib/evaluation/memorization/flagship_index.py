"""Which of the flagship's 30,000 training phantoms an image is nearest to, from an index that ships with it.

Drawing them all takes minutes, so the index holds what the pixel detector of copies compares: the luma of
12 x 12 cells of each. The few that are found are drawn again.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from medisyn_lib import phantoms
from medisyn_lib.data import phantom
from medisyn_lib.evaluation import neighbours
from medisyn_lib.evaluation.memorization.detectors import NEAREST
from medisyn_lib.evaluation.memorization.window_descriptors import centre_window, query_windows
from medisyn_lib.modalities import MODALITIES
from medisyn_lib.models.weights import SHIPPED
from medisyn_lib.pipeline import flagship

__all__ = [
    "PATH",
    "NearestPhantoms",
    "describe_training_phantoms",
    "nearest_phantoms",
    "training_phantom",
]

PATH = SHIPPED / "flagship_training_images.npy"  # int8 (30000, 144)
SCALE = 200.0  # bytes per unit of a component; components of unit vectors here stay below 0.6
BLOCK = 500  # phantoms drawn at a time


class NearestPhantoms(NamedTuple):
    """The training phantoms nearest to q images, nearest first.

    Attributes
    ----------
    images : uint8 (q, k, 64, 64, 3)
    row : int64 (q, k), number among all training phantoms
    ratio : float64 (q,), distance to the nearest over that to the tenth nearest: near 0 for a copy, near 1 for an
        image that resembles many
    """

    images: np.ndarray
    row: np.ndarray
    ratio: np.ndarray


def training_phantom(row: int) -> np.ndarray:
    """Draw training phantom number `row` of the flagship's, uint8 (64, 64, 3)."""
    place, number = divmod(row, flagship.PER_MODALITY)
    seed = phantom.stream(0, flagship.training_images().role)
    return phantoms.draw(list(MODALITIES)[place], seed=seed, index=number, size=flagship.SIZE)[0]


def describe_training_phantoms() -> Iterator[np.ndarray]:
    """Draw all training phantoms and yield their descriptions, int8 (500, 144), in the order of the index."""
    for first in range(0, len(MODALITIES) * flagship.PER_MODALITY, BLOCK):
        images = np.stack([training_phantom(row) for row in range(first, first + BLOCK)])
        yield as_bytes(centre_window(images))


def as_bytes(windows: np.ndarray) -> np.ndarray:
    """Return unit vectors, float (n, 144), as the index stores them, int8."""
    return np.clip(np.rint(windows * SCALE), -127, 127).astype(np.int8)


def nearest_phantoms(pixels: np.ndarray, k: int = 3, index: Path = PATH) -> NearestPhantoms:
    """Search all of the flagship's training phantoms, flips, shifts and crops included, by pixels.

    Parameters
    ----------
    pixels : np.ndarray
        uint8 (q, h, h, 3).
    k : int
        Phantoms to return of each image, 1 to 10.
    index : Path
        The file of the index.
    """
    windows = np.load(index).astype(np.float32) / SCALE
    found = neighbours.nearest(query_windows(pixels), windows, NEAREST)
    row = found.row[:, :k]
    images = np.stack([[training_phantom(int(one)) for one in rows] for rows in row])
    return NearestPhantoms(images, row, found.distance[:, 0] / found.distance[:, -1])
