"""How far raters agree, with each other and with a reference, from a table of ordered grades.

A table is (n, r): n items by r raters, grades 0 to `categories` - 1, missing where -1 or NaN. Intervals are
jackknives: over items (or `clusters` of them, say patients), which speaks for other items and the same raters,
or over raters, which needs five of them: fewer are taken as they are, and speak for themselves alone.

Statistics whose names end in s return (1 + g,): the value over all items, then without each of g clusters in
turn, each item being a cluster of its own where none are given. Such rows may be subtracted or averaged before
`interval`, where they are of the same items and clusters.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from medisyn_lib.errors import InputError
from medisyn_lib.statistics.estimates import Estimate, student
from medisyn_lib.statistics.intervals import cluster_proportion
from medisyn_lib.statistics.jackknife import means

__all__ = [
    "FEWEST_RATERS",
    "OperatingPoint",
    "PanelStatistic",
    "aucs",
    "checked",
    "fleiss_kappas",
    "gwet_ac2s",
    "interval",
    "kappas",
    "operating_point",
    "over_items",
    "over_raters",
    "quadratic_weights",
]

FEWEST_RATERS = 5  # that an interval over raters needs
NO_ROOM = 1e-12  # a difference from one, or from zero, that rounding alone may leave
PanelStatistic = Callable[..., np.ndarray]  # a statistic of a panel, such as `fleiss_kappas`


class OperatingPoint(NamedTuple):
    """Two rates of grades that say "ill" or not."""

    sensitivity: Estimate
    specificity: Estimate


class _PanelMarks(NamedTuple):
    """Observed agreement (1 + g,), and proportions of the grades (1 + g, categories)."""

    observed: np.ndarray
    proportions: np.ndarray


def checked(ratings: ArrayLike, categories: int) -> np.ndarray:
    """Check a table of grades.

    Parameters
    ----------
    ratings : array_like
        Grades (n, r).
    categories : int
        Number of grades on the scale.

    Returns
    -------
    ndarray
        The grades, int64 (n, r); -1 where missing.

    Raises
    ------
    InputError
        For fewer than two raters, a grade that is not on the scale, or no item with two grades.
    """
    table = np.nan_to_num(np.asarray(ratings, np.float64), nan=-1)
    if table.ndim != 2 or table.shape[1] < 2:
        raise InputError(
            f"ratings of shape {table.shape}: agreement needs a table with at least 2 graders; add one"
        )
    unknown = np.argwhere((table % 1 != 0) | (table < -1) | (table >= categories))
    if len(unknown):
        item, rater = unknown[0]
        where = f"grade {table[item, rater]:g} of item {item} by grader {rater}"
        raise InputError(
            f"{where} is unknown: give whole numbers from 0 to {categories - 1}, -1 where missing"
        )
    if not ((table >= 0).sum(1) >= 2).any():
        raise InputError(
            "ratings: no overlap, no item was graded by two graders; let some grade the same items"
        )
    return table.astype(np.int64)


def quadratic_weights(categories: int) -> np.ndarray:
    """Weigh the agreement of each pair of grades: (q, q), 1 for equal ones, 0 for the two ends of the scale."""
    steps = np.subtract.outer(np.arange(categories), np.arange(categories))
    return 1 - steps**2 / (categories - 1) ** 2


def kappas(
    a: ArrayLike, b: ArrayLike, categories: int, clusters: ArrayLike | None = None
) -> np.ndarray:
    """Compute the quadratic-weighted kappa of two raters; it equals scikit-learn's `cohen_kappa_score`.

    Parameters
    ----------
    a, b : array_like
        Grades of the same items, (n,).
    categories : int
        Number of grades on the scale.
    clusters : array_like, optional
        Cluster of each item, (n,).

    Returns
    -------
    ndarray
        Over all items, then without each cluster: (1 + g,).

    Raises
    ------
    InputError
        As `checked`, and where all grades are equal.

    References
    ----------
    Cohen, Psychological Bulletin 1968.
    """
    table = checked(np.column_stack([a, b]), categories)
    weights = quadratic_weights(categories)
    both = (table >= 0).all(1)
    agree = weights[table[:, 0], table[:, 1]]
    one_hot = np.eye(categories)[table].reshape(len(table), -1)
    averages = means(np.column_stack([agree, one_hot]), clusters, both)
    observed = averages[:, 0]
    marginal_a = averages[:, 1 : categories + 1]
    marginal_b = averages[:, categories + 1 :]
    by_chance = np.einsum("gk,kl,gl->g", marginal_a, weights, marginal_b)
    return _beyond_chance(observed, by_chance, "quadratic-weighted kappa", table)


def fleiss_kappas(
    ratings: ArrayLike, categories: int, clusters: ArrayLike | None = None
) -> np.ndarray:
    """Compute Fleiss' kappa of a panel, (1 + g,).

    Raises InputError as `kappas`. Missing grades are as in Gwet, Handbook of Inter-Rater Reliability 2014, chapter 5.
    """
    table = checked(ratings, categories)
    panel = _panel_marks(table, np.eye(categories), clusters)
    by_chance = (panel.proportions**2).sum(1)
    return _beyond_chance(panel.observed, by_chance, "Fleiss' kappa", table)


def gwet_ac2s(ratings: ArrayLike, categories: int, clusters: ArrayLike | None = None) -> np.ndarray:
    """Compute Gwet's AC2 of a panel with quadratic weights (Gwet 2014), (1 + g,); defined for equal grades, too."""
    weights = quadratic_weights(categories)
    panel = _panel_marks(checked(ratings, categories), weights, clusters)
    spread = (panel.proportions * (1 - panel.proportions)).sum(1)
    by_chance = weights.sum() / (categories * (categories - 1)) * spread
    return (panel.observed - by_chance) / (1 - by_chance)


