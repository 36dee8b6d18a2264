"""Every step that judges images, on a few images: what tests of devices compare."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np

from medisyn_lib.evaluation import neighbours
from medisyn_lib.evaluation.attributes import features_and_logits
from medisyn_lib.evaluation.memorization.detectors import photograph_encoder
from medisyn_lib.evaluation.utility.arms import Arm, Run
from medisyn_lib.evaluation.utility.networks import train_network
from medisyn_lib.evaluation.utility.tasks import Task
from medisyn_lib.evaluation.utility.training import train_side_by_side
from medisyn_lib.models import encoders
from medisyn_lib.models.weights import save_weights
from medisyn_lib.pipeline.own_generator import own_generator_images
from medisyn_lib.profiles import PROFILES
from medisyn_lib.runtime.device import seeded
from medisyn_lib.training import reidentification
from medisyn_lib.training.classifier import WEIGHTS, AttributeClassifier, classifier_network
from medisyn_lib.training.loop import TrainingPlan
from medisyn_lib.training.pair_classifier import write_classes
from medisyn_lib.training.transformer import TransformerClassifier, transformer_network

RNG = np.random.default_rng(0)
SIDE = 32
PIXELS = RNG.integers(0, 256, (24, SIDE, SIDE, 3), dtype=np.uint8)
CLASSES = [("ct", "mass"), ("ct", "none"), ("fundus", "none")]
FINDINGS = ["mass", "none"] * 12
PATIENTS = [np.arange(first, first + 2) for first in range(0, 24, 2)]
PLAN = TrainingPlan(steps=3, batch=8, learning_rate=1e-3)
RUNS = [Run(Arm("real", 4, 0), draw, np.arange(8), np.arange(8) + 24) for draw in (1, 2)]


@functools.lru_cache
def classifier(folder: Path) -> AttributeClassifier:
    """One with random weights."""
    with seeded(0):
        save_weights(classifier_network(len(CLASSES)), folder / WEIGHTS)
    write_classes(CLASSES, folder)
    return AttributeClassifier(folder)


@functools.lru_cache
def transformer(folder: Path) -> TransformerClassifier:
    """One with random weights."""
    with seeded(0):
        save_weights(transformer_network(len(CLASSES), side=SIDE), folder / WEIGHTS)
    write_classes(CLASSES, folder)
    return TransformerClassifier(folder, SIDE)


def embeddings(folder: Path) -> np.ndarray:
    """By a re-identification network that is trained for three steps."""
    with seeded(0):
        net = reidentification.reidentification_network(classifier_network(1))
    reidentification.train_reidentification(net, PIXELS, PATIENTS, PLAN, folder)
    save_weights(net, folder / reidentification.WEIGHTS)
    return reidentification.ReidentificationEncoder(folder)(PIXELS)


def task(x: np.ndarray) -> Task:
    """One of two classes, of these 24 rows."""
    none = np.zeros(0, int)
    return Task(
        classes=("mass", "none"),
        x=x,
        y=np.tile([0, 1], 24),
        real=none,
        synthetic=none,
        seen_by_generator=none,
        validation=np.arange(8, 14),
        test=np.arange(14, 24),
        patients=none,
    )


def found() -> np.ndarray:
    """Rows that are nearest, by one view and by three."""
    index, queries = (
        np.random.default_rng(n).normal(size=(n, 16)).astype(np.float32) for n in (9000, 60)
    )
    views = queries.reshape(20, 3, 16)
    return np.concatenate([neighbours.nearest(each, index, 10).row for each in (queries, views)])


def own_images() -> np.ndarray:
    """Images of a generator that saw these images alone."""
    return own_generator_images(
        PIXELS, FINDINGS, FINDINGS[:3], settings=PROFILES["tiny"], steps=3, seed=0
    )


# Those that train nothing. Each takes an empty folder.
INFERENCE: dict[str, Callable[[Path], np.ndarray]] = {
    "classifier": lambda folder: classifier(folder).scores(PIXELS),
    "attributes": lambda folder: features_and_logits(classifier(folder), PIXELS)[0],
    "transformer": lambda folder: transformer(folder).features(PIXELS),
    "efflite0": lambda folder: encoders.features(PIXELS).values,
    "photographs": lambda folder: photograph_encoder("efflite0")(PIXELS),
    "search": lambda folder: found(),
}
TRAINING: dict[str, Callable[[Path], np.ndarray]] = {
    "re-identification": embeddings,
    "regressions": lambda folder: train_side_by_side(
        task(PIXELS[:, 0, :16].reshape(24, -1) / np.float32(255)), RUNS, 20
    ),
    "small network": lambda folder: train_network(task(PIXELS), RUNS[0], 10),
    "own generator": lambda folder: own_images(),
}
