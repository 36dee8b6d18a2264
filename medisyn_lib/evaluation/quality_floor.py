"""The quality floor: the proportion of real images that a generator comes near, in a middling modality.

Coverage (k = 5) of each modality, then the median over modalities, by each of several encoders: an encoder
that sees little within a modality must not make up for one that sees more. It always compares as many real
as synthetic images, at most 100, because coverage depends on their number.

What it says of reference generators: independent images of other patients get about 1 - 2^-5 = 0.97, or
about 0.9 where real patients have several images each, which lie nearer to one another. A copier of
training images gets as much, a copier of the very images that it is compared with 1: the floor alone
catches no copies. One prototype for each class gets about 0, as real images are nearer to one another,
and so do images that are much too smooth. Blur by a single pixel lowers it less.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from medisyn_lib.errors import InputError
from medisyn_lib.evaluation.fidelity.blocks import compare
from medisyn_lib.evaluation.fidelity.features import Pair
from medisyn_lib.evaluation.fidelity.prdc import coverage
from medisyn_lib.evaluation.labelled_features import (
    JACKKNIFE_GROUPS,
    LabelledFeatures,
    checked_features,
)
from medisyn_lib.statistics.estimates import Estimate, student
from medisyn_lib.statistics.jackknife import deal_groups, jackknife_of

__all__ = ["NEIGHBOURS", "SUBSET", "coverage_by_modality", "quality_floor"]

NEIGHBOURS = 5  # of coverage
SUBSET = 100  # images of a modality that are compared at a time, at most, real and synthetic each


class _Subset(NamedTuple):
    """Rows that are compared at a time: int64 (s,) each, in random order."""

    real: np.ndarray
    synthetic: np.ndarray


def coverage_by_modality(
    *, real: LabelledFeatures, synthetic: LabelledFeatures, seed: int = 0
) -> dict[str, np.ndarray]:
    """Return the coverage of each modality by each encoder, the mean over subsets.

    Parameters
    ----------
    real, synthetic : LabelledFeatures
        By the same encoders. Modalities that only one of them has are left out.
    seed : int
        Of the subsets. They are disjoint where their size divides the number of images; else the last
        one is filled with images of the first.

    Returns
    -------
    dict of str to ndarray
        By modality in alphabetical order, float64 (encoders,) in [0, 1].

    Raises
    ------
    InputError
        As of `checked_features`; if no modality is in both, or one has fewer than 6 images in either.
    """
    pairs = checked_features(real=real, synthetic=synthetic)
    subsets = _subsets(real.modality, synthetic.modality, seed)
    every_real, every_synthetic = np.ones(len(real), bool), np.ones(len(synthetic), bool)
    return {
        name: _mean_coverage(pairs, of_modality, every_real, every_synthetic)
        for name, of_modality in subsets.items()
    }


def quality_floor(
    *, real: LabelledFeatures, synthetic: LabelledFeatures, seed: int = 0, level: float = 0.95
) -> list[Estimate]:
    """Return the median over modalities of `coverage_by_modality`, in [0, 1], by each encoder.

    Parameters
    ----------
    real, synthetic, seed
        As of `coverage_by_modality`.
    level : float
        Of the interval: delete-group jackknife by patient, clipped to [0, 1].

    Returns
    -------
    list of Estimate
        In the order of the features. Of an even number of modalities the lower median, so that it is that
        of some modality; n counts the images, of real or synthetic ones whichever are fewer in a modality.
        There is no interval where coverage does not vary, or a modality has too few images for leaving
        patients out.

    Raises
    ------
    InputError
        As of `coverage_by_modality`.

    References
    ----------
    Naeem et al., arXiv 2002.09797, equations 5 and 6.
    """
    pairs = checked_features(real=real, synthetic=synthetic)
    labels = [Labels(one.modality, one.patient) for one in (real, synthetic)]
    deal = deal_images(labels[0], labels[1], seed)
    covered = {
        name: _coverage_without_groups(pairs, subsets, deal.left)
        for name, subsets in deal.subsets.items()
    }
    n = sum(_in_both(real.modality, synthetic.modality).values())
    return median_coverage(covered, n, level)


class Labels(NamedTuple):
    """Modality and patient of n images, str (n,) each; of a synthetic one the patient whose caption was its prompt."""

    modality: np.ndarray
    patient: np.ndarray


class ModalityDeal(NamedTuple):
    """Which images of a modality are compared at a time, numbered within it, and which are left of them."""

    subsets: Sequence[_Subset]
    left: Sequence[tuple[np.ndarray, np.ndarray]]

    def coverage(self, pairs: Sequence[Pair]) -> np.ndarray:
        """Return the coverage of all images, then without each group, (1 + groups, encoders).

        `pairs` holds the modality's features by each encoder.
        """
        return _coverage_without_groups(pairs, self.subsets, self.left)


class Deal(NamedTuple):
    """Which images are compared at a time, and which are left as groups of patients are left out in turn.

    Attributes
    ----------
    real, synthetic
        Modality of each image, (n,) and (m,).
    subsets
        By modality, rows of both.
    left
        Which rows are left, bool (n,) and (m,): all, then those without each group.
    """

    real: np.ndarray
    synthetic: np.ndarray
    subsets: dict[str, list[_Subset]]
    left: list[tuple[np.ndarray, np.ndarray]]

    def of(self, modality: str) -> ModalityDeal:
        """Return that of one modality, whose images are numbered within it."""
        rows = [np.flatnonzero(side == modality) for side in (self.real, self.synthetic)]
        subsets = [
            _Subset(*(np.searchsorted(*pair) for pair in zip(rows, subset, strict=True)))
            for subset in self.subsets[modality]
        ]
        return ModalityDeal(subsets, [(x[rows[0]], y[rows[1]]) for x, y in self.left])


def deal_images(real: Labels, synthetic: Labels, seed: int = 0) -> Deal:
    """Deal images into subsets, and patients of both sides into groups to leave out.

    Raises InputError as of `coverage_by_modality`.
    """
    subsets = _subsets(real.modality, synthetic.modality, seed)
    patients = np.concatenate([np.asarray(side.patient, str) for side in (real, synthetic)])
    group = deal_groups(len(patients), patients, JACKKNIFE_GROUPS)
    count = int(group.max()) + 1
    left = [np.ones(len(patients), bool)]
    left += [group != number for number in range(count)] if count > 1 else []
    n = len(real.patient)
    return Deal(
        np.asarray(real.modality),
        np.asarray(synthetic.modality),
        subsets,
        [(rows[:n], rows[n:]) for rows in left],
    )


def median_coverage(
    covered: Mapping[str, np.ndarray], n: int, level: float = 0.95
) -> list[Estimate]:
    """Return the median over modalities, by each encoder (see `quality_floor`).

    Parameters
    ----------
    covered : mapping of str to np.ndarray
        By modality, of all images and without each group of patients, (1 + groups, encoders).
    n : int
        Images.
    level : float
        Of the interval.
    """
    values, variances, degrees = jackknife_of(_lower_median(np.array(list(covered.values()))))
    return [
        _clipped(student(float(value), float(variance), degrees, n, level))
        for value, variance in zip(values, variances, strict=True)
    ]


def _coverage_without_groups(
    pairs: Sequence[Pair],
    subsets: Sequence[_Subset],
    left: Sequence[tuple[np.ndarray, np.ndarray]],
) -> np.ndarray:
    return np.array([_mean_coverage(pairs, subsets, *rows) for rows in left])


def _clipped(found: Estimate) -> Estimate:
    """A proportion whose interval lies in [0, 1]."""
    if found.ci_low is None or found.ci_high is None:
        return found
    return Estimate(found.value, max(found.ci_low, 0.0), min(found.ci_high, 1.0), found.n)


def _in_both(real: np.ndarray, synthetic: np.ndarray) -> dict[str, int]:
    """How many images each modality that both have has on the side with fewer."""
    names = sorted({*np.asarray(real).tolist()} & {*np.asarray(synthetic).tolist()})
    sides = np.asarray(real), np.asarray(synthetic)
    return {name: min(int((side == name).sum()) for side in sides) for name in names}


def _subsets(real: np.ndarray, synthetic: np.ndarray, seed: int) -> dict[str, list[_Subset]]:
    """The subsets of each modality. Raises InputError where there is none, or too few rows for one."""
    counts = _in_both(real, synthetic)
    if not counts:
        raise InputError(
            f"quality floor: real images are of {', '.join(sorted(set(real)))}, synthetic of "
            f"{', '.join(sorted(set(synthetic)))}; give a modality in both"
        )
    for name, n in counts.items():
        if n <= NEIGHBOURS:
            raise InputError(
                f"quality floor: {name} has {n} images; "
                f"give {NEIGHBOURS + 1} real and synthetic ones at least"
            )
    rng = np.random.default_rng(seed)
    found = {}
    for name in counts:
        real_rows = np.flatnonzero(np.asarray(real) == name)
        synthetic_rows = np.flatnonzero(np.asarray(synthetic) == name)
        found[name] = _subsets_of(real_rows, synthetic_rows, rng)
    return found


def _subsets_of(real: np.ndarray, synthetic: np.ndarray, rng: np.random.Generator) -> list[_Subset]:
    """Subsets of a modality's rows, as many as it takes to use each row of the side with fewer."""
    n = min(len(real), len(synthetic))
    size = min(n, SUBSET)
    number = -(-n // size)
    parts = [np.resize(rng.permutation(rows), (number, size)) for rows in (real, synthetic)]
    return [_Subset(*rows) for rows in zip(*parts, strict=True)]


def _mean_coverage(
    pairs: Sequence[Pair],
    subsets: Sequence[_Subset],
    real_left: np.ndarray,
    synthetic_left: np.ndarray,
) -> np.ndarray:
    """By each encoder the mean over subsets, of the rows that are left, (encoders,); NaN if they are too few."""
    found = []
    for subset in subsets:
        real = subset.real[real_left[subset.real]]
        synthetic = subset.synthetic[synthetic_left[subset.synthetic]]
        n = min(len(real), len(synthetic))
        if n <= NEIGHBOURS:
            return np.full(len(pairs), np.nan)
        of_pairs = [(pair.real[real[:n]], pair.synthetic[synthetic[:n]]) for pair in pairs]
        found.append([coverage(compare(real=x, synthetic=y, k=NEIGHBOURS)) for x, y in of_pairs])
    return np.mean(found, 0)


def _lower_median(values: np.ndarray) -> np.ndarray:
    """The median of each column, of an even number of rows the lower of the two in the middle; NaN if any is."""
    middle = np.sort(values, 0)[(len(values) - 1) // 2]
    return np.where(np.isnan(values).any(0), np.nan, middle)
