"""How far graders agree, with each other and with a reference, from a table of ordered grades.

A table is (n, r): n items by r raters, grades 0 to `categories` - 1, missing where -1 or NaN. Intervals are
jackknives: over items (or `clusters` of them, say patients), which speaks for other items and the same raters,
or over raters, which needs five of them: fewer are taken as they are, and speak for themselves alone.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from medisyn_lib.errors import InputError
from medisyn_lib.statistics.estimates import Estimate, student
from medisyn_lib.statistics.intervals import cluster_proportion
from medisyn_lib.statistics.jackknife import means

FEWEST_RATERS = 5  # that an interval over raters needs
PanelStatistic = Callable[..., np.ndarray]  # a statistic of a panel, such as `fleiss_kappas`


def checked(ratings: ArrayLike, categories: int) -> np.ndarray:
    """A table of grades, int64 (n, r), -1 where missing. InputError for one rater, unknown grades, no overlap."""
    table = np.nan_to_num(np.asarray(ratings, np.float64), nan=-1)
    if table.ndim != 2 or table.shape[1] < 2:
        raise InputError(
            f"ratings of shape {table.shape}: agreement needs a table with at least 2 graders; add one"
        )
    for item, rater in np.argwhere((table % 1 != 0) | (table < -1) | (table >= categories))[:1]:
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
    """Agreement of each pair of grades, (q, q): 1 for equal ones, 0 for the two ends of the scale."""
    return (
        1
        - np.subtract.outer(np.arange(categories), np.arange(categories)) ** 2
        / (categories - 1) ** 2
    )


def kappas(
    a: ArrayLike, b: ArrayLike, categories: int, clusters: ArrayLike | None = None
) -> np.ndarray:
    """Quadratic-weighted kappa (Cohen 1968) of two raters, (1 + g,): over all items, then without each cluster.

    Such rows may be subtracted or averaged before `interval`, where they are of the same items and clusters.
    Equals scikit-learn's `cohen_kappa_score`. Raises InputError as `checked`, and where all grades are equal.
    """
    table, weights = checked(np.column_stack([a, b]), categories), quadratic_weights(categories)
    marks = np.column_stack(
        [weights[table[:, 0], table[:, 1]], np.eye(categories)[table].reshape(len(table), -1)]
    )
    found = means(marks, clusters, (table >= 0).all(1))
    chance = np.einsum(
        "gk,kl,gl->g", found[:, 1 : categories + 1], weights, found[:, categories + 1 :]
    )
    return _beyond_chance(found[:, 0], chance, "quadratic-weighted kappa", table)


def fleiss_kappas(
    ratings: ArrayLike, categories: int, clusters: ArrayLike | None = None
) -> np.ndarray:
    """Fleiss' kappa of a panel, (1 + g,), raising InputError as `kappas`; missing grades as in Gwet 2014, chapter 5."""
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
    statistic: PanelStatistic,
    ratings: ArrayLike,
    categories: int,
    clusters: ArrayLike | None = None,
) -> Estimate:
    """`fleiss_kappas` or `gwet_ac2s` of a panel with the interval over items; n counts items with two grades."""
    graded = (checked(ratings, categories) >= 0).sum(1)
    return interval(statistic(ratings, categories, clusters), int((graded >= 2).sum()))


def over_raters(statistic: PanelStatistic, ratings: ArrayLike, categories: int) -> Estimate:
    """`fleiss_kappas` or `gwet_ac2s` of a panel with the interval over raters; n counts them; none below five."""
    table, r = checked(ratings, categories), np.shape(ratings)[1]
    without = [
        statistic(np.delete(table, k, 1), categories)[0]
        for k in range(r if r >= FEWEST_RATERS else 0)
    ]
    # Half the usual degrees of freedom: one odd rater weighs so much that with all of them 92% are covered.
    return interval([statistic(table, categories)[0], *without], r, freedom=r // 2)


def operating_point(
    grades: ArrayLike, reference: ArrayLike, threshold: int, clusters: ArrayLike
) -> list[Estimate]:
    """Sensitivity and specificity of grades (n,) for "grade `threshold` or worse", with intervals by cluster."""
    given, true, groups = (
        np.asarray(grades, np.float64),
        np.asarray(reference, np.float64),
        np.asarray(clusters),
    )
    right, ill, known = (
        (given >= threshold) == (true >= threshold),
        true >= threshold,
        (given >= 0) & (true >= 0),
    )
    return [
        cluster_proportion(right[rows].astype(float), groups[rows])
        for rows in (known & ill, known & ~ill)
    ]


def aucs(scores: ArrayLike, ill: ArrayLike, clusters: ArrayLike | None = None) -> np.ndarray:
    """Area under the ROC curve of scores (n,), (1 + g,) as in `kappas`; ties count half (Mann-Whitney).

    Equals scikit-learn's `roc_auc_score`; without a cluster to first order, by placements (DeLong et al. 1988,
    Obuchowski 1997). Raises InputError where all items are ill or none is.
    """
    from scipy.stats import rankdata

    score, positive = np.asarray(scores, np.float64), np.asarray(ill, bool)
    if positive.all() or not positive.any():
        raise InputError(
            f"AUC is undefined: {positive.sum()} of {len(positive)} items are ill; give both kinds"
        )
    placement = rankdata(score)
    for kind in (positive, ~positive):  # the share of the other kind that lies below
        placement[kind] = (placement[kind] - rankdata(score[kind])) / (~kind).sum()
    sides = means(placement, clusters, positive), 1 - means(placement, clusters, ~positive)
    return sides[0] + sides[1] - sides[0][0]


def interval(
    left_out: ArrayLike, n: int, level: float = 0.95, *, bounded: bool = True, freedom: int = 0
) -> Estimate:
    """Value and interval from (1 + g,): the statistic over all, then without each of g clusters.

    Jackknife variance with t quantiles (`freedom`: g - 1); `bounded` ones are at most 1 and get it for
    log(1 - value). None where clusters do not differ or leaving one out makes the statistic undefined.
    """
    value, *without = np.asarray(left_out, np.float64).tolist()
    g, room = len(without), 1 - value
    variance = (g - 1) * float(np.var(without)) if g > 1 and (room > 1e-12 or not bounded) else None
    found = student(value, variance, freedom or g - 1, n, level)
    if not bounded or found.ci_high is None:
        return found
    low, high = (
        1 - room * float(np.exp(sign * (found.ci_high - value) / room)) for sign in (1, -1)
    )
    return Estimate(value, low, high, n)


def _panel(
    table: np.ndarray, weights: np.ndarray, clusters: ArrayLike | None
) -> tuple[np.ndarray, np.ndarray]:
    """Observed agreement (1 + g,) and shares of the grades (1 + g, q), whole and without each cluster."""
    counts = (table[:, :, None] == np.arange(len(weights))).sum(1).astype(float)
    graded = counts.sum(1)
    alike = (counts * (counts @ weights - 1)).sum(1) / np.maximum(graded * (graded - 1), 1)
    shares = counts / np.maximum(graded, 1)[:, None]
    return means(alike, clusters, graded >= 2), means(shares, clusters, graded >= 1)


def _beyond_chance(
    observed: np.ndarray, chance: np.ndarray, name: str, table: np.ndarray
) -> np.ndarray:
    """(observed - chance) / (1 - chance); raises InputError where all grades are equal, as chance alone agrees."""
    if 1 - chance[0] < 1e-12:
        raise InputError(
            f"{name} is undefined: all grades are {table.max()}; report the share agreeing, or AC2"
        )
    return (observed - chance) / np.where(1 - chance < 1e-12, np.nan, 1 - chance)
