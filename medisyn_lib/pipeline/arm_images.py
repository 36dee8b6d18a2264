"""Images of one arm of a comparison, described by what they are made from, and made when they are asked for."""

from __future__ import annotations

import sys
from abc import abstractmethod
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from medisyn_lib.data import pixels
from medisyn_lib.data.pixels import blurred, load_pixels
from medisyn_lib.pipeline import paired_samples
from medisyn_lib.pipeline.artifacts import UNKEYED, Pixels, Recipe
from medisyn_lib.pipeline.autoencoders import Autoencoder, Reconstruction
from medisyn_lib.pipeline.paired_samples import (
    EvaluationSplit,
    rows_of,
    sample_modalities,
)
from medisyn_lib.sampling import outcome, pipeline

if TYPE_CHECKING:
    import datasets

    from medisyn_lib.pipeline.generators import Generator
    from medisyn_lib.pipeline.samples import Model


@dataclass(frozen=True, eq=False)
class ArmImages(Recipe):
    """Images of some modalities, one for each real image of an evaluation split.

    Attributes
    ----------
    split
        The real images.
    modalities
        Those that it has images of.
    limit
        Images per modality, at most; None for all.
    """

    split: EvaluationSplit
    modalities: tuple[str, ...]
    limit: int | None

    @property
    def asked(self) -> datasets.Dataset:
        """The real images, loaded."""
        return self.split.dataset

    def count(self, modality: str) -> int:
        """Return the number of images of a modality."""
        return len(self.patients(modality))

    def patients(self, modality: str) -> np.ndarray:
        """Return the patient of each image of a modality, or of the one whose caption was its prompt, (n,)."""
        return self.split.patients[modality][: self.limit]

    @abstractmethod
    def images(self) -> dict[str, np.ndarray]:
        """Return the images by modality, uint8 (n, h, w, 3); they are made now, if they are not cached."""


@dataclass(frozen=True, eq=False)
class RealImages(ArmImages):
    """The real images themselves."""

    step = "real_images"
    code: ClassVar[tuple[ModuleType, ...]] = (paired_samples, pixels, sys.modules[__name__])

    def images(self) -> dict[str, np.ndarray]:
        """Return the images by modality."""
        return {
            name: load_pixels(self.asked, rows_of(self.asked, name, self.limit))
            for name in self.modalities
        }


@dataclass(frozen=True, eq=False)
class BlurredImages(RealImages):
    """The real images, blurred by a Gaussian of one pixel."""

    step = "blurred_images"

    def images(self) -> dict[str, np.ndarray]:
        """Return the images by modality."""
        return {name: blurred(sharp) for name, sharp in super().images().items()}


@dataclass(frozen=True, eq=False)
class AutoencodedImages(RealImages):
    """The real images through the autoencoder and back."""

    step = "autoencoded_images"
    autoencoder: Autoencoder

    def images(self) -> dict[str, np.ndarray]:
        """Return the images by modality."""
        return {
            name: Reconstruction(self.autoencoder, Pixels(original)).array()
            for name, original in super().images().items()
        }


@dataclass(frozen=True, eq=False)
class SampledImages(ArmImages):
    """A generator's images of the real ones' captions.

    Attributes
    ----------
    generator
        Whose images they are.
    noise
        Number that sets the sampling seeds apart from those of other splits.
    sampled
        Images per modality to sample, at most, of which `limit` are taken; None for all.
    """

    step = "sampled_images"
    code: ClassVar[tuple[ModuleType, ...]] = (
        paired_samples,
        pipeline,
        outcome,
        sys.modules[__name__],
    )
    generator: Generator | GivenGenerator
    noise: int
    sampled: int | None = None

    def images(self) -> dict[str, np.ndarray]:
        """Return the images by modality."""
        found = sample_modalities(self.model, self.asked, self.modalities, self.noise, self.sampled)
        return {name: images[: self.limit] for name, images in found.items()}

    @property
    def model(self) -> Model:
        """What is sampled: a generator of a study, a pipeline folder or a hub id."""
        if isinstance(self.generator, GivenGenerator):
            return self.generator.model
        return self.generator


@dataclass(frozen=True, eq=False)
class GivenGenerator(Recipe):
    """A generator made elsewhere, known by its fingerprint (`sampling.pipeline.model_fingerprint`)."""

    step = "given_generator"
    code = ()
    fingerprint: str
    model: str = field(metadata=UNKEYED, kw_only=True)
