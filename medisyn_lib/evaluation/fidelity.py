"""Distances and overlaps of real and synthetic features, from blocks of inner products computed once.

`real` and `synthetic` are float64 (n, d), n >= 2 and equal unless `unequal`; InputError names what is not.
"""

import itertools
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from medisyn_lib.errors import InputError
from medisyn_lib.models.encoders import Features
from medisyn_lib.statistics.estimates import Estimate, student
from medisyn_lib.statistics.jackknife import delete_group

BLOCK = 1024  # rows and columns of a block: 8 MB of float64
SUBSET = (
    1000  # rows, at the least, that `measures` compares with one another: its time is linear in n
)
SLACK = {
    "float64": 1e-13,
    "float32": 5e-7,
}  # rounding decides no tie, as with copies: a tie is not nearer
OVERLAPS = ("precision", "recall", "density", "coverage")


def frechet_distance(*, real: np.ndarray, synthetic: np.ndarray, unequal: bool = False) -> float:
    """Frechet distance of the Gaussians fitted to two sets (Heusel et al., arXiv 1706.08500, section 2)."""
    import torch

    x, y = _checked(
        real, synthetic, unequal
    )  # the covariances' root as a nuclear norm: exact also for n <= d
    a, b = (torch.from_numpy((f - f.mean(0)) / np.sqrt(len(f) - 1)) for f in (x, y))
    root = torch.linalg.matrix_norm(
        torch.linalg.qr(a, mode="r").R @ torch.linalg.qr(b, mode="r").R.T, ord="nuc"
    )
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + (a * a).sum() + (b * b).sum() - 2 * root)


def project(features: np.ndarray, axes: np.ndarray) -> Features:
    """Features (n, c) within axes (d, c), as those of an encoder of its own; they need n >= 5 c."""
    if np.shape(features)[1:] != axes.shape[:1] or len(features) < 5 * axes.shape[1]:
        raise InputError(
            f"components: axes {axes.shape} need that width and 5 rows a column, got {np.shape(features)}"
        )
    found = np.asarray(features, np.float64).dot(axes).view(Features)
    found.encoder = f"{getattr(features, 'encoder', None)}-pc{axes.shape[1]}"
    return found


def kernel_distance(*, real: np.ndarray, synthetic: np.ndarray, unequal: bool = False) -> float:
    """KID, unbiased (so it may be negative), kernel (x.y / d + 1)^3 (Binkowski et al., arXiv 1801.01401)."""
    return block_measures(real=real, synthetic=synthetic, k=0, unequal=unequal)["KID"]


def block_measures(
    *,
    real: np.ndarray,
    synthetic: np.ndarray,
    k: int = 5,
    dtype: str = "float64",
    unequal: bool = False,
) -> dict[str, float]:
    """KID, its variance, precision, recall (Kynkaanniemi et al., arXiv 1904.06991), density, coverage.

    The last two: Naeem et al., arXiv 2002.09797; `k` nearest neighbours, strictly nearer as in prdc; 0 leaves overlaps
    out. Blocks are of `dtype`, sums float64. Variance: a U-statistic's of independent rows, degenerate part included.
    """
    import torch

    x, y = _checked(real, synthetic, unequal)
    n, m = len(x), len(y)
    if not 0 <= k < min(n, m):
        raise InputError(
            f"features: {k} nearest neighbours need more than {k} rows, got {min(n, m)}"
        )
    a, b = (torch.from_numpy(np.ascontiguousarray(f)).to(getattr(torch, dtype)) for f in (x, y))
    (in_x, square_x, bound_x), (in_y, square_y, bound_y) = (
        _within(a, max(k, 1)),
        _within(b, max(k, 1)),
    )
    precise, recalled, pairs = a.new_zeros(m).bool(), a.new_zeros(n).bool(), a.new_zeros(n).double()

    def visit(i: slice, j: slice, near_x: Any, near_y: Any) -> None:
        near = near_x > bound_x[i, None]
        precise[j] |= near.any(0)
        recalled[i] |= (near_y > bound_y[j]).any(1)
        pairs[i] += near.sum(1)

    row, column, square = _sweep(a, b, visit)
    row, column = row / m, column / n
    left, right, means = in_x - row, in_y - column, (in_x.mean(), in_y.mean(), row.mean())
    spread = (2 * in_x.var(), 2 * in_y.var(), row.var() + column.var())
    apart = np.array((square_x, square_y, square / (n * m))) - np.square(means) - spread
    second = float(apart.clip(0) @ [2 / n**2, 2 / m**2, 4 / (n * m)])
    first = float(4 * left.var(ddof=1) / n + 4 * right.var(ddof=1) / m)
    found = {"KID": float(left.mean() + right.mean()), "KID_variance": max(first - second, second)}
    shares = (
        float(counts.double().mean())
        for counts in (precise, recalled, pairs * n / m / (k or 1), pairs > 0)
    )
    return found | dict(zip(OVERLAPS if k else (), shares, strict=False))


