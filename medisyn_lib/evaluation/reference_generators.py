"""Reference generators: images made from real ones, each with one known fault, to show which measure sees what.

None of them is trained, so that a table of all measures takes minutes:

- other patients: real images of patients whom no other set holds. No fault;
- copies: training images as they are;
- blurred: the other patients' images, blurred by one pixel;
- class Gaussian: a Gaussian in the principal components of whole images of a class;
- prototypes: the mean image of a class.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from medisyn_lib.data.pixels import blurred, load_pixels
from medisyn_lib.errors import InputError
from medisyn_lib.evaluation import fidelity
from medisyn_lib.evaluation.memorization.closest_record import closest_record
from medisyn_lib.evaluation.memorization.conformal import flag_copies
from medisyn_lib.evaluation.memorization.detectors import (
    Detector,
    match,
    photograph_detector,
    pixel_detector,
)
from medisyn_lib.evaluation.memorization.images import RealImages
from medisyn_lib.evaluation.memorization.set_tests import flag_and_test
from medisyn_lib.models import encoders
from medisyn_lib.pipeline.artifacts import Pixels

if TYPE_CHECKING:
    import datasets
    import pandas as pd

COMPONENTS = 32  # of a class Gaussian, at most


def copies(training: np.ndarray, rng: np.random.Generator, n: int) -> np.ndarray:
    """Return n training images as they are, none twice unless there are fewer.

    Parameters
    ----------
    training : np.ndarray
        uint8 (m, h, w, 3).
    rng : np.random.Generator
        Chooses them.
    n : int
        Their number.

    Returns
    -------
    np.ndarray
        uint8 (n, h, w, 3).
    """
    return training[rng.choice(len(training), n, replace=n > len(training))]


def class_gaussian(
    training: np.ndarray,
    classes: Sequence[str] | np.ndarray,
    requested: Sequence[str] | np.ndarray,
    rng: np.random.Generator,
    components: int = COMPONENTS,
) -> np.ndarray:
    """Sample each image from a Gaussian in the principal components of whole images of its class.

    A class of m images has min(m - 1, components) components; what they leave out is not sampled.

    Parameters
    ----------
    training : np.ndarray
        uint8 (n, h, w, 3).
    classes : sequence of str
        The class of each training image, (n,).
    requested : sequence of str
        The class of each image to make, (q,).
    rng : np.random.Generator
        Samples them.
    components : int
        Principal components of a class, at most.

    Returns
    -------
    np.ndarray
        uint8 (q, h, w, 3), rounded and clipped.

    Raises
    ------
    InputError
        Where no training image is of a requested class.
    """
    made = np.empty((len(requested), *training.shape[1:]), np.uint8)
    for rows, places in _by_class(classes, requested):
        images = training[rows].reshape(len(rows), -1).astype(np.float64)
        mean = images.mean(0)
        _, singular, axes = np.linalg.svd(images - mean, full_matrices=False)
        kept = min(len(rows) - 1, components)
        deviations = singular[:kept] / max(len(rows) - 1, 1) ** 0.5
        coefficients = rng.normal(size=(len(places), kept)) * deviations
        sampled = mean + coefficients @ axes[:kept]
        made[places] = _as_pixels(sampled).reshape(len(places), *training.shape[1:])
    return made


def prototypes(
    training: np.ndarray,
    classes: Sequence[str] | np.ndarray,
    requested: Sequence[str] | np.ndarray,
) -> np.ndarray:
    """Return for each request the mean training image of its class.

    Parameters
    ----------
    training, classes, requested
        As of `class_gaussian`.

    Returns
    -------
    np.ndarray
        uint8 (q, h, w, 3), rounded.

    Raises
    ------
    InputError
        Where no training image is of a requested class.
    """
    made = np.empty((len(requested), *training.shape[1:]), np.uint8)
    for rows, places in _by_class(classes, requested):
        made[places] = _as_pixels(training[rows].mean(0))
    return made


def _by_class(
    classes: Sequence[str] | np.ndarray, requested: Sequence[str] | np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Of each requested class its training images' rows and its places among the requests."""
    known, asked = np.asarray(classes), np.asarray(requested)
    for name in np.unique(asked):
        rows = np.flatnonzero(known == name)
        if not len(rows):
            raise InputError(f"class {name}: no training image is of it; request another class")
        yield rows, np.flatnonzero(asked == name)


def _as_pixels(values: np.ndarray) -> np.ndarray:
    """Round and clip to uint8."""
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


class _Labels(NamedTuple):
    """Of n images: modality and class (modality and finding), str (n,) each."""

    modality: np.ndarray
    classes: np.ndarray


def _labels(images: datasets.Dataset) -> _Labels:
    """Labels of a dataset's images."""
    modality, finding = (np.array(images[name][:]) for name in ("modality", "finding"))
    return _Labels(modality, np.char.add(np.char.add(modality, "/"), finding))


