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
    images: datasets.Dataset, describe: Callable[[np.ndarray], np.ndarray], what: Mapping[str, Any],
    inputs: Sequence[str] = (), code: Sequence[str] = (),
) -> Path:  # fmt: skip
    """Folder with `index.npy`, float32 (n, d): what `describe` makes of each image, 1,024 in memory at a time.

    `what`, `inputs` and `code` say which images and which description (`store.keep`).
    """

    def part(rows: np.ndarray) -> np.ndarray:
        return describe(load_pixels(images, rows)).astype(np.float32)

    code = ("medisyn_lib.evaluation.neighbours", *code)
    return distributed.keep_array(
        "index", what, lambda: len(images), part, inputs=inputs, code=code
    ).parent
