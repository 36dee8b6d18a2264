"""An estimate with its interval."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Estimate:
    """A number with its confidence interval and the number of observations behind it.

    The interval is None where n is too small or the observations do not vary, value where there are none.
    """

    value: float | None
    ci_low: float | None
    ci_high: float | None
    n: int


def student(
    value: float | None, variance: float | None, freedom: float, n: int, level: float = 0.95
) -> Estimate:
    """A value with Student's t interval of this variance; without one where there is no spread or no number."""
    from scipy.stats import t

    # Rounding leaves a speck where all values are equal; that is no spread.
    if value is None or variance is None or not variance > (1e-12 * max(abs(value), 1e-300)) ** 2:
        return Estimate(None if value is None or np.isnan(value) else value, None, None, n)
    half = float(t.ppf((1 + level) / 2, freedom)) * variance**0.5
    return Estimate(value, value - half, value + half, n)
