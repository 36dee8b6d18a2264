"""Augmentation: planted gains seen, controls that fail, the rule, learning curves and means by hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import t
from statsmodels.stats.multitest import multipletests
from test_utility import planted

from medisyn_lib.claims.c06_augmentation import Compared, claim_augmentation, significant
from medisyn_lib.claims.claim import (
    BELOW_FLOOR,
    CONTRADICTED,
    CONTROL_FAILED,
    DEMONSTRATION,
    EXPLORATORY,
    INCONCLUSIVE,
    NOT_RUN,
    PARTLY,
    SUPPORTED,
    VERDICTS,
    Claim,
    Judgement,
    measure,
)
from medisyn_lib.claims.decisions import replay
from medisyn_lib.evaluation.utility import training
from medisyn_lib.evaluation.utility.arms import (
    all_runs,
    decisive_arms,
    primary_arm,
    shuffled_arm,
)
from medisyn_lib.evaluation.utility.gains import (
    MORE_REAL,
    PRIMARY,
    REAL_AND_SEEN,
    SHUFFLED,
    SYNTHETIC_ALONE,
    contrasts,
    mean_over_tasks,
)
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
    monkeypatch.setattr("gc.collect", lambda *_: 0)  # statsmodels collects garbage at every call


def scored(task: Task, draws: int = DRAWS) -> TaskScores:
    """The scores of what the rule and the controls compare."""
    decisive = decisive_arms(task, SIZES)
    runs = [run for run in all_runs(task, SIZES, range(draws)) if run.arm in decisive]
    return score_runs(task, runs, train_classifiers(task, runs, 60))


def judged(scores: Mapping[str, TaskScores], draws: int = DRAWS) -> Claim:
    """The claim of the released model from the scores of its tasks, which stand for both families of classifiers."""
    return claimed({name: contrasts(of_task, SIZES) for name, of_task in scores.items()}, draws)


def verdict(tasks: Mapping[str, Task], draws: int = DRAWS) -> Claim:
    """The claim of the released model, from features to verdict."""
    return judged({name: scored(task, draws) for name, task in tasks.items()}, draws)


COVERED = Estimate(0.4, 0.3, 0.5, 300)


def claimed(
    compared: Mapping[str, Mapping[str, Estimate]],
    draws: int = DRAWS,
    *,
    networks: Mapping[str, Mapping[str, Estimate]] | None = None,
    coverage: Estimate = COVERED,
    evidence: str = EXPLORATORY,
) -> Claim:
    """The claim of gains by regressions and by networks, which find the same unless told otherwise."""
    covered = dict.fromkeys(("efflite0", "transformer"), coverage)
    both = (
        Compared(found, draws) for found in (compared, compared if networks is None else networks)
    )
    claim = claim_augmentation(RELEASED_MODEL, *both, covered, evidence)
    assert replay(claim) == Judgement(claim.verdict, claim.summary, claim.problem)
    return claim


def between(low: float, high: float) -> Estimate:
    return Estimate((low + high) / 2, low, high, 100)


# Gains: large, a loss, surely smaller than the least that counts, and wide enough for anything.
UP, DOWN, FLAT, WIDE = (0.03, 0.09), (-0.09, -0.03), (-0.009, 0.009), (-0.05, 0.07)


def of_gains(
    *limits: tuple[float, float],
    more_real: tuple[float, float] = UP,
    shuffled: tuple[float, float] = FLAT,
) -> dict[str, dict[str, Estimate]]:
    """Contrasts of tasks with these intervals of the primary gain."""
    return {
        f"task {number}": {
            PRIMARY: between(*of_task),
            MORE_REAL: between(*more_real),
            SHUFFLED: between(*shuffled),
            SYNTHETIC_ALONE: between(*WIDE),
            REAL_AND_SEEN: between(*UP),
        }
        for number, of_task in enumerate(limits)
    }


def failed(claim: Claim) -> list[str]:
    return [control.name for control in claim.controls if not control.passed]


def with_unshuffled_classes(scores: TaskScores) -> TaskScores:
    """The control broken on purpose: its classes were not shuffled."""
    by_arm = dict(scores.by_arm)
    by_arm[shuffled_arm(SMALL)] = by_arm[primary_arm(SMALL)]
    return scores._replace(by_arm=by_arm)


def test_planted_gain_is_seen_and_controls_pass() -> None:
    scores = {name: scored(planted(seed=k), draws=16) for k, name in enumerate("pqr")}
    claim = judged(scores, draws=16)
    assert (claim.verdict, claim.problem, failed(claim)) == (SUPPORTED, None, [])
    assert claim.detectable is not None and 0 < claim.detectable < 0.1
    assert claim.primary_measure.ci_low is not None and claim.primary_measure.ci_low > 0
    # Classes that were not shuffled help, and the negative control says so.
    unshuffled = judged(
        {name: with_unshuffled_classes(of_task) for name, of_task in scores.items()}
    )
    assert failed(unshuffled) == ["shuffled_classes", "network_shuffled_classes"]
    assert (unshuffled.verdict, unshuffled.problem) == (None, CONTROL_FAILED)


def test_synthetic_images_that_say_nothing_are_not_called_a_gain() -> None:
    claim = verdict({name: planted(informative=0.0, seed=k) for k, name in enumerate("pqr")})
    assert claim.verdict in (CONTRADICTED, INCONCLUSIVE) and failed(claim) == []
    assert (claim.primary_measure.value or 0) < 0.02


def test_real_images_that_say_nothing_fail_the_positive_control() -> None:
    claim = verdict({"p": planted(real=0.0)})
    assert "more_real_data" in failed(claim)
    assert (claim.verdict, claim.problem) == (None, CONTROL_FAILED)


def test_an_encoder_that_sees_nothing_leaves_no_verdict() -> None:
    """Constant features: every classifier is at chance, with no spread and so no interval."""
    tasks = {name: planted(seed=k) for k, name in enumerate("pq")}
    claim = verdict({name: task._replace(x=np.ones_like(task.x)) for name, task in tasks.items()})
    by_regressions = ["more_real_data", "shuffled_classes"]
    assert failed(claim) == [*by_regressions, *(f"network_{name}" for name in by_regressions)]
    assert (claim.verdict, claim.problem, claim.detectable) == (None, CONTROL_FAILED, None)
    assert {m.value for m in claim.measures if m.unit == "AUROC"} == {0.0}


def test_two_draws_decide_nothing() -> None:
    claim = verdict({"p": planted()}, draws=2)
    assert (claim.verdict, claim.problem) == (None, CONTROL_FAILED)
    assert claim.primary_measure.ci_low is None and claim.detectable is None


@pytest.mark.parametrize(
    ("gains", "expected"),
    [
        ((UP, UP), SUPPORTED),
        ((UP, UP, FLAT), SUPPORTED),
        ((UP, UP, WIDE), SUPPORTED),
        ((UP,), PARTLY),  # one task alone
        ((UP, FLAT, FLAT), PARTLY),
        ((UP, WIDE, WIDE), PARTLY),
        ((UP, UP, DOWN), PARTLY),
        ((UP, DOWN), PARTLY),
        ((DOWN, WIDE, WIDE), CONTRADICTED),
        ((FLAT, FLAT, WIDE), CONTRADICTED),
        ((FLAT, WIDE), CONTRADICTED),
        ((FLAT, WIDE, WIDE), INCONCLUSIVE),
        ((WIDE,), INCONCLUSIVE),
        (((0.004, 0.008),), CONTRADICTED),  # surely above zero and surely too small to count
        (((0.004, 0.014),), INCONCLUSIVE),  # above zero, and maybe as large as counts
    ],
)
def test_the_rule(gains: tuple[tuple[float, float], ...], expected: str) -> None:
    claim = claimed(of_gains(*gains))
    assert (claim.verdict, claim.problem) == (expected, None)


def test_a_gain_must_be_seen_beside_the_other_tasks_and_family() -> None:
    """Above zero by itself, not after Holm's correction beside tasks, or a second family, that show nothing."""
    near, nearer = (0.001, 0.06), (0.008, 0.06)  # p = 0.044 and 0.018
    assert claimed(of_gains(nearer), networks=of_gains(WIDE)).verdict == PARTLY
    assert claimed(of_gains(near), networks=of_gains(WIDE)).verdict == INCONCLUSIVE
    assert claimed(of_gains(nearer, WIDE, WIDE)).verdict == INCONCLUSIVE


