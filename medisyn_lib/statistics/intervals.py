"""Intervals and tests that the claims rest on. An estimate that cannot have an interval has none."""

import numpy as np
from numpy.typing import ArrayLike

from medisyn_lib.statistics.estimates import Estimate, student
from medisyn_lib.statistics.jackknife import _jackknife


def wilson(successes: float, n: float, level: float = 0.95) -> Estimate:
    """A proportion of independent trials with Wilson's score interval (Wilson 1927).

    `n` may be an effective number, not whole. Raises ValueError unless 0 <= successes <= n.
    """
    from statsmodels.stats.proportion import proportion_confint

    if not 0 <= successes <= n:
        raise ValueError(f"successes must lie between 0 and n, got {successes} of {n}")
    if n == 0:
        return Estimate(None, None, None, 0)
    low, high = proportion_confint(successes, n, alpha=1 - level, method="wilson")
    return Estimate(
        successes / n, min(float(low), successes / n), max(float(high), successes / n), int(n)
    )


def exact_proportion(successes: int, n: int, level: float = 0.95) -> Estimate:
    """A proportion of n > 0 independent trials with Clopper and Pearson's interval (1934): never too narrow."""
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(successes, n, alpha=1 - level, method="beta")
    return Estimate(successes / n, float(low), float(high), n)


def t_interval(values: ArrayLike, level: float = 0.95) -> Estimate:
    """The mean of independent values, (n,), say one a seed, with Student's t interval."""
    return cluster_interval(values, np.arange(np.size(values)), level)


def cluster_interval(values: ArrayLike, clusters: ArrayLike, level: float = 0.95) -> Estimate:
    """The mean over images, (n,), whose interval is by patient: `clusters`, (n,), any labels.

    Delete-one-patient jackknife with t quantiles of g - 1 degrees of freedom for g patients
    (Efron and Stein 1981); with one image a patient it is the usual t interval.
    """
    n, g, mean, variance = _jackknife(values, clusters)
    return student(mean, variance, g - 1, n, level)


def cluster_proportion(successes: ArrayLike, clusters: ArrayLike, level: float = 0.95) -> Estimate:
    """A proportion over images, `successes` (n,) of 0 and 1, clustered by patient.

    Wilson's interval at the effective number of images: n over the design effect of the jackknife
    (Korn and Graubard 1998). Where all succeed or all fail the patients count, not the images.
    """
    n, g, share, variance = _jackknife(successes, clusters)
    if g < 2 or share is None:
        return Estimate(share, None, None, n)
    simple = share * (1 - share) / n
    effective = n / max(1.0, (variance or 0.0) / simple) if simple else float(g)
    found = wilson(share * effective, effective, level)
    return Estimate(share, found.ci_low, found.ci_high, n)


def paired_difference(
    a: ArrayLike, b: ArrayLike, clusters: ArrayLike, level: float = 0.95
) -> Estimate:
    """Mean of `a` minus mean of `b`, both (n,) over the same images, with the interval by patient."""
    if np.size(a) != np.size(b):
        raise ValueError(
            f"paired values must be as many on both sides, got {np.size(a)} and {np.size(b)}"
        )
    return cluster_interval(np.subtract(a, b), clusters, level)


def paired_shares(a: ArrayLike, b: ArrayLike, clusters: ArrayLike, level: float = 0.95) -> Estimate:
    """`paired_difference` of right or wrong, 1 or 0, whose interval is there, too, where all patients differ alike.

    Then the share that may be otherwise, by Wilson's limit over patients, bounds it.
    """
    found = paired_difference(a, b, clusters, level)
    if found.value is None or found.ci_low is not None:
        return found
    alike = cluster_proportion(np.ones(found.n), clusters, level)
    if alike.ci_low is None:
        return found
    reach = (1 - alike.ci_low) * (1 + abs(found.value))
    return Estimate(
        found.value, max(-1.0, found.value - reach), min(1.0, found.value + reach), found.n
    )


def difference(
    a: ArrayLike, clusters_a: ArrayLike, b: ArrayLike, clusters_b: ArrayLike, level: float = 0.95
) -> Estimate:
    """Mean of `a` minus mean of `b` over different images of different patients, say synthetic and real.

    Jackknife by patient on each side, joined by Welch and Satterthwaite's degrees of freedom.
    """
    (n_a, g_a, mean_a, var_a), (n_b, g_b, mean_b, var_b) = (
        _jackknife(a, clusters_a),
        _jackknife(b, clusters_b),
    )
    value = None if mean_a is None or mean_b is None else mean_a - mean_b
    if var_a is None or var_b is None or var_a + var_b == 0:
        return Estimate(value, None, None, n_a + n_b)
    freedom = (var_a + var_b) ** 2 / (var_a**2 / (g_a - 1) + var_b**2 / (g_b - 1))
    return student(value, var_a + var_b, freedom, n_a + n_b, level)
