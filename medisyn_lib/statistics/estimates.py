"""An estimate with its interval."""

from dataclasses import dataclass

import numpy as np

ROUNDING = (
    1e-12  # of the value: a standard error below is what rounding leaves where all values are equal
)


@dataclass(frozen=True)
class Estimate:
    """A number with its confidence interval and the number of observations behind it.

    The interval is None where n is too small or the observations do not vary, value where there are none.
    """

    value: float | None
    ci_low: float | None
    ci_high: float | None
    n: int

    def contains(self, value: float) -> bool:
        """Say whether the interval contains a value, its limits included; False where there is none."""
        if self.ci_low is None or self.ci_high is None:
            return False
        return bool(self.ci_low <= value <= self.ci_high)

    def above(self, bound: float) -> bool:
        """Say whether the whole interval lies above a bound; False where there is none."""
        return self.ci_low is not None and bool(self.ci_low > bound)

    def below(self, bound: float) -> bool:
        """Say whether the whole interval lies below a bound; False where there is none."""
        return self.ci_high is not None and bool(self.ci_high < bound)


def student(
    value: float | None,
    variance: float | None,
    degrees_of_freedom: float,
    n: int,
    level: float = 0.95,
) -> Estimate:
    """Return a value with Student's t interval.

    Parameters
    ----------
    value
        The estimate; None or NaN where there is none.
    variance
        Of the estimate, not of the observations; None or NaN where unknown.
    degrees_of_freedom
        Of the variance; need not be whole.
    n
        Number of observations.
    level
        Confidence level, in (0, 1).

    Returns
    -------
    estimate
        Without an interval where there is no spread or no number.

    References
    ----------
    Student, Biometrika 1908, 6(1):1-25.
    """
    from scipy.stats import t

    if value is None or np.isnan(value):
        return Estimate(None, None, None, n)
    # A NaN compares false, and so has no interval either.
    if variance is None or not variance > (ROUNDING * max(abs(value), 1e-300)) ** 2:
        return Estimate(value, None, None, n)
    half = float(t.ppf((1 + level) / 2, degrees_of_freedom)) * variance**0.5
    return Estimate(value, value - half, value + half, n)
