"""How right reference standards are, what they cost, and what adjudication gains as errors become alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from medisyn_lib.evaluation import graders, reference_standards
from medisyn_lib.evaluation.graders import Readings
from medisyn_lib.evaluation.grading.simulation import (
    CORRELATIONS,
    FIRST_SEED,
    SWEEP,
    Eyes,
    GradingSimulation,
    grader_seeds,
    reference_makers,
)
from medisyn_lib.evaluation.reference_standards import Reference
from medisyn_lib.statistics.crossed import crossed
from medisyn_lib.statistics.estimates import Estimate
from medisyn_lib.statistics.intervals import cluster_proportion
from medisyn_lib.statistics.jackknife import means

if TYPE_CHECKING:
    import pandas as pd

# Whose majority adjudication by three specialists is compared with.
SAME_THREE = "over majority of the same three specialists"
FIVE_SPECIALISTS = "over majority of five specialists"
THREE_OPHTHALMOLOGISTS = "over majority of three ophthalmologists"


def quality_table(simulation: GradingSimulation) -> pd.DataFrame:
    """Tabulate how right each reference of the same readings of the test images is, and what it costs.

    Returns
    -------
    DataFrame
        A row per reference: proportion of images with the true grade (an ungradable image counts as not right),
        readings per image, proportions of images that were discussed and that needed more than one full round,
        most rounds of any image, proportion without consensus.
    """
    import pandas as pd

    makers = reference_makers(simulation)
    by_kind = {"ophthalmologists": makers.ophthalmologists, "specialists": makers.specialists}
    rows = []
    for kind, readings in by_kind.items():
        for name, reference in _references(kind, readings).items():
            rows.append({"reference": name, **_quality(reference, simulation.test)})
    return pd.DataFrame(rows)


def cross_tabulate(majority: Any, adjudicated: Any) -> pd.DataFrame:
    """Count images by their grade in two references, (n,) each, that both have a grade."""
    import pandas as pd

    both = pd.DataFrame({"majority": majority, "adjudicated": adjudicated})
    both = both[(both["majority"] >= 0) & (both["adjudicated"] >= 0)].astype(int)
    return pd.crosstab(both["majority"], both["adjudicated"])


def proportion_changed(a: Reference, b: Reference, test: Eyes) -> Estimate:
    """Estimate in how many of the images that both references grade their grades differ, by patient."""
    graded = (a.grades >= 0) & (b.grades >= 0)
    differ = (a.grades != b.grades)[graded].astype(float)
    return cluster_proportion(differ, test.patients[graded])


def gain_by_correlation(simulation: GradingSimulation, draws: int) -> pd.DataFrame:
    """Tabulate what adjudication gains the reference, by the correlation of errors: x, group, estimate.

    The gain is in the proportion of test images with the true grade, of adjudication by three specialists over
    the majority of the same three, of five others, and of three ophthalmologists.
    """
    import pandas as pd

    rows = []
    for correlation in CORRELATIONS:
        gains = [
            _gains_by_adjudication(simulation, correlation, seed)
            for seed in grader_seeds(SWEEP, draws)
        ]
        for name in gains[0]:
            estimate = crossed([gain[name] for gain in gains], simulation.test.n)
            rows.append((correlation, name, estimate))
    return pd.DataFrame(rows, columns=["x", "group", "estimate"])


def _references(kind: str, readings: Readings) -> Mapping[str, Reference]:
    """Every reference that one panel's readings can make, by name."""
    first = readings.grades[:, 0]
    one_grader = Reference(first, np.ones_like(first), frozenset(), np.zeros(len(first), bool))
    references = {f"one of the {kind}": one_grader}
    for rule in ("majority", "median"):
        references[f"{rule} of {kind}"] = reference_standards.independent(readings, rule)
    for how, rubric in (("without rubric", False), ("with rubric", True)):
        references[f"{kind} adjudicate {how}"] = reference_standards.adjudicate(
            readings, seed=FIRST_SEED, rubric=rubric
        )
    return references


def _quality(reference: Reference, test: Eyes, panel_size: int = 3) -> dict[str, Any]:
    """One row of `quality_table`."""
    right = (reference.grades == test.truth).astype(float)
    # Rounds beyond the first, independent reading.
    rounds = np.ceil(np.maximum(reference.readings - panel_size, 0) / panel_size)
    return {
        "right": cluster_proportion(right, test.patients),
        "readings": reference.readings.mean(),
        "discussed": (rounds > 0).mean(),
        "over one round": (rounds > 1).mean(),
        "most rounds": rounds.max(),
        "unresolved": reference.unresolved.mean(),
    }


def _gains_by_adjudication(
    simulation: GradingSimulation, correlation: float, seed: int
) -> dict[str, np.ndarray]:
    """Gains in the proportion of right grades over each majority in one draw: rows (1 + patients,)."""
    test = simulation.test
    panels = simulation.panels.changed(correlation=correlation)
    readings = graders.read_pair(test.lesions, panels, seed)
    five = graders.read(
        test.lesions,
        panels.changed(size=5).specialists,
        images=seed,
        graders=seed + 2 * graders.PANEL_SEEDS,
    )
    majorities = {
        SAME_THREE: readings.specialists,
        FIVE_SPECIALISTS: five,
        THREE_OPHTHALMOLOGISTS: readings.ophthalmologists,
    }
    adjudicated = reference_standards.adjudicate(readings.specialists, seed=seed)
    right = (adjudicated.grades == test.truth).astype(float)
    gains = {}
    for name, others in majorities.items():
        majority = reference_standards.independent(others)
        gains[name] = means(right - (majority.grades == test.truth), test.patients)
    return gains
