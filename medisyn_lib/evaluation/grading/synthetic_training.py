"""Whether synthetic images in a grading network's training seem to help, by the reference that tunes and judges it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from medisyn_lib.evaluation import graders, reference_standards
from medisyn_lib.evaluation.graders import Panel
from medisyn_lib.evaluation.grading import tuning
from medisyn_lib.evaluation.grading.simulation import (
    SYNTHETIC,
    Eyes,
    GradingSimulation,
    grader_seeds,
)
from medisyn_lib.evaluation.grading.tuning_study import TuningRuns
from medisyn_lib.evaluation.reference_standards import Reference
from medisyn_lib.statistics.crossed import crossed
from medisyn_lib.statistics.estimates import Estimate

if TYPE_CHECKING:
    from medisyn_lib.pipeline.grading_network import Logits

JUDGES = ("truth", "majority", "adjudicated")
OTHER_GRADERS = 4000  # added to the seed of who tunes: who judges is somebody else


def synthetic_gains(
    simulation: GradingSimulation,
    runs: TuningRuns,
    *,
    with_synthetic: Sequence[Logits],
    without: Sequence[Logits],
) -> dict[str, Estimate]:
    """Estimate what synthetic images in the training gain, under each reference.

    Parameters
    ----------
    simulation : GradingSimulation
        Eyes and graders.
    runs : TuningRuns
        Whose number of draws and whose rule's cost are used; the graders are others.
    with_synthetic, without : sequence of Logits
        Networks trained with and without synthetic images, one per training seed each.

    Returns
    -------
    dict
        The gain in kappa by who judges, `JUDGES`, and the `difference`: adjudication's gain minus majority's.
    """
    seeds, budget = grader_seeds(SYNTHETIC, len(runs.seeds)), runs.rule.budget
    gains = {}
    for judge in JUDGES:
        gains[judge] = np.array(
            [
                _kappas(simulation, with_synthetic, judge, budget, seed)
                - _kappas(simulation, without, judge, budget, seed)
                for seed in seeds
            ]
        )
    gains["difference"] = gains["adjudicated"] - gains["majority"]
    return {name: crossed(rows, simulation.test.n) for name, rows in gains.items()}


def _kappas(
    simulation: GradingSimulation, networks: Sequence[Logits], judge: str, budget: int, seed: int
) -> np.ndarray:
    """Kappas (1 + patients,) of an algorithm tuned and judged by references of one kind, other graders judging."""
    references = _references(simulation, judge, seed)
    network = networks[seed % len(networks)]
    algorithm = tuning.tune_on_reference(network, references["tuning"], budget, seed)
    grades = algorithm.predict(network.test).grades
    makers = references["tuning"].makers
    return reference_standards.judged(grades, makers, references["test"], simulation.test.patients)


def _references(simulation: GradingSimulation, judge: str, seed: int) -> Mapping[str, Reference]:
    """The reference of the tuning images and that of the test images.

    Who is judged by the truth was tuned on the majority.
    """
    panels = simulation.panels
    panel = panels.specialists if judge == "adjudicated" else panels.ophthalmologists
    of_tuning = _reference(simulation.tuning, panel, judge, seed, seed)
    if judge == "truth":
        return {"tuning": of_tuning, "test": reference_standards.exact(simulation.test.truth)}
    of_test = _reference(simulation.test, panel, judge, seed, seed + OTHER_GRADERS)
    return {"tuning": of_tuning, "test": of_test}


def _reference(eyes: Eyes, panel: Panel, judge: str, seed: int, seed_of_graders: int) -> Reference:
    """One reference made by one draw of graders."""
    readings = graders.read(eyes.lesions, panel, images=seed, graders=seed_of_graders)
    if judge == "adjudicated":
        return reference_standards.adjudicate(readings, seed=seed)
    return reference_standards.independent(readings)
