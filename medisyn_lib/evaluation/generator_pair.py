"""The images of two generators, paired by prompt and seed, and everything that is measured of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from medisyn_lib.data import sources
from medisyn_lib.data.pixels import centre_square, is_blank, load_pixels
from medisyn_lib.errors import InputError
from medisyn_lib.evaluation.generator_differences import (
    FEWEST,
    Compared,
    compare_nearness,
    compare_proportions,
    with_enough,
)
from medisyn_lib.evaluation.judged_coverage import ANY
from medisyn_lib.evaluation.labelled_features import LabelledFeatures
from medisyn_lib.evaluation.memorization.closest_record import nearest_records
from medisyn_lib.evaluation.memorization.images import real_images
from medisyn_lib.pipeline.features import cached_features
from medisyn_lib.pipeline.samples import sample_prompts
from medisyn_lib.sampling.native_size import native_side
from medisyn_lib.sampling.pipeline import BLANK_REMEDY, model_fingerprint

if TYPE_CHECKING:
    from medisyn_lib.pipeline.judged import JudgedGenerator
    from medisyn_lib.pipeline.study import Study

__all__ = [
    "FOUND",
    "NEARER",
    "GeneratorPair",
    "Measured",
    "finished_pair",
    "measure",
    "sampled_pair",
]

FOUND = "finding recovered"
NEARER = "nearer to training"
NOT_OF_FOLDERS = "Whether classifiers recover the finding: of finished images it is not known which one was asked for."
NOT_TRAINED = (
    "Whether classifiers recover the finding: the classifier is not in the store. `medisyn audit --claims training` "
    "of either generator, on the same data and profile, trains it."
)


@dataclass(frozen=True)
class GeneratorPair:
    """The images of two generators, paired by row.

    Attributes
    ----------
    generators : which made them
    fingerprints : of each generator's content
    a, b : uint8 (n, h, h, 3)
    caption, modality : str (n,)
    name : str (n,), the seed, or the file of the first generator
    patient : str (n,), whose caption the prompt was; of finished images each row is its own
    finding : str (n,), which the prompt named; None of finished images
    notes : what was done to the images, a sentence each
    """

    generators: tuple[JudgedGenerator, JudgedGenerator]
    fingerprints: tuple[str, str]
    a: np.ndarray
    b: np.ndarray
    caption: np.ndarray
    modality: np.ndarray
    name: np.ndarray
    patient: np.ndarray
    finding: np.ndarray | None
    notes: list[str]


class Measured(NamedTuple):
    """What was measured of a pair; `left_out` says what was not and why, a sentence each."""

    compared: list[Compared]
    left_out: list[str]


def sampled_pair(a: JudgedGenerator, b: JudgedGenerator, seed: int = 0) -> GeneratorPair:
    """Sample both generators from the captions of the same held-out images with the same seeds.

    Images are brought to the study's size.

    Parameters
    ----------
    a, b : JudgedGenerator
        Pipelines, of one study.
    seed : int
        Of the first image; the next ones count on.

    Raises
    ------
    InputError
        Where both are one generator, and as `sample_prompts`.
    """
    fingerprints = _different(a, b, model_fingerprint(a.model), model_fingerprint(b.model))
    held_out, size = a.study.images("test"), a.study.settings.size
    captions = held_out["caption"][:]
    of_a, of_b = (
        np.asarray(sample_prompts(one.model, captions, first_seed=seed, side=size))
        for one in (a, b)
    )
    sides = {native_side(one.model) for one in (a, b)} - {None, size}
    labels = [np.array(held_out[name][:]) for name in ("modality", "patient_id", "finding")]
    return GeneratorPair(
        (a, b),
        fingerprints,
        of_a,
        of_b,
        caption=np.array(captions),
        modality=labels[0],
        name=np.array([f"seed {seed + number}" for number in range(len(captions))]),
        patient=labels[1],
        finding=labels[2],
        notes=_resized(sides, size),
    )


def finished_pair(a: JudgedGenerator, b: JudgedGenerator) -> GeneratorPair:
    """Load two folders of finished images, whose row i has one caption in both; brought to the study's size.

    Raises
    ------
    InputError
        Where both hold the same, differ in their number of rows or in a caption, or hold an image of one colour.
    """
    contents = [sources.fingerprint(f"folder:{one.model}") for one in (a, b)]
    fingerprints = _different(a, b, *contents)
    rows = [sources.finished_rows(one.model) for one in (a, b)]
    captions = [[row["text"] for row in of_one] for of_one in rows]
    _check_rows(a, b, captions)
    size = a.study.settings.size
    images: list[np.ndarray] = []
    sides: set[int | None] = set()
    for one, of_one in zip((a, b), rows, strict=True):
        opened = list(sources.finished_images(one.model, of_one))
        sides |= {min(image.size) for image in opened} - {size}
        images.append(np.stack([np.asarray(centre_square(image, size)) for image in opened]))
        _check_blank(one, images[-1])
    of_a, of_b = images
    name = np.array([row["image_id"] for row in rows[0]])
    return GeneratorPair(
        (a, b),
        fingerprints,
        of_a,
        of_b,
        caption=np.array(captions[0]),
        modality=np.array([row["modality"] for row in rows[0]]),
        name=name,
        patient=np.array([f"pair {number}" for number in range(len(name))]),
        finding=None,
        notes=_resized(sides, size),
    )


def measure(pair: GeneratorPair) -> Measured:
    """Measure both generators on the data of their study.

    Returns
    -------
    Measured
        KID, coverage, the proportion nearer to a training than to a held-out image and, where the classifier of
        findings is in the store, that of findings recovered: by modality and in the mean.

    Raises
    ------
    InputError
        Where no modality has enough images.
    """
    study = pair.generators[0].study
    held_out = study.images("test")
    real_modality, modality = np.array(held_out["modality"][:]), pair.modality
    if not {*real_modality.tolist()} & {*modality.tolist()}:
        real_modality, modality = (np.full(len(one), ANY) for one in (real_modality, modality))
    names = with_enough(real_modality, modality)
    left_out = [
        f"Modality {name}: it has fewer than {FEWEST} images."
        for name in dict.fromkeys(modality.tolist())
        if name not in names
    ]
    features = [cached_features(one) for one in (load_pixels(held_out), pair.a, pair.b)]
    real = LabelledFeatures(features[:1], real_modality, np.array(held_out["patient_id"][:]))
    a, b = (LabelledFeatures([one], modality, pair.patient) for one in features[1:])
    compared = compare_nearness(real=real, a=a, b=b, modalities=names)
    for name, shown in (
        (NEARER, _nearer_to_training(pair)),
        (FOUND, _findings_recovered(study, pair)),
    ):
        if isinstance(shown, str):
            left_out.append(shown)
        else:
            compared += compare_proportions(
                name, *shown, modality=modality, patient=pair.patient, modalities=names
            )
    return Measured(compared, left_out)


def _nearer_to_training(pair: GeneratorPair) -> list[np.ndarray]:
    """Whether each image lies nearer to a training image of its own generator than to a held-out one."""
    return [
        nearest_records(pixels, real_images(generator)).of_training
        for generator, pixels in zip(pair.generators, (pair.a, pair.b), strict=True)
    ]


def _findings_recovered(study: Study, pair: GeneratorPair) -> list[np.ndarray] | str:
    """Whether the classifier recovers each prompt's finding, or why that is not known."""
    if pair.finding is None:
        return NOT_OF_FOLDERS
    classifier = study.classifier()
    if not classifier.is_stored:
        return NOT_TRAINED
    loaded = classifier.load()
    labels = pair.modality.tolist(), pair.finding.tolist()
    return [loaded.finding_right(loaded.scores(pixels), *labels) for pixels in (pair.a, pair.b)]


