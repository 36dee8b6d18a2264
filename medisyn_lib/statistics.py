"""Intervals and tests that the claims rest on. An estimate that cannot have an interval has none."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Estimate:
    """A number with its confidence interval and the number of observations behind it.

    The interval is None where n is too small or the observations do not vary, value where there are none.
    """

    value: float | None
    ci_low: float | None
    ci_high: float | None
    n: int


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
    return Estimate(successes / n, min(float(low), successes / n), max(float(high), successes / n), int(n))


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


def paired_difference(a: ArrayLike, b: ArrayLike, clusters: ArrayLike, level: float = 0.95) -> Estimate:
    """Mean of `a` minus mean of `b`, both (n,) over the same images, with the interval by patient."""
    if np.size(a) != np.size(b):
        raise ValueError(f"paired values must be as many on both sides, got {np.size(a)} and {np.size(b)}")
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
    return Estimate(found.value, max(-1.0, found.value - reach), min(1.0, found.value + reach), found.n)


def difference(
    a: ArrayLike, clusters_a: ArrayLike, b: ArrayLike, clusters_b: ArrayLike, level: float = 0.95
) -> Estimate:
    """Mean of `a` minus mean of `b` over different images of different patients, say synthetic and real.

    Jackknife by patient on each side, joined by Welch and Satterthwaite's degrees of freedom.
    """
    (n_a, g_a, mean_a, var_a), (n_b, g_b, mean_b, var_b) = _jackknife(a, clusters_a), _jackknife(b, clusters_b)
    value = None if mean_a is None or mean_b is None else mean_a - mean_b
    if var_a is None or var_b is None or var_a + var_b == 0:
        return Estimate(value, None, None, n_a + n_b)
    freedom = (var_a + var_b) ** 2 / (var_a**2 / (g_a - 1) + var_b**2 / (g_b - 1))
    return student(value, var_a + var_b, freedom, n_a + n_b, level)


def standard_error(estimate: Estimate, level: float = 0.95) -> float | None:
    """Half the interval's width in normal standard errors: a little wide where few patients made it."""
    from scipy.stats import norm

    if estimate.ci_low is None or estimate.ci_high is None:
        return None
    return float((estimate.ci_high - estimate.ci_low) / 2 / norm.ppf((1 + level) / 2))


def detectable_difference(se: float | None, *, power: float = 0.8, alpha: float = 0.05) -> float | None:
    """The smallest true difference that a two-sided test at `alpha` sees with `power`, given its `se`."""
    from scipy.stats import norm

    return None if se is None else float((norm.ppf(1 - alpha / 2) + norm.ppf(power)) * se)


def means(values: ArrayLike, clusters: ArrayLike | None = None, counted: ArrayLike | None = None) -> np.ndarray:
    """Means (1 + g, ...) of `counted` rows of values (n, ...), of all, then without each cluster; NaN of none left."""
    rows = np.asarray(values, np.float64)
    group = np.arange(len(rows)) if clusters is None else np.unique(clusters, return_inverse=True)[1]
    weight = np.ones(len(rows)) if counted is None else np.asarray(counted, np.float64)
    parts = weight[:, None] * np.column_stack([rows, np.ones(len(rows))])
    sums = np.zeros((group.max(initial=-1) + 2, parts.shape[1]))
    np.add.at(sums, group + 1, parts)
    sums = parts.sum(0) - sums
    return (sums[:, :-1] / np.where(sums[:, -1:] < 0.5, np.nan, sums[:, -1:])).reshape(-1, *rows.shape[1:])


def delete_group(
    statistic: Callable[..., ArrayLike], arrays: Sequence[np.ndarray], clusters: ArrayLike | None = None,
    groups: int = 20, seed: int = 0,
) -> tuple[np.ndarray, np.ndarray, int]:  # fmt: skip
    """Values (m,) of `statistic(*arrays)`, their delete-group jackknife variances (Kott 2001), degrees of freedom.

    Patients (`clusters`, (n,); else rows) are dealt into `groups`, each left out in turn, row i of all arrays
    of one length together. Variances are NaN below two groups.
    """
    values, deals = np.atleast_1d(np.asarray(statistic(*arrays), dtype=np.float64)), {}
    for n in {len(rows) for rows in arrays}:
        names = np.unique(np.arange(n) if clusters is None else clusters, return_inverse=True)[1]
        deals[n] = (np.random.default_rng(seed).permutation(names.max() + 1) % max(groups, 1))[names]
    count = min(int(deal.max()) + 1 for deal in deals.values())
    if count < 2:
        return values, np.full(len(values), np.nan), 0
    without = [statistic(*(rows[deals[len(rows)] != g] for rows in arrays)) for g in range(count)]
    return values, (count - 1) * np.array(without, dtype=np.float64).reshape(count, -1).var(0), count - 1


def student(value: float | None, variance: float | None, freedom: float, n: int, level: float = 0.95) -> Estimate:
    """A value with Student's t interval of this variance; without one where there is no spread or no number."""
    from scipy.stats import t

    # Rounding leaves a speck where all values are equal; that is no spread.
    if value is None or variance is None or not variance > (1e-12 * max(abs(value), 1e-300)) ** 2:
        return Estimate(None if value is None or np.isnan(value) else value, None, None, n)
    half = float(t.ppf((1 + level) / 2, freedom)) * variance**0.5
    return Estimate(value, value - half, value + half, n)


def _jackknife(values: ArrayLike, clusters: ArrayLike) -> tuple[int, int, float | None, float | None]:
    """Number of values and of clusters, mean, delete-one-cluster variance (None below two clusters)."""
    row, labels = np.asarray(values, dtype=np.float64), np.asarray(clusters)
    if row.ndim != 1 or not np.isfinite(row).all():
        raise ValueError(f"needs one row of finite numbers, got shape {row.shape}")
    if len(labels) != len(row):
        raise ValueError(f"needs one cluster a value, got {len(labels)} for {len(row)}")
    mean, *without = means(row, labels)
    n, g = len(row), len(without)
    return n, g, float(mean) if n else None, float((g - 1) * np.var(without)) if g > 1 else None
