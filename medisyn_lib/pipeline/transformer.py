"""The second encoder: a vision transformer trained on the evaluator's patients, and cached features of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medisyn_lib.models.encoders import FeatureSet
from medisyn_lib.pipeline.artifacts import TRAINING_CODE, ArrayArtifact, Artifact, ImageSet, Pixels
from medisyn_lib.profiles import Profile
from medisyn_lib.training import classifier, loop, pair_classifier, transformer
from medisyn_lib.training.transformer import TransformerClassifier, train_transformer

ENCODER = "transformer"  # joins the names of measures


@dataclass(frozen=True, eq=False)
class TransformerEncoder(Artifact):
    """A vision transformer that was trained to classify (modality, finding) pairs."""

    step = "transformer"
    code = (*TRAINING_CODE, classifier, pair_classifier, transformer)
    plan: loop.TrainingPlan
    images: ImageSet

    def make(self, folder: Path) -> None:
        """Train it and write weights and class names."""
        images = self.images.load()
        modality, finding = images["modality"][:], images["finding"][:]
        train_transformer(self.images.pixels(), modality, finding, self.plan, folder)

    def load(self) -> TransformerClassifier:
        """Return the trained network."""
        return TransformerClassifier(self.folder, self.images.size)

    def features(self, pixels: np.ndarray) -> FeatureSet:
        """Return its features float64 (n, 128) of images uint8 (n, side, side, 3), cached.

        Raises
        ------
        InputError
            If the images are of another size than those that it was trained on.
        """
        values = TransformerFeatures(Pixels(pixels), self).array().astype(np.float64)
        return FeatureSet(values, ENCODER)


@dataclass(frozen=True, eq=False)
class TransformerFeatures(ArrayArtifact):
    """Features float32 (n, 128) of images."""

    step = "transformer_features"
    code = (transformer,)
    images: Pixels
    encoder: TransformerEncoder

    def count(self) -> int:
        """Return the number of images."""
        return len(self.images.array)

    def block(self, rows: np.ndarray) -> np.ndarray:
        """Encode the images of some rows."""
        return self.encoder.load().features(self.images.array[rows])


def transformer_plan(settings: Profile) -> loop.TrainingPlan:
    """Return how a profile trains its transformer."""
    return loop.TrainingPlan(
        steps=settings.encoder_steps,
        batch=32,
        learning_rate=1e-3,
        weight_decay=0.05,
        warmup_fraction=0.1,
    )
