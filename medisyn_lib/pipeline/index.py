"""The search index over training images, cached."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from medisyn_lib.data.pixels import load_pixels
from medisyn_lib.pipeline.artifacts import UNKEYED, ArrayArtifact, Artifact

if TYPE_CHECKING:
    import datasets


@dataclass(frozen=True, eq=False)
class Index(ArrayArtifact):
    """What a description makes of each training image, float32 (n, d).

    Attributes
    ----------
    content : dict
        Which images, and which description.
    encoder : Artifact or None
        The trained encoder that describes, if one does.
    images : datasets.Dataset
        The images.
    describe : callable
        Makes float (m, d) of uint8 (m, h, w, 3).
    describe_code : tuple of modules
        Whose code decides the description.
    """

    step = "index"
    code = ()
    content: dict[str, Any]
    encoder: Artifact | None
    images: datasets.Dataset = field(metadata=UNKEYED, kw_only=True)
    describe: Callable[[np.ndarray], np.ndarray] = field(metadata=UNKEYED, kw_only=True)
    describe_code: tuple[ModuleType, ...] = field(metadata=UNKEYED, kw_only=True)

    def modules(self) -> tuple[ModuleType, ...]:
        """Return the modules whose code decides the description."""
        return self.describe_code

    def count(self) -> int:
        """Return the number of images."""
        return len(self.images)

    def block(self, rows: np.ndarray) -> np.ndarray:
        """Describe the images of some rows."""
        return self.describe(load_pixels(self.images, rows)).astype(np.float32)
