"""Spread within prompts: do images of one modality and finding differ as much as real ones do?

The mean over (modality, finding) groups of the variance of features within a group, synthetic to real.
One prototype for each group gets 0, other patients about 1. Above 1 images differ more than real ones,
as noise makes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from medisyn_lib.errors import InputError
from medisyn_lib.evaluation.fidelity.features import Pair
from medisyn_lib.evaluation.labelled_features import (
    LabelledFeatures,
    checked_features,
    delete_patients,
)
from medisyn_lib.statistics.estimates import Estimate, student

__all__ = ["spread_ratio"]

FEWEST = 2  # images of a group, for a variance


class _Group(NamedTuple):
    """The rows of a modality and finding: int64 (n,) and (m,)."""

    real: np.ndarray
    synthetic: np.ndarray


def spread_ratio(
    *, real: LabelledFeatures, synthetic: LabelledFeatures, level: float = 0.95
) -> Estimate:
    """Return the ratio of synthetic to real variance within modality and finding, at least 0.

    A group's variance is the trace of its features' unbiased covariance. Groups with at least two real
    and two synthetic images count alike, whatever their size.

    Parameters
    ----------
    real, synthetic : LabelledFeatures
        With findings, by the same encoders. Of several encoders it is the geometric mean of their
        ratios.
    level : float
        Of the interval: delete-group jackknife by patient of the ratio's logarithm.

    Returns
    -------
    Estimate
        n counts the images of those groups, of real or synthetic ones whichever are fewer in a group.
        Where synthetic images of a finding do not differ at all, to one of the encoders, the ratio is 0, and
        so are both limits, as it is 0 whoever is left out. There is no interval where no group is left
        without some patients.

    Raises
    ------
    InputError
        As of `checked_features`; if findings are not given, no group has two images in both sets, or
        real images do not differ.
    """
    pairs = checked_features(real=real, synthetic=synthetic)
    groups = _groups(real, synthetic)
    if not all(_spreads(pair, groups)[0] > 0 for pair in pairs):
        raise InputError("spread: real images do not differ within modality and finding; add some")

    def log_ratio(real_left: np.ndarray, synthetic_left: np.ndarray) -> float:
        left = [
            _Group(
                group.real[real_left[group.real]],
                group.synthetic[synthetic_left[group.synthetic]],
            )
            for group in groups
        ]
        return _log_ratio(pairs, [group for group in left if min(map(len, group)) >= FEWEST])

    n = sum(min(len(group.real), len(group.synthetic)) for group in groups)
    values, variances, degrees = delete_patients(log_ratio, real=real, synthetic=synthetic)
    if np.isnan(values[0]):
        return Estimate(0.0, 0.0, 0.0, n)
    found = student(float(values[0]), float(variances[0]), degrees, n, level)
    low, high = (None if x is None else float(np.exp(x)) for x in (found.ci_low, found.ci_high))
    return Estimate(float(np.exp(values[0])), low, high, n)


def _groups(real: LabelledFeatures, synthetic: LabelledFeatures) -> list[_Group]:
    """The groups that count. Raises InputError if there are none."""
    if real.finding is None or synthetic.finding is None:
        raise InputError("spread: findings are missing; give those of real and synthetic images")
    names = [
        np.array([f"{m}\t{f}" for m, f in zip(images.modality, images.finding, strict=True)])
        for images in (real, synthetic)
        if images.finding is not None
    ]
    every = (
        _Group(*(np.flatnonzero(side == name) for side in names)) for name in np.unique(names[0])
    )
    groups = [group for group in every if min(len(rows) for rows in group) >= FEWEST]
    if not groups:
        raise InputError(
            f"spread: no modality and finding has {FEWEST} real and {FEWEST} synthetic images; add some"
        )
    return groups


def _log_ratio(pairs: Sequence[Pair], groups: Sequence[_Group]) -> float:
    """The mean over encoders of the logarithm of the ratio; NaN where images of a side do not differ."""
    if not groups:
        return float("nan")
    real, synthetic = np.array([_spreads(pair, groups) for pair in pairs]).T
    if not (real > 0).all() or not (synthetic > 0).all():
        return float("nan")
    return float(np.log(synthetic / real).mean())


def _spreads(pair: Pair, groups: Sequence[_Group]) -> tuple[float, float]:
    """The mean variance within groups of real and of synthetic features."""
    real = np.mean([_variance(pair.real[group.real]) for group in groups])
    synthetic = np.mean([_variance(pair.synthetic[group.synthetic]) for group in groups])
    return float(real), float(synthetic)


def _variance(rows: np.ndarray) -> float:
    """The trace of the unbiased covariance of rows (n, d), n >= 2."""
    return float(rows.var(axis=0, ddof=1).sum())
