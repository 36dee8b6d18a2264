"""Algorithms tuned on majorities and on adjudication at equal cost of readings, and what adjudication gains.

Specialists, tuning images and all luck of the graders are drawn anew each time; what is tuned is measured against
the truth of the test images. Intervals are over draws of graders and over patients, crossed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from medisyn_lib.evaluation import agreement, graders, reference_standards
from medisyn_lib.evaluation.graders import Panel
from medisyn_lib.evaluation.grading import tuning
from medisyn_lib.evaluation.grading.simulation import (
    ADJUDICATED,
    CORRELATIONS,
    MAJORITY,
    RULE_CORRELATION,
    SPECIALIST_MAJORITY,
    TUNING,
    Eyes,
    GradingSimulation,
    grader_seeds,
)
from medisyn_lib.evaluation.grading.tuning import Predictions
from medisyn_lib.evaluation.reference_standards import CATEGORIES, Reference
from medisyn_lib.statistics.crossed import crossed
from medisyn_lib.statistics.estimates import Estimate

if TYPE_CHECKING:
    from medisyn_lib.pipeline.grading_network import Logits

READINGS_PER_IMAGE = (0.2, 0.4, 0.8, 1.5, 2.5)  # budgets, by the number of tuning images there are
RULE_BUDGET = 3  # which of them the rule is about


class Condition(NamedTuple):
    """What is swept: the correlation of graders' errors, and the readings that the tuning set may cost."""

    correlation: float
    budget: int


@dataclass(frozen=True)
class Outcome:
    """One algorithm tuned in one draw.

    Attributes
    ----------
    kappas : ndarray
        With the truth, as `agreement.kappas`: (1 + patients,).
    aucs : ndarray
        Of "mild or worse", as `agreement.aucs`: (1 + patients,).
    images : int
        Size of the tuning set.
    """

    kappas: np.ndarray
    aucs: np.ndarray
    images: int


class JudgedAlgorithm(NamedTuple):
    """A tuned algorithm's predictions of the test images, and who made the grades it was tuned on."""

    predictions: Predictions
    makers: frozenset[str]


Draw = Mapping[str, Outcome]  # by the reference that the algorithm was tuned on


@dataclass(frozen=True)
class TuningRuns:
    """Every draw of every condition.

    Attributes
    ----------
    draws : mapping
        The draws of each condition, in the order of the seeds.
    seeds : sequence of int
        One per draw of graders.
    tuning_images : int
        How many images tuning sets are taken from.
    n : int
        Number of test images.
    """

    draws: Mapping[Condition, Sequence[Draw]]
    seeds: Sequence[int]
    tuning_images: int
    n: int

    @property
    def rule(self) -> Condition:
        """The correlation and the cost that the rule is about."""
        return Condition(RULE_CORRELATION, self.budgets[RULE_BUDGET])

    @property
    def budgets(self) -> list[int]:
        """The costs in readings that were tried at the rule's correlation."""
        return budgets(self.tuning_images)

    def kappa(self, condition: Condition, tuned_on: str) -> Estimate:
        """Average the kappa with the truth of an algorithm."""
        return crossed([draw[tuned_on].kappas for draw in self.draws[condition]], self.n)

    def auc(self, condition: Condition, tuned_on: str) -> Estimate:
        """Average the AUC of an algorithm."""
        return crossed([draw[tuned_on].aucs for draw in self.draws[condition]], self.n)

    def kappa_gain(
        self, condition: Condition, *, of: str = ADJUDICATED, over: str = MAJORITY
    ) -> Estimate:
        """How much more kappa with the truth tuning on one reference brings than on another."""
        draws = self.draws[condition]
        return crossed([draw[of].kappas - draw[over].kappas for draw in draws], self.n)

    def auc_gain(self, condition: Condition) -> Estimate:
        """How much more AUC tuning on adjudicated grades brings than on the majority."""
        draws = self.draws[condition]
        return crossed([draw[ADJUDICATED].aucs - draw[MAJORITY].aucs for draw in draws], self.n)

    def images(self, condition: Condition, tuned_on: str) -> float:
        """Average the size of the tuning set."""
        return float(np.mean([draw[tuned_on].images for draw in self.draws[condition]]))


class TuningGains(NamedTuple):
    """What adjudicated grades gain over the majority of ophthalmologists at equal cost, unless named otherwise.

    Attributes
    ----------
    kappa : Estimate
        Kappa with the truth, at the rule's cost.
    kappa_over_specialists : Estimate
        The same over the majority of the same specialists: what discussion adds.
    auc : Estimate
        AUC of "mild or worse".
    kappa_at_smallest_cost : Estimate
        Kappa at the smallest cost that was tried.
    """

    kappa: Estimate
    kappa_over_specialists: Estimate
    auc: Estimate
    kappa_at_smallest_cost: Estimate


def budgets(images: int) -> list[int]:
    """Return the costs in readings that are tried where there are so many tuning images."""
    return [int(images * readings) for readings in READINGS_PER_IMAGE]


def conditions(images: int) -> list[Condition]:
    """List every cost at the rule's correlation, then every other correlation at the rule's cost."""
    costs = budgets(images)
    by_cost = [Condition(RULE_CORRELATION, cost) for cost in costs]
    others = [correlation for correlation in CORRELATIONS if correlation != RULE_CORRELATION]
    return by_cost + [Condition(correlation, costs[RULE_BUDGET]) for correlation in others]


