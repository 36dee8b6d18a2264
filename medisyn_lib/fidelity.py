"""Distances and overlaps of real and synthetic features, from blocks of inner products computed once.

Everywhere `real` and `synthetic` are float64 (n, d), of equal n unless `unequal`. InputError names
what is wrong: n < 2, values that are not finite, unlike widths, numbers of rows or encoders.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from medisyn_lib import statistics
from medisyn_lib.errors import InputError
from medisyn_lib.statistics import Estimate

if TYPE_CHECKING:
    import torch

BLOCK = 1024  # rows and columns of a block: 8 MB of float64
# Rounding must not decide a tie, such as a copy's distance to its original's neighbour: a tie is not nearer.
SLACK = {"float64": 1e-13, "float32": 5e-7}
OVERLAPS = ("precision", "recall", "density", "coverage")


def frechet_distance(
    *, real: np.ndarray, synthetic: np.ndarray, axes: np.ndarray | None = None, unequal: bool = False
) -> float:
    """Frechet distance of the Gaussians fitted to two sets (Heusel et al., arXiv 1706.08500, section 2).

    With `axes` (d, c) from `leading_components` the distance within them, which needs n >= 5 c. The
    trace of the root of the covariances' product is the nuclear norm of the product of their
    triangular factors, exact also for n <= d and for equal sets.
    """
    import torch

    x, y = _checked(real, synthetic, unequal)
    if axes is not None:
        if axes.shape[0] != x.shape[1] or min(len(x), len(y)) < 5 * axes.shape[1]:
            raise InputError(f"axes {axes.shape}: take {x.shape[1]} rows and n >= 5 a column, n is {len(x)}")
        x, y = x @ axes, y @ axes
    a, b = (torch.from_numpy((f - f.mean(0)) / np.sqrt(len(f) - 1)) for f in (x, y))
    root = torch.linalg.matrix_norm(torch.linalg.qr(a, mode="r").R @ torch.linalg.qr(b, mode="r").R.T, ord="nuc")
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + (a * a).sum() + (b * b).sum() - 2 * root)


def leading_components(features: np.ndarray, number: int) -> np.ndarray:
    """The `number` leading principal axes, float64 (d, number), of a third split of real features (n, d)."""
    x, _ = _checked(features, features, False)
    if not 1 <= number <= min(x.shape[1], len(x) // 5):
        raise InputError(f"components: {number} need that width and five times as many rows, got {x.shape}")
    return np.linalg.eigh(np.cov(x, rowvar=False).reshape(x.shape[1], -1))[1][:, ::-1][:, :number]


def kernel_distance(*, real: np.ndarray, synthetic: np.ndarray, unequal: bool = False) -> float:
    """KID, unbiased (so it may be negative), kernel (x.y / d + 1)^3 (Binkowski et al., arXiv 1801.01401)."""
    return block_measures(real=real, synthetic=synthetic, k=0, unequal=unequal)["KID"]


def block_measures(
    *, real: np.ndarray, synthetic: np.ndarray, k: int = 5, dtype: str = "float64",
    clusters: ArrayLike | None = None, unequal: bool = False,
) -> dict[str, float]:  # fmt: skip
    """KID, its variance, precision, recall (Kynkaanniemi et al., arXiv 1904.06991), density, coverage.

    The last two: Naeem et al., arXiv 2002.09797. `k` nearest neighbours, strictly nearer as in their
    package prdc; k = 0 leaves the overlaps out. Blocks are of `dtype`, sums float64. The variance is
    that of the U-statistic, degenerate part included; with `clusters` (n,), row i of both sets belongs
    to patient clusters[i], else all rows are independent.
    """
    import torch

    x, y = _checked(real, synthetic, unequal)
    n, m = len(x), len(y)
    if not 0 <= k < min(n, m):
        raise InputError(f"features: {k} nearest neighbours need more than {k} rows, got {min(n, m)}")
    a, b = (torch.from_numpy(np.ascontiguousarray(f)).to(getattr(torch, dtype)) for f in (x, y))
    (sum_x, square_x, bound_x), (sum_y, square_y, bound_y) = _within(a, k), _within(b, k)
    rows, columns, square, counts = _across(a, b, bound_x, bound_y)
    in_x, in_y, row, column = sum_x / (n - 1), sum_y / (m - 1), rows / m, columns / n
    if clusters is None:
        first = (in_x - row).var(ddof=1) / n + (in_y - column).var(ddof=1) / m
    else:
        first = statistics.cluster_variance(in_x - row + in_y - column, clusters)
    apart = [square_x / (n * (n - 1)) - in_x.mean() ** 2 - 2 * in_x.var()]
    apart += [square_y / (m * (m - 1)) - in_y.mean() ** 2 - 2 * in_y.var()]
    apart += [square / (n * m) - row.mean() ** 2 - row.var() - column.var()]
    second = float(np.clip(apart, 0, None) @ [2 / n**2, 2 / m**2, 4 / (n * m)])
    found = {"KID": float(in_x.mean() + in_y.mean() - 2 * row.mean())}
    found["KID_variance"] = max(4 * float(first) - second, second)
    shares = zip(OVERLAPS, counts, (m, n, k * m, n), strict=True) if k else ()
    return found | {name: count / whole for name, count, whole in shares}


def measures(
    *, real: np.ndarray, synthetic: np.ndarray, axes: np.ndarray | None = None, k: int = 5,
    clusters: ArrayLike | None = None, groups: int = 20, unequal: bool = False,
) -> dict[str, Estimate]:  # fmt: skip
    """All measures with 95% intervals, named with their encoder: KID, FD, FD in c `axes` (FDc), overlaps.

    Intervals: the U-statistic's for KID, delete-group jackknife for the others; None where nothing
    varies, and for all but KID with `groups` 0. Other arguments as for `block_measures`.
    """
    scopes: list[dict[str, Any]] = [{}] if axes is None else [{}, {"axes": axes}]

    def others(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        both: dict[str, Any] = {"real": x, "synthetic": y, "unequal": unequal}
        overlaps = block_measures(**both, k=k)
        return np.array([*(frechet_distance(**both, **scope) for scope in scopes), *(overlaps[o] for o in OVERLAPS)])

    kid = block_measures(real=real, synthetic=synthetic, k=0, clusters=clusters, unequal=unequal)
    values, variances, freedom = statistics.delete_group(others, [real, synthetic], clusters=clusters, groups=groups)
    names = [*(f"FD{scope['axes'].shape[1] if scope else ''}" for scope in scopes), *OVERLAPS]
    n, encoder = min(len(real), len(synthetic)), getattr(real, "encoder", None)
    found = {"KID": statistics.interval(kid["KID"], kid["KID_variance"], n - 1, n)}
    for name, value, variance in zip(names, values, variances, strict=True):
        found[name] = statistics.interval(float(value), float(variance), freedom, n)
    return {f"{name}_{encoder}" if encoder else name: estimate for name, estimate in found.items()}


def _checked(real: ArrayLike, synthetic: ArrayLike, unequal: bool) -> tuple[np.ndarray, np.ndarray]:
    encoders = [getattr(features, "encoder", None) for features in (real, synthetic)]
    if encoders[0] != encoders[1]:
        raise InputError(f"features: real are of encoder {encoders[0]}, synthetic of {encoders[1]}; use one for both")
    x, y = np.asarray(real, np.float64), np.asarray(synthetic, np.float64)
    for name, rows in (("real", x), ("synthetic", y)):
        if rows.ndim != 2 or len(rows) < 2 or not np.isfinite(rows).all():
            raise InputError(f"features: {name} must be finite, of shape (n, d) with n >= 2; got {rows.shape}")
    if x.shape[1] != y.shape[1]:
        raise InputError(f"features: real are {x.shape[1]} wide, synthetic {y.shape[1]}; use one encoder for both")
    if len(x) != len(y) and not unequal:
        raise InputError(f"features: {len(x)} real rows, {len(y)} synthetic; take as many of both or say unequal=True")
    return x, y


def _blocks(
    x: torch.Tensor, y: torch.Tensor
) -> Iterator[tuple[slice, slice, torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Row and column slices, x.y / d + 1, and |x|^2 / 2d, (rows, 1), and |y|^2 / 2d, (columns,).

    Only blocks on and above the diagonal where y is x. The first less |y|^2 / 2d is a score: the
    higher, the nearer y is to x.
    """
    import torch

    one, width = torch.ones((), dtype=x.dtype), x.shape[1]
    half_x, half_y = ((f * f).sum(1) / (2 * width) for f in (x, y))
    for i, j in itertools.product(range(0, len(x), BLOCK), range(0, len(y), BLOCK)):
        if y is not x or j >= i:
            rows, columns = slice(i, i + BLOCK), slice(j, j + BLOCK)
            base = torch.addmm(one, x[rows], y[columns].T, alpha=1 / width)
            yield rows, columns, base, half_x[rows, None], half_y[columns]


