"""The closest matches of a set: which training images and patients they are, to look at side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from medisyn_lib.data.pixels import load_pixels
from medisyn_lib.evaluation.memorization.detectors import Detector, Matches
from medisyn_lib.evaluation.memorization.images import JudgedImages
from medisyn_lib.evaluation.subgroups import Subgroups, by_subgroup, stated_columns
from medisyn_lib.statistics.estimates import Estimate
from medisyn_lib.statistics.intervals import exact_proportion

if TYPE_CHECKING:
    import datasets
    import pandas as pd

GALLERY = 24  # pairs at the most


class ClosestPairs(NamedTuple):
    """Images and the training images that they match: both uint8 (n, h, h, 3), the closest match first."""

    images: np.ndarray
    training: np.ndarray


class Gallery(NamedTuple):
    """Judged images beside their nearest training images, for people to look at.

    Attributes
    ----------
    pairs : the images; those that are flagged come first, each group with the closest match first
    table : a row a pair: `image`, its `modality`, `flagged`, `ratio` and `detector` of the most suspicious
        detector, and `training_image`
    """

    pairs: ClosestPairs
    table: pd.DataFrame


class MatchedPatients(NamedTuple):
    """Whose images are matched.

    Attributes
    ----------
    proportion : of training patients whom a flagged image matches
    most : the most flagged images that match one patient
    by_modality : images, and flagged ones, by the modality of the training image that they match
    """

    proportion: Estimate
    most: int
    by_modality: pd.DataFrame


def relative_ratios(matches: Matches, thresholds: np.ndarray) -> np.ndarray:
    """Divide each detector's ratios (q, l) by its own threshold; by 1 where it has none (NaN)."""
    return matches.ratio / np.nan_to_num(thresholds, nan=1.0)


def closest_detectors(matches: Matches, thresholds: np.ndarray) -> np.ndarray:
    """Choose the detector, int (q,), that is most suspicious of each image."""
    return relative_ratios(matches, thresholds).argmin(1)


def closest_rows(matches: Matches, thresholds: np.ndarray) -> np.ndarray:
    """Choose the training image, int (q,), that each image matches by its most suspicious detector."""
    detector = closest_detectors(matches, thresholds)
    return matches.row[np.arange(len(detector)), detector]


def closest_pairs(
    pixels: np.ndarray,
    matches: Matches,
    thresholds: np.ndarray,
    training: datasets.Dataset,
    n: int = 8,
) -> ClosestPairs:
    """Show the n closest matches of images uint8 (q, h, h, 3)."""
    order = np.argsort(relative_ratios(matches, thresholds).min(1))[:n]
    rows = closest_rows(matches, thresholds)[order]
    return ClosestPairs(pixels[order], load_pixels(training, rows))


def nearest_gallery(
    images: JudgedImages,
    matches: Matches,
    flagged: np.ndarray,
    thresholds: np.ndarray,
    detectors: Sequence[Detector],
    training: datasets.Dataset,
) -> Gallery:
    """Set judged images beside the training images that they match: the flagged ones, then the nearest.

    Parameters
    ----------
    flagged : bool (q,)
    thresholds : float (l,), as of `single_detector_thresholds`

    Returns
    -------
    Gallery, of up to 24 pairs
    """
    import pandas as pd

    closeness = relative_ratios(matches, thresholds).min(1)
    chosen = np.lexsort((closeness, ~flagged))[:GALLERY]
    detector = closest_detectors(matches, thresholds)[chosen]
    rows = closest_rows(matches, thresholds)[chosen]
    originals = training.select(rows.tolist())
    table = pd.DataFrame(
        {
            "image": images.name[chosen],
            "modality": originals["modality"][:],
            "flagged": flagged[chosen],
            "ratio": matches.ratio[chosen, detector],
            "detector": [detectors[place].name for place in detector],
            "training_image": originals["image_id"][:],
        }
    )
    pairs = ClosestPairs(images.pixels[chosen], load_pixels(training, rows))
    return Gallery(pairs, table)


def matched_patients(
    flagged: np.ndarray, matches: Matches, thresholds: np.ndarray, training: datasets.Dataset
) -> MatchedPatients:
    """Count the training patients whom flagged images, bool (q,), match by their most suspicious detector."""
    import pandas as pd

    rows = closest_rows(matches, thresholds)
    patient = np.array(training["patient_id"][:])
    per_patient = pd.Series(patient[rows[flagged]]).value_counts()
    matched = exact_proportion(len(per_patient), len(set(patient)))
    most = int(per_patient.max()) if len(per_patient) else 0
    modality = np.array(training["modality"][:])[rows]
    counts = pd.Series(flagged).groupby(modality).agg(["sum", "count"])
    by_modality = counts.rename(columns={"sum": "flagged", "count": "images"})
    return MatchedPatients(matched, most, by_modality)


def flagged_by_subgroup(
    matches: Matches, flagged: np.ndarray, thresholds: np.ndarray, training: datasets.Dataset
) -> Subgroups:
    """Estimate the proportion flagged, bool (q,), by sex, age group, ... of the training patient that is matched."""
    rows = closest_rows(matches, thresholds)
    patients = np.array(training["patient_id"][:])[rows]
    groups = {
        name: np.array(values)[rows].tolist() for name, values in stated_columns(training).items()
    }
    found = by_subgroup(flagged, patients.tolist(), groups, proportion=True)
    return Subgroups(
        "flagged, of the images that match a patient of the group", "proportion", [*groups], found
    )
