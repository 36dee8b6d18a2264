"""Claim 06: synthetic images improve classifiers when data is limited."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

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
from medisyn_lib.claims.floor import coverage_measures, under_floor
from medisyn_lib.claims.rules import rule
from medisyn_lib.claims.words import with_interval
from medisyn_lib.evaluation.utility import gains
from medisyn_lib.evaluation.utility.gains import CONTRASTS, mean_over_tasks
from medisyn_lib.statistics.estimates import Estimate
from medisyn_lib.statistics.noninferiority import step_down
from medisyn_lib.statistics.power import detectable_difference, standard_error

RULE = rule("augmentation")
GAIN, GAIN_IN = "mean_gain", "gain_in_"  # over tasks, and in each: measures of softmax regressions
NETWORK = "network_"  # before them: measures of networks that learn their features
FEWEST_GAINING = 2  # tasks


class Compared(NamedTuple):
    """What one family of classifiers found in a scenario.

    Attributes
    ----------
    contrasts
        By task, the gains of `gains.contrasts`; empty where the scenario was not run.
    draws
        Number of draws of the classifier's images, each with its own training: the measures' seeds.
    """

    contrasts: Mapping[str, Mapping[str, Estimate]]
    draws: int


class _Tally(NamedTuple):
    """How many tasks of a family gain, lose and surely do not gain."""

    tasks: int
    gained: int
    lost: int
    not_gained: int

    @property
    def supports(self) -> bool:
        return self.gained >= FEWEST_GAINING and not self.lost

    @property
    def contradicts(self) -> bool:
        return not self.gained and bool(self.lost or 2 * self.not_gained >= self.tasks)


def significant(effects: Sequence[Measure]) -> np.ndarray:
    """Say which gains differ from zero by Holm's step-down test, bool (m,).

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
    return step_down(p_values, RULE.thresholds["alpha"])


def decide(measures: Measures) -> Judgement:
    """Apply the rule to the gains of one scenario, by both families of classifiers."""
    families = {
        prefix: [one for name, one in measures.items() if name.startswith(prefix + GAIN_IN)]
        for prefix in ("", NETWORK)
    }
    if not any(families.values()):
        return Judgement(None, "This scenario was not run.", NOT_RUN)
    seen = iter(significant([one for effects in families.values() for one in effects]).tolist())
    tallies = [_tally(effects, [next(seen) for _ in effects]) for effects in families.values()]
    if all(one.supports for one in tallies):
        verdict = SUPPORTED
    elif all(one.contradicts for one in tallies):
        verdict = CONTRADICTED
    elif any(one.gained for one in tallies):
        verdict = PARTLY
    else:
        verdict = INCONCLUSIVE
    regressions, networks = tallies
    said = (
        "With synthetic images added, the AUROC of classifiers on frozen features changes by "
        f"{with_interval(measures[GAIN], '+.3f')} on average, better in {regressions.gained} of "
        f"{regressions.tasks} tasks and worse in {regressions.lost}; that of small networks that learn "
        f"their features by {with_interval(measures[NETWORK + GAIN], '+.3f')}, better in {networks.gained} "
        f"and worse in {networks.lost}."
    )
    return under_floor(Judgement(verdict, said), measures, RULE.thresholds["floor"])


def _tally(effects: Sequence[Measure], seen: Sequence[bool]) -> _Tally:
    """Count the tasks of one family; `seen` says of each gain whether it differs from zero."""
    least = RULE.thresholds["least"]
    value = np.array([effect.value for effect in effects], np.float64)
    differs = np.array(seen, bool)
    return _Tally(
        tasks=len(effects),
        gained=int((differs & (value >= least)).sum()),
        lost=int((differs & (value < 0)).sum()),
        not_gained=sum(effect.below(least) for effect in effects),
    )


def controls(more_real: Estimate, shuffled: Estimate, prefix: str = "") -> list[Control]:
    """More real data must be seen to help; synthetic images of shuffled classes must not.

    `prefix` is that of a family of classifiers.
    """
    no_gain = shuffled.ci_low is not None and shuffled.ci_low <= 0
    return [
        Control(
            prefix + "more_real_data",
            "positive",
            "better",
            more_real.value,
            more_real.above(0),
        ),
        Control(prefix + "shuffled_classes", "negative", "no gain", shuffled.value, no_gain),
    ]


def smallest_detectable_gain(effects: Sequence[Estimate]) -> float | None:
    """Return the gain detectable with power 80% in half of these effects, Holm's correction included."""
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
    regressions: Compared,
    networks: Compared,
    coverage: Mapping[str, Estimate],
    evidence: str,
) -> Claim:
    """Make the claim of one scenario; its problem is `not run` where there are no contrasts.

    Parameters
    ----------
    scenario
        Its name (see `evaluation.utility.scenarios`).
    regressions, networks
        What the two families of classifiers found.
    coverage
        Of held-out real images, by the generator's, by encoder.
    evidence
        As of `Claim`.
    """
    measures, checked = [], []
    for prefix, family in (("", regressions), (NETWORK, networks)):
        mean = _means(family)
        measures += _measures(prefix, family, mean)
        if family.contrasts:
            checked += controls(mean[gains.MORE_REAL], mean[gains.SHUFFLED], prefix)
    effects = [
        compared[gains.PRIMARY]
        for family in (regressions, networks)
        for compared in family.contrasts.values()
    ]
    return make_claim(
        RULE,
        decide,
        id=scenario.replace(" ", "-"),
        statement=f"{RULE.statement}; {scenario}",
        source="arXiv 2405.09806 v7, abstract; protocol our own",
        evidence=evidence,
        primary=GAIN,
        detectable=smallest_detectable_gain(effects),
        measures=[*measures, *coverage_measures(coverage)],
        controls=checked,
    )


def _means(family: Compared) -> dict[str, Estimate]:
    """The mean over tasks of each contrast that a family made; of the primary one without tasks none."""
    made = [what for what in CONTRASTS if all(what in one for one in family.contrasts.values())]
    return {
        what: mean_over_tasks([one[what] for one in family.contrasts.values()], family.draws)
        for what in made
    }


def _measures(prefix: str, family: Compared, mean: Mapping[str, Estimate]) -> list[Measure]:
    """The measures of one family: the mean gain, that of each task, and what stands beside it."""
    estimates = {GAIN: mean[gains.PRIMARY]}
    for name, compared in family.contrasts.items():
        estimates[GAIN_IN + name] = compared[gains.PRIMARY]
    for what, one in mean.items():
        if what != gains.PRIMARY:
            estimates[what.replace(",", "").replace(" ", "_")] = one
    encoder = None if prefix else "efflite0"
    return [
        measure(prefix + name, one, unit="AUROC", seeds=family.draws, encoder=encoder)
        for name, one in estimates.items()
    ]
