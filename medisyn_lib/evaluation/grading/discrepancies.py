"""Where majority and adjudication differ, by the error that made them differ; rates of errors fitted to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from medisyn_lib.evaluation import graders, reference_standards
from medisyn_lib.evaluation.graders import Lesions, PanelPair, Readings
from medisyn_lib.evaluation.grading.simulation import (
    DISCREPANCIES,
    FITTING,
    PANELS,
    ROLES,
    GradingSimulation,
    eyes_of,
    grader_seeds,
)
from medisyn_lib.evaluation.reference_standards import Reference
from medisyn_lib.statistics.crossed import crossed
from medisyn_lib.statistics.jackknife import means

if TYPE_CHECKING:
    import datasets
    import pandas as pd

# Of 193 discrepancies, by `graders.MODES`: the first from the abstract of Krause et al. 2017, the next two from a
# secondary source, the last the rest.
MODE_PROPORTIONS = np.array([0.36, 0.20, 0.16, 0.28])
DISCREPANT = 0.10  # of all images; our own choice, the paper's is not public to us
FITTING_ROUNDS = 12
FITTING_DRAWS = 16  # of graders
FEWEST_MODE_DRAWS = 8
FITTED_ON = "images the rates were fitted on"
TEST_IMAGES = "test images"
FITTING_POWER = 0.4  # of the ratio by which rates are corrected: below one, so that they settle


def causes(panels: Sequence[Readings], a: Reference, b: Reference) -> np.ndarray:
    """Find the mode of error that made two references differ.

    It is the commonest among all graders that alone would change the image's grade; "other" where none would.

    Parameters
    ----------
    panels : sequence of Readings
        The readings of the same images that made the references.
    a, b : Reference
        The references.

    Returns
    -------
    ndarray
        Number of the mode in `graders.MODES`, int (n,); -1 where the references agree or one has no grade.
    """
    errors = np.concatenate([readings.errors for readings in panels], axis=2)
    how_often = errors.sum(2).T * _changes_the_grade(panels[0].lesions)
    other = len(errors) - 1
    cause = np.where(how_often.any(1), how_often.argmax(1), other)
    differ = (a.grades != b.grades) & (a.grades >= 0) & (b.grades >= 0)
    return np.where(differ, cause, -1)


def discrepancies(lesions: Lesions, panels: PanelPair, seeds: Sequence[int]) -> np.ndarray:
    """Find the `causes` of the differences of ophthalmologists' majority from specialists' adjudication.

    Returns int (seeds, n): in each draw of graders, for each image.
    """
    found = []
    for seed in seeds:
        readings = graders.read_pair(lesions, panels, seed)
        majority = reference_standards.independent(readings.ophthalmologists)
        adjudicated = reference_standards.adjudicate(readings.specialists, seed=seed)
        found.append(causes(readings, majority, adjudicated))
    return np.array(found)


def calibrate(lesions: Lesions, panels: PanelPair, seeds: Sequence[int] = range(16)) -> PanelPair:
    """Fit the rates of errors, alike for both panels, to what is published of the discrepancies.

    At the rates of the returned panels `discrepancies` of the draws `seeds` are about `DISCREPANT` of all images,
    and of them `MODE_PROPORTIONS` by mode.
    """
    rates = np.array(panels.ophthalmologists.rates)
    for _ in range(FITTING_ROUNDS):
        panels = panels.changed(rates=tuple(rates.tolist()))
        found = discrepancies(lesions, panels, seeds)
        rates = _corrected(rates, found)
    return panels


def calibrated_simulation(images: Mapping[str, datasets.Dataset]) -> GradingSimulation:
    """Take the eyes of each role from fundus phantoms, as of `simulation.load_images`, and calibrate the graders."""
    eyes = {role: eyes_of(images[role]) for role in ROLES}
    panels = calibrate(eyes["evaluator"].lesions, PANELS, grader_seeds(FITTING, FITTING_DRAWS))
    return GradingSimulation(
        training=eyes["evaluator"], tuning=eyes["calibration"], test=eyes["test"], panels=panels
    )


def mode_draws(draws: int) -> int:
    """Return how many draws of graders the modes are counted over: those of the profile, but no few."""
    return max(draws, FEWEST_MODE_DRAWS)


def both_sets(simulation: GradingSimulation, draws: int) -> dict[str, np.ndarray]:
    """Find the `discrepancies` in the images that the rates were fitted on and in the test images.

    The graders are other draws than those that were fitted.
    """
    seeds = grader_seeds(DISCREPANCIES, mode_draws(draws))
    sets = {FITTED_ON: simulation.training, TEST_IMAGES: simulation.test}
    return {
        name: discrepancies(eyes.lesions, simulation.panels, seeds) for name, eyes in sets.items()
    }


def how_often(found: Mapping[str, np.ndarray]) -> str:
    """Say in what percentage of the images majority and adjudication differ, a line per set."""
    lines = []
    for name, draws in found.items():
        percent = 100 * np.mean(draws >= 0)
        lines.append(f"{name}: majority and adjudication differ in {percent:.0f}% of images")
    return "\n".join(lines)


def mode_table(simulation: GradingSimulation, found: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Tabulate each mode's proportion of the discrepancies beside the published one.

    Parameters
    ----------
    simulation : GradingSimulation
        Where they were found.
    found : mapping
        As of `both_sets`.

    Returns
    -------
    DataFrame
        Columns label (the mode), group (the set of images), estimate, reference (the published proportion).
    """
    import pandas as pd

    patients = {FITTED_ON: simulation.training.patients, TEST_IMAGES: simulation.test.patients}
    rows = []
    for group, draws in found.items():
        n = int((draws >= 0).sum())
        for mode, label in enumerate(graders.MODES):
            by_draw = [means(cause == mode, patients[group], cause >= 0) for cause in draws]
            rows.append((label, group, crossed(by_draw, n), MODE_PROPORTIONS[mode]))
    return pd.DataFrame(rows, columns=["label", "group", "estimate", "reference"])


def _changes_the_grade(lesions: Lesions) -> np.ndarray:
    """Whether each mode of error alone would change an image's grade: bool (n, modes)."""
    n, modes = len(lesions["poor"]), len(graders.MODES)
    # As if there were one grader for each mode, who makes that error always and no other.
    one_each = np.broadcast_to(np.eye(modes, dtype=bool)[:, None], (modes, n, modes))
    return graders.grade(lesions, one_each) != graders.grade(lesions)[:, None]


def _corrected(rates: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Rates of errors (modes,), nearer to those at which discrepancies are as published."""
    proportions = (found[:, :, None] == np.arange(len(rates))).mean((0, 1))
    ratio = MODE_PROPORTIONS * DISCREPANT / np.maximum(proportions, 1e-3)
    return np.clip(rates * ratio**FITTING_POWER, 1e-3, 0.5)
