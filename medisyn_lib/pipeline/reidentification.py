"""The re-identification encoder, trained on the evaluator's patients."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from medisyn_lib.data.pixels import load_pixels
from medisyn_lib.models.weights import save_weights
from medisyn_lib.pipeline.classifiers import classifier_entry, has_classes
from medisyn_lib.pipeline.study import MODELS_CODE, Study
from medisyn_lib.runtime import distributed
from medisyn_lib.runtime.device import seeded
from medisyn_lib.training import loop
from medisyn_lib.training.classifier import AttributeClassifier
from medisyn_lib.training.reidentification import (
    BATCH,
    WEIGHTS,
    patients_with_several_images,
    reidentification_network,
    train_reidentification,
)


def reidentification_entry(study: Study) -> Path | None:
    """Train the re-identification encoder on the evaluator's patients, cached.

    It starts from the classifier of modality and finding, which saw the same patients. None of them
    calibrates or tests a threshold.

    Returns
    -------
    Folder of the encoder; None if too few patients are known to have several images
    """
    images = study.images("evaluator")
    patients = patients_with_several_images(images["patient_id"][:], images["identity_known"][:])
    if len(patients) < BATCH or not has_classes(study):
        return None
    reader, plan = (
        classifier_entry(study),
        loop.TrainingPlan(
            study.settings.memorization.reidentification_steps, BATCH, 2e-3, weight_decay=0.05
        ),
    )

    def make(directory: Path) -> None:
        with seeded(plan.seed):
            net = reidentification_network(AttributeClassifier(reader).net)
        train_reidentification(net, load_pixels(images), patients, plan, directory)
        save_weights(net, directory / WEIGHTS)

    what = {"plan": asdict(plan), "images": len(images)}
    code = (
        *MODELS_CODE,
        "medisyn_lib.training.classifier",
        "medisyn_lib.training.reidentification",
    )
    return distributed.keep_together(
        "reidentification", what, make, inputs=[reader.name], code=code
    )
