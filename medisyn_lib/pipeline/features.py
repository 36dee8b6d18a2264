"""Features of images by the default encoder, cached under the images' own bytes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from medisyn_lib.models import encoders
from medisyn_lib.models.encoders import FeatureSet
from medisyn_lib.pipeline.artifacts import ArrayArtifact, Pixels

ENCODER = "efflite0"  # the one that needs no file


@dataclass(frozen=True, eq=False)
class Features(ArrayArtifact):
    """Features float32 (n, d) of images."""

    step = "features"
    code = (encoders,)
    images: Pixels
    encoder: str = ENCODER

    def count(self) -> int:
        """Return the number of images."""
        return len(self.images.array)

    def block(self, rows: np.ndarray) -> np.ndarray:
        """Encode the images of some rows."""
        return np.asarray(encoders.features(self.images.array[rows], self.encoder), np.float32)


def cached_features(pixels: np.ndarray) -> FeatureSet:
    """Return `encoders.features` by the default encoder, cached.

    Parameters
    ----------
    pixels : np.ndarray
        uint8 (n, h, w, 3).
    """
    values = Features(Pixels(pixels)).array().astype(np.float64)
    return FeatureSet(values, ENCODER)
