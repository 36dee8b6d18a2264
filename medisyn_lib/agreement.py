"""How far graders agree, with each other and with a reference, from a table of ordered grades.

A table is (n, r): n items by r raters, grades 0 to `categories` - 1, missing where -1 or NaN. Intervals are
jackknives: over items (or `clusters` of them, say patients), which speaks for other items and the same raters,
or over raters, which needs five of them: fewer are taken as they are, and speak for themselves alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from medisyn_lib.errors import InputError
from medisyn_lib.statistics import Estimate, cluster_proportion

FEWEST_RATERS = 5  # that an interval over raters needs


def checked(ratings: ArrayLike, categories: int) -> np.ndarray:
    """A table of grades as int64 (n, r), -1 where missing.

    Raises InputError for a single rater, for a grade that is unknown, and where no item has two grades.
    """
    table = np.asarray(ratings, np.float64)
    if table.ndim != 2 or table.shape[1] < 2:
        raise InputError(f"ratings of shape {table.shape}: agreement needs a table with at least 2 graders; add one")
    table = np.where(np.isnan(table), -1, table)
    for item, rater in np.argwhere((table % 1 != 0) | (table < -1) | (table >= categories))[:1]:
        where = f"grade {table[item, rater]:g} of item {item} by grader {rater}"
        raise InputError(f"{where} is unknown: give whole numbers from 0 to {categories - 1}, -1 where missing")
    if not ((table >= 0).sum(1) >= 2).any():
        raise InputError("ratings: no overlap, no item was graded by two graders; let some grade the same items")
    return table.astype(np.int64)


def quadratic_weights(categories: int) -> np.ndarray:
    """Agreement of each pair of grades, (q, q): 1 for equal ones, 0 for the two ends of the scale."""
    return 1 - np.subtract.outer(np.arange(categories), np.arange(categories)) ** 2 / (categories - 1) ** 2


def kappas(a: ArrayLike, b: ArrayLike, categories: int, clusters: ArrayLike | None = None) -> np.ndarray:
    """Quadratic-weighted kappa (Cohen 1968) of two raters, (1 + g,): over all items, then without each cluster.

    Such rows may be subtracted or averaged before `interval`, where they are of the same items and clusters.
    Equals scikit-learn's `cohen_kappa_score`. Raises InputError as `checked`, and where all grades are equal.
    """
    table, weights = checked(np.column_stack([a, b]), categories), quadratic_weights(categories)
    both = (table >= 0).all(axis=1, keepdims=True)
    shares = np.eye(categories)[table].reshape(len(table), -1)
    sums = _left_out(both * np.column_stack([weights[table[:, 0], table[:, 1]], both, shares]), clusters)
    sums = np.where(sums[:, 1:2] < 0.5, np.nan, sums)  # undefined where no item that both graded is left
    left, right = np.split(sums[:, 2:] / sums[:, 1:2], 2, axis=1)
    chance = np.einsum("gk,kl,gl->g", left, weights, right)
    return _beyond_chance(sums[:, 0] / sums[:, 1], chance, "quadratic-weighted kappa", table)


def fleiss_kappas(ratings: ArrayLike, categories: int, clusters: ArrayLike | None = None) -> np.ndarray:
    """Fleiss' kappa of a panel, (1 + g,) as in `kappas`; missing grades as in Gwet 2014, chapter 5.

    Equals statsmodels' `fleiss_kappa` where none is missing. Raises InputError as `checked`, and for equal grades.
    """
    table = checked(ratings, categories)
    observed, shares = _panel(table, np.eye(categories), clusters)
    return _beyond_chance(observed, (shares**2).sum(1), "Fleiss' kappa", table)


def gwet_ac2s(ratings: ArrayLike, categories: int, clusters: ArrayLike | None = None) -> np.ndarray:
    """Gwet's AC2 with quadratic weights (Gwet 2014), (1 + g,) as in `kappas`; defined for equal grades, too."""
    weights = quadratic_weights(categories)
    observed, shares = _panel(checked(ratings, categories), weights, clusters)
    chance = weights.sum() / (categories * (categories - 1)) * (shares * (1 - shares)).sum(1)
    return (observed - chance) / (1 - chance)


def over_items(
    statistic: Callable[..., np.ndarray], ratings: ArrayLike, categories: int, clusters: ArrayLike | None = None
) -> Estimate:
    """`fleiss_kappas` or `gwet_ac2s` of a panel with the interval over items; n counts items with two grades."""
    table = checked(ratings, categories)
    return interval(statistic(table, categories, clusters), int(((table >= 0).sum(1) >= 2).sum()))