def tuning_references(
    simulation: GradingSimulation,
    seed: int,
    correlation: float = RULE_CORRELATION,
    rates: tuple[float, ...] | None = None,
) -> Mapping[str, Reference]:
    """Let graders make references of the tuning images; `rates` of errors replace those of the panels."""
    panels = simulation.panels.changed(correlation=correlation)
    if rates is not None:
        panels = panels.changed(rates=rates)
    readings = graders.read_pair(simulation.tuning.lesions, panels, seed)
    return {
        MAJORITY: reference_standards.independent(readings.ophthalmologists),
        SPECIALIST_MAJORITY: reference_standards.independent(readings.specialists),
        ADJUDICATED: reference_standards.adjudicate(readings.specialists, seed=seed),
    }


def tune_once(
    simulation: GradingSimulation,
    networks: Sequence[Logits],
    condition: Condition,
    seed: int,
    rates: tuple[float, ...] | None = None,
) -> Draw:
    """Tune one network on each reference of one draw of graders, at equal cost.

    Parameters
    ----------
    simulation : GradingSimulation
        Eyes and graders.
    networks : sequence of Logits
        One per training seed; the draw's seed chooses among them.
    condition : Condition
        Correlation of errors and cost.
    seed : int
        Seed of the draw.
    rates : tuple of float, optional
        Rates of errors in place of the panels' own.
    """
    network, test = networks[seed % len(networks)], simulation.test
    references = tuning_references(simulation, seed, condition.correlation, rates)
    outcomes = {}
    for name, reference in references.items():
        algorithm = tuning.tune_on_reference(network, reference, condition.budget, seed)
        probabilities, grades = algorithm.predict(network.test)
        outcomes[name] = Outcome(
            kappas=agreement.kappas(grades, test.truth, CATEGORIES, test.patients),
            aucs=agreement.aucs(probabilities[:, 0], test.truth >= 1, test.patients),
            images=len(tuning.tuning_set(reference, condition.budget, seed)),
        )
    return outcomes


def run_tuning(
    simulation: GradingSimulation,
    networks: Sequence[Logits],
    draws_of_graders: int,
    tried: Sequence[Condition] = (),
) -> TuningRuns:
    """Tune in every condition that is `tried`, by default all of `conditions`, once for each draw of graders."""
    seeds, images = grader_seeds(TUNING, draws_of_graders), simulation.tuning.n
    draws = {}
    for condition in tried or conditions(images):
        draws[condition] = [tune_once(simulation, networks, condition, seed) for seed in seeds]
    return TuningRuns(draws, seeds, images, simulation.test.n)


def grader_kappas(test: Eyes, panel: Panel, seed: int, other: int = 0) -> np.ndarray:
    """Average the kappas with the truth of the graders of one panel: (1 + patients,).

    `other` is added to the seed of the graders, for a second panel that reads the same images.
    """
    seed_of_graders = seed + 2 * graders.PANEL_SEEDS + other
    readings = graders.read(test.lesions, panel, images=seed, graders=seed_of_graders)
    kappas = [
        agreement.kappas(column, test.truth, CATEGORIES, test.patients)
        for column in readings.grades.T
    ]
    return np.mean(kappas, axis=0)


def kappas_of_kinds(simulation: GradingSimulation, seeds: Sequence[int]) -> dict[str, np.ndarray]:
    """Average the kappas of each kind of graders, drawn anew with each tuning set: (draws, 1 + patients) by kind."""
    return {
        panel.name: np.array([grader_kappas(simulation.test, panel, seed) for seed in seeds])
        for panel in simulation.panels
    }


def beside_graders(runs: TuningRuns, single: Mapping[str, np.ndarray]) -> dict[str, Estimate]:
    """Compare the algorithm tuned on adjudicated grades with single graders, as of `kappas_of_kinds`.

    Returns the difference in kappa with the truth by kind of graders.
    """
    algorithm = np.array([draw[ADJUDICATED].kappas for draw in runs.draws[runs.rule]])
    return {kind: crossed(algorithm - kappas, runs.n) for kind, kappas in single.items()}


def example_algorithms(
    simulation: GradingSimulation, networks: Sequence[Logits], runs: TuningRuns
) -> dict[str, JudgedAlgorithm]:
    """Tune the first network in the first draw, on a majority and on adjudicated grades; who made these is kept."""
    network, seed = networks[0], runs.seeds[0]
    references = tuning_references(simulation, seed)
    algorithms = {}
    for name, made_by in (("majority", MAJORITY), ("adjudicated", ADJUDICATED)):
        reference = references[made_by]
        algorithm = tuning.tune_on_reference(network, reference, runs.rule.budget, seed)
        algorithms[name] = JudgedAlgorithm(algorithm.predict(network.test), reference.makers)
    return algorithms


def tuning_gains(runs: TuningRuns) -> TuningGains:
    """Estimate what adjudicated grades gain."""
    smallest = Condition(RULE_CORRELATION, runs.budgets[0])
    return TuningGains(
        kappa=runs.kappa_gain(runs.rule),
        kappa_over_specialists=runs.kappa_gain(runs.rule, over=SPECIALIST_MAJORITY),
        auc=runs.auc_gain(runs.rule),
        kappa_at_smallest_cost=runs.kappa_gain(smallest),
    )
