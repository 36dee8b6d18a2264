"""The classifiers of modality and finding, trained on the patients of one role."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from medisyn_lib.data.pixels import load_pixels
from medisyn_lib.pipeline.study import MODELS_CODE, Study, data_settings
from medisyn_lib.runtime import distributed
from medisyn_lib.training import loop
from medisyn_lib.training.classifier import train_classifier


def classifier_entry(study: Study, role: str = "evaluator", *, seed: int = 0) -> Path:
    """Folder of a reader of modality and finding (`evaluators.Reader`), trained on the patients of a role."""
    plan = loop.TrainingPlan(
        study.settings.evaluator_steps, batch=32, learning_rate=3e-3, seed=seed, weight_decay=0.05
    )

    def make(directory: Path) -> None:
        images = study.images(role)
        train_classifier(
            load_pixels(images), images["modality"][:], images["finding"][:], plan, directory
        )

    what = {"plan": asdict(plan), **data_settings(study, role)}
    return distributed.keep_together(
        "reader", what, make, code=(*MODELS_CODE, "medisyn_lib.training.classifier")
    )


def has_classes(study: Study, role: str = "evaluator") -> bool:
    """Whether a role's images are of two classes or more, so that a reader can learn them."""
    images = study.images(role)
    return len({*zip(images["modality"][:], images["finding"][:], strict=True)}) > 1
