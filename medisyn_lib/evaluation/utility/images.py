"""The images of a task: who may see them, which sizes of training set they allow, in which order they are drawn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from medisyn_lib.data import check, sources
from medisyn_lib.data.pixels import load_pixels

if TYPE_CHECKING:
    import datasets
    import pandas as pd

    from medisyn_lib.pipeline.judged import JudgedGenerator
    from medisyn_lib.pipeline.study import Study

PREFERRED = ("dermoscopy", "fundus", "chest_xray", "histopathology")  # one modality per specialty
POOL_FACTOR = 4  # images of the classifier's pool, and of the test set, per image of the largest n


class Images(NamedTuple):
    """Images of one modality: pixels uint8 (n, h, w, 3); finding and patient of each, str (n,)."""

    pixels: np.ndarray
    finding: np.ndarray
    patient_id: np.ndarray


class TaskImages(NamedTuple):
    """The real images of a task; no patient is in two of them."""

    real: Images  # the pool that the classifier's training images are drawn from
    seen_by_generator: Images
    validation: Images
    test: Images


def take(images: Images, rows: np.ndarray) -> Images:
    """Return the images of these row numbers."""
    return Images(images.pixels[rows], images.finding[rows], images.patient_id[rows])


def image_table(
    study: Study, modality: str, role: str, at_most: int | None = None
) -> datasets.Dataset:
    """Choose the images of a modality in a role, and all that is stated of them.

    Parameters
    ----------
    study, modality, role
        Whose images, and which.
    at_most
        Number of images; by default as many as the profile sets for the role.
    """
    images = study.images(role)
    if at_most is not None and at_most > study.settings.images_of(role):
        images = sources.load(
            study.source,
            role=role,
            size=study.settings.size,
            per_modality=at_most,
            modalities=[modality],
            seed=study.image_set(role).seed,
        )
    return of_modality(images, modality, at_most)


def of_modality(
    images: datasets.Dataset, modality: str, at_most: int | None = None
) -> datasets.Dataset:
    """Choose the rows of a modality, or the first `at_most` of them."""
    rows = np.flatnonzero(np.array(images["modality"][:]) == modality)[:at_most]
    return images.select(rows.tolist())


def held_out_table(study: Study, modality: str) -> datasets.Dataset:
    """Choose the test images of a task."""
    return image_table(study, modality, "test", POOL_FACTOR * study.settings.augmentation.largest_n)


def load_images(study: Study, modality: str, role: str, at_most: int | None = None) -> Images:
    """Load what `image_table` chooses."""
    return _loaded(image_table(study, modality, role, at_most))


def _loaded(table: datasets.Dataset) -> Images:
    finding = np.array(table["finding"][:])
    patient_id = np.array(table["patient_id"][:])
    return Images(load_pixels(table), finding, patient_id)


def load_task_images(generator: JudgedGenerator, modality: str) -> TaskImages:
    """Load the images of a task, each role's from its own patients."""
    study = generator.study
    pool = POOL_FACTOR * study.settings.augmentation.largest_n
    return TaskImages(
        real=load_images(study, modality, "evaluator", pool),
        seen_by_generator=_loaded(of_modality(generator.training_images.load(), modality)),
        validation=load_images(study, modality, "calibration"),
        test=_loaded(held_out_table(study, modality)),
    )


def training_sizes(smallest: int, largest: int, available: int) -> list[int]:
    """Return the sizes of training sets: doubled from the smallest, as far as images are available."""
    sizes = []
    n = smallest
    while n <= min(largest, available):
        sizes.append(n)
        n *= 2
    return sizes


def sizes_by_task(study: Study, tasks: Mapping[str, TaskImages]) -> dict[str, list[int]]:
    """Return the sizes of training sets of each task."""
    settings = study.settings.augmentation
    return {
        task: training_sizes(settings.smallest_n, settings.largest_n, len(parts.real.finding))
        for task, parts in tasks.items()
    }


def why_untestable(images: TaskImages, smallest_n: int) -> str:
    """Say why a task cannot be tested, in words; empty where it can.

    A task needs `smallest_n` images, the same classes in the classifier's pool as in the test set, none
    beyond them elsewhere, and two test patients of each class.
    """
    classes = set(images.real.finding)
    elsewhere = set(images.seen_by_generator.finding) | set(images.validation.finding)
    same_classes = classes == set(images.test.finding) and classes >= elsewhere
    enough = len(images.real.finding) >= smallest_n
    if same_classes and enough and _fewest_patients(images.test) > 1:
        return ""
    return (
        "a class is missing or has one test patient, "
        f"or there are fewer than {smallest_n} images of the classifier"
    )


def _fewest_patients(images: Images) -> int:
    """Number of patients of the class that has the fewest."""
    counts = [
        len(set(images.patient_id[images.finding == finding])) for finding in set(images.finding)
    ]
    return min(counts)


def collect_tasks(
    generator: JudgedGenerator,
) -> tuple[dict[str, TaskImages], dict[str, str]]:
    """Collect as many testable tasks as the profile asks for, one modality of each specialty first.

    Parameters
    ----------
    generator
        Whose training images stand for what it saw.

    Returns
    -------
    tasks
        The images of each task, by modality.
    untestable
        Why each modality that was left out cannot be tested, of those that were tried.
    """
    study = generator.study
    settings = study.settings.augmentation
    reasons = check.testable(study.source)
    untestable = {modality: reason for modality, reason in reasons.items() if reason}
    tasks: dict[str, TaskImages] = {}
    candidates = [modality for modality, reason in reasons.items() if not reason]
    for modality in sorted(candidates, key=_preference):
        if len(tasks) == settings.tasks:
            break
        images = load_task_images(generator, modality)
        reason = why_untestable(images, settings.smallest_n)
        if reason:
            untestable[modality] = reason
        else:
            tasks[modality] = images
    return tasks, untestable


def _preference(modality: str) -> int:
    """Place of a modality in PREFERRED; the others come after all of those."""
    return PREFERRED.index(modality) if modality in PREFERRED else len(PREFERRED)


def roles_table(study: Study, tasks: Mapping[str, TaskImages]) -> pd.DataFrame:
    """Tabulate images (and patients) of each task by role, its classes and sizes of training sets."""
    import pandas as pd

    sizes = sizes_by_task(study, tasks)
    columns = {}
    for task, parts in tasks.items():
        counts = {
            role: f"{len(images.finding)} ({len(set(images.patient_id))})"
            for role, images in parts._asdict().items()
        }
        classes = len(set(parts.real.finding))
        columns[task] = {**counts, "classes": classes, "n": ", ".join(map(str, sizes[task]))}
    return pd.DataFrame(columns).T


def draw_order(classes: ArrayLike, draw: int) -> np.ndarray:
    """Return the order in which a draw takes images: at random, but one of each class first.

    Parameters
    ----------
    classes
        The class of each image, (n,).
    draw
        The draw's number, which seeds it.

    Returns
    -------
    order
        Row numbers, int64 (n,).
    """
    order = np.random.default_rng([draw, 17]).permutation(np.size(classes))
    _, first_of_class = np.unique(np.asarray(classes)[order], return_index=True)
    first_of_class = np.sort(first_of_class)
    return np.concatenate([order[first_of_class], np.delete(order, first_of_class)])
