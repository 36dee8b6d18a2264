"""All pairs of rows of two sets of features, block by block, so that memory does not grow with n^2.

Each block of inner products is computed once and serves both the kernel's sums (KID) and the
comparison of distances with each row's k-th nearest neighbour (precision, recall, density,
coverage). Distances are compared as scores, the higher the nearer:

    -|x - y|^2 / 2d + |x|^2 / 2d = x.y / d - |y|^2 / 2d,

in which a row x ranks all y as by distance. A threshold is a score, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from medisyn_lib.errors import InputError
from medisyn_lib.evaluation.fidelity.features import Features, checked_pair

if TYPE_CHECKING:
    import torch

BLOCK = 1024  # rows and columns of a block: 8 MB of float64
# Rounding decides no tie, as with copies: a tie is not nearer.
SLACK = {"float64": 1e-13, "float32": 5e-7}


class Block(NamedTuple):
    """Rows of one set beside rows of another (columns)."""

    rows: slice
    columns: slice
    base: torch.Tensor  # x.y / d + 1, the kernel's base; 0 for a row beside itself
    mirrored: bool  # stands also for the block on the other side of the diagonal


@dataclass(frozen=True)
class Within:
    """One set of n rows beside itself."""

    kernel_means: np.ndarray  # of each row with all others, float64 (n,)
    kernel_square: float  # mean squared kernel of two rows
    threshold: torch.Tensor  # what a score must exceed to be nearer than the k-th neighbour, (n,)


@dataclass(frozen=True)
class Across:
    """n real rows beside m synthetic ones; a row's ball reaches to its k-th neighbour in its set."""

    real_kernel_means: np.ndarray  # of each real row with all synthetic ones, float64 (n,)
    synthetic_kernel_means: np.ndarray  # float64 (m,)
    kernel_square: float  # mean squared kernel of a real and a synthetic row
    synthetic_in_a_real_ball: torch.Tensor  # bool (m,)
    real_in_a_synthetic_ball: torch.Tensor  # bool (n,)
    synthetic_per_real_ball: torch.Tensor  # how many lie in each, float64 (n,)


class Comparison(NamedTuple):
    """All that KID and the overlaps of two sets follow from."""

    real: Within
    synthetic: Within
    across: Across
    k: int


def compare(
    *,
    real: Features,
    synthetic: Features,
    k: int = 5,
    dtype: str = "float64",
    unequal: bool = False,
) -> Comparison:
    """Compare all pairs of rows.

    Parameters
    ----------
    real, synthetic : FeatureSet or np.ndarray
        (n, d) each.
    k : int
        Nearest neighbours that set a ball's radius, below n; 0 where no overlap is asked for.
    dtype : str
        Of the blocks, float64 or float32; sums are float64.
    unequal : bool
        Whether the sets may differ in number.

    Raises
    ------
    InputError
        As of `checked_pair`, or if there are too few rows for k neighbours.
    """
    import torch

    pair = checked_pair(real=real, synthetic=synthetic, unequal=unequal)
    fewest = min(len(pair.real), len(pair.synthetic))
    if not 0 <= k < fewest:
        raise InputError(f"features: {k} nearest neighbours need more than {k} rows, got {fewest}")
    x, y = (
        torch.from_numpy(np.ascontiguousarray(values)).to(getattr(torch, dtype)) for values in pair
    )
    within_x, within_y = _within(x, max(k, 1)), _within(y, max(k, 1))
    return Comparison(within_x, within_y, _across(x, y, within_x, within_y), k)


