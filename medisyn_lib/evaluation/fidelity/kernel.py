"""Kernel distance (KID): is the mean similarity across both sets that within each?"""

from __future__ import annotations

import numpy as np

from medisyn_lib.evaluation.fidelity.blocks import Comparison, compare
from medisyn_lib.evaluation.fidelity.features import Features


def kernel_distance(*, real: Features, synthetic: Features, unequal: bool = False) -> float:
    """Return KID: the unbiased squared maximum mean discrepancy with a cubic kernel.

    mean_{i != j} k(x_i, x_j) + mean_{i != j} k(y_i, y_j) - 2 mean_{i, j} k(x_i, y_j), where
    k(x, y) = (x.y / d + 1)^3. Unbiased, so it may be negative, and does not depend on n on average.

    Parameters
    ----------
    real, synthetic : FeatureSet or np.ndarray
        (n, d) each.
    unequal : bool
        Whether they may differ in number.

    Raises
    ------
    InputError
        As of `checked_pair`.

    References
    ----------
    Binkowski et al., arXiv 1801.01401, section 4.
    """
    return unbiased_mmd(compare(real=real, synthetic=synthetic, k=0, unequal=unequal))


def unbiased_mmd(comparison: Comparison) -> float:
    """Return that distance from the kernel's means."""
    real_effects, synthetic_effects = _effects(comparison)
    return float(real_effects.mean() + synthetic_effects.mean())


def mmd_variance(comparison: Comparison) -> float:
    """Return the variance of the distance, as of a two-sample U-statistic of independent rows.

    First-order part: 4 var(g_x) / n + 4 var(g_y) / m with g_x(x) = E k(x, X) - E k(x, Y).
    Second-order part, all that is left where the distributions are equal: the kernel's variance
    beyond what single rows explain, 2 v_xx / n^2 + 2 v_yy / m^2 + 4 v_xy / nm. The sample's
    first-order part holds the second one, so that it is taken off; never less than the second.

    References
    ----------
    Sutherland et al., arXiv 1611.04488, appendix A; Hoeffding (1948).
    """
    real, synthetic, across, _ = comparison
    real_effects, synthetic_effects = _effects(comparison)
    n, m = len(real_effects), len(synthetic_effects)
    first_order = float(4 * real_effects.var(ddof=1) / n + 4 * synthetic_effects.var(ddof=1) / m)
    squares = np.array((real.kernel_square, synthetic.kernel_square, across.kernel_square))
    means = (
        real.kernel_means.mean(),
        synthetic.kernel_means.mean(),
        across.real_kernel_means.mean(),
    )
    explained_by_rows = (
        2 * real.kernel_means.var(),
        2 * synthetic.kernel_means.var(),
        across.real_kernel_means.var() + across.synthetic_kernel_means.var(),
    )
    unexplained = squares - np.square(means) - explained_by_rows
    second_order = float(unexplained.clip(0) @ [2 / n**2, 2 / m**2, 4 / (n * m)])
    return max(first_order - second_order, second_order)


def _effects(comparison: Comparison) -> tuple[np.ndarray, np.ndarray]:
    """For each real row its mean kernel with real less that with synthetic rows; and vice versa."""
    real, synthetic, across, _ = comparison
    return (
        real.kernel_means - across.real_kernel_means,
        synthetic.kernel_means - across.synthetic_kernel_means,
    )
