"""Diversity: how many different images is a set worth?"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from medisyn_lib.errors import InputError
from medisyn_lib.evaluation.fidelity.features import Features
from medisyn_lib.statistics.estimates import Estimate, student
from medisyn_lib.statistics.jackknife import delete_group

ROUNDING = 1e-12  # what rounding leaves of an eigenvalue, or of a length, that is zero


def vendi_score(features: Features) -> float:
    """Return the Vendi score, from 1 (all images alike) to n (no two alike).

    exp(-sum_i p_i log p_i), where the p_i are the eigenvalues of K / n and K holds the cosine
    similarities of all pairs of images. It grows with n: compare sets of one size.

    Parameters
    ----------
    features : FeatureSet or np.ndarray
        (n, d), n >= 2.

    Raises
    ------
    InputError
        If they are not finite or not of that shape.

    References
    ----------
    Friedman and Dieng, arXiv 2210.02410, section 3.
    """
    values = np.asarray(features, np.float64)
    if values.ndim != 2 or len(values) < 2 or not np.isfinite(values).all():
        raise InputError(
            f"features: must be finite, of shape (n, d) with n >= 2; got {values.shape}"
        )
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    unit = values / np.maximum(lengths, ROUNDING)
    # K = U U^T, so its eigenvalues are the squared singular values of U.
    proportions = np.linalg.svd(unit, compute_uv=False) ** 2 / len(unit)
    proportions = proportions[proportions > ROUNDING]
    entropy = -(proportions * np.log(proportions)).sum()
    return float(np.exp(entropy))


def diversity(features: Features, clusters: ArrayLike | None = None) -> Estimate:
    """Return the Vendi score over n, in (0, 1], with its 95% interval by patient.

    Parameters
    ----------
    features : FeatureSet or np.ndarray
        (n, d), n >= 3, as the jackknife leaves some out.
    clusters : array, optional
        The patient of each row, (n,); by default each row is of its own.

    Raises
    ------
    InputError
        As of `vendi_score`.
    """
    return _estimate(_score_over_n, [features], clusters)


def diversity_difference(features: Features, reference: Features) -> Estimate:
    """Return how much more diverse one set is than another, in (-1, 1), with its 95% interval.

    Parameters
    ----------
    features, reference : FeatureSet or np.ndarray
        (n, d) each, n >= 3, every row of a patient of its own.

    Raises
    ------
    InputError
        As of `vendi_score`, or if they are not as many.
    """
    if len(features) != len(reference):
        raise InputError(
            f"features: {len(features)} rows beside {len(reference)}; take as many of both, "
            "since diversity depends on n"
        )

    def difference(one: Features, other: Features) -> float:
        return _score_over_n(one) - _score_over_n(other)

    return _estimate(difference, [features, reference])


def _score_over_n(features: Features) -> float:
    return vendi_score(features) / len(features)


def _estimate(
    statistic: Callable[..., float], sets: list[Features], clusters: ArrayLike | None = None
) -> Estimate:
    """A statistic of sets of n rows each, with the interval of the delete-group jackknife."""
    jackknife = delete_group(statistic, sets, clusters)
    return student(
        float(jackknife.values[0]),
        float(jackknife.variances[0]),
        jackknife.degrees_of_freedom,
        len(sets[0]),
    )