def _different(a: JudgedGenerator, b: JudgedGenerator, *contents: str) -> tuple[str, str]:
    """Both fingerprints. Raises InputError where they are one."""
    first, second = contents
    if first == second:
        raise InputError(
            f"--compare {a.name!r} {b.name!r}: are one and the same; give two generators"
        )
    return first, second


def _check_rows(a: JudgedGenerator, b: JudgedGenerator, captions: Sequence[Sequence[str]]) -> None:
    """Raise InputError where two folders do not have the same captions, row by row."""
    both, (first, second) = f"--compare {a.name!r} {b.name!r}", captions
    remedy = "row by row, metadata.csv of both must have the same captions"
    if len(first) != len(second):
        raise InputError(f"{both}: {len(first)} and {len(second)} images; {remedy}")
    for number, (one, other) in enumerate(zip(first, second, strict=True), 1):
        if one != other:
            raise InputError(f"{both}: row {number} is of {one!r} and {other!r}; {remedy}")


def _check_blank(generator: JudgedGenerator, pixels: np.ndarray) -> None:
    blank = is_blank(pixels).sum()
    if blank:
        fault = f"{blank} of {len(pixels)} images are of one colour"
        raise InputError(
            f"--compare {Path(generator.model).name!r}: {fault}, so that pairs are missing: {BLANK_REMEDY}"
        )


def _resized(sides: set[int | None], size: int) -> list[str]:
    """Say which images were resized, if any were."""
    if not sides:
        return []
    listed = ", ".join(str(side) for side in sorted(side for side in sides if side))
    return [f"Images of {listed} pixels were brought to the {size} of the study."]
