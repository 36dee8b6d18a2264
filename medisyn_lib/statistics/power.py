"""The smallest difference that a test could have seen."""

from medisyn_lib.statistics.estimates import Estimate


def standard_error(estimate: Estimate, level: float = 0.95) -> float | None:
    """Half the interval's width in normal standard errors: a little wide where few patients made it."""
    from scipy.stats import norm

    if estimate.ci_low is None or estimate.ci_high is None:
        return None
    return float((estimate.ci_high - estimate.ci_low) / 2 / norm.ppf((1 + level) / 2))


def detectable_difference(
    se: float | None, *, power: float = 0.8, alpha: float = 0.05
) -> float | None:
    """The smallest true difference that a two-sided test at `alpha` sees with `power`, given its `se`."""
    from scipy.stats import norm

    return None if se is None else float((norm.ppf(1 - alpha / 2) + norm.ppf(power)) * se)
