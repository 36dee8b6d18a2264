"""Controls of the simulated study of grading: effects planted to be seen, and nulls that must show none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from medisyn_lib.evaluation import agreement, graders
from medisyn_lib.evaluation.graders import MODES, Panel
from medisyn_lib.evaluation.grading import tuning, tuning_study
from medisyn_lib.evaluation.grading.simulation import (
    ADJUDICATED,
    MAJORITY,
    Eyes,
    GradingSimulation,
)
from medisyn_lib.evaluation.grading.tuning_study import TuningRuns
from medisyn_lib.evaluation.reference_standards import CATEGORIES
from medisyn_lib.statistics.crossed import crossed
from medisyn_lib.statistics.estimates import Estimate

if TYPE_CHECKING:
    from medisyn_lib.pipeline.grading_network import Logits

NO_ERRORS = (0.0,) * len(MODES)
OTHER_GRADERS = 5000  # added to the seed of the graders beside whom they are put


class AgreementControls(NamedTuple):
    """Fleiss' kappa of graders without error, and of grades at random with its 99.9% interval."""

    without_errors: float
    at_random: Estimate


class TuningControls(NamedTuple):
    """Planted gains of tuning, in kappa with the truth, and comparisons with ophthalmologists.

    Attributes
    ----------
    mild_called_healthy : Estimate
        True grades minus grades that call every mild eye healthy: a loss to be seen.
    no_errors : Estimate
        Adjudicated minus majority where no grader errs: nothing to be gained.
    shuffled : Estimate
        An algorithm tuned on shuffled grades minus ophthalmologists: inferior.
    other_graders : Estimate
        Other ophthalmologists minus ophthalmologists: on par.
    """

    mild_called_healthy: Estimate
    no_errors: Estimate
    shuffled: Estimate
    other_graders: Estimate


def agreement_controls(test: Eyes, panel: Panel) -> AgreementControls:
    """Let a panel that does not err grade the test images, and grade them at random."""
    return AgreementControls(
        without_errors=agreement_without_errors(test, panel),
        at_random=agreement_at_random(random_grades(test.n), test.patients),
    )


def agreement_without_errors(test: Eyes, panel: Panel) -> float:
    """Fleiss' kappa of a panel whose graders do not err: 1."""
    flawless = graders.read(test.lesions, replace(panel, rates=NO_ERRORS), images=0, graders=0)
    return float(agreement.fleiss_kappas(flawless.grades, CATEGORIES)[0])


def random_grades(n: int, size: int = 5) -> np.ndarray:
    """Grade n images at random: int64 (n, size)."""
    return np.random.default_rng(0).integers(0, CATEGORIES, (n, size))


def agreement_at_random(grades: np.ndarray, patients: np.ndarray) -> Estimate:
    """Fleiss' kappa of grades at random with its 99.9% interval: it holds 0."""
    kappas = agreement.fleiss_kappas(grades, CATEGORIES, patients)
    return agreement.interval(kappas, len(grades), 0.999)


def tuning_controls(
    simulation: GradingSimulation,
    networks: Sequence[Logits],
    runs: TuningRuns,
    single: Mapping[str, np.ndarray],
) -> TuningControls:
    """Tune on planted grades, and put graders beside graders.

    Parameters
    ----------
    simulation : GradingSimulation
        Eyes and graders.
    networks : sequence of Logits
        One per training seed.
    runs : TuningRuns
        Whose draws, and whose rule's cost, are used; planted grades are of as many images as a majority of three
        would pay for.
    single : mapping
        Kappas of single graders in these draws, as of `tuning_study.kappas_of_kinds`.
    """
    test, truth, seeds = simulation.test, simulation.tuning.truth, runs.seeds
    images = runs.rule.budget // 3
    ophthalmologists = single[simulation.panels.ophthalmologists.name]

    def tuned_on(labels: np.ndarray, seed: int) -> np.ndarray:
        return tuning.tune_on_labels(networks, labels, images, seed, test)

    mild_missed = np.where(truth == 1, 0, truth)
    losses = [tuned_on(truth, seed) - tuned_on(mild_missed, seed) for seed in seeds]
    shuffled = [tuned_on(np.random.default_rng(seed).permutation(truth), seed) for seed in seeds]
    return TuningControls(
        mild_called_healthy=crossed(losses, test.n),
        no_errors=_gain_without_errors(simulation, networks, runs),
        shuffled=crossed(np.array(shuffled) - ophthalmologists, test.n),
        other_graders=_other_graders(simulation, seeds, ophthalmologists),
    )


def _gain_without_errors(
    simulation: GradingSimulation, networks: Sequence[Logits], runs: TuningRuns
) -> Estimate:
    gains = []
    for seed in runs.seeds:
        draw = tuning_study.tune_once(simulation, networks, runs.rule, seed, NO_ERRORS)
        gains.append(draw[ADJUDICATED].kappas - draw[MAJORITY].kappas)
    return crossed(gains, simulation.test.n)


def _other_graders(
    simulation: GradingSimulation, seeds: Sequence[int], ophthalmologists: np.ndarray
) -> Estimate:
    panel = simulation.panels.ophthalmologists
    others = [
        tuning_study.grader_kappas(simulation.test, panel, seed, OTHER_GRADERS) for seed in seeds
    ]
    return crossed(np.array(others) - ophthalmologists, simulation.test.n)
