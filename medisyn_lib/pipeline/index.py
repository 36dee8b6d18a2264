"""The search index over training images, cached."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medisyn_lib.data.pixels import load_pixels
from medisyn_lib.runtime import distributed

if TYPE_CHECKING:
    import datasets

VECTORS = "index.npy"


def index_entry(
    images: datasets.Dataset,
    describe: Callable[[np.ndarray], np.ndarray],
    what: Mapping[str, Any],
    inputs: Sequence[str] = (),
    code: Sequence[str] = (),
) -> Path:
    """Index images by a description, 1,024 in memory at a time.

    Parameters
    ----------
    images : n images
    describe : makes float (m, d) of uint8 (m, h, w, 3)
    what, inputs, code : which images and which description (`store.keep`)

    Returns
    -------
    Folder with `index.npy`, float32 (n, d), which can be memory-mapped
    """

    def part(rows: np.ndarray) -> np.ndarray:
        return describe(load_pixels(images, rows)).astype(np.float32)

    def count() -> int:
        return len(images)

    return distributed.keep_array("index", what, count, part, inputs=inputs, code=code).parent