@pytest.mark.parametrize(
    ("regressions", "networks", "expected"),
    [
        ((UP, UP), (UP, UP), SUPPORTED),
        ((UP, UP), (UP, UP, DOWN), PARTLY),
        ((UP, UP), (UP, WIDE), PARTLY),
        ((UP, UP), (WIDE, WIDE), PARTLY),
        ((UP, UP), (DOWN, DOWN), PARTLY),
        ((FLAT, FLAT), (UP, WIDE), PARTLY),
        ((FLAT, FLAT), (WIDE, WIDE), INCONCLUSIVE),
        ((FLAT, FLAT), (FLAT, WIDE), CONTRADICTED),
        ((DOWN, WIDE, WIDE), (FLAT, FLAT), CONTRADICTED),
    ],
)
def test_both_families_are_asked(
    regressions: tuple[tuple[float, float], ...],
    networks: tuple[tuple[float, float], ...],
    expected: str,
) -> None:
    """In whichever family: neither supports nor contradicts alone, and one gain is a part."""
    for first, second in ((regressions, networks), (networks, regressions)):
        claim = claimed(of_gains(*first), networks=of_gains(*second))
        assert (claim.verdict, claim.problem) == (expected, None)


def test_a_larger_gain_never_gives_a_worse_verdict() -> None:
    rng = np.random.default_rng(8)
    for _ in range(30):
        value, half = rng.uniform(0, 0.06, 3), rng.uniform(0.002, 0.08, 3)
        ranks = []
        for more in (0, 0.005, 0.02, 0.05):
            raised = value + np.array([more, 0, 0])
            gains = [*zip((raised - half).tolist(), (raised + half).tolist(), strict=True)]
            ranks.append(VERDICTS.index(claimed(of_gains(*gains)).verdict or ""))
        assert ranks == sorted(ranks, reverse=True)