def _within(x: torch.Tensor, k: int) -> Within:
    """One set beside itself, each pair of blocks computed once."""
    n, half_norms = len(x), _half_square_norms(x)
    sums = _KernelSums(x, x)
    best = x.new_full((n, k), -np.inf)
    for block in _blocks(x, x, same=True):
        sums.add(block, by_column=block.mirrored)
        scores = block.base - half_norms[block.columns]
        if block.mirrored:
            mirrored_scores = (block.base - half_norms[block.rows, None]).T
            best[block.rows] = _best(best[block.rows], scores)
            best[block.columns] = _best(best[block.columns], mirrored_scores)
        else:
            best[block.rows] = _best(best[block.rows], scores.fill_diagonal_(-np.inf))
    slack = SLACK[str(x.dtype).removeprefix("torch.")] * (1 + half_norms)
    return Within(
        kernel_means=(sums.rows.numpy() + sums.columns.numpy()) / (n - 1),
        kernel_square=float(sums.squares) / (n * (n - 1)),
        threshold=best[:, -1] + slack,
    )


def _across(x: torch.Tensor, y: torch.Tensor, within_x: Within, within_y: Within) -> Across:
    """Two sets beside each other."""
    n, m = len(x), len(y)
    half_norms_x, half_norms_y = _half_square_norms(x), _half_square_norms(y)
    sums = _KernelSums(x, y)
    synthetic_in_a_real_ball = x.new_zeros(m).bool()
    real_in_a_synthetic_ball = x.new_zeros(n).bool()
    synthetic_per_real_ball = x.new_zeros(n).double()
    for block in _blocks(x, y):
        rows, columns, base, _ = block
        sums.add(block, by_column=True)
        in_real_ball = base - half_norms_y[columns] > within_x.threshold[rows, None]
        in_synthetic_ball = base - half_norms_x[rows, None] > within_y.threshold[columns]
        synthetic_in_a_real_ball[columns] |= in_real_ball.any(0)
        real_in_a_synthetic_ball[rows] |= in_synthetic_ball.any(1)
        synthetic_per_real_ball[rows] += in_real_ball.sum(1)
    return Across(
        real_kernel_means=sums.rows.numpy() / m,
        synthetic_kernel_means=sums.columns.numpy() / n,
        kernel_square=float(sums.squares) / (n * m),
        synthetic_in_a_real_ball=synthetic_in_a_real_ball,
        real_in_a_synthetic_ball=real_in_a_synthetic_ball,
        synthetic_per_real_ball=synthetic_per_real_ball,
    )


def _blocks(x: torch.Tensor, y: torch.Tensor, same: bool = False) -> Iterator[Block]:
    """All blocks of two sets, or of one with itself those on and above the diagonal."""
    for top in range(0, len(x), BLOCK):
        for left in range(0, len(y), BLOCK):
            if same and left < top:
                continue
            rows, columns = slice(top, top + BLOCK), slice(left, left + BLOCK)
            base = x.new_ones(()).addmm(x[rows], y[columns].T, alpha=1 / x.shape[1])
            if same and left == top:
                base.fill_diagonal_(0)
            yield Block(rows, columns, base, mirrored=same and left > top)


class _KernelSums:
    """Sums by row, by column and of squares of the kernel (x.y / d + 1)^3, in float64."""

    def __init__(self, x: torch.Tensor, y: torch.Tensor) -> None:
        self.rows = x.new_zeros(len(x)).double()
        self.columns = x.new_zeros(len(y)).double()
        self.squares = x.new_zeros(1).double()

    def add(self, block: Block, *, by_column: bool) -> None:
        """Add a block's sums and, twice where it is mirrored, its squares."""
        kernel = block.base.pow(3)
        self.squares += (kernel.flatten() @ kernel.flatten()) * (1 + block.mirrored)
        self.rows[block.rows] += kernel.sum(1)
        if by_column:
            self.columns[block.columns] += kernel.sum(0)


def _half_square_norms(x: torch.Tensor) -> torch.Tensor:
    """|x|^2 / 2d of each row."""
    return (x * x).mean(1) / 2


def _best(best: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    """The k highest scores of each row, (rows, k), among those so far and new ones."""
    import torch

    return torch.cat([best, scores], 1).topk(best.shape[1]).values
