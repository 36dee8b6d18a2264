"""The network that grades fundus images, trained on cheap grades, alone or with synthetic images; cached."""

from __future__ import annotations

from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from medisyn_lib.data.pixels import load_pixels
from medisyn_lib.pipeline.generators import generator_entry
from medisyn_lib.pipeline.samples import load_samples, samples_entry
from medisyn_lib.pipeline.study import MODELS_CODE, Study
from medisyn_lib.runtime.distributed import keep_together
from medisyn_lib.sampling.pipeline import resolve_model
from medisyn_lib.training.classifier import AttributeClassifier, train_classifier

if TYPE_CHECKING:
    import datasets


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


def grading_network_entry(images: GradedImages, *, steps: int, seed: int) -> Path:
    """Return the folder of an `AttributeClassifier` of grades, trained for so many steps; kept in the store."""
    plan = X
    modality = ["fundus"] * len(images.grades)
    finding = [f"grade {grade}" for grade in images.grades]
    content = [sha256(array.tobytes()).hexdigest() for array in images]

    def make(directory: Path) -> None:
        train_classifier(images.pixels, modality, finding, plan, directory)

    what = {"plan": asdict(plan), "content": content}
    code = ("medisyn_lib.training.classifier", *MODELS_CODE)
    return keep_together("grading", what, make, code=code)


def graded_images(images: datasets.Dataset, grades: np.ndarray) -> GradedImages:
    """Return the images that have a grade; `grades` is -1 where there is none."""
    graded = grades >= 0
    return GradedImages(load_pixels(images)[graded], grades[graded])


def grading_networks(
    study: Study, training: GradedImages, *, tuning: datasets.Dataset, test: datasets.Dataset
) -> list[Logits]:
    """Train one network per training seed, and compute its logits of the tuning and the test images."""
    tuning_pixels, test_pixels = load_pixels(tuning), load_pixels(test)
    networks = []
    for seed in study.settings.seeds:
        entry = grading_network_entry(training, steps=study.settings.grading.steps, seed=seed)
        network = AttributeClassifier(entry)
        networks.append(Logits(network.scores(tuning_pixels), network.scores(test_pixels)))
    return networks


def graded_synthetic_images(study: Study, generator: str) -> GradedImages:
    """Sample fundus images by the prompts of training images, as many as the profile says; their grades are known.

    `generator` is a folder or a hub id; empty: the study's own generalist.
    """
    n = study.settings.grading.synthetic_images
    images = study.images("generator")
    fundus = np.flatnonzero(np.array(images["modality"][:]) == "fundus")
    prompts = images.select(fundus[:n].tolist())
    model = resolve_model(generator) if generator else str(generator_entry(study))
    pixels = load_samples(samples_entry(model, prompts["caption"][:]), study.settings.size)
    return GradedImages(pixels, np.array(prompts["grade"][:]))
