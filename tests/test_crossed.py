"""Intervals over draws and clusters, crossed: by hand, covering, absent where they cannot be."""

from __future__ import annotations

import numpy as np
import pytest
from test_reference_standards import EXPERTS, MANY, eyes

from medisyn_lib.evaluation import agreement, graders, reference_standards
from medisyn_lib.evaluation.grading import discrepancies
from medisyn_lib.statistics.crossed import crossed
from medisyn_lib.statistics.estimates import Estimate
from medisyn_lib.statistics.jackknife import means


def test_intervals_over_draws_and_patients_cover() -> None:
    """Means with a part of the draw, of the patient and of both: 95% must hold the truth in 93% of 2,000 runs."""
    rng, draws, patients, hit = np.random.default_rng(2), 8, 120, 0
    for _ in range(2000):
        values = (
            rng.normal(0, 1, (draws, 1)) / 4
            + rng.normal(0, 1, patients)
            + rng.normal(0, 2, (draws, patients))
        )
        left = (values.sum(1, keepdims=True) - values) / (patients - 1)
        found = crossed(np.concatenate([values.mean(1, keepdims=True), left], 1), patients)
        assert found.ci_low is not None and found.ci_high is not None
        hit += found.ci_low <= 0 <= found.ci_high
    assert hit >= 1860


@pytest.mark.full
def test_intervals_of_what_adjudication_changes_cover() -> None:
    """Simulated panels and eyes drawn anew 2,000 times; the truth is the mean of all runs, whose own error is small."""
    pool, rng, n = eyes(3000), np.random.default_rng(5), 200
    found: dict[str, list[Estimate]] = {"share right": [], "kappa": [], "share of a mode": []}
    for run in range(2000):
        chosen = rng.integers(0, 3000, n)
        some = {name: values[chosen] for name, values in pool.items()}
        rows: dict[str, list[np.ndarray]] = {name: [] for name in found}
        for seed in range(8 * run, 8 * run + 8):
            read = [
                graders.read(some, p, images=seed, graders=seed + 10**6 * k)
                for k, p in enumerate((MANY, EXPERTS))
            ]
            a, b, true = (
                reference_standards.independent(read[0]),
                reference_standards.adjudicate(read[1], seed=seed),
                graders.grade(some),
            )
            rows["share right"].append(means((b.grades == true) * 1.0 - (a.grades == true)))
            rows["kappa"].append(
                agreement.kappas(b.grades, true, 5) - agreement.kappas(a.grades, true, 5)
            )
            cause = discrepancies.causes(read, a, b)
            rows["share of a mode"].append(means(cause == 0, None, cause >= 0))
        for name, table in rows.items():
            found[name].append(crossed(table, n))
    for name, points in found.items():
        truth = np.mean([point.value for point in points])
        given = [
            point for point in points if point.ci_low is not None and point.ci_high is not None
        ]
        covered = np.mean([point.ci_low <= truth <= point.ci_high for point in given])
        print(name, truth, covered, len(given))
        assert covered >= 0.93 and len(given) >= 1900, name


def test_few_draws_and_equal_ones_have_no_interval() -> None:
    assert crossed(np.random.default_rng(0).random((4, 9)), 8).ci_low is None
    assert crossed(np.zeros((8, 9)), 8).ci_low is None
    assert crossed(np.random.default_rng(0).random((8, 2)), 1).ci_low is None  # one patient


def test_an_interval_over_draws_and_patients_by_hand() -> None:
    """Draws 1, 2, 3, 4, 5: their mean has variance 2.5 / 5; means without either of two patients 3 +- 0.1: 0.01."""
    table = np.arange(1.0, 6)[:, None] + np.array([0.0, 0.1, -0.1])
    table[:2, 1:] += np.array([[1.0], [-1.0]])  # in two draws patients weigh more, which evens out
    found = crossed(table, 2)
    assert found.value == 3 and found.ci_high - 3 == pytest.approx(2.776445 * 0.51**0.5, rel=1e-5)
