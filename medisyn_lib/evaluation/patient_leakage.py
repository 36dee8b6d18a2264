"""What a split by image would let through: a judge that knows a patient's other images guesses what it cannot see.

Each patient is given the result of a coin toss, of which an image shows nothing. Whoever has learnt other images
of the same patient can tell it all the same, by recognising the patient; whoever has not is right half of the time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from medisyn_lib.data.pixels import centre_squares, load_pixels
from medisyn_lib.data.splits import stable_fraction
from medisyn_lib.statistics.intervals import cluster_proportion

if TYPE_CHECKING:
    import datasets

    from medisyn_lib.statistics.estimates import Estimate

__all__ = ["MOST_IMAGES", "SplitNeighbours", "coin_accuracy", "split_neighbours", "toss_coins"]

MOST_IMAGES = 600  # of a modality: all are compared with all
SIDE = 16  # pixels that images are shrunk to


class SplitNeighbours(NamedTuple):
    """The nearest image of the same modality that a judge may have learnt, under either split.

    Attributes
    ----------
    image : int (n,), rows of the data set
    patient : str (n,), theirs
    by_image : int (n,), the nearest other image's row: with a split by image it may be the patient's own
    by_patient : int (n,), the nearest row of another patient
    """

    image: np.ndarray
    patient: np.ndarray
    by_image: np.ndarray
    by_patient: np.ndarray

    @property
    def recognised(self) -> np.ndarray:
        """Whether the nearest other image is of the same patient, bool (n,)."""
        patient_of = dict(zip(self.image.tolist(), self.patient.tolist(), strict=True))
        found = [patient_of[row] for row in self.by_image.tolist()]
        return np.array(found) == self.patient


def split_neighbours(images: datasets.Dataset) -> dict[str, SplitNeighbours]:
    """Find each image's nearest neighbours, by modality, among the first 600 images of each.

    By the Euclidean distance of pixels, shrunk to 16 x 16. A modality with a single patient is left out.
    """
    modality = np.array(images["modality"][:])
    found = {}
    for name in dict.fromkeys(modality.tolist()):
        rows = np.flatnonzero(modality == name)[:MOST_IMAGES]
        patient = np.array(images.select(rows.tolist())["patient_id"][:])
        if len(set(patient.tolist())) > 1:
            pixels = centre_squares(load_pixels(images, rows), SIDE)
            found[name] = _neighbours(pixels, rows, patient)
    return found


def _neighbours(pixels: np.ndarray, rows: np.ndarray, patient: np.ndarray) -> SplitNeighbours:
    """Compare images uint8 (n, 16, 16, 3) of one modality with each other."""
    vectors = pixels.reshape(len(pixels), -1).astype(np.float64)
    length = (vectors**2).sum(1)
    # Of whole numbers, so that no rounding decides which is nearer.
    distance = length[:, None] + length - 2 * vectors @ vectors.T
    np.fill_diagonal(distance, np.inf)
    nearest = distance.argmin(1)
    distance[patient[:, None] == patient] = np.inf
    return SplitNeighbours(rows, patient, rows[nearest], rows[distance.argmin(1)])


def toss_coins(patients: np.ndarray) -> np.ndarray:
    """Toss a coin for each patient, bool (n,): the same at every toss, on every machine."""
    return np.array([stable_fraction("coin", name) < 1 / 2 for name in patients.tolist()], bool)


def coin_accuracy(images: datasets.Dataset, found: SplitNeighbours) -> dict[str, Estimate]:
    """Estimate how often the nearest image's coin is the right one, with an interval by patient.

    Returns
    -------
    dict of Estimate
        By split: `split by image`, `split by patient`.
    """
    coin = toss_coins(np.array(images["patient_id"][:]))
    learnt = {"split by image": found.by_image, "split by patient": found.by_patient}
    return {
        split: cluster_proportion(coin[rows] == coin[found.image], found.patient)
        for split, rows in learnt.items()
    }
