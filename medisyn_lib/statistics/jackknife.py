"""Delete-group and delete-one-cluster jackknife."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike


def means(
    values: ArrayLike, clusters: ArrayLike | None = None, counted: ArrayLike | None = None
) -> np.ndarray:
    """Means (1 + g, ...) of `counted` rows of values (n, ...), of all, then without each cluster; NaN of none left."""
    rows = np.asarray(values, np.float64)
    group = (
        np.arange(len(rows)) if clusters is None else np.unique(clusters, return_inverse=True)[1]
    )
    weight = np.ones(len(rows)) if counted is None else np.asarray(counted, np.float64)
    parts = weight[:, None] * np.column_stack([rows, np.ones(len(rows))])
    sums = np.zeros((group.max(initial=-1) + 2, parts.shape[1]))
    np.add.at(sums, group + 1, parts)
    sums = parts.sum(0) - sums
    return (sums[:, :-1] / np.where(sums[:, -1:] < 0.5, np.nan, sums[:, -1:])).reshape(
        -1, *rows.shape[1:]
    )


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
        deals[n] = (np.random.default_rng(seed).permutation(names.max() + 1) % max(groups, 1))[
            names
        ]
    count = min(int(deal.max()) + 1 for deal in deals.values())
    if count < 2:
        return values, np.full(len(values), np.nan), 0
    without = [statistic(*(rows[deals[len(rows)] != g] for rows in arrays)) for g in range(count)]
    return (
        values,
        (count - 1) * np.array(without, dtype=np.float64).reshape(count, -1).var(0),
        count - 1,
    )


def _jackknife(
    values: ArrayLike, clusters: ArrayLike
) -> tuple[int, int, float | None, float | None]:
    """Number of values and of clusters, mean, delete-one-cluster variance (None below two clusters)."""
    row, labels = np.asarray(values, dtype=np.float64), np.asarray(clusters)
    if row.ndim != 1 or not np.isfinite(row).all():
        raise ValueError(f"needs one row of finite numbers, got shape {row.shape}")
    if len(labels) != len(row):
        raise ValueError(f"needs one cluster a value, got {len(labels)} for {len(row)}")
    mean, *without = means(row, labels)
    n, g = len(row), len(without)
    return n, g, float(mean) if n else None, float((g - 1) * np.var(without)) if g > 1 else None