def measures(
    *, real: np.ndarray, synthetic: np.ndarray, k: int = 5, clusters: ArrayLike | None = None, groups: int = 20,
    unequal: bool = False,
) -> dict[str, Estimate]:  # fmt: skip
    """FD, KID, overlaps (`block_measures`), named with their encoder, with 95% intervals; none if nothing varies.

    Delete-group jackknife, by patient where `clusters` (n,) says whose row i of both sets is; else KID
    has its U-statistic's variance. From 2,000 rows on KID and overlaps are means over disjoint random
    subsets, the smaller side's of 1,000 to 2,000 (Zaremba et al., arXiv 1307.1954): overlaps do not drift with n.
    """
    n = min(len(real), len(synthetic))
    subsets = range(max(n // SUBSET, 1))
    deals = [
        np.random.default_rng(1).permutation(len(rows)) % len(subsets) for rows in (real, synthetic)
    ]

    def every(x: np.ndarray, y: np.ndarray, in_x: np.ndarray, in_y: np.ndarray) -> list[float]:
        distance = frechet_distance(real=x, synthetic=y, unequal=unequal)
        pairs = [{"real": x[in_x == number], "synthetic": y[in_y == number]} for number in subsets]
        return [
            distance,
            *np.mean(
                [[*block_measures(**pair, k=k, unequal=unequal).values()] for pair in pairs], 0
            ),
        ]

    values, variances, freedom = delete_group(every, [real, synthetic, *deals], clusters, groups)
    encoder, degrees = getattr(real, "encoder", None), np.full(7, freedom)
    if clusters is None:
        variances[1], degrees[1] = values[2] / len(subsets), n - 1
    estimates = map(student, values.tolist(), variances.tolist(), degrees.tolist(), [n] * 7)
    found = dict(zip(("FD", "KID", "variance", *OVERLAPS), estimates, strict=True))
    return {
        f"{name}_{encoder}" if encoder else name: found[name]
        for name in found
        if name != "variance"
    }


def _checked(real: ArrayLike, synthetic: ArrayLike, unequal: bool) -> tuple[np.ndarray, np.ndarray]:
    one, other = (getattr(features, "encoder", None) for features in (real, synthetic))
    x, y = np.asarray(real, np.float64), np.asarray(synthetic, np.float64)
    if one != other:
        raise InputError(
            f"features: real are of encoder {one}, synthetic of {other}; use one for both"
        )
    for name, rows in (("real", x), ("synthetic", y)):
        if rows.ndim != 2 or len(rows) < 2 or not np.isfinite(rows).all():
            raise InputError(
                f"features: {name} must be finite, of shape (n, d) with n >= 2; got {rows.shape}"
            )
    if x.shape[1] != y.shape[1] or (len(x) != len(y) and not unequal):
        raise InputError(
            f"features: real are {x.shape}, synthetic {y.shape}; take one width and n or say unequal=True"
        )
    return x, y


def _sweep(x: Any, y: Any, visit: Any) -> tuple[np.ndarray, np.ndarray, float]:
    """The kernel's row sums, column sums and sum of squares, off the diagonal where y is x.

    Calls `visit(i, j, near_x, near_y)` with each block's slices (where y is x, on and above the diagonal)
    and scores, the higher the nearer: x.y / d + 1 less |y|^2 / 2d and less |x|^2 / 2d.
    """
    rows, columns, squares = (x.new_zeros(len(f)).double() for f in (x, y, x[:1]))
    half_x, half_y, same = (x * x).mean(1) / 2, (y * y).mean(1) / 2, x is y
    corners = itertools.product(range(0, len(x), BLOCK), range(0, len(y), BLOCK))
    for top, left in (corner for corner in corners if not same or corner[0] <= corner[1]):
        i, j, twice = slice(top, top + BLOCK), slice(left, left + BLOCK), same and left > top
        base = x.new_ones(()).addmm(x[i], y[j].T, alpha=1 / x.shape[1])
        if same and not twice:
            base.fill_diagonal_(0)
        kernel = base.pow(3)
        squares += (kernel.flatten() @ kernel.flatten()) * (1 + twice)
        rows[i] += kernel.sum(1)
        columns[j] += kernel.sum(0) * (twice or not same)
        visit(i, j, base - half_y[j], base - half_x[i, None])
    return rows.numpy(), columns.numpy(), float(squares)


def _within(x: Any, k: int) -> tuple[np.ndarray, float, Any]:
    """The kernel's row means and mean square off the diagonal; the score of each row's k-th neighbour."""
    import torch

    n, best = len(x), x.new_full((len(x), k), -np.inf)

    def visit(i: slice, j: slice, near_x: Any, near_y: Any) -> None:
        for rows, score in (
            ((i, near_x.fill_diagonal_(-np.inf)),) if i == j else ((i, near_x), (j, near_y.T))
        ):
            best[rows] = torch.cat([best[rows], score], 1).topk(k).values

    rows, columns, squares = _sweep(x, x, visit)
    slack = SLACK[str(x.dtype).removeprefix("torch.")] * (1 + (x * x).mean(1) / 2)
    return (rows + columns) / (n - 1), squares / (n * (n - 1)), best[:, -1] + slack
