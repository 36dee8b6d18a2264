"""Claim 07: its controls over planted inputs all pass where they should, and each can fail; its rules by hand.

Lesions come without photographs, and the logits of networks are planted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pytest
from test_reference_standards import EXPERTS, MANY, eyes

from medisyn_lib.claims import c07_reference_standards
from medisyn_lib.claims.c07_reference_standards import IN_SIMULATION, Evidence, Outcome
from medisyn_lib.claims.claim import NOT_TESTABLE, Claim
from medisyn_lib.evaluation import graders
from medisyn_lib.evaluation.grading import (
    controls,
    reference_quality,
    simulation,
    single_graders,
    tuning,
    tuning_study,
)
from medisyn_lib.evaluation.grading.real_graders import compare_graders
from medisyn_lib.pipeline.grading_network import Logits
from medisyn_lib.statistics.estimates import Estimate

IMAGES, DRAWS = 300, 6
Network = Callable[[np.ndarray, np.random.Generator], np.ndarray]


class Study(NamedTuple):
    """What controls and claims are made of."""

    simulated: simulation.GradingSimulation
    networks: list[Logits]
    runs: tuning_study.TuningRuns
    of_kinds: dict[str, np.ndarray]


def some_eyes(seed: int) -> simulation.Eyes:
    chosen = np.random.default_rng(seed).integers(0, 600, IMAGES)
    lesions = {name: values[chosen] for name, values in eyes().items()}
    return simulation.Eyes(lesions, np.arange(IMAGES))


def seeing(truth: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Logits of a network that grades mostly right."""
    return np.eye(5)[truth] * 4 + rng.normal(0, 1, (len(truth), 5))