def test_a_scenario_that_was_not_run_says_so() -> None:
    claim = claimed({})
    assert (claim.verdict, claim.problem, claim.controls) == (None, NOT_RUN, ())
    assert claim.summary == "This scenario was not run."


@pytest.mark.parametrize(
    "coverage", [Estimate(0.05, 0.04, 0.06, 300), Estimate(None, None, None, 0)]
)
def test_a_poor_generator_supports_nothing(coverage: Estimate) -> None:
    for gains, expected in (
        ((UP, UP), INCONCLUSIVE),
        ((UP, WIDE), INCONCLUSIVE),
        ((WIDE,), INCONCLUSIVE),
        ((DOWN, FLAT), CONTRADICTED),
    ):
        claim = claimed(of_gains(*gains), coverage=coverage)
        assert (claim.verdict, claim.problem) == (expected, BELOW_FLOOR)
        assert claim.summary.startswith("Too poor to judge")


def test_the_summary_counts_tasks() -> None:
    claim = claimed(of_gains(UP, UP, DOWN), networks=of_gains(UP, WIDE, WIDE))
    assert claim.summary == (
        "With synthetic images added, the AUROC of classifiers on frozen features changes by +0.020 "
        "(+0.003 to +0.037) on average, better in 2 of 3 tasks and worse in 1; that of small networks that "
        "learn their features by +0.027 (-0.003 to +0.057), better in 1 and worse in 0."
    )


def test_a_demonstration_has_no_verdict() -> None:
    claim = claimed(of_gains(UP, UP), evidence=DEMONSTRATION)
    assert (claim.verdict, claim.problem) == (None, None)


@pytest.mark.parametrize("prefix", ["", "network_"])
@pytest.mark.parametrize(
    ("broken", "control"),
    [
        (of_gains(UP, UP, more_real=WIDE), "more_real_data"),
        (of_gains(UP, UP, shuffled=UP), "shuffled_classes"),
    ],
)
def test_each_control_of_each_family_can_fail_and_leaves_no_verdict(
    prefix: str, broken: dict[str, dict[str, Estimate]], control: str
) -> None:
    sound = of_gains(UP, UP)
    claim = claimed(sound, networks=broken) if prefix else claimed(broken, networks=sound)
    assert failed(claim) == [prefix + control]
    assert (claim.verdict, claim.problem) == (None, CONTROL_FAILED)
    assert (prefix + control).replace("_", " ") in claim.summary


@pytest.mark.parametrize(
    ("p_values", "expected"),
    [
        ((0.01, 0.04, 0.03), [True, False, False]),  # 0.03 is above 0.05 / 2, and 0.04 comes after
        ((0.04, 0.01, 0.02), [True, True, True]),
        ((0.02, 0.03, 0.6), [False, False, False]),  # the smallest is above 0.05 / 3
        ((0.04,), [True]),
    ],
)
def test_holms_test_by_hand(p_values: tuple[float, ...], expected: list[bool]) -> None:
    """p-values are those of the intervals that are kept in the measures; losses are found as gains are."""
    effects = []
    for number, p_value in enumerate(p_values):
        value = (-1) ** number * 0.03
        half = 0.03 * t.isf(0.025, DRAWS - 1) / t.isf(p_value / 2, DRAWS - 1)
        estimate = Estimate(value, value - half, value + half, 100)
        effects.append(measure(f"gain {number}", estimate, seeds=DRAWS))
    assert significant(effects).tolist() == expected
    assert significant(effects).tolist() == multipletests(p_values, method="holm")[0].tolist()


def test_a_gain_without_an_interval_is_not_seen() -> None:
    bare = measure("gain", Estimate(0.2, None, None, 9), seeds=DRAWS)
    assert significant([bare]).tolist() == [False]


def test_holm_keeps_false_gains_rare() -> None:
    """500 nulls of three specialties, crossed draws and patients: a difference is called in at most 33 (5%)."""
    from medisyn_lib.statistics.crossed import crossed

    rng = np.random.default_rng(4)
    called = 0
    for _ in range(500):
        each = []
        for number in range(3):
            values = rng.normal(0, 0.3, (8, 1)) + rng.normal(0, 1, 60) + rng.normal(0, 2, (8, 60))
            left = (values.sum(1, keepdims=True) - values) / 59
            found = crossed(np.concatenate([values.mean(1, keepdims=True), left], 1), 60)
            each.append(measure(f"gain {number}", found, seeds=8))
        called += bool(significant(each).any())
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
