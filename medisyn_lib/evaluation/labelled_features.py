"""Features of images with what each image shows and whose it is, and the jackknife by patient over both sets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from medisyn_lib.errors import InputError
from medisyn_lib.evaluation.fidelity.features import Features, Pair, checked_pair
from medisyn_lib.statistics.jackknife import GroupJackknife, delete_group

__all__ = ["JACKKNIFE_GROUPS", "LabelledFeatures", "checked_features", "delete_patients"]

JACKKNIFE_GROUPS = 10  # of patients
# From which rows are left, bool (n,) of the real and (m,) of the synthetic ones, to one number or several.
Statistic = Callable[[np.ndarray, np.ndarray], ArrayLike]


@dataclass(frozen=True)
class LabelledFeatures:
    """Features of n images and their labels.

    Attributes
    ----------
    features : sequence of FeatureSet or np.ndarray
        (n, d) by each of several encoders, in one order for real and synthetic images.
    modality : np.ndarray
        Of each image, str (n,).
    patient : np.ndarray
        Of each image, str (n,); of a synthetic one the patient whose caption was its prompt.
    finding : np.ndarray or None
        Of each image, str (n,), where a measure asks for it.
    """

    features: Sequence[Features]
    modality: np.ndarray
    patient: np.ndarray
    finding: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.modality)


def checked_features(*, real: LabelledFeatures, synthetic: LabelledFeatures) -> list[Pair]:
    """Return real and synthetic features by each encoder.

    Raises
    ------
    InputError
        If the sets have not the same encoders, features are not finite, or labels are not as many as
        images.
    """
    encoders = len(real.features), len(synthetic.features)
    if encoders[0] != encoders[1] or not encoders[0]:
        raise InputError(
            f"features: real by {encoders[0]} encoders, synthetic by {encoders[1]}; "
            "give both by the same, one at the least"
        )
    for name, images in (("real", real), ("synthetic", synthetic)):
        labels = [images.modality, images.patient]
        labels += [] if images.finding is None else [images.finding]
        counts = {len(rows) for rows in (*images.features, *labels)}
        if len(counts) > 1:
            raise InputError(
                f"features: {name} features and labels are {sorted(counts)} in number; "
                "give one of each per image"
            )
    pairs = zip(real.features, synthetic.features, strict=True)
    return [checked_pair(real=x, synthetic=y, unequal=True) for x, y in pairs]


def delete_patients(
    statistic: Statistic,
    *,
    real: LabelledFeatures,
    synthetic: LabelledFeatures,
    groups: int = JACKKNIFE_GROUPS,
) -> GroupJackknife:
    """Estimate the variance of a statistic, leaving out a group of patients from both sets at a time.

    Parameters
    ----------
    statistic : callable
        From the rows that are left, bool (n,) and (m,), to one number or several; NaN where there is none.
    real, synthetic : LabelledFeatures
        Of n and m images.
    groups : int
        Number of groups that the patients are split into at random.
    """
    n = len(real)
    patients = np.concatenate([np.asarray(images.patient, str) for images in (real, synthetic)])

    def of_rows(rows: np.ndarray) -> ArrayLike:
        left = np.zeros(len(patients), bool)
        left[rows] = True
        return statistic(left[:n], left[n:])

    return delete_group(of_rows, [np.arange(len(patients))], patients, groups)
