"""Does the analysis of a reader study recover the skill that was planted in simulated readers?"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from medisyn_lib.evaluation import agreement
from medisyn_lib.reader_study import analysis, simulate
from medisyn_lib.statistics.intervals import wilson

if TYPE_CHECKING:
    import pandas as pd

PAIRS = 70  # a reader
READERS = (2, 4, 8)
AT_THE_MARGIN = "at the margin"
SKILLS = {"guessing": 0.0, AT_THE_MARGIN: 0.4, "skilled": 1.0}  # d'
READER_SPREAD = 0.3  # of d' over readers
LARGEST_BIAS = 0.3  # towards the first or the second image, in standard deviations


class SimulatedStudies(NamedTuple):
    """Answers of many studies, bool (studies, readers, pairs), and the expected accuracy."""

    correct: np.ndarray
    planted_accuracy: float


def simulate_studies(
    studies: int,
    readers: int,
    skill: float,
    rng: np.random.Generator,
    *,
    pairs: int = PAIRS,
    reader_spread: float = READER_SPREAD,
) -> SimulatedStudies:
    """Simulate studies whose readers differ in skill and lean to different sides; some pairs are easier.

    Fewer than five readers are fixed, spread evenly around `skill` (d'); from five on each study draws
    its own from a normal distribution.
    """
    sampled = readers >= agreement.FEWEST_RATERS
    ease = rng.normal(0, simulate.ITEM_SPREAD, (studies, 1, pairs))
    if sampled:
        deviation = rng.standard_normal((studies, readers))
    else:
        deviation = np.linspace(-1, 1, readers)
    skills = np.broadcast_to(skill + reader_spread * deviation, (studies, readers))
    bias = np.linspace(-LARGEST_BIAS, LARGEST_BIAS, readers)
    truth = rng.random((studies, readers, pairs)) < 0.5
    first = simulate.choices(skills[..., None] + ease, bias[:, None], truth, rng)
    if sampled:
        spread = (simulate.ITEM_SPREAD**2 + reader_spread**2) ** 0.5
        expected = simulate.planted(np.full(readers, skill), bias, spread)
    else:
        expected = simulate.planted(skills[0], bias)
    return SimulatedStudies(first == truth, float(expected.mean()))


def skill_recovery(studies: int, seed: int = 2) -> pd.DataFrame:
    """Analyse many simulated studies of each number of readers and each skill.

    Returns
    -------
    DataFrame
        `readers`, `skill` (a word); `value`, with its simulation error `low` to `high`: the proportion
        of studies whose 95% interval covers the planted accuracy; `wrong`: of those exactly at the
        margin, how many were called equivalent or how many told apart, the larger; elsewhere NaN.
    """
    import pandas as pd

    rng, rows = np.random.default_rng(seed), []
    for readers in READERS:
        for skill, d_prime in SKILLS.items():
            simulated = simulate_studies(studies, readers, d_prime, rng)
            wrong = wrong_verdicts(simulated) if skill == AT_THE_MARGIN else None
            covered = wilson(covering_intervals(simulated), studies)
            rows.append(
                {
                    "readers": readers,
                    "skill": skill,
                    "value": covered.value,
                    "low": covered.ci_low,
                    "high": covered.ci_high,
                    "wrong": wrong,
                }
            )
    return pd.DataFrame(rows)


def covering_intervals(simulated: SimulatedStudies) -> int:
    """Count the studies whose 95% interval of accuracy holds the planted one."""
    count = 0
    for correct in simulated.correct:
        found = analysis.accuracy(correct)
        count += found.contains(simulated.planted_accuracy)
    return count


def wrong_verdicts(simulated: SimulatedStudies) -> int:
    """Count verdicts that are wrong one way, with the margin set exactly at the planted accuracy."""
    margin = abs(simulated.planted_accuracy - 0.5)
    verdicts = [analysis.equivalence(correct, margin) for correct in simulated.correct]
    return max(verdicts.count("equivalent"), verdicts.count("told apart"))


def wrong_verdicts_in_words(recovery: pd.DataFrame, studies: int) -> str:
    """List the wrong verdicts exactly at the margin by number of readers, of that many studies."""
    wrong = recovery.dropna(subset="wrong").set_index("readers")["wrong"].astype(int)
    return wrong.rename(f"of {studies}").to_string()