def reference_sets(
    *, real: RealImages, other_patients: datasets.Dataset, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Let every reference generator make an image of each held-out image's modality.

    A class is a finding of a modality. The class Gaussian and the prototypes are given the held-out
    images' classes; copies are of their modality.

    Parameters
    ----------
    real : RealImages
        With columns image, modality, finding and patient_id.
    other_patients : datasets.Dataset
        Real images of further patients, with the held-out images' modalities row by row.
    rng : np.random.Generator
        For the copies and the class Gaussian.

    Returns
    -------
    dict of str to np.ndarray
        By generator, uint8 (n, h, h, 3), in the order of the held-out images.

    Raises
    ------
    InputError
        Where the other patients' modalities differ, or no training image is of a held-out class.
    """
    training, of_training = load_pixels(real.training), _labels(real.training)
    modality, requested = _labels(real.held_out)
    if not np.array_equal(_labels(other_patients).modality, modality):
        raise InputError("other patients: give one image for each held-out one, of its modality")
    others = load_pixels(other_patients)
    copied = np.empty_like(others)
    for name in np.unique(modality):
        places = modality == name
        originals = training[of_training.modality == name]
        copied[places] = copies(originals, rng, int(places.sum()))
    return {
        "other patients": others,
        "copies": copied,
        "blurred": blurred(others),
        "class Gaussian": class_gaussian(training, of_training.classes, requested, rng),
        "prototypes": prototypes(training, of_training.classes, requested),
    }


def measure_table(
    *, real: RealImages, synthetic: Mapping[str, np.ndarray], encoder: str = "efflite0"
) -> pd.DataFrame:
    """Put sets of images through the measures of fidelity and of memorization.

    Fidelity (k = 5) is measured against the held-out images of each modality, then averaged over
    modalities; FD depends on n. The detectors of copies are pixels and the encoder, over all
    modalities. What they find is cached in the store.

    Parameters
    ----------
    real : RealImages
        No patient in two sets; one image per calibration and held-out patient. Fewer than 99
        calibration images flag nothing.
    synthetic : mapping of str to np.ndarray
        By generator, uint8 (n, h, h, 3): one image for each held-out image, of its modality.
    encoder : str
        As of `encoders.load_encoder`.

    Returns
    -------
    pd.DataFrame
        One row per generator. Columns: FD, KID, precision, recall, density and coverage, with the
        encoder's name; `flagged`, the proportion flagged as copies; `rule_broken`, whether the set
        breaks claim 05's rule on sets; `nearer_to_training`, the proportion whose closest record is
        a training image, not a held-out one.

    Raises
    ------
    InputError
        Where a set does not fit the held-out images, or there are too few of a modality.
    """
    import pandas as pd

    modality = np.array(real.held_out["modality"][:])
    held_out = load_pixels(real.held_out)
    for name, pixels in synthetic.items():
        if pixels.shape != held_out.shape:
            fault = f"{pixels.shape}, the held-out images {held_out.shape}"
            raise InputError(f"{name}: {fault}; make one image for each")
    detectors = _copy_detectors(real.training, encoder)
    calibration = match(detectors, load_pixels(real.calibration)).ratio
    held_out_ratio = match(detectors, held_out).ratio
    real_features = encoders.features(held_out, encoder)
    rows = {}
    for name, pixels in synthetic.items():
        made_features = encoders.features(pixels, encoder)
        ratio = match(detectors, pixels).ratio
        tests = flag_and_test(real=held_out_ratio, synthetic=ratio, calibration=calibration)
        rows[name] = {
            **_mean_fidelity(real=real_features, synthetic=made_features, modality=modality),
            "flagged": float(flag_copies(ratio, calibration).mean()),
            "rule_broken": tests.broken,
            "nearer_to_training": closest_record(pixels, real).value,
        }
    return pd.DataFrame(list(rows.values()), index=list(rows))


def _mean_fidelity(
    *, real: encoders.FeatureSet, synthetic: encoders.FeatureSet, modality: np.ndarray
) -> dict[str, float]:
    """Measures of fidelity by name, each the mean over modalities."""
    by_modality = []
    for name in np.unique(modality):
        rows = modality == name
        found = fidelity.measures(real=real[rows], synthetic=synthetic[rows], groups=0)
        by_modality.append({measure: estimate.value for measure, estimate in found.items()})
    return {
        measure: float(np.mean([values[measure] for values in by_modality]))
        for measure in by_modality[0]
    }


def _copy_detectors(training: datasets.Dataset, encoder: str) -> list[Detector]:
    """Index training images by pixels and by an encoder."""
    content = {"images": Pixels(load_pixels(training)).key()}
    return [
        pixel_detector(training, content),
        photograph_detector(training, content, encoder),
    ]
