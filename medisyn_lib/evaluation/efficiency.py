"""How much training compute a quality takes, and what a generalist saves of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from medisyn_lib.evaluation.quality_curves import QualityCurves
from medisyn_lib.statistics.estimates import Estimate, student
from medisyn_lib.statistics.intervals import t_interval
from medisyn_lib.statistics.jackknife import jackknife_of

if TYPE_CHECKING:
    from medisyn_lib.evaluation.planted_sharing import PlantedSharing
    from medisyn_lib.evaluation.training_costs import SuiteCosts

MATCHED = 0.8  # proportion of the modalities in which the generalist must be as good
PLANTED_COPIES = 10  # of one modality under as many names, for the controls


class BreakEven(NamedTuple):
    """From how many modalities on a generalist costs less than as many specialists."""

    to_match: Estimate  # the generalist as good as the specialists; in logarithms
    fully_trained: Estimate  # with all of its training; in logarithms
    flops_to_match: float  # geometric mean over training seeds; infinite if never reached


def compute_to_reach(*, compute: ArrayLike, distance: ArrayLike, target: float) -> float:
    """Read off a training curve at which compute the distance reaches a target.

    Parameters
    ----------
    compute
        Rising, (checkpoints,).
    distance
        At each checkpoint. It is made to fall (isotonic regression) and joined over log compute.
    target
        Distance to be reached.

    Returns
    -------
    float
        From the first checkpoint's compute on; infinite if the target is never reached.
    """
    from sklearn.isotonic import isotonic_regression

    curve = isotonic_regression(np.asarray(distance, np.float64), increasing=False)
    logs = np.log(compute)
    if curve[-1] > target:
        return math.inf
    first = int(np.argmax(curve <= target))
    ends = [first, max(first - 1, 0)]
    return float(np.exp(np.interp(target, curve[ends], logs[ends])))


def compute_to_match(distances: np.ndarray, checkpoints: Sequence[float]) -> float:
    """Find the compute at which the generalist is as good as the specialist of a modality.

    `distances` holds those of its checkpoints and, last, of the specialist, (checkpoints + 1,).
    """
    *curve, target = distances
    return compute_to_reach(compute=checkpoints, distance=curve, target=target)


def compute_to_match_most(distances: Sequence[np.ndarray], checkpoints: Sequence[float]) -> float:
    """Find the compute at which the generalist is as good in at least 80% of the modalities.

    `distances` holds one array per modality, as of `compute_to_match`.
    """
    computes = sorted(compute_to_match(of_modality, checkpoints) for of_modality in distances)
    return computes[math.ceil(MATCHED * len(computes) - 1e-9) - 1]


def proportion_to_match(curves: QualityCurves, costs: SuiteCosts) -> dict[str, float]:
    """Say after what proportion of its training the generalist matches each specialist.

    For the first training seed; infinite where it never does.
    """
    return {
        name: compute_to_match(distances, costs.checkpoints) / costs.checkpoints[-1]
        for name, distances in zip(curves.modalities, curves.at_own_best(0), strict=True)
    }


class LogSaving(NamedTuple):
    """The logarithm of the suite's cost over the generalist's; censored: it is this at most."""

    value: float
    censored: bool


def log_saving(distances: Sequence[np.ndarray], costs: SuiteCosts) -> LogSaving:
    """Compare what the suite's denoisers cost with what the generalist's needed to be as good.

    Parameters
    ----------
    distances
        One array per modality, as of `compute_to_match`.
    costs
        Of training the denoisers.

    Returns
    -------
    LogSaving
        Where the generalist never gets there it needs more than all of its training: the saving is
        then at most that of its whole cost.
    """
    needed = compute_to_match_most(distances, costs.checkpoints)
    censored = needed == math.inf
    cost = costs.checkpoints[-1] if censored else needed
    return LogSaving(math.log(costs.suite / cost), censored)


def estimate_saving(curves: QualityCurves, costs: SuiteCosts) -> Estimate:
    """Estimate the logarithm of the saving.

    The interval is over training seeds where there are several, else over patients, who are left
    out in groups. Where nothing varies, as the generalist is as good at its first checkpoint every
    time, the saving is at least what it is there: a lower limit and no upper one. Where it never gets
    there, the saving is at most what its whole cost allows: an upper limit and no lower one. Of a single
    seed that limit knows of no sampling uncertainty.
    """
    by_seed = [log_saving(curves.at_own_best(number), costs) for number in range(curves.seeds)]
    values = [one.value for one in by_seed]
    if any(one.censored for one in by_seed):
        over_seeds = t_interval(values)
        upper = max(values) if over_seeds.ci_high is None else over_seeds.ci_high
        # Rounding may leave the mean of equal values a speck above them.
        return Estimate(min(float(np.mean(values)), upper), None, upper, curves.seeds)
    if curves.seeds > 1:
        estimate, variance = t_interval(values), float(np.var(values))
    else:
        estimate, variance = _saving_over_patients(curves, costs)
    if variance < 1e-18:  # none but for rounding
        return Estimate(estimate.value, estimate.value, None, estimate.n)
    return estimate


def _saving_over_patients(curves: QualityCurves, costs: SuiteCosts) -> tuple[Estimate, float]:
    """The saving of the first training seed, with its interval over patients, and its variance."""
    by_group = [log_saving(distances, costs) for distances in curves.together_at_own_best()]
    found = [math.nan if one.censored else one.value for one in by_group]
    values, variances, degrees = jackknife_of(np.array(found)[:, None])
    variance = float(variances[0])
    return student(float(values[0]), variance, degrees, curves.images), variance


def break_even(curves: QualityCurves, costs: SuiteCosts) -> BreakEven:
    """Estimate from how many modalities on a generalist is cheaper, over training seeds."""
    log_specialist = np.log(costs.mean_specialist)
    fully_trained = t_interval(math.log(costs.checkpoints[-1]) - log_specialist)
    needed = [
        compute_to_match_most(curves.at_own_best(number), costs.checkpoints)
        for number in range(curves.seeds)
    ]
    if max(needed) == math.inf:
        never = Estimate(None, None, None, curves.seeds)
        return BreakEven(never, fully_trained, math.inf)
    to_match = t_interval(np.log(needed) - log_specialist)
    return BreakEven(to_match, fully_trained, float(np.exp(np.mean(np.log(needed)))))


def training_in_words(proportion: float) -> str:
    """Say when in its training the generalist is as good as a specialist."""
    if math.isinf(proportion):
        return "not within its training"
    return f"after {proportion:.0%} of its training"


def planted_saving(again: Sequence[PlantedSharing], networks: int) -> float:
    """Measure the saving of ten copies of a modality that some number of networks serve.

    The other generalist, half-trained, is each copy's "specialist"; the first is the "generalist", once or as
    often as there are `networks`. Both are trainings of one recipe, so the saving should be 10 / `networks`.
    Where the first never comes as near, its whole cost counts, as in `log_saving`. The geometric mean over
    modalities.
    """
    logs = []
    for one in again:
        compute = np.multiply(networks, one.steps)
        needed = min(compute_to_match(one.distances, compute.tolist()), float(compute[-1]))
        logs.append(math.log(PLANTED_COPIES * one.half / needed))
    return math.exp(float(np.mean(logs)))


def factor_in_words(log_factor: Estimate) -> str:
    """Say an estimate of a logarithm as a factor with its interval."""
    if log_factor.value is None:
        return "never reached"
    value = f"{math.exp(log_factor.value):.2f}"
    if log_factor.ci_low is None:
        return (
            value if log_factor.ci_high is None else f"at most {math.exp(log_factor.ci_high):.2f}"
        )
    if log_factor.ci_high is None:
        return f"at least {value}"
    low, high = math.exp(log_factor.ci_low), math.exp(log_factor.ci_high)
    return f"{value} ({low:.2f} to {high:.2f})"