def over_raters(statistic: Callable[..., np.ndarray], ratings: ArrayLike, categories: int) -> Estimate:
    """`fleiss_kappas` or `gwet_ac2s` of a panel with the interval over raters; n counts them; none below five."""
    table = checked(ratings, categories)
    value, r = statistic(table, categories)[0], table.shape[1]
    if r < FEWEST_RATERS:
        return Estimate(float(value), None, None, r)
    without = [statistic(np.delete(table, rater, 1), categories)[0] for rater in range(r)]
    # Half the usual degrees of freedom: one odd rater weighs so much that with all of them 92% are covered.
    return interval([value, *without], r, freedom=r // 2)


def operating_point(
    grades: ArrayLike, reference: ArrayLike, threshold: int, clusters: ArrayLike | None = None
) -> tuple[Estimate, Estimate]:
    """Sensitivity and specificity of grades (n,) for "grade `threshold` or worse", with intervals over items."""
    given, true = np.asarray(grades, np.float64), np.asarray(reference, np.float64)
    groups = np.arange(len(given)) if clusters is None else np.asarray(clusters)
    right, ill, known = (given >= threshold) == (true >= threshold), true >= threshold, (given >= 0) & (true >= 0)
    rates = [cluster_proportion(right[rows].astype(float), groups[rows]) for rows in (known & ill, known & ~ill)]
    return rates[0], rates[1]


def means(values: ArrayLike, clusters: ArrayLike | None = None) -> np.ndarray:
    """Mean of values (n,), say of being right, (1 + g,) as in `kappas`."""
    sums = _left_out(np.column_stack([values, np.ones(np.size(values))]), clusters)
    return sums[:, 0] / np.maximum(sums[:, 1], 1)


def aucs(scores: ArrayLike, ill: ArrayLike, clusters: ArrayLike | None = None) -> np.ndarray:
    """Area under the ROC curve of scores (n,), (1 + g,) as in `kappas`; ties count half (Mann-Whitney).

    Equals scikit-learn's `roc_auc_score`. Raises InputError where all items are ill or none is.
    """
    score, positive = np.asarray(scores, np.float64), np.asarray(ill, bool)
    if positive.all() or not positive.any():
        raise InputError(f"AUC is undefined: {positive.sum()} of {len(positive)} items are ill; give both kinds")
    member = np.eye(len(score)) if clusters is None else np.asarray(clusters)[:, None] == np.unique(clusters)
    wins = (np.sign(score[positive][:, None] - score[~positive]) + 1) / 2
    pairs = [member[positive].T @ counted @ member[~positive] for counted in (wins, np.ones_like(wins))]
    won, played = (np.array([p.sum(), *(p.sum() - p.sum(0) - p.sum(1) + p.diagonal())]) for p in pairs)
    return won / np.where(played == 0, np.nan, played)


def interval(
    left_out: Sequence[float] | np.ndarray, n: int, level: float = 0.95, *, bounded: bool = True, freedom: int = 0
) -> Estimate:
    """Value and interval from (1 + g,): the statistic over all, then without each of g clusters.

    Jackknife variance with t quantiles (`freedom`: g - 1); `bounded` ones are at most 1 and get it for
    log(1 - value). None where clusters do not differ or leaving one out makes the statistic undefined.
    """
    from scipy.stats import t

    value, without = float(left_out[0]), np.asarray(left_out[1:], np.float64)
    g, room = len(without), 1 - float(left_out[0]) if bounded else 1.0
    if g < 2 or not np.isfinite(without).all() or room <= 1e-12 or without.std() < 1e-14:
        return Estimate(value, None, None, n)
    half = float(t.ppf((1 + level) / 2, freedom or g - 1) * ((g - 1) * without.var()) ** 0.5)
    if not bounded:
        return Estimate(value, value - half, value + half, n)
    return Estimate(value, 1 - room * float(np.exp(half / room)), 1 - room * float(np.exp(-half / room)), n)


def _left_out(parts: np.ndarray, clusters: ArrayLike | None) -> np.ndarray:
    """Sums (1 + g, d) of parts (n, d): over all items, then over all but each cluster."""
    group = np.arange(len(parts)) if clusters is None else np.unique(clusters, return_inverse=True)[1]
    sums = np.zeros((group.max() + 1, parts.shape[1]))
    np.add.at(sums, group, parts)
    return np.concatenate([parts.sum(0)[None], parts.sum(0) - sums])


def _panel(table: np.ndarray, weights: np.ndarray, clusters: ArrayLike | None) -> tuple[np.ndarray, np.ndarray]:
    """Observed agreement (1 + g,) and shares of the grades (1 + g, q), whole and without each cluster."""
    counts = (table[:, :, None] == np.arange(len(weights))).sum(1).astype(float)
    graded = counts.sum(1)
    alike = (counts * (counts @ weights - 1)).sum(1) / np.maximum(graded * (graded - 1), 1) * (graded >= 2)
    parts = np.column_stack([alike, graded >= 2, graded >= 1, counts / np.maximum(graded, 1)[:, None]])
    sums = _left_out(parts, clusters)
    sums = np.where(sums[:, 1:2] < 0.5, np.nan, sums)  # undefined where no item with two grades is left
    return sums[:, 0] / sums[:, 1], sums[:, 3:] / sums[:, 2:3]


def _beyond_chance(observed: np.ndarray, chance: np.ndarray, name: str, table: np.ndarray) -> np.ndarray:
    """(observed - chance) / (1 - chance); raises InputError where all grades are equal, as chance alone agrees."""
    if 1 - chance[0] < 1e-12:
        raise InputError(f"{name} is undefined: all grades are {table.max()}; report the share agreeing, or AC2")
    return (observed - chance) / np.where(1 - chance < 1e-12, np.nan, 1 - chance)
