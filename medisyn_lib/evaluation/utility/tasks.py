"""A classification task: its images as a classifier sees them, their classes, and which rows of them are what."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from medisyn_lib.evaluation.utility.classical_augmentation import augmented_views
from medisyn_lib.evaluation.utility.images import Images, TaskImages
from medisyn_lib.pipeline.features import cached_features

Describe = Callable[[np.ndarray], np.ndarray]  # images uint8 (n, h, w, 3) to rows of a task's `x`


def frozen_features(pixels: np.ndarray) -> np.ndarray:
    """Return features float32 (n, d) of images, by the encoder of photographs."""
    return cached_features(pixels).values.astype(np.float32)


def images_themselves(pixels: np.ndarray) -> np.ndarray:
    """Return images uint8 (n, h, w, 3) as they are, for networks that learn their features."""
    return pixels


class Task(NamedTuple):
    """Features float32 (f, d) or images uint8 (f, h, w, 3), classes int (2 f,), and row numbers.

    Row numbers are (n,), or (n, VIEWS) with the image first.

    Number f + i is row i again. Its class is the same, but for synthetic images, whose classes are shuffled.
    """

    classes: tuple[str, ...]
    x: np.ndarray
    y: np.ndarray
    real: np.ndarray  # (n, VIEWS)
    synthetic: np.ndarray  # (generators, n, VIEWS)
    seen_by_generator: np.ndarray  # real images, (n,)
    validation: np.ndarray
    test: np.ndarray
    patients: np.ndarray  # of the test images


class _Rows:
    """Features and classes, appended image by image."""

    def __init__(self, classes: Sequence[str], describe: Describe) -> None:
        self.classes = classes
        self.describe = describe
        self.features: list[np.ndarray] = []
        self.labels: list[np.ndarray] = []

    def append(self, finding: np.ndarray, views: np.ndarray) -> np.ndarray:
        """Append views uint8 (n, v, h, w, 3) of images with these findings; return their row numbers (n, v)."""
        n, v = views.shape[:2]
        start = sum(len(labels) for labels in self.labels)
        self.features.append(self.describe(views.reshape(-1, *views.shape[2:])))
        self.labels.append(np.repeat([self.classes.index(name) for name in finding], v))
        return start + np.arange(n * v).reshape(n, v)


def make_task(
    images: TaskImages, *, synthetic: Sequence[Images], describe: Describe = frozen_features
) -> Task:
    """Make a task from its images.

    Parameters
    ----------
    images
        The real images.
    synthetic
        As many images of each generator; `finding` is what each was prompted with.
    describe
        What the classifiers see of an image.
    """
    rows = _Rows(sorted(set(images.real.finding)), describe)
    real = rows.append(images.real.finding, augmented_views(images.real.pixels))
    generated = [
        rows.append(part.finding, augmented_views(part.pixels, seed=1 + k))
        for k, part in enumerate(synthetic)
    ]
    unaugmented = [
        rows.append(part.finding, part.pixels[:, None])[:, 0]
        for part in (images.seen_by_generator, images.validation, images.test)
    ]
    seen_by_generator, validation, test = unaugmented
    labels = np.concatenate(rows.labels)
    return Task(
        classes=tuple(rows.classes),
        x=np.concatenate(rows.features),
        y=np.concatenate([labels, _shuffled_labels(labels, generated)]),
        real=real,
        synthetic=np.stack(generated),
        seen_by_generator=seen_by_generator,
        validation=validation,
        test=test,
        patients=images.test.patient_id,
    )


def _shuffled_labels(labels: np.ndarray, generated: Sequence[np.ndarray]) -> np.ndarray:
    """Classes (f,) with those of each generator's images shuffled; the views of an image stay alike."""
    shuffled = labels.copy()
    for k, rows in enumerate(generated):
        shuffled[rows] = labels[np.random.default_rng([k, 13]).permutation(rows)]
    return shuffled
