"""Delete-group and delete-one-cluster jackknife."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class GroupJackknife(NamedTuple):
    """Values (m,) of a statistic, their jackknife variances (m,), NaN where unknown, and degrees of freedom."""

    values: np.ndarray
    variances: np.ndarray
    degrees_of_freedom: int


class ClusterJackknife(NamedTuple):
    """A mean over n values in some clusters; its variance is None below two clusters."""

    n: int
    clusters: int
    mean: float | None
    variance: float | None


def means(
    values: ArrayLike, clusters: ArrayLike | None = None, counted: ArrayLike | None = None
) -> np.ndarray:
    """Return means over all rows, then without each cluster.

    Parameters
    ----------
    values
        (n, ...).
    clusters
        Labels of the rows, (n,), in g clusters; by default each row is its own.
    counted
        Which rows count, bool (n,) or weights; by default all.

    Returns
    -------
    means
        float64 (1 + g, ...), the clusters in the order of their labels; NaN where no row is left.
    """
    rows = np.asarray(values, np.float64)
    if clusters is None:
        cluster = np.arange(len(rows))
    else:
        cluster = np.unique(clusters, return_inverse=True)[1]
    weight = np.ones(len(rows)) if counted is None else np.asarray(counted, np.float64)
    weighted = weight[:, None] * np.column_stack([rows, np.ones(len(rows))])
    # Sums of nothing, then of each cluster; what is left without it is the rest.
    of_cluster = np.zeros((cluster.max(initial=-1) + 2, weighted.shape[1]))
    np.add.at(of_cluster, cluster + 1, weighted)
    left = weighted.sum(0) - of_cluster
    totals, counts = left[:, :-1], left[:, -1:]
    found = totals / np.where(counts < 0.5, np.nan, counts)
    return found.reshape(-1, *rows.shape[1:])


def delete_group(
    statistic: Callable[..., ArrayLike],
    arrays: Sequence[np.ndarray],
    clusters: ArrayLike | None = None,
    groups: int = 20,
    seed: int = 0,
) -> GroupJackknife:
    """Estimate the variance of a statistic by leaving out one group of patients at a time.

    Parameters
    ----------
    statistic
        A function of the arrays that returns a number or m of them.
    arrays
        Each (n, ...). Row i of all arrays of one length is left out together.
    clusters
        The patient of each row, (n,); by default each row is its own.
    groups
        Number of groups that the patients are split into at random.
    seed
        Of the split.

    Returns
    -------
    jackknife
        Variances are NaN, and degrees of freedom 0, where fewer than two groups can be formed.

    References
    ----------
    Kott, Journal of Official Statistics 2001, 17(4):521-526.
    """
    group_of = {n: deal_groups(n, clusters, groups, seed) for n in {len(rows) for rows in arrays}}
    count = min(int(group.max()) + 1 for group in group_of.values())
    found = [statistic(*arrays)]
    if count > 1:
        found += [
            statistic(*(rows[group_of[len(rows)] != left_out] for rows in arrays))
            for left_out in range(count)
        ]
    return jackknife_of(np.array(found, dtype=np.float64).reshape(len(found), -1))


def jackknife_of(found: np.ndarray) -> GroupJackknife:
    """Return the jackknife of a statistic's values: of all rows, then without each group, float64 (1 + g, m).

    Variances are NaN, and degrees of freedom 0, for fewer than two groups.
    """
    values, without = found[0], found[1:]
    if len(without) < 2:
        return GroupJackknife(values, np.full(len(values), np.nan), 0)
    return GroupJackknife(values, (len(without) - 1) * without.var(0), len(without) - 1)


def deal_groups(
    n: int, clusters: ArrayLike | None = None, groups: int = 20, seed: int = 0
) -> np.ndarray:
    """Return the group of each of n rows, int (n,): clusters in random order, dealt out in turn."""
    labels = np.arange(n) if clusters is None else clusters
    cluster = np.unique(labels, return_inverse=True)[1]
    order = np.random.default_rng(seed).permutation(cluster.max() + 1)
    return (order % max(groups, 1))[cluster]


def delete_one_cluster(values: ArrayLike, clusters: ArrayLike) -> ClusterJackknife:
    """Estimate the variance of a mean by leaving out one cluster at a time, (g - 1)/g sum (m_(i) - m_(.))^2.

    Parameters
    ----------
    values
        Finite numbers, (n,).
    clusters
        Labels, (n,), of g clusters, such as patients.

    Raises
    ------
    ValueError
        Where the values are not one row of finite numbers, or not as many as the clusters.

    References
    ----------
    Efron and Stein, Annals of Statistics 1981, 9(3):586-596.
    """
    row, labels = np.asarray(values, dtype=np.float64), np.asarray(clusters)
    if row.ndim != 1 or not np.isfinite(row).all():
        raise ValueError(f"needs one row of finite numbers, got shape {row.shape}")
    if len(labels) != len(row):
        raise ValueError(f"needs one cluster per value, got {len(labels)} for {len(row)}")
    mean, *without = means(row, labels)
    g = len(without)
    variance = float((g - 1) * np.var(without)) if g > 1 else None
    return ClusterJackknife(len(row), g, float(mean) if len(row) else None, variance)
