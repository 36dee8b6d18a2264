"""Intervals that the claims rest on. An estimate that cannot have an interval has none."""

import numpy as np
from numpy.typing import ArrayLike

from medisyn_lib.statistics.estimates import Estimate, student
from medisyn_lib.statistics.jackknife import delete_one_cluster

__all__ = [
    "cluster_interval",
    "cluster_proportion",
    "difference",
    "exact_proportion",
    "paired_difference",
    "paired_proportions",
    "simultaneous_level",
    "t_interval",
    "wilson",
]


def wilson(successes: float, n: float, level: float = 0.95) -> Estimate:
    """Return a proportion of independent trials with Wilson's score interval.

    Parameters
    ----------
    successes, n
        Of so many trials; either may be an effective number, not whole.
    level
        Confidence level, in (0, 1).

    Raises
    ------
    ValueError
        Unless 0 <= successes <= n.

    References
    ----------
    Wilson, Journal of the American Statistical Association 1927, 22:209-212.
    """
    from statsmodels.stats.proportion import proportion_confint

    if not 0 <= successes <= n:
        raise ValueError(f"successes must lie between 0 and n, got {successes} of {n}")
    if n == 0:
        return Estimate(None, None, None, 0)
    proportion = successes / n
    low, high = proportion_confint(successes, n, alpha=1 - level, method="wilson")
    # Rounding may leave the proportion a speck outside.
    return Estimate(proportion, min(float(low), proportion), max(float(high), proportion), int(n))


def exact_proportion(successes: int, n: int, level: float = 0.95) -> Estimate:
    """Return a proportion of n > 0 independent trials with Clopper and Pearson's interval: never too narrow.

    References
    ----------
    Clopper and Pearson, Biometrika 1934, 26(4):404-413.
    """
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(successes, n, alpha=1 - level, method="beta")
    return Estimate(successes / n, float(low), float(high), n)


def simultaneous_level(m: int, alpha: float = 0.05) -> float:
    """Return the level of each of m intervals whose limits of one side hold together with 1 - alpha.

    Bonferroni: each limit errs with probability alpha / m.
    """
    return 1 - 2 * alpha / m


def t_interval(values: ArrayLike, level: float = 0.95) -> Estimate:
    """Return the mean of independent values (n,), say one per seed, with Student's t interval."""
    return cluster_interval(values, np.arange(np.size(values)), level)


def cluster_interval(values: ArrayLike, clusters: ArrayLike, level: float = 0.95) -> Estimate:
    """Return the mean over images with its interval by patient.

    Delete-one-patient jackknife with t quantiles of g - 1 degrees of freedom for g patients; with one
    image per patient it is the usual t interval.

    Parameters
    ----------
    values
        Of each image, finite, (n,).
    clusters
        The patient of each, (n,), any labels.
    level
        Confidence level, in (0, 1).

    References
    ----------
    Efron and Stein, Annals of Statistics 1981, 9(3):586-596.
    """
    found = delete_one_cluster(values, clusters)
    return student(found.mean, found.variance, found.clusters - 1, found.n, level)


def cluster_proportion(successes: ArrayLike, clusters: ArrayLike, level: float = 0.95) -> Estimate:
    """Return a proportion over images with its interval by patient.

    Wilson's interval at the effective number of images: n over the design effect of the jackknife. Where
    all succeed or all fail the patients count, not the images.

    Parameters
    ----------
    successes
        0 or 1 of each image, (n,).
    clusters
        The patient of each, (n,), any labels.
    level
        Confidence level, in (0, 1).

    References
    ----------
    Korn and Graubard, Survey Methodology 1998, 24(2):193-201.
    """
    found = delete_one_cluster(successes, clusters)
    proportion = found.mean
    if found.clusters < 2 or proportion is None:
        return Estimate(proportion, None, None, found.n)
    independent = proportion * (1 - proportion) / found.n  # the variance, were images independent
    if independent:
        design_effect = max(1.0, (found.variance or 0.0) / independent)
        effective_n = found.n / design_effect
    else:
        effective_n = float(found.clusters)
    limits = wilson(proportion * effective_n, effective_n, level)
    return Estimate(proportion, limits.ci_low, limits.ci_high, found.n)


def paired_difference(
    a: ArrayLike, b: ArrayLike, clusters: ArrayLike, level: float = 0.95
) -> Estimate:
    """Return the mean of `a` minus the mean of `b` over the same images, with its interval by patient.

    Parameters
    ----------
    a, b
        Of each image, finite, (n,).
    clusters
        The patient of each, (n,), any labels.
    level
        Confidence level, in (0, 1).

    Raises
    ------
    ValueError
        Where `a` and `b` differ in length.
    """
    if np.size(a) != np.size(b):
        raise ValueError(
            f"paired values must be as many on both sides, got {np.size(a)} and {np.size(b)}"
        )
    return cluster_interval(np.subtract(a, b), clusters, level)


def paired_proportions(
    a: ArrayLike, b: ArrayLike, clusters: ArrayLike, level: float = 0.95
) -> Estimate:
    """Return `paired_difference` of successes, 0 or 1, with an interval even where all patients differ alike.

    Then the proportion that may be otherwise, by Wilson's limit over patients, bounds the difference.
    """
    found = paired_difference(a, b, clusters, level)
    if found.value is None or found.ci_low is not None:
        return found
    alike = cluster_proportion(np.ones(found.n), clusters, level)
    if alike.ci_low is None:
        return found
    reach = (1 - alike.ci_low) * (1 + abs(found.value))
    low = max(-1.0, found.value - reach)
    high = min(1.0, found.value + reach)
    return Estimate(found.value, low, high, found.n)


def difference(
    a: ArrayLike, clusters_a: ArrayLike, b: ArrayLike, clusters_b: ArrayLike, level: float = 0.95
) -> Estimate:
    """Return the mean of `a` minus the mean of `b` over different images of different patients.

    Jackknife by patient in each group, joined by Welch and Satterthwaite's degrees of freedom.

    Parameters
    ----------
    a, b
        Of each image, finite, (n_a,) and (n_b,).
    clusters_a, clusters_b
        The patient of each, any labels.
    level
        Confidence level, in (0, 1).

    References
    ----------
    Welch, Biometrika 1947, 34:28-35. Satterthwaite, Biometrics Bulletin 1946, 2(6):110-114.
    """
    first, second = delete_one_cluster(a, clusters_a), delete_one_cluster(b, clusters_b)
    n = first.n + second.n
    if first.mean is None or second.mean is None:
        return Estimate(None, None, None, n)
    value = first.mean - second.mean
    if first.variance is None or second.variance is None:
        return Estimate(value, None, None, n)
    variance = first.variance + second.variance
    if variance == 0:
        return Estimate(value, None, None, n)
    of_first = first.variance**2 / (first.clusters - 1)
    of_second = second.variance**2 / (second.clusters - 1)
    degrees_of_freedom = variance**2 / (of_first + of_second)
    return student(value, variance, degrees_of_freedom, n, level)
