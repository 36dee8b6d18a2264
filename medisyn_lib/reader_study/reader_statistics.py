"""Statistics of several readers' answers to the same items, with intervals over readers and items.

Tables are (r, n): r readers by n items.
"""

from __future__ import annotations

import numpy as np

from medisyn_lib.evaluation import agreement
from medisyn_lib.statistics.estimates import Estimate, student
from medisyn_lib.statistics.intervals import cluster_proportion


def over_readers(
    values: np.ndarray, left_out: np.ndarray, level: float = 0.95, *, random: bool | None = None
) -> Estimate:
    """Return the mean of readers' values and its interval.

    Fewer than five readers are fixed: the interval is a jackknife over items. From five on they are
    a random sample, as they are wherever `random` says so.

    Parameters
    ----------
    values : (r,) array
        A statistic of each reader, over all items.
    left_out : (r, n) array
        The same without each item in turn.
    level : float
        Of the interval.
    random : bool or None
        Whether readers, two at least, are a random sample; None decides by their number.

    Returns
    -------
    Estimate
        Its n counts answers.

    References
    ----------
    Obuchowski and Rockette, Commun Stat Simul Comput 1995, for one condition; degrees of freedom of
    Hillis, Stat Med 2007.
    """
    n_readers, n_items = left_out.shape
    n_answers = n_readers * n_items
    mean = float(values.mean())
    if random is None:
        random = n_readers >= agreement.FEWEST_RATERS
    if not random:
        return agreement.interval([mean, *left_out.mean(0)], n_answers, level, bounded=False)
    covariance = np.cov(left_out, bias=True) * (n_items - 1)
    shared = (covariance.sum() - covariance.trace()) / (n_readers * (n_readers - 1))
    between = float(values.var(ddof=1)) / n_readers
    variance = between + max(0.0, shared)
    degrees_of_freedom = (n_readers - 1) * (variance / max(between, 1e-14)) ** 2
    return student(mean, variance, degrees_of_freedom, n_answers, level)


def means_left_out(table: np.ndarray) -> np.ndarray:
    """Return each reader's mean without each item in turn, (r, n) as the table."""
    return (table.sum(1)[:, None] - table) / (table.shape[1] - 1)


def accuracy(right: np.ndarray, level: float = 0.95, *, random: bool | None = None) -> Estimate:
    """Return the proportion of right answers.

    The interval is that of `over_readers` in log odds; of fixed readers, or where all are equal,
    Wilson's with items as clusters.

    Parameters
    ----------
    right : (r, n) array
        1 where an answer is right, else 0.
    level : float
        Of the interval.
    random : bool or None
        As of `over_readers`.
    """
    from scipy.special import expit, logit

    n_readers, n_items = right.shape
    estimate = None
    if random is None:
        random = n_readers >= agreement.FEWEST_RATERS
    if random and n_items > 1:
        estimate = over_readers(right.mean(1), means_left_out(right), level, random=True)
    if estimate is None or estimate.value is None or estimate.ci_high is None:
        items = np.tile(np.arange(n_items), n_readers)
        return cluster_proportion(right.ravel(), items, level)
    value = estimate.value
    half = (estimate.ci_high - value) / (value * (1 - value))
    low, high = expit(logit(value) + np.array([-half, half])).tolist()
    return Estimate(value, low, high, estimate.n)


def d_prime(first: np.ndarray, truth: np.ndarray) -> Estimate:
    """Return the sensitivity d' of forced choice, which a bias to one side does not change.

    Parameters
    ----------
    first : (r, n) float array
        1 where the first image was chosen.
    truth : (r, n) float array
        1 where the first image was the right one.

    References
    ----------
    Macmillan and Creelman, Detection Theory 2005, chapter 7; half an answer is added to each count
    (Hautus, Behav Res Methods 1995).
    """
    hit_scores = _chosen_scores(first, truth)
    false_alarm_scores = _chosen_scores(first, 1 - truth)
    scores = (hit_scores - false_alarm_scores) / 2**0.5
    return over_readers(scores[:, 0], scores[:, 1:])


def _chosen_scores(first: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Return the normal score of how often the first image was chosen `among` some items.

    (r, 1 + n): over all items, then without each.
    """
    from scipy.stats import norm

    chosen = _sums_left_out(first * among)
    total = _sums_left_out(among)
    return norm.ppf((chosen + 0.5) / (total + 1))


def _sums_left_out(table: np.ndarray) -> np.ndarray:
    """Return each reader's sum over all items, then without each: (r, 1 + n)."""
    return table.sum(1)[:, None] - np.pad(table, ((0, 0), (1, 0)))


def difference(a: np.ndarray, b: np.ndarray) -> Estimate:
    """Return the mean rating of items a, (r, n), minus that of items b, (r, m), as `over_readers`."""
    mean_a, mean_b = a.mean(1), b.mean(1)
    without_one_of_a = means_left_out(a) - mean_b[:, None]
    without_one_of_b = mean_a[:, None] - means_left_out(b)
    return over_readers(mean_a - mean_b, np.hstack([without_one_of_a, without_one_of_b]))
