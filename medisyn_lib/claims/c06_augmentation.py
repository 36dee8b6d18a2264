"""Claim 06: synthetic images improve classifiers when data is limited."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from medisyn_lib.claims.claim import Claim, Control, make_claim, measure
from medisyn_lib.claims.statements import NOTEBOOKS
from medisyn_lib.evaluation.utility import gains
from medisyn_lib.evaluation.utility.gains import CONTRASTS, mean_over_tasks
from medisyn_lib.statistics.estimates import Estimate
from medisyn_lib.statistics.power import detectable_difference, standard_error

RULE = (
    "Reproduced if Holm's test over specialties (Student's t over draws and patients, two-sided, 5%) finds the gain "
    "above zero in at least half of the specialties and below zero in none; partly if above zero in at least one; not "
    "reproduced if above zero in none, and either below zero in one or with an upper 95% limit under 0.02 in at least "
    "half of them; not testable here otherwise."
)
ALPHA = 0.05
NEGLIGIBLE_GAIN = 0.02  # in AUROC


class Outcome(NamedTuple):
    """What the rule says: met, not met, or None where it cannot be told; and whether met in part."""

    passed: bool | None
    partly: bool


def significant(effects: Sequence[Estimate], draws: int) -> np.ndarray:
    """Say which gains differ from zero by Holm's step-down test (Scand. J. Stat. 1979, 6:65-70), bool (m,).

    Each gain is tested by Student's t over draws, two-sided. Where an estimate has no interval its p is 1.
    """
    from scipy.stats import t
    from statsmodels.stats.multitest import multipletests

    degrees_of_freedom = max(draws - 1, 1)
    # Intervals are Student's; `standard_error` divides their half width by the normal quantile instead.
    scale = t.ppf(0.975, degrees_of_freedom) / 1.959964
    p_values = []
    for effect in effects:
        error = standard_error(effect) or np.inf
        statistic = abs(effect.value or 0.0) / error * scale
        p_values.append(2 * t.sf(statistic, degrees_of_freedom))
    return multipletests(p_values, alpha=ALPHA, method="holm")[0]


def decide(effects: Sequence[Estimate], draws: int) -> Outcome:
    """Decide by the rule.

    Parameters
    ----------
    effects
        The primary gain in AUROC of each specialty.
    draws
        Number of draws that each rests on.
    """
    if not effects:
        return Outcome(passed=None, partly=False)
    value = np.array([effect.value for effect in effects], np.float64)
    upper = np.array([effect.ci_high for effect in effects], np.float64)  # NaN where there is none
    seen = significant(effects, draws)
    above = int((seen & (value > 0)).sum())
    below = int((seen & (value < 0)).sum())
    negligible = int((upper < NEGLIGIBLE_GAIN).sum())
    if above:
        in_half = 2 * above >= len(effects)
        return Outcome(passed=in_half and not below, partly=True)
    if below or 2 * negligible >= len(effects):
        return Outcome(passed=False, partly=False)
    return Outcome(passed=None, partly=False)


def controls(more_real: Estimate, shuffled: Estimate) -> list[Control]:
    """More real data must be seen to help; synthetic images of shuffled classes must not."""
    shuffled_may_not_help = shuffled.ci_low is not None and shuffled.ci_low <= 0
    return [
        Control("more_real_data", "positive", "better", more_real.value, more_real.above(0)),
        Control("shuffled_classes", "negative", "no gain", shuffled.value, shuffled_may_not_help),
    ]


def smallest_detectable_gain(effects: Sequence[Estimate]) -> float | None:
    """Return the gain detectable with power 80% in half of the specialties, Holm's correction included."""
    errors = [standard_error(effect) for effect in effects]
    errors_or_infinite = sorted(np.inf if error is None else error for error in errors)
    if not errors_or_infinite:
        return None
    middle = errors_or_infinite[(len(errors_or_infinite) - 1) // 2]
    if not np.isfinite(middle):
        return None
    return detectable_difference(middle, alpha=ALPHA / len(effects))


def claim_augmentation(
    scenario: str, contrasts: Mapping[str, Mapping[str, Estimate]], draws: int
) -> Claim:
    """Make the claim of one scenario; `not testable here` where it was not run.

    Parameters
    ----------
    scenario
        Its name (see `evaluation.utility.scenarios`).
    contrasts
        By specialty, the gains of `gains.contrasts`; empty where the scenario was not run.
    draws
        Number of draws of the classifier's images, each with its own training: the measures' seeds.
    """
    effects = {name: compared[gains.PRIMARY] for name, compared in contrasts.items()}
    mean = {
        what: mean_over_tasks([compared[what] for compared in contrasts.values()], draws)
        for what in CONTRASTS
    }
    estimates = {"gain": mean[gains.PRIMARY]}
    for name, effect in effects.items():
        estimates[f"gain_{name}"] = effect
    for what in CONTRASTS[1:]:
        estimates[what.replace(",", "").replace(" ", "_")] = mean[what]
    outcome = decide(list(effects.values()), draws)
    return make_claim(
        id=scenario.replace(" ", "-"),
        statement=f"{NOTEBOOKS['06_augmentation']}; {scenario}",
        source="arXiv 2405.09806 v7, abstract; protocol our own",
        rule=RULE,
        passed=outcome.passed,
        partly=outcome.partly,
        primary="gain",
        detectable=smallest_detectable_gain(list(effects.values())),
        measures=[
            measure(name, estimate, unit="AUROC", seeds=draws, encoder="efflite0")
            for name, estimate in estimates.items()
        ],
        controls=controls(mean[gains.MORE_REAL], mean[gains.SHUFFLED]) if contrasts else [],
    )