def over_items(
    statistic: PanelStatistic,
    ratings: ArrayLike,
    categories: int,
    clusters: ArrayLike | None = None,
) -> Estimate:
    """Estimate `fleiss_kappas` or `gwet_ac2s` with the interval over items; n counts items with two grades."""
    grades_per_item = (checked(ratings, categories) >= 0).sum(1)
    n = int((grades_per_item >= 2).sum())
    return interval(statistic(ratings, categories, clusters), n)


def over_raters(statistic: PanelStatistic, ratings: ArrayLike, categories: int) -> Estimate:
    """Estimate `fleiss_kappas` or `gwet_ac2s` with the interval over raters; n counts them; none below five."""
    table = checked(ratings, categories)
    r = table.shape[1]
    without = []
    if r >= FEWEST_RATERS:
        without = [statistic(np.delete(table, k, 1), categories)[0] for k in range(r)]
    # Half the usual degrees of freedom: one odd rater weighs so much that with all of them 92% are covered.
    return interval([statistic(table, categories)[0], *without], r, degrees_of_freedom=r // 2)


def operating_point(
    grades: ArrayLike, reference: ArrayLike, threshold: int, clusters: ArrayLike
) -> OperatingPoint:
    """Estimate sensitivity and specificity for "grade `threshold` or worse", with intervals by cluster.

    Parameters
    ----------
    grades, reference : array_like
        Grades (n,); an item without either (-1) is left out.
    threshold : int
        The least grade that counts as ill.
    clusters : array_like
        Cluster of each item, (n,).
    """
    assigned = np.asarray(grades, np.float64)
    true = np.asarray(reference, np.float64)
    groups = np.asarray(clusters)
    ill = true >= threshold
    right = ((assigned >= threshold) == ill).astype(float)
    graded = (assigned >= 0) & (true >= 0)
    return OperatingPoint(
        sensitivity=cluster_proportion(right[graded & ill], groups[graded & ill]),
        specificity=cluster_proportion(right[graded & ~ill], groups[graded & ~ill]),
    )


def aucs(scores: ArrayLike, ill: ArrayLike, clusters: ArrayLike | None = None) -> np.ndarray:
    """Compute the area under the ROC curve (Mann-Whitney); it equals scikit-learn's `roc_auc_score`.

    Parameters
    ----------
    scores : array_like
        Scores (n,); ties count half.
    ill : array_like
        Which items are ill, bool (n,).
    clusters : array_like, optional
        Cluster of each item, (n,).

    Returns
    -------
    ndarray
        Over all items, then without each cluster to first order, by placements: (1 + g,).

    Raises
    ------
    InputError
        If all items are ill or none is.

    References
    ----------
    DeLong et al., Biometrics 1988; Obuchowski, Biometrics 1997, for clusters.
    """
    from scipy.stats import rankdata

    score = np.asarray(scores, np.float64)
    positive = np.asarray(ill, bool)
    if positive.all() or not positive.any():
        raise InputError(
            f"AUC is undefined: {positive.sum()} of {len(positive)} items are ill; give both kinds"
        )
    placement = rankdata(score)
    for kind in (positive, ~positive):  # the proportion of the other kind that lies below
        placement[kind] = (placement[kind] - rankdata(score[kind])) / (~kind).sum()
    of_ill = means(placement, clusters, positive)
    of_healthy = 1 - means(placement, clusters, ~positive)
    return of_ill + of_healthy - of_ill[0]


def interval(
    left_out: ArrayLike,
    n: int,
    level: float = 0.95,
    *,
    bounded: bool = True,
    degrees_of_freedom: int = 0,
) -> Estimate:
    """Make an estimate of a statistic and its jackknife values, with Student's t quantiles.

    Parameters
    ----------
    left_out : array_like
        The statistic over all, then without each of g clusters: (1 + g,).
    n : int
        Number of items, to be reported.
    level : float
        Confidence level.
    bounded : bool
        Whether the statistic is at most 1, as kappa is: then the interval is that of log(1 - value).
    degrees_of_freedom : int
        Of Student's t; 0 stands for g - 1.

    Returns
    -------
    Estimate
        Without an interval where clusters do not differ, or leaving one out makes the statistic undefined.
    """
    value, *without = np.asarray(left_out, np.float64).tolist()
    g = len(without)
    room = 1 - value
    variance = None
    if g > 1 and (room > NO_ROOM or not bounded):
        variance = (g - 1) * float(np.var(without))
    plain = student(value, variance, degrees_of_freedom or g - 1, n, level)
    if not bounded or plain.ci_high is None:
        return plain
    half = (
        plain.ci_high - value
    )  # to first order, half the width of log(1 - value) is this over 1 - value
    low = 1 - room * float(np.exp(half / room))
    high = 1 - room * float(np.exp(-half / room))
    return Estimate(value, low, high, n)


def _panel_marks(table: np.ndarray, weights: np.ndarray, clusters: ArrayLike | None) -> _PanelMarks:
    """Agreement within items of two grades or more, and proportions of the grades over all items (Gwet 2014)."""
    counts = (table[:, :, None] == np.arange(len(weights))).sum(1).astype(float)
    graded = counts.sum(1)
    pairs = np.maximum(graded * (graded - 1), 1)
    agreeing = (counts * (counts @ weights - 1)).sum(1)
    proportions = counts / np.maximum(graded, 1)[:, None]
    return _PanelMarks(
        means(agreeing / pairs, clusters, graded >= 2), means(proportions, clusters, graded >= 1)
    )


def _beyond_chance(
    observed: np.ndarray, by_chance: np.ndarray, name: str, table: np.ndarray
) -> np.ndarray:
    """(observed - chance) / (1 - chance); raises InputError where all grades are equal, as chance alone agrees."""
    if 1 - by_chance[0] < NO_ROOM:
        raise InputError(
            f"{name} is undefined: all grades are {table.max()}; report the proportion agreeing, or AC2"
        )
    room = np.where(1 - by_chance < NO_ROOM, np.nan, 1 - by_chance)
    return (observed - by_chance) / room
