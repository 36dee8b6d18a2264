"""How much training compute a quality takes."""

import numpy as np
from numpy.typing import ArrayLike


def compute_to_reach(*, compute: ArrayLike, distance: ArrayLike, target: float) -> float:
    """Compute at which a falling distance reaches `target`; infinite if it never does.

    `compute` (c,) rises; `distance` (c,) is made to fall (isotonic) and joined over log compute, from the first on.
    """
    from sklearn.isotonic import isotonic_regression

    curve, logs = (
        isotonic_regression(np.asarray(distance, np.float64), increasing=False),
        np.log(compute),
    )
    if curve[-1] > target:
        return float("inf")
    first = int(np.argmax(curve <= target))
    ends = [first, max(first - 1, 0)]
    return float(np.exp(np.interp(target, curve[ends], logs[ends])))
