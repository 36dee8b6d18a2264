"""The classifiers of modality and finding, trained on the patients of one role."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from medisyn_lib.models import encoders, networks
from medisyn_lib.pipeline import features
from medisyn_lib.pipeline.artifacts import TRAINING_CODE, Artifact, ImageSet
from medisyn_lib.pipeline.features import cached_features
from medisyn_lib.profiles import Profile
from medisyn_lib.training import classifier, linear_classifier, loop, pair_classifier
from medisyn_lib.training.classifier import AttributeClassifier, train_classifier
from medisyn_lib.training.linear_classifier import LinearClassifier, fit_linear_classifier


@dataclass(frozen=True, eq=False)
class Classifier(Artifact):
    """A classifier of (modality, finding) pairs."""

    step = "reader"
    code = (networks, *TRAINING_CODE, classifier, pair_classifier)
    plan: loop.TrainingPlan
    images: ImageSet

    def make(self, folder: Path) -> None:
        """Train it and write weights and class names."""
        images = self.images.load()
        modality, finding = images["modality"][:], images["finding"][:]
        train_classifier(self.images.pixels(), modality, finding, self.plan, folder)

    def load(self) -> AttributeClassifier:
        """Return the trained classifier."""
        return AttributeClassifier(self.folder)


@dataclass(frozen=True, eq=False)
class FittedLinearClassifier(Artifact):
    """A linear classifier of (modality, finding) pairs on the default encoder's features."""

    step = "linear_classifier"
    code = (encoders, features, linear_classifier, pair_classifier)
    images: ImageSet

    def make(self, folder: Path) -> None:
        """Fit it and write weights and class names."""
        images = self.images.load()
        modality, finding = images["modality"][:], images["finding"][:]
        values = cached_features(self.images.pixels()).values
        fit_linear_classifier(values, modality, finding, folder)

    def load(self) -> LinearClassifier:
        """Return the fitted classifier, which caches the features of the images that it scores."""
        return LinearClassifier(self.folder, lambda pixels: cached_features(pixels).values)


def classifier_plan(settings: Profile, seed: int) -> loop.TrainingPlan:
    """Return how a profile trains its classifiers."""
    return loop.TrainingPlan(
        steps=settings.evaluator_steps,
        batch=32,
        learning_rate=3e-3,
        seed=seed,
        weight_decay=0.05,
    )


def has_classes(images: ImageSet) -> bool:
    """Say whether images are of two classes or more, so that a classifier can learn them."""
    loaded = images.load()
    return len({*zip(loaded["modality"][:], loaded["finding"][:], strict=True)}) > 1
