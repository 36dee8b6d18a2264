"""Frechet distance: do both sets have the same mean and covariance?"""

from __future__ import annotations

import numpy as np

from medisyn_lib.evaluation.fidelity.features import Features, checked_pair


def frechet_distance(*, real: Features, synthetic: Features, unequal: bool = False) -> float:
    """Return the Frechet distance of the Gaussians fitted to two sets.

    |mu_x - mu_y|^2 + tr(S_x) + tr(S_y) - 2 tr((S_x S_y)^(1/2)).

    With A = (X - mu_x) / sqrt(n - 1), so that S_x = A'A, and B likewise, the last trace is the
    nuclear norm of A B' (the sum of its singular values); QR decompositions make it small. Exact
    also where n is below d.

    Parameters
    ----------
    real, synthetic : FeatureSet or np.ndarray
        (n, d) each.
    unequal : bool
        Whether they may differ in number; the distance depends on n.

    Returns
    -------
    float
        At least 0, but for rounding.

    Raises
    ------
    InputError
        As of `checked_pair`.

    References
    ----------
    Heusel et al., arXiv 1706.08500, section 2.
    """
    import torch

    x, y = checked_pair(real=real, synthetic=synthetic, unequal=unequal)
    a, b = torch.from_numpy(_scaled_residuals(x)), torch.from_numpy(_scaled_residuals(y))
    upper_a, upper_b = (torch.linalg.qr(matrix, mode="r").R for matrix in (a, b))
    trace_of_root = torch.linalg.matrix_norm(upper_a @ upper_b.T, ord="nuc")
    between_means = ((x.mean(0) - y.mean(0)) ** 2).sum()
    return float(between_means + (a * a).sum() + (b * b).sum() - 2 * trace_of_root)


def _scaled_residuals(features: np.ndarray) -> np.ndarray:
    """A with A'A the sample covariance, (n, d)."""
    return (features - features.mean(0)) / np.sqrt(len(features) - 1)
