"""The re-identification encoder, trained on the evaluator's patients."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from medisyn_lib.models import networks
from medisyn_lib.models.weights import save_weights
from medisyn_lib.pipeline.artifacts import TRAINING_CODE, Artifact, ImageSet
from medisyn_lib.pipeline.classifiers import Classifier, has_classes
from medisyn_lib.profiles import Profile
from medisyn_lib.runtime.device import seeded
from medisyn_lib.training import classifier, loop, reidentification
from medisyn_lib.training.reidentification import (
    BATCH,
    WEIGHTS,
    ReidentificationEncoder,
    patients_with_several_images,
    reidentification_network,
    train_reidentification,
)

if TYPE_CHECKING:
    import numpy as np

    from medisyn_lib.pipeline.study import Study


@dataclass(frozen=True, eq=False)
class Reidentification(Artifact):
    """An encoder that maps images of one patient close together.

    It starts from the classifier of modality and finding, which saw the same patients. None of them
    calibrates or tests a threshold.
    """

    step = "reidentification"
    code = (networks, *TRAINING_CODE, classifier, reidentification)
    plan: loop.TrainingPlan
    images: ImageSet
    start: Classifier

    def make(self, folder: Path) -> None:
        """Train it and write its weights."""
        with seeded(self.plan.seed):
            net = reidentification_network(self.start.load().net)
        patients = rows_by_patient(self.images)
        train_reidentification(net, self.images.pixels(), patients, self.plan, folder)
        save_weights(net, folder / WEIGHTS)

    def load(self) -> ReidentificationEncoder:
        """Return the trained encoder."""
        return ReidentificationEncoder(self.folder)


def rows_by_patient(images: ImageSet) -> list[np.ndarray]:
    """Return the rows of each patient who is known and has several images."""
    table = images.load()
    return patients_with_several_images(table["patient_id"][:], table["identity_known"][:])


def reidentification_of(study: Study) -> Reidentification | None:
    """Return a study's re-identification encoder; None if too few patients have several images."""
    images = study.image_set("evaluator")
    if len(rows_by_patient(images)) < BATCH or not has_classes(images):
        return None
    return Reidentification(reidentification_plan(study.settings), images, study.classifier())


def reidentification_plan(settings: Profile) -> loop.TrainingPlan:
    """Return how a profile trains the encoder; a batch counts patients, of two images each."""
    return loop.TrainingPlan(
        steps=settings.memorization.reidentification_steps,
        batch=BATCH,
        learning_rate=2e-3,
        weight_decay=0.05,
    )
