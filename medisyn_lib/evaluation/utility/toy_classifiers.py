"""Why synthetic images can help a classifier that has few real ones, and harm one that has many, in a toy.

Two classes of normally distributed features. The classifier points from the mean image of one class to that of the
other. With n real images this direction is off by luck, the less the larger n. A generator's images are off by the
generator's own error, however many there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from medisyn_lib.statistics.intervals import t_interval

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ARMS", "toy_curves"]

FEATURES = 50
APART = 2.0  # distance of the classes' means, in standard deviations of an image
ARMS = (
    "real alone",
    "and a perfect generator's",
    "and those of one that errs",
    "and those of one made of these n",
)


def toy_curves(
    *,
    angle: float = 45.0,
    seed: int = 0,
    sizes: Sequence[int] = (10, 20, 40, 80, 160, 320, 640),
    draws: int = 400,
) -> pd.DataFrame:
    """Measure classifiers in a toy, by how many real images they have.

    Parameters
    ----------
    angle
        Degrees by which what tells the classes apart is turned in the images of the generator that errs:
        0 is none, at 90 its images show nothing of their class, at 180 the classes are swapped.
    seed
        Of the images.
    sizes
        Real images n; the synthetic ones are as many.
    draws
        Of all images, for each n.

    Returns
    -------
    DataFrame
        `n`, `arm`, and the mean AUROC over draws: `auroc`, `low`, `high` (95%).
    """
    import pandas as pd

    rng = np.random.default_rng(seed)
    true, wrong = np.zeros((2, draws, FEATURES))
    true[:, 0] = APART
    wrong[:, 0], wrong[:, 1] = APART * np.cos(np.radians(angle)), APART * np.sin(np.radians(angle))
    rows = []
    for n in sizes:
        real = _learnt(rng, true, n)
        arms = [real, *((real + _learnt(rng, origin, n)) / 2 for origin in (true, wrong, real))]
        for arm, direction in zip(ARMS, arms, strict=True):
            found = t_interval(_auroc(direction))
            rows.append((n, arm, found.value, found.ci_low, found.ci_high))
    return pd.DataFrame(rows, columns=["n", "arm", "auroc", "low", "high"])


def _learnt(rng: np.random.Generator, difference: np.ndarray, n: int) -> np.ndarray:
    """Return the difference of the class means of n images, half in each class, about the true one (draws, d)."""
    return difference + rng.normal(0, np.sqrt(4 / n), difference.shape)


def _auroc(direction: np.ndarray) -> np.ndarray:
    """Return the AUROC, float64 (draws,), of scores along directions (draws, features)."""
    from scipy.stats import norm

    along = APART * direction[:, 0] / np.linalg.norm(direction, axis=1)
    return norm.cdf(along / np.sqrt(2))
