"""The smallest difference that a test could have seen."""

from medisyn_lib.statistics.estimates import Estimate


def standard_error(estimate: Estimate, level: float = 0.95) -> float | None:
    """Return half the interval's width over the normal quantile; None without an interval.

    A little wide where few patients made it, as their intervals have the wider quantiles of Student's t.

    Parameters
    ----------
    estimate
        An estimate with its interval.
    level
        The interval's confidence level, in (0, 1).
    """
    from scipy.stats import norm

    if estimate.ci_low is None or estimate.ci_high is None:
        return None
    return float((estimate.ci_high - estimate.ci_low) / 2 / norm.ppf((1 + level) / 2))


def detectable_difference(
    se: float | None, *, power: float = 0.8, alpha: float = 0.05
) -> float | None:
    """Return the smallest true difference that a two-sided test sees, (z_(1 - alpha/2) + z_power) se.

    Parameters
    ----------
    se
        Standard error of the difference; None where unknown, and then the result is None.
    power
        Probability to see the difference, in (0, 1).
    alpha
        Level of the test, in (0, 1).

    References
    ----------
    Lachin, Controlled Clinical Trials 1981, 2(2):93-113.
    """
    from scipy.stats import norm

    if se is None:
        return None
    quantiles = norm.ppf(1 - alpha / 2) + norm.ppf(power)
    return float(quantiles * se)
