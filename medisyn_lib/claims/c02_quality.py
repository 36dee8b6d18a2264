"""Claim 02: diverse training does not degrade quality, at three budgets of the specialists."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

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
    count,
    make_claim,
    measure,
)
from medisyn_lib.claims.floor import better_covered, coverage_measures, under_floor
from medisyn_lib.claims.rules import rule
from medisyn_lib.claims.words import from_base, listed
from medisyn_lib.evaluation.comparison import (
    BUDGETS,
    Budget,
    Comparison,
    contrasts,
    floors,
    mean_effect,
)
from medisyn_lib.pipeline.arms import (
    BLURRED,
    GENERALIST,
    OTHER_PATIENTS,
    SECOND_SAMPLE,
    UNDERTRAINED,
)
from medisyn_lib.statistics.estimates import Estimate
from medisyn_lib.statistics.noninferiority import (
    Contrast,
    PValues,
    against_margin,
    simultaneous,
    step_down,
)
from medisyn_lib.statistics.power import detectable_difference, standard_error

RULE = rule("quality")
SOURCE = "arXiv 2405.09806 v7, abstract; protocol our own"
EFFECT = "log_ratio_in_"  # and the modality: its measure, with simultaneous limits
SECOND = "log_ratio_by_transformer_in_"  # the same by the second encoder
SIMULTANEOUS = "log ratio, simultaneous 95%"
P_NOT_WORSE, P_WORSE = (
    "p_not_worse_in_",
    "p_worse_in_",
)  # and the modality: one-sided, at the margin
LENIENT_MARGIN = 1.25  # of the sensitivity analysis, beside the rule's 1.10
SUPERIOR, NOT_WORSE, WORSE, UNDECIDED = "better", "not worse", "worse", "undecided"


def label(effect: Measure | Estimate, margin: float) -> str:
    """Say in a word how a modality's log-ratio lies to zero and to the margin, by its simultaneous limits."""
    if effect.ci_high is not None and effect.ci_high < 0:
        return SUPERIOR
    if effect.ci_high is not None and effect.ci_high < math.log(margin):
        return NOT_WORSE
    if effect.ci_low is not None and effect.ci_low > math.log(margin):
        return WORSE
    return UNDECIDED


def labels(measures: Measures) -> dict[str, str]:
    """Return the label of each modality that the rule counts: better by its limits, else by Holm's test."""
    alpha = RULE.thresholds["alpha"]
    effects = {
        name.removeprefix(EFFECT): one for name, one in measures.items() if name.startswith(EFFECT)
    }
    not_worse, worse = (
        step_down([_value(measures[prefix + name]) for name in effects], alpha)
        for prefix in (P_NOT_WORSE, P_WORSE)
    )
    found = {}
    for number, (name, effect) in enumerate(effects.items()):
        if not_worse[number]:
            better = effect.ci_high is not None and effect.ci_high < 0
            found[name] = SUPERIOR if better else NOT_WORSE
        else:
            found[name] = WORSE if worse[number] else UNDECIDED
    return found


def _value(one: Measure) -> float:
    """A p-value; 1 where there is none."""
    return 1.0 if one.value is None else one.value


def disagreements(measures: Measures, margin: float) -> list[str]:
    """Name the modalities in which the rule says worse, the second encoder's limits not worse, or the reverse."""
    second = {
        name.removeprefix(SECOND): label(one, margin)
        for name, one in measures.items()
        if name.startswith(SECOND)
    }
    fine = (NOT_WORSE, SUPERIOR)
    return [
        name
        for name, found in labels(measures).items()
        if (found == WORSE and second.get(name) in fine)
        or (found in fine and second.get(name) == WORSE)
    ]


def decide(measures: Measures) -> Judgement:
    """Apply the rule to the effects of one budget."""
    limits = RULE.thresholds
    found = list(labels(measures).values())
    disputed = disagreements(measures, limits["margin"])
    if not found:
        return Judgement(None, "No specialist was trained at this budget.", NOT_RUN)
    n, worse = len(found), found.count(WORSE)
    not_worse = found.count(NOT_WORSE) + found.count(SUPERIOR)
    if not_worse >= _at_least(limits["most"], n):
        verdict = SUPPORTED
    elif worse > _at_most(limits["few"], n):
        verdict = CONTRADICTED
    elif not_worse >= _at_least(limits["half"], n):
        verdict = PARTLY
    else:
        verdict = INCONCLUSIVE
    said = (
        f"The generalist is no farther from real images than the specialists in {not_worse} of {n} "
        f"modalities (nearer in {found.count(SUPERIOR)}), farther in {worse}, undecided in "
        f"{found.count(UNDECIDED)}."
    )
    if disputed:
        said += f" A second encoder sees the reverse in {listed(disputed)}."
    return under_floor(Judgement(verdict, said), measures, limits["floor"])


def _at_least(proportion: float, n: int) -> int:
    """The smallest count that is at least a proportion of n."""
    return math.ceil(proportion * n - 1e-9)


def _at_most(proportion: float, n: int) -> int:
    """The largest count that is at most a proportion of n."""
    return math.floor(proportion * n + 1e-9)


