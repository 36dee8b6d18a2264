"""Claim 02: diverse training does not degrade quality, at three budgets of the specialists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from medisyn_lib.claims.claim import Claim, Control, make_claim, measure
from medisyn_lib.claims.pilot import Pilot
from medisyn_lib.claims.statements import NOTEBOOKS
from medisyn_lib.evaluation.comparison import (
    BUDGETS,
    Budget,
    Comparison,
    contrasts,
    floors,
    mean_effect,
)
from medisyn_lib.pipeline.arms import BLURRED, GENERALIST, HALF_TRAINED, OTHER_PATIENTS
from medisyn_lib.statistics.estimates import Estimate
from medisyn_lib.statistics.noninferiority import Contrast, Decision, decide

RULE = (
    "Reproduced if a partial-conjunction test (Benjamini and Heller 2008, at 5%) finds the effect "
    "below the margin in at least 80% of the modalities; partly if it finds so in at least half of "
    "them; not reproduced otherwise; not testable here where the 95% interval is wider than the "
    "margin in more than 20% of the modalities."
)
SOURCE = "arXiv 2405.09806 v7, abstract; protocol our own"
MOST, HALF = 0.8, 0.5  # proportions of the modalities, for "reproduced" and for "partly"


class Outcome(NamedTuple):
    """What the rule finds at one budget."""

    contrasts: dict[str, Contrast]  # by modality; empty without specialists at this budget
    decision: Decision | None  # None there
    partly: bool

    @property
    def seeds(self) -> int:
        """Training seeds behind the effects."""
        return max((len(one.effects) for one in self.contrasts.values()), default=0)


def detectable_in_words(outcome: Outcome) -> str:
    """Say what effect a budget's run could have seen, and where an interval was too wide."""
    if outcome.decision is None:
        return "no specialist in this profile"
    detectable = outcome.decision.detectable
    smallest = "none" if detectable is None else f"{detectable:.2f}"
    wide = ", ".join(outcome.decision.untestable) or "nowhere"
    return (
        f"log-ratio detectable with power 80% in 80% of the modalities: {smallest}; "
        f"interval wider than the margin: {wide}"
    )


def decide_budget(
    by_modality: Mapping[str, Contrast], margins: Mapping[str, float | None]
) -> Outcome:
    """Apply the rule to the effects of generalist against specialists at one budget."""
    if not by_modality:
        return Outcome({}, None, False)
    most = decide(by_modality, margins, proportion=MOST)
    half = decide(by_modality, margins, proportion=HALF)
    return Outcome(dict(by_modality), most, half.passed is True)


def decide_budgets(
    comparison: Comparison, margins: Mapping[str, float | None]
) -> dict[Budget, Outcome]:
    """Contrast generalist and specialists at every budget and apply the rule to each."""
    return {
        budget: decide_budget(contrasts(comparison, GENERALIST, budget.specialists), margins)
        for budget in BUDGETS
    }


def quality_controls(comparison: Comparison) -> list[Control]:
    """Measure the three controls.

    Half the steps and blur must be seen, with 95% intervals; real images of other patients must
    lie at no distance, with a 99.9% interval.
    """
    half_trained = contrasts(comparison, HALF_TRAINED, GENERALIST)
    blurred = contrasts(comparison, BLURRED, OTHER_PATIENTS, ratio=False)
    return judge_controls(
        half_trained=mean_effect(half_trained),
        blurred=mean_effect(blurred),
        real=mean_effect(floors(comparison), 0.999),
    )


def judge_controls(*, half_trained: Estimate, blurred: Estimate, real: Estimate) -> list[Control]:
    """Say which controls passed, from their mean effects over modalities."""
    return [
        _seen("half_the_steps", half_trained),
        _seen("blur", blurred),
        Control("real_against_real", "negative", "no distance", real.value, real.contains(0)),
    ]


def _seen(name: str, effect: Estimate) -> Control:
    """A positive control: worse, the interval excluding zero."""
    return Control(name, "positive", "worse", effect.value, effect.above(0))


def budget_claim(
    budget: Budget, outcome: Outcome, pilot: Pilot, controls: Sequence[Control]
) -> Claim:
    """Make the claim of one budget; without a specialist at it there is nothing to test."""
    primary = f"log_ratio_{pilot.primary}"
    decision = outcome.decision
    effects = decision.effects if decision else {}
    estimates = {primary: mean_effect(outcome.contrasts)}
    for name, effect in effects.items():
        estimates[f"{primary}_{name}"] = effect
    measures = [
        measure(name, one, unit="log ratio", seeds=outcome.seeds, encoder="efflite0")
        for name, one in estimates.items()
    ]
    better = sum((effect.ci_high or 0) < 0 for effect in effects.values())
    counted = Estimate(better, None, None, len(effects))
    measures.append(measure("modalities_surely_better", counted, unit="modalities"))
    return make_claim(
        id=budget.name.replace(" ", "-"),
        statement=f"{NOTEBOOKS['02_quality']}, at {budget.name}",
        source=SOURCE,
        rule=RULE,
        controls=controls,
        passed=decision.passed if decision else None,
        partly=outcome.partly,
        primary=primary,
        detectable=decision.detectable if decision else None,
        measures=measures,
    )


def quality_claims(
    outcomes: Mapping[Budget, Outcome], pilot: Pilot, controls: Sequence[Control]
) -> list[Claim]:
    """Make the claims of all budgets."""
    return [budget_claim(budget, outcome, pilot, controls) for budget, outcome in outcomes.items()]


def tested(outcomes: Mapping[Budget, Outcome], claims: Sequence[Claim]) -> list[str]:
    """List the claims that count for the verdict of the whole: those with specialists to compare."""
    return [
        claim.id
        for claim, outcome in zip(claims, outcomes.values(), strict=True)
        if outcome.decision is not None
    ]
