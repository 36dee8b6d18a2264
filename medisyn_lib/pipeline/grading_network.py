"""The network that grades fundus images, trained on cheap grades, alone or with synthetic images; cached."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from medisyn_lib.data.pixels import load_pixels
from medisyn_lib.models import networks
from medisyn_lib.pipeline.artifacts import TRAINING_CODE, Artifact, Pixels
from medisyn_lib.pipeline.samples import sample_prompts
from medisyn_lib.training import classifier, loop, pair_classifier
from medisyn_lib.training.classifier import AttributeClassifier, train_classifier

if TYPE_CHECKING:
    import datasets

    from medisyn_lib.pipeline.judged import JudgedGenerator
    from medisyn_lib.pipeline.study import Study


class GradedImages(NamedTuple):
    """Images uint8 (n, h, w, 3) and a grade 0 to 4 of each, int (n,)."""

    pixels: np.ndarray
    grades: np.ndarray

    def joined(self, other: GradedImages) -> GradedImages:
        """Return these images followed by others."""
        return GradedImages(
            np.concatenate([self.pixels, other.pixels]),
            np.concatenate([self.grades, other.grades]),
        )


class Logits(NamedTuple):
    """One network's logits of the tuning and of the test images: float32 (n, classes) each."""

    tuning: np.ndarray
    test: np.ndarray


@dataclass(frozen=True, eq=False)
class GradingNetwork(Artifact):
    """An `AttributeClassifier` of the grades of fundus images."""

    step = "grading"
    code = (networks, *TRAINING_CODE, classifier, pair_classifier)
    plan: loop.TrainingPlan
    pixels: Pixels
    grades: tuple[int, ...]

    def make(self, folder: Path) -> None:
        """Train it and write weights and class names."""
        modality = ["fundus"] * len(self.grades)
        finding = [f"grade {grade}" for grade in self.grades]
        train_classifier(self.pixels.array, modality, finding, self.plan, folder)

    def load(self) -> AttributeClassifier:
        """Return the trained network."""
        return AttributeClassifier(self.folder)


def train_grading_network(images: GradedImages, *, steps: int, seed: int) -> AttributeClassifier:
    """Return a network that grades, trained on these images for so many steps; cached."""
    plan = loop.TrainingPlan(
        steps=steps, batch=32, learning_rate=3e-3, seed=seed, weight_decay=0.05
    )
    return GradingNetwork(plan, Pixels(images.pixels), tuple(images.grades.tolist())).load()


def graded_images(images: datasets.Dataset, grades: np.ndarray) -> GradedImages:
    """Return the images that have a grade; `grades` is -1 where there is none."""
    graded = grades >= 0
    return GradedImages(load_pixels(images)[graded], grades[graded])


def grading_networks(
    study: Study, training: GradedImages, *, tuning: datasets.Dataset, test: datasets.Dataset
) -> list[Logits]:
    """Train one network per training seed, and compute its logits of the tuning and the test images."""
    tuning_pixels, test_pixels = load_pixels(tuning), load_pixels(test)
    logits = []
    for seed in study.settings.seeds:
        network = train_grading_network(training, steps=study.settings.grading.steps, seed=seed)
        logits.append(Logits(network.scores(tuning_pixels), network.scores(test_pixels)))
    return logits


def graded_synthetic_images(generator: JudgedGenerator) -> GradedImages:
    """Sample fundus images by the prompts of training images, as many as the profile says; their grades are known."""
    study = generator.study
    n = study.settings.grading.synthetic_images
    images = study.images("generator")
    fundus = np.flatnonzero(np.array(images["modality"][:]) == "fundus")
    prompts = images.select(fundus[:n].tolist())
    pixels = sample_prompts(generator.model, prompts["caption"][:], side=study.settings.size)
    return GradedImages(pixels, np.array(prompts["grade"][:]))
