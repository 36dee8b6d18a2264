"""Distance to the closest record: is a synthetic image nearer to training images than to held-out ones?"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from medisyn_lib.data.pixels import load_pixels
from medisyn_lib.evaluation import neighbours
from medisyn_lib.evaluation.memorization.images import RealImages
from medisyn_lib.evaluation.memorization.window_descriptors import centre_window, query_windows
from medisyn_lib.statistics.estimates import Estimate
from medisyn_lib.statistics.intervals import cluster_proportion


class RecordPool(NamedTuple):
    """Rows of training and of held-out images, int (n,), equally many of each modality."""

    training: np.ndarray
    held_out: np.ndarray


class NearestRecords(NamedTuple):
    """The nearest record of each of q images: `of_training` bool (q,), `record` int64 (q,), its place in the pool."""

    of_training: np.ndarray
    record: np.ndarray


def nearest_records(pixels: np.ndarray, real: RealImages) -> NearestRecords:
    """Find what each image lies nearest to, among as many training as held-out images of each modality.

    Parameters
    ----------
    pixels : uint8 (q, h, h, 3), compared by pixels
    real : gives the pool
    """
    pool = balanced_pool(real, np.random.default_rng(6))
    training = load_pixels(real.training, pool.training)
    held_out = load_pixels(real.held_out, pool.held_out)
    records = centre_window(np.concatenate([training, held_out]))
    nearest = neighbours.nearest(query_windows(pixels), records, 1).row[:, 0]
    return NearestRecords(nearest < len(training), nearest)


def closest_record(pixels: np.ndarray, real: RealImages) -> Estimate:
    """Estimate the proportion of images that lie nearest to a training image; half, if nothing is copied.

    Parameters as of `nearest_records`.

    Returns
    -------
    Estimate, whose interval is clustered by nearest image
    """
    found = nearest_records(pixels, real)
    return cluster_proportion(found.of_training.astype(float), found.record)


def balanced_pool(real: RealImages, rng: np.random.Generator) -> RecordPool:
    """Draw equally many training and held-out images of each modality, one per training patient."""
    modality = np.array(real.training["modality"][:])
    held_out_modality = np.array(real.held_out["modality"][:])
    _, one_per_patient = np.unique(real.training["patient_id"][:], return_index=True)
    training, held_out = [], []
    for name in real.modalities:
        of_training = one_per_patient[modality[one_per_patient] == name]
        of_held_out = np.flatnonzero(held_out_modality == name)
        n = min(len(of_training), len(of_held_out))
        training.append(rng.permutation(of_training)[:n])
        held_out.append(rng.permutation(of_held_out)[:n])
    return RecordPool(np.concatenate(training), np.concatenate(held_out))