def _within(x: torch.Tensor, k: int) -> tuple[np.ndarray, float, torch.Tensor]:
    """The kernel's row sums and sum of squares off the diagonal; the score of each row's k-th neighbour."""
    import torch

    sums, squares = torch.zeros(len(x), dtype=torch.float64), 0.0
    best = torch.full((len(x), k), -torch.inf, dtype=x.dtype)
    for i, j, base, half_x, half_y in _blocks(x, x):
        if i == j:
            base.fill_diagonal_(0)
        cube = base.pow(3).flatten()
        squares += float(cube @ cube) * (1 if i == j else 2)
        for rows, axis, half in ((i, 1, half_y), (j, 0, half_x))[: 1 if i == j else 2]:
            sums[rows] += cube.view_as(base).sum(axis)
            if k:
                score = (base - half).movedim(axis, 1).contiguous()
                if i == j:
                    score.fill_diagonal_(-torch.inf)
                best[rows] = torch.cat([best[rows], score.topk(min(k, score.shape[1])).values], 1).topk(k).values
    slack = SLACK[str(x.dtype).removeprefix("torch.")] * (1 + (x * x).mean(1) / 2)
    return sums.numpy(), squares, best[:, -1] + slack if k else slack


def _across(
    x: torch.Tensor, y: torch.Tensor, bound_x: torch.Tensor, bound_y: torch.Tensor
) -> tuple[np.ndarray, np.ndarray, float, tuple[int, ...]]:
    """The kernel's row and column sums and sum of squares; counts within the bounds, as OVERLAPS need them."""
    import torch

    rows, columns = torch.zeros(len(x), dtype=torch.float64), torch.zeros(len(y), dtype=torch.float64)
    recalled, covered, precise = (torch.zeros(len(f), dtype=torch.bool) for f in (x, x, y))
    squares, pairs = 0.0, 0
    for i, j, base, half_x, half_y in _blocks(x, y):
        cube = base.pow(3).flatten()
        squares += float(cube @ cube)
        rows[i] += cube.view_as(base).sum(1)
        columns[j] += cube.view_as(base).sum(0)
        near = base - half_y > bound_x[i, None]
        pairs += int(near.count_nonzero())
        precise[j] |= near.any(0)
        covered[i] |= near.any(1)
        recalled[i] |= (base - half_x > bound_y[j]).any(1)
    counts = (int(precise.sum()), int(recalled.sum()), pairs, int(covered.sum()))
    return rows.numpy(), columns.numpy(), squares, counts
