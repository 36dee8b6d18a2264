"""Claim 06: synthetic images improve classifiers when data is limited."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from medisyn_lib.claims.claim import (
    CONTRADICTED,
    INCONCLUSIVE,
    NOT_RUN,
    PARTLY,
    SUPPORTED,
    Claim,
    Control,
    Judgement,
    Measure,
    Measures,
    make_claim,
    measure,
)
from medisyn_lib.claims.floor import COVERAGE, coverage_measure, under_floor
from medisyn_lib.claims.rules import rule
from medisyn_lib.evaluation.utility import gains
from medisyn_lib.evaluation.utility.gains import CONTRASTS, mean_over_tasks
from medisyn_lib.statistics.estimates import Estimate
from medisyn_lib.statistics.power import detectable_difference, standard_error

RULE = rule("augmentation")
GAIN, GAIN_IN = "mean_gain", "gain_in_"  # over tasks, and in each: its measure
FEWEST_GAINING = 2  # tasks


def significant(effects: Sequence[Measure]) -> np.ndarray:
    """Say which gains differ from zero by Holm's step-down test (Scand. J. Stat. 1979, 6:65-70), bool (m,).

    Each gain is tested by Student's t over draws (its `seeds`), two-sided. Without an interval its p is 1.
    """
    from scipy.stats import t

    p_values = []
    for effect in effects:
        degrees_of_freedom = max(effect.seeds - 1, 1)
        if effect.ci_low is None or effect.ci_high is None or effect.value is None:
            p_values.append(1.0)
            continue
        half = (effect.ci_high - effect.ci_low) / 2
        statistic = abs(effect.value) / half * t.ppf(0.975, degrees_of_freedom)
        p_values.append(2 * t.sf(statistic, degrees_of_freedom))
    order = np.argsort(p_values)
    scaled = np.array(p_values)[order] * np.arange(len(effects), 0, -1)
    seen = np.empty(len(effects), bool)
    seen[order] = np.maximum.accumulate(scaled) <= RULE.thresholds["alpha"]
    return seen


def decide(measures: Measures) -> Judgement:
    """Apply the rule to the gains of one scenario."""
    effects = [one for name, one in measures.items() if name.startswith(GAIN_IN)]
    if not effects:
        return Judgement(None, "This scenario was not run.", NOT_RUN)
    least = RULE.thresholds["least"]
    value = np.array([effect.value for effect in effects], np.float64)
    seen = significant(effects)
    gained = int((seen & (value >= least)).sum())
    lost = int((seen & (value < 0)).sum())
    not_gained = sum(effect.below(least) for effect in effects)
    if gained >= FEWEST_GAINING and not lost:
        verdict = SUPPORTED
    elif not gained and (lost or 2 * not_gained >= len(effects)):
        verdict = CONTRADICTED
    elif gained:
        verdict = PARTLY
    else:
        verdict = INCONCLUSIVE
    said = (
        f"Adding synthetic images helps the classifier in {gained} of {len(effects)} tasks and harms it "
        f"in {lost}; on average AUROC changes by {measures[GAIN].value or 0:+.3f}."
    )
    return under_floor(Judgement(verdict, said), measures[COVERAGE], RULE.thresholds["floor"])


def controls(more_real: Estimate, shuffled: Estimate) -> list[Control]:
    """More real data must be seen to help; synthetic images of shuffled classes must not."""
    shuffled_may_not_help = shuffled.ci_low is not None and shuffled.ci_low <= 0
    return [
        Control("more_real_data", "positive", "better", more_real.value, more_real.above(0)),
        Control("shuffled_classes", "negative", "no gain", shuffled.value, shuffled_may_not_help),
    ]


def smallest_detectable_gain(effects: Sequence[Estimate]) -> float | None:
    """Return the gain detectable with power 80% in half of the tasks, Holm's correction included."""
    errors = [standard_error(effect) for effect in effects]
    errors_or_infinite = sorted(np.inf if error is None else error for error in errors)
    if not errors_or_infinite:
        return None
    middle = errors_or_infinite[(len(errors_or_infinite) - 1) // 2]
    if not np.isfinite(middle):
        return None
    return detectable_difference(middle, alpha=RULE.thresholds["alpha"] / len(effects))


def claim_augmentation(
    scenario: str,
    contrasts: Mapping[str, Mapping[str, Estimate]],
    draws: int,
    coverage: Estimate,
    evidence: str,
) -> Claim:
    """Make the claim of one scenario; its problem is `not run` where there are no contrasts.

    Parameters
    ----------
    scenario
        Its name (see `evaluation.utility.scenarios`).
    contrasts
        By task, the gains of `gains.contrasts`; empty where the scenario was not run.
    draws
        Number of draws of the classifier's images, each with its own training: the measures' seeds.
    coverage
        Of held-out real images, by the generator's.
    evidence
        As of `Claim`.
    """
    effects = {name: compared[gains.PRIMARY] for name, compared in contrasts.items()}
    mean = {
        what: mean_over_tasks([compared[what] for compared in contrasts.values()], draws)
        for what in CONTRASTS
    }
    estimates = {GAIN: mean[gains.PRIMARY]}
    for name, effect in effects.items():
        estimates[GAIN_IN + name] = effect
    for what in CONTRASTS[1:]:
        estimates[what.replace(",", "").replace(" ", "_")] = mean[what]
    return make_claim(
        RULE,
        decide,
        id=scenario.replace(" ", "-"),
        statement=f"{RULE.statement}; {scenario}",
        source="arXiv 2405.09806 v7, abstract; protocol our own",
        evidence=evidence,
        primary=GAIN,
        detectable=smallest_detectable_gain(list(effects.values())),
        measures=[
            *(
                measure(name, estimate, unit="AUROC", seeds=draws, encoder="efflite0")
                for name, estimate in estimates.items()
            ),
            coverage_measure(coverage),
        ],
        controls=controls(mean[gains.MORE_REAL], mean[gains.SHUFFLED]) if contrasts else [],
    )
