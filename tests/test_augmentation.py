"""Augmentation: planted gains seen, controls that fail, the rule, learning curves and means by hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from test_utility import planted

from medisyn_lib.claims.c06_augmentation import claim_augmentation, decide
from medisyn_lib.claims.claim import Claim, judge
from medisyn_lib.evaluation.utility import training
from medisyn_lib.evaluation.utility.arms import (
    all_runs,
    decisive_arms,
    primary_arm,
    shuffled_arm,
)
from medisyn_lib.evaluation.utility.gains import contrasts, mean_over_tasks
from medisyn_lib.evaluation.utility.learning_curves import equivalent_real_images
from medisyn_lib.evaluation.utility.scenarios import RELEASED_MODEL
from medisyn_lib.evaluation.utility.scores import TaskScores, score_runs
from medisyn_lib.evaluation.utility.tasks import Task
from medisyn_lib.evaluation.utility.training import train_classifiers
from medisyn_lib.statistics.estimates import Estimate

SMALL, DRAWS = 6, 8
SIZES = [SMALL, 2 * SMALL, 4 * SMALL]


@pytest.fixture(autouse=True)
def _own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDISYN_STORE", str(tmp_path))
    monkeypatch.setattr(training, "RUNS_AT_ONCE", 512)  # narrow features: all at once is quicker


def scored(task: Task, draws: int = DRAWS) -> TaskScores:
    """The scores of what the rule and the controls compare."""
    decisive = decisive_arms(task, SIZES)
    runs = [run for run in all_runs(task, SIZES, range(draws)) if run.arm in decisive]
    return score_runs(task, runs, train_classifiers(task, runs, 60))


def judged(scores: Mapping[str, TaskScores], draws: int = DRAWS) -> Claim:
    """The claim of the released model from the scores of its tasks."""
    compared = {name: contrasts(of_task, SIZES) for name, of_task in scores.items()}
    return claim_augmentation(RELEASED_MODEL, compared, draws)


def verdict(tasks: Mapping[str, Task], draws: int = DRAWS) -> Claim:
    """The claim of the released model, from features to verdict."""
    return judged({name: scored(task, draws) for name, task in tasks.items()}, draws)


def with_unshuffled_classes(scores: TaskScores) -> TaskScores:
    """The control broken on purpose: its classes were not shuffled."""
    by_arm = dict(scores.by_arm)
    by_arm[shuffled_arm(SMALL)] = by_arm[primary_arm(SMALL)]
    return scores._replace(by_arm=by_arm)


def test_planted_gain_is_seen_and_controls_pass() -> None:
    scores = {name: scored(planted(seed=k)) for k, name in enumerate("pqr")}
    claim = judged(scores)
    assert claim.verdict == "reproduced" and all(control.passed for control in claim.controls)
    assert claim.detectable is not None and 0 < claim.detectable < 0.1
    assert claim.measures[0].ci_low is not None and claim.measures[0].ci_low > 0
    # Classes that were not shuffled help, and the negative control says so.
    unshuffled = judged(
        {name: with_unshuffled_classes(of_task) for name, of_task in scores.items()}
    )
    assert [control.passed for control in unshuffled.controls] == [True, False]
    assert unshuffled.verdict == "not testable here"


def test_synthetic_images_that_say_nothing_are_not_called_a_gain() -> None:
    claim = verdict({name: planted(informative=0.0, seed=k) for k, name in enumerate("pqr")})
    assert claim.verdict == "not reproduced" and (claim.measures[0].value or 0) < 0.02


def test_real_images_that_say_nothing_fail_the_positive_control() -> None:
    claim = verdict({"p": planted(real=0.0)})
    assert not claim.controls[0].passed and claim.verdict == "not testable here"


def test_an_encoder_that_sees_nothing_voids_the_verdict() -> None:
    """Constant features: every classifier is at chance, with no spread and so no interval."""
    tasks = {name: planted(seed=k) for k, name in enumerate("pq")}
    claim = verdict({name: task._replace(x=np.ones_like(task.x)) for name, task in tasks.items()})
    assert claim.verdict == "not testable here" and not any(
        control.passed for control in claim.controls
    )
    assert {m.value for m in claim.measures} == {0.0} and claim.detectable is None


def test_two_draws_decide_nothing() -> None:
    claim = verdict({"p": planted()}, draws=2)
    assert (
        claim.verdict == "not testable here"
        and claim.measures[0].ci_low is None
        and claim.detectable is None
    )


def test_the_rule() -> None:
    def said(*limits: tuple[float, float]) -> str:
        gains = [Estimate((low + high) / 2, low, high, 100) for low, high in limits]
        return judge(*decide(gains, 8))

    up, down, flat, wide = (0.03, 0.09), (-0.09, -0.03), (-0.015, 0.015), (-0.05, 0.07)
    assert said(up, up, flat) == said(up, wide) == "reproduced"
    assert said(up, flat, flat) == said(up, up, down) == "partly"
    assert said(down, wide, wide) == said(flat, flat, wide) == "not reproduced"
    assert said(flat, wide, wide) == said(wide) == "not testable here"
    assert judge(*decide([], 8)) == judge(*decide([Estimate(0.2, None, None, 9)], 8))
    near = (
        0.001,
        0.06,
    )  # above zero by itself, not after Holm's correction beside two that show nothing
    assert said(near) == "reproduced" and said(near, wide, wide) == "not testable here"


def test_holm_keeps_false_gains_rare(monkeypatch: pytest.MonkeyPatch) -> None:
    """500 nulls of three specialties, crossed draws and patients: a gain is called in at most 33 (5%)."""
    from medisyn_lib.statistics.crossed import crossed

    monkeypatch.setattr("gc.collect", lambda: 0)  # statsmodels collects garbage at every call
    rng = np.random.default_rng(4)
    called = 0
    for _ in range(500):
        each = []
        for _ in range(3):
            values = rng.normal(0, 0.3, (8, 1)) + rng.normal(0, 1, 60) + rng.normal(0, 2, (8, 60))
            left = (values.sum(1, keepdims=True) - values) / 59
            each.append(crossed(np.concatenate([values.mean(1, keepdims=True), left], 1), 60))
        called += decide(each, 8).partly
    assert called <= 33


def test_equivalent_real_images_by_hand() -> None:
    worth, n, curve = equivalent_real_images, [10, 20, 40], [0.6, 0.7, 0.8]
    assert worth(n, curve, 0.7) == pytest.approx(20) and worth(n, curve, 0.65) == pytest.approx(
        10 * 2**0.5
    )
    assert (
        worth(n, curve, 0.59) == 0
        and worth(n, curve, 0.81) == np.inf
        and np.isnan(worth(n, curve, None))
    )
    assert worth(n, [0.6, 0.8, 0.7], 0.7) == pytest.approx(
        10 * 2 ** (0.1 / 0.15)
    )  # 0.75 at 20, as isotonic
    assert worth(n, [0.6, 0.8, 0.8], 0.8) == pytest.approx(20)  # the fewest that reach it


def test_the_mean_over_specialties_by_hand() -> None:
    one = Estimate(
        0.1, 0.1 - 2.364624 * 0.03, 0.1 + 2.364624 * 0.03, 50
    )  # t of 7 degrees of freedom, error 0.03
    both = mean_over_tasks([one, one], 8)
    assert both.value == pytest.approx(0.1) and both.n == 100
    assert both.ci_high - both.value == pytest.approx(2.364624 * 0.03 / 2**0.5, rel=1e-4)
    assert mean_over_tasks([], 8) == Estimate(None, None, None, 0)
    assert mean_over_tasks([one, Estimate(0.3, None, None, 1)], 8) == Estimate(
        pytest.approx(0.2), None, None, 51
    )