def blind(truth: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.zeros((len(truth), 5))


@cache
def study(network: Network = seeing) -> Study:
    """Algorithms tuned at every cost and the rule's correlation."""
    panels = graders.PanelPair(MANY, EXPERTS)
    simulated = simulation.GradingSimulation(some_eyes(0), some_eyes(1), some_eyes(2), panels)
    rng = np.random.default_rng(9)
    tuned, tested = (network(part.truth, rng) for part in (simulated.tuning, simulated.test))
    networks = [Logits(tuned, tested)]
    at_the_rules_correlation = [
        condition
        for condition in tuning_study.conditions(IMAGES)
        if condition.correlation == simulation.RULE_CORRELATION
    ]
    runs = tuning_study.run_tuning(simulated, networks, DRAWS, at_the_rules_correlation)
    of_kinds = tuning_study.kappas_of_kinds(simulated, runs.seeds)
    return Study(simulated, networks, runs, of_kinds)


def planted_tuning(made: Study, of_kinds: dict[str, np.ndarray] | None = None) -> Any:
    return controls.tuning_controls(
        made.simulated, made.networks, made.runs, of_kinds or made.of_kinds
    )


@cache
def evidence(network: Network = seeing) -> Evidence:
    made = study(network)
    test = made.simulated.test
    single = simulation.single_graders(made.simulated)
    references = simulation.make_references(made.simulated)
    return Evidence(
        real=compare_graders(None),
        simulated_fleiss=single_graders.fleiss_kappa(single.ophthalmologists, test),
        simulated_differing=reference_quality.proportion_changed(
            references[simulation.MAJORITY], references[simulation.ADJUDICATED], test
        ),
        gains=tuning_study.tuning_gains(made.runs),
        synthetic_gains={},
        beside_graders=tuning_study.beside_graders(made.runs, made.of_kinds),
        planted_agreement=controls.agreement_controls(test, MANY),
        planted_tuning=planted_tuning(made),
        networks=1,
    )


def claims(found: Evidence) -> dict[str, Claim]:
    return {claim.id: claim for claim in c07_reference_standards.make_claims(found)}


def failed(claim: Claim) -> list[str]:
    return [control.name for control in claim.controls if not control.passed]


def test_controls_pass_with_networks_that_see() -> None:
    found = claims(evidence())
    assert [name for claim in found.values() for name in failed(claim)] == []
    assert {found[name].verdict for name in IN_SIMULATION} - {NOT_TESTABLE}
    # Inputs, assumed by construction.
    assert found["graders-vary"].verdict == found["standards-differ"].verdict == NOT_TESTABLE


def test_a_network_that_sees_nothing_voids_what_it_measures_and_is_not_on_par() -> None:
    """For adjudicated tuning the network is the measure; beside graders it is what is judged."""
    found = claims(evidence(blind))
    assert "mild_called_healthy" in failed(found["adjudicated-tuning"])
    verdicts = {name: claim.verdict for name, claim in found.items()}
    assert verdicts == dict.fromkeys(verdicts, NOT_TESTABLE) | {"on-par": "not reproduced"}


def shared_dice(monkeypatch: pytest.MonkeyPatch) -> Evidence:
    """Grades at random that graders share half of the time."""
    rng = np.random.default_rng(0)
    alike, own = rng.integers(0, 5, (IMAGES, 1)), rng.integers(0, 5, (IMAGES, 5))
    dice = np.where(rng.random((IMAGES, 5)) < 0.5, alike, own)
    at_random = controls.agreement_at_random(dice, np.arange(IMAGES))
    return replace(
        evidence(), planted_agreement=evidence().planted_agreement._replace(at_random=at_random)
    )


def errors_where_there_should_be_none(monkeypatch: pytest.MonkeyPatch) -> Evidence:
    monkeypatch.setattr(controls, "NO_ERRORS", MANY.rates)
    test = study().simulated.test
    return replace(evidence(), planted_agreement=controls.agreement_controls(test, MANY))


def deaf_tuning(monkeypatch: pytest.MonkeyPatch) -> Evidence:
    """Tuning that sees no difference between a set of grades and another."""
    real, made = tuning.tune, study()
    network, truth = made.networks[0], made.simulated.tuning.truth
    monkeypatch.setattr(tuning, "tune", lambda logits, grades: real(network.tuning, truth))
    return replace(evidence(), planted_tuning=planted_tuning(made))


def gifted_adjudication(monkeypatch: pytest.MonkeyPatch) -> Evidence:
    """A gift to adjudication that has nothing to do with graders' errors."""
    real = tuning_study.tune_once

    def gives(*how: Any) -> Any:
        draw = dict(real(*how))
        adjudicated = draw[simulation.ADJUDICATED]
        draw[simulation.ADJUDICATED] = replace(adjudicated, kappas=adjudicated.kappas + 0.02)
        return draw

    monkeypatch.setattr(tuning_study, "tune_once", gives)
    return replace(evidence(), planted_tuning=planted_tuning(study()))


def graders_worse_than_chance(monkeypatch: pytest.MonkeyPatch) -> Evidence:
    made = study()
    of_kinds = {kind: kappas - 2 for kind, kappas in made.of_kinds.items()}
    return replace(evidence(), planted_tuning=planted_tuning(made, of_kinds))


def weaker_graders(monkeypatch: pytest.MonkeyPatch) -> Evidence:
    """Graders who are worse than those that they stand beside."""
    real = tuning_study.grader_kappas
    monkeypatch.setattr(tuning_study, "grader_kappas", lambda *how: real(*how) - 0.2)
    return replace(evidence(), planted_tuning=planted_tuning(study()))


@pytest.mark.parametrize(
    ("broken", "control", "voided"),
    [
        (shared_dice, "graders_at_random", IN_SIMULATION),
        (errors_where_there_should_be_none, "graders_without_error", IN_SIMULATION),
        (deaf_tuning, "mild_called_healthy", IN_SIMULATION[:1]),
        (gifted_adjudication, "no_errors_no_gain", IN_SIMULATION[:1]),
        (graders_worse_than_chance, "tuned_on_shuffled", IN_SIMULATION[1:]),
        (weaker_graders, "graders_beside_graders", IN_SIMULATION[1:]),
    ],
)
def test_a_broken_control_voids_what_rests_on_it(
    broken: Callable[[pytest.MonkeyPatch], Evidence],
    control: str,
    voided: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    evidence()  # of what is whole
    found = claims(broken(monkeypatch))
    assert {name for name, claim in found.items() if control in failed(claim)} >= {*voided}
    assert {found[name].verdict for name in voided} == {NOT_TESTABLE}


# The rules.


def near(value: float, half: float = 0.01) -> Estimate:
    return Estimate(value, value - half, value + half, 100)


def test_real_tables_decide_the_first_two_claims() -> None:
    vary = c07_reference_standards.decide_graders_vary
    differ = c07_reference_standards.decide_standards_differ
    assert [vary(point) for point in (near(0.7), near(0.9), near(0.8), None)] == [
        True,
        False,
        None,
        None,
    ]
    assert [differ(point) for point in (near(0.1), near(0.0), near(0.02), None)] == [
        True,
        False,
        None,
        None,
    ]


@pytest.mark.parametrize(
    ("differences", "outcome"),
    [
        ((0.0, 0.0), Outcome(True, partly=True)),
        ((0.0, -0.05), Outcome(False, partly=True)),
        ((-0.05, -0.05), Outcome(None, partly=False)),
        ((0.0, -0.1), Outcome(False, partly=False)),
        ((-0.05, -0.1), Outcome(False, partly=False)),
    ],
)
def test_on_par_is_noninferiority_to_both_kinds(
    differences: tuple[float, float], outcome: Outcome
) -> None:
    found = c07_reference_standards.decide_on_par([near(value) for value in differences])
    assert found == outcome


def test_the_first_two_claims_count_with_a_real_table_alone() -> None:
    without = c07_reference_standards.make_claims(evidence())
    assert c07_reference_standards.main_claims(without) == list(IN_SIMULATION)
    real = replace(evidence().real, fleiss=near(0.7), differing=near(0.1))
    with_table = c07_reference_standards.make_claims(replace(evidence(), real=real))
    assert [claim.verdict for claim in with_table[:2]] == ["reproduced", "reproduced"]
    assert len(c07_reference_standards.main_claims(with_table)) == 4
