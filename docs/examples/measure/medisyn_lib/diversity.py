"""How many different images a set is worth."""

import numpy as np
from numpy.typing import ArrayLike

from medisyn_lib.errors import InputError
from medisyn_lib.statistics import Estimate, delete_group, student


def vendi_score(features: np.ndarray) -> float:
    """The Vendi score (Friedman and Dieng, arXiv 2210.02410) of features (n, d), cosine kernel: 1 (all alike) to n.

    It grows with n: compare sets of one size. Raises InputError for less than two images.
    """
    if np.ndim(features) != 2 or len(features) < 2:
        raise InputError(
            f"diversity: needs features (n, d) of at least 2 images, got {np.shape(features)}"
        )
    unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    shares = np.linalg.svd(unit, compute_uv=False) ** 2 / len(unit)
    shares = shares[shares > 1e-12]
    return float(np.exp(-(shares * np.log(shares)).sum()))


def diversity(features: np.ndarray, clusters: ArrayLike | None = None) -> Estimate:
    """`vendi_score` over n, in (0, 1], with a delete-group jackknife interval, by patient: `clusters` (n,)."""

    def share(rows: np.ndarray) -> list[float]:
        return [vendi_score(rows) / len(rows)]

    values, variances, degrees = delete_group(share, [features], clusters)
    return student(float(values[0]), float(variances[0]), degrees, len(features))
