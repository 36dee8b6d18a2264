"""The classifiers of modality and finding, trained on the patients of one role."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from medisyn_lib.models import networks
from medisyn_lib.pipeline.artifacts import TRAINING_CODE, Artifact, ImageSet
from medisyn_lib.profiles import Profile
from medisyn_lib.training import classifier, loop
from medisyn_lib.training.classifier import AttributeClassifier, train_classifier


@dataclass(frozen=True, eq=False)
class Classifier(Artifact):
    """A classifier of (modality, finding) pairs."""

    step = "reader"
    code = (networks, *TRAINING_CODE, classifier)
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
