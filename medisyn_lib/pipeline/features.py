"""Features of images, cached under the images' own bytes."""

from __future__ import annotations

import hashlib

import numpy as np

from medisyn_lib.models import encoders
from medisyn_lib.models.encoders import FeatureSet
from medisyn_lib.runtime import distributed

ENCODER = "efflite0"  # the one that needs no file


def cached_features(pixels: np.ndarray) -> FeatureSet:
    """Return `encoders.features` by the default encoder, cached in the store.

    Parameters
    ----------
    pixels : np.ndarray
        uint8 (n, h, w, 3).
    """

    def embed(rows: np.ndarray) -> np.ndarray:
        return np.asarray(encoders.features(pixels[rows]), np.float32)

    settings = {
        "images": hashlib.sha256(pixels.tobytes()).hexdigest(),
        "n": len(pixels),
        "encoder": ENCODER,
    }
    path = distributed.keep_array(
        "features", settings, lambda: len(pixels), embed, code=("medisyn_lib.models.encoders",)
    )
    return FeatureSet(np.load(path).astype(np.float64), ENCODER)