def quality_controls(comparison: Comparison) -> list[Control]:
    """Measure the controls: an eighth of the training must be seen by the rule's own test, and blur at 95%.

    Two sets of samples of one generalist must not lie further apart than the margin anywhere. Real images
    of other patients must lie at no distance, with a 99.9% interval.
    """
    margin = math.log(RULE.thresholds["margin"])
    undertrained = against_margin(contrasts(comparison, UNDERTRAINED, GENERALIST), margin)
    second_sample = simultaneous(contrasts(comparison, SECOND_SAMPLE, GENERALIST))
    blurred = contrasts(comparison, BLURRED, OTHER_PATIENTS, ratio=False)
    return judge_controls(
        undertrained=undertrained,
        second_sample=second_sample,
        blurred=mean_effect(blurred),
        real=mean_effect(floors(comparison), 0.999),
    )


def judge_controls(
    *,
    undertrained: Mapping[str, PValues],
    second_sample: Mapping[str, Estimate],
    blurred: Estimate,
    real: Estimate,
) -> list[Control]:
    """Say which controls passed, from p-values and effects by modality and mean effects over modalities."""
    margin, alpha = RULE.thresholds["margin"], RULE.thresholds["alpha"]
    worse = int(step_down([p.worse for p in undertrained.values()], alpha).sum())
    told_apart = sum(_beyond(effect, math.log(margin)) for effect in second_sample.values())
    many = _at_most(RULE.thresholds["few"], len(undertrained)) + 1
    return [
        Control(
            "an_eighth_of_the_training",
            "positive",
            f"worse in at least {many} modalities",
            worse,
            worse >= many,
        ),
        Control("blur", "positive", "worse", blurred.value, blurred.above(0)),
        Control("same_generalist_twice", "negative", "apart in none", told_apart, not told_apart),
        Control("real_against_real", "negative", "no distance", real.value, real.contains(0)),
    ]


def _beyond(effect: Estimate, bound: float) -> bool:
    """Whether an effect surely lies beyond a bound, on either side of zero."""
    return effect.above(bound) or effect.below(-bound)


def budget_claim(
    budget: Budget,
    by_modality: Mapping[str, Contrast],
    by_transformer: Mapping[str, Contrast],
    coverage: Mapping[str, Estimate],
    controls: Sequence[Control],
    evidence: str,
    base: str = "",
) -> Claim:
    """Make the claim of one budget.

    Parameters
    ----------
    budget
        Of the specialists.
    by_modality
        Effects of generalist against specialists; empty where none was trained at this budget.
    by_transformer
        The same by the second encoder.
    coverage
        Of real images, by the better of the two, by encoder.
    controls, evidence
        As of `Claim`.
    base
        What all models were fine-tuned from; empty: trained from scratch.
    """
    mean, effects = mean_effect(by_modality), simultaneous(by_modality)
    seeds = max((len(one.effects) for one in by_modality.values()), default=0)
    measures = [measure("log_ratio", mean, unit="log ratio", seeds=seeds, encoder="efflite0")]
    for name, effect in effects.items():
        measures.append(
            measure(EFFECT + name, effect, unit=SIMULTANEOUS, seeds=seeds, encoder="efflite0")
        )
    for name, effect in simultaneous(by_transformer).items():
        measures.append(
            measure(SECOND + name, effect, unit=SIMULTANEOUS, seeds=seeds, encoder="transformer")
        )
    measures += _counted(by_modality)
    measures += coverage_measures(coverage)
    return make_claim(
        RULE,
        decide,
        id=budget.name.replace(" ", "-"),
        statement=f"{RULE.statement}, at {budget.name}{from_base(base)}",
        source=SOURCE,
        evidence=evidence,
        primary="log_ratio",
        detectable=detectable_difference(standard_error(mean)),
        measures=measures,
        controls=controls,
    )


def _counted(by_modality: Mapping[str, Contrast]) -> list[Measure]:
    """How many modalities are not worse, by two margins, and the p-values by which the rule counts."""
    limits, measures = RULE.thresholds, []
    for margin in (limits["margin"], LENIENT_MARGIN):
        tested = against_margin(by_modality, math.log(margin))
        good = step_down([p.not_worse for p in tested.values()], limits["alpha"]).sum()
        name = f"modalities_not_worse_by_{margin:.2f}"
        measures.append(count(name, good, unit="modalities", n=len(tested)))
    for name, p in against_margin(by_modality, math.log(limits["margin"])).items():
        measures += [_p_value(P_NOT_WORSE + name, p.not_worse), _p_value(P_WORSE + name, p.worse)]
    return measures


def _p_value(name: str, p: float) -> Measure:
    """The measure of a p-value, 1 where there is none."""
    return count(name, 1.0 if math.isnan(p) else p, unit="p")


def quality_claims(
    comparison: Comparison,
    by_transformer: Comparison,
    coverage: Mapping[str, Mapping[str, Estimate]],
    controls: Sequence[Control],
    evidence: str,
    base: str = "",
) -> list[Claim]:
    """Make the claims of all budgets, from comparisons by two encoders; `coverage` is of each arm, by encoder."""
    claims = []
    for budget in BUDGETS:
        effects, second = (
            contrasts(features, GENERALIST, budget.specialists)
            for features in (comparison, by_transformer)
        )
        arms = [coverage[arm] for arm in (GENERALIST, budget.specialists) if arm in coverage]
        better = better_covered(*arms)
        checked = controls if effects else []
        claims.append(budget_claim(budget, effects, second, better, checked, evidence, base))
    return claims
