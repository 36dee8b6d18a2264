"""Claim 07: its controls over planted inputs all pass where they should, and each can fail; its rules.

Lesions come without photographs, and the logits of networks are planted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pytest
from test_reference_standards import EXPERTS, MANY, eyes

from medisyn_lib.claims import c07_reference_standards
from medisyn_lib.claims.c07_reference_standards import (
    Findings,
    claim_adjudicated_tuning,
    claim_graders_vary,
    claim_on_par,
    claim_standards_differ,
)
from medisyn_lib.claims.claim import (
    CONFIRMATORY,
    CONTRADICTED,
    CONTROL_FAILED,
    DEMONSTRATION,
    INCONCLUSIVE,
    NEEDS_PEOPLE,
    PARTLY,
    SIMULATION,
    SUPPORTED,
    VERDICTS,
    Claim,
    Control,
    Judgement,
)
from medisyn_lib.claims.decisions import replay
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
TABLES = ("graders-vary", "standards-differ")  # what people's tables decide
SIMULATED = ("adjudicated-tuning", "on-par")
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
def findings(network: Network = seeing) -> Findings:
    made = study(network)
    test = made.simulated.test
    single = simulation.single_graders(made.simulated)
    references = simulation.make_references(made.simulated)
    return Findings(
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
        kind=SIMULATION,
    )


def claims(found: Findings) -> dict[str, Claim]:
    made = c07_reference_standards.make_claims(found)
    return {claim.id: replayed(claim) for claim in made}


def replayed(claim: Claim) -> Claim:
    assert replay(claim) == Judgement(claim.verdict, claim.summary, claim.problem)
    return claim


def failed(claim: Claim) -> list[str]:
    return [control.name for control in claim.controls if not control.passed]


def test_controls_pass_with_networks_that_see() -> None:
    found = claims(findings())
    assert [name for claim in found.values() for name in failed(claim)] == []
    assert {claim.evidence for claim in found.values()} == {SIMULATION}
    assert [found[name].problem for name in SIMULATED] == [None, None]
    # Inputs, assumed by construction.
    assert [found[name].problem for name in TABLES] == [NEEDS_PEOPLE, NEEDS_PEOPLE]


def test_a_network_that_sees_nothing_leaves_no_verdict_on_tuning_and_is_not_on_par() -> None:
    """For adjudicated tuning the network is the measure; beside graders it is what is judged."""
    found = claims(findings(blind))
    assert "mild_called_healthy" in failed(found["adjudicated-tuning"])
    assert found["adjudicated-tuning"].problem == CONTROL_FAILED
    assert (found["on-par"].verdict, found["on-par"].problem) == (CONTRADICTED, None)


def test_a_demonstration_has_no_verdict() -> None:
    found = claims(replace(findings(), kind=DEMONSTRATION))
    assert [(found[name].verdict, found[name].problem) for name in SIMULATED] == [(None, None)] * 2


def shared_dice(monkeypatch: pytest.MonkeyPatch) -> Findings:
    """Grades at random that graders share half of the time."""
    rng = np.random.default_rng(0)
    alike, own = rng.integers(0, 5, (IMAGES, 1)), rng.integers(0, 5, (IMAGES, 5))
    dice = np.where(rng.random((IMAGES, 5)) < 0.5, alike, own)
    at_random = controls.agreement_at_random(dice, np.arange(IMAGES))
    return replace(
        findings(), planted_agreement=findings().planted_agreement._replace(at_random=at_random)
    )


def errors_where_there_should_be_none(monkeypatch: pytest.MonkeyPatch) -> Findings:
    monkeypatch.setattr(controls, "NO_ERRORS", MANY.rates)
    test = study().simulated.test
    return replace(findings(), planted_agreement=controls.agreement_controls(test, MANY))


def deaf_tuning(monkeypatch: pytest.MonkeyPatch) -> Findings:
    """Tuning that sees no difference between a set of grades and another."""
    real, made = tuning.tune, study()
    network, truth = made.networks[0], made.simulated.tuning.truth
    monkeypatch.setattr(tuning, "tune", lambda logits, grades: real(network.tuning, truth))
    return replace(findings(), planted_tuning=planted_tuning(made))


def gifted_adjudication(monkeypatch: pytest.MonkeyPatch) -> Findings:
    """A gift to adjudication that has nothing to do with graders' errors."""
    real = tuning_study.tune_once

    def gives(*how: Any) -> Any:
        draw = dict(real(*how))
        adjudicated = draw[simulation.ADJUDICATED]
        draw[simulation.ADJUDICATED] = replace(adjudicated, kappas=adjudicated.kappas + 0.02)
        return draw

    monkeypatch.setattr(tuning_study, "tune_once", gives)
    return replace(findings(), planted_tuning=planted_tuning(study()))


def graders_worse_than_chance(monkeypatch: pytest.MonkeyPatch) -> Findings:
    made = study()
    of_kinds = {kind: kappas - 2 for kind, kappas in made.of_kinds.items()}
    return replace(findings(), planted_tuning=planted_tuning(made, of_kinds))


def weaker_graders(monkeypatch: pytest.MonkeyPatch) -> Findings:
    """Graders who are worse than those that they stand beside."""
    real = tuning_study.grader_kappas
    monkeypatch.setattr(tuning_study, "grader_kappas", lambda *how: real(*how) - 0.2)
    return replace(findings(), planted_tuning=planted_tuning(study()))


@pytest.mark.parametrize(
    ("broken", "control", "voided"),
    [
        (shared_dice, "graders_at_random", (*TABLES, *SIMULATED)),
        (errors_where_there_should_be_none, "graders_without_error", (*TABLES, *SIMULATED)),
        (deaf_tuning, "mild_called_healthy", SIMULATED[:1]),
        (gifted_adjudication, "no_errors_no_gain", SIMULATED[:1]),
        (graders_worse_than_chance, "tuned_on_shuffled", SIMULATED[1:]),
        (weaker_graders, "graders_beside_graders", SIMULATED[1:]),
    ],
)
def test_a_broken_control_leaves_no_verdict_on_what_rests_on_it(
    broken: Callable[[pytest.MonkeyPatch], Findings],
    control: str,
    voided: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    findings()  # of what is whole
    found = claims(broken(monkeypatch))
    assert {name for name, claim in found.items() if control in failed(claim)} == {*voided}
    outcomes = {(found[name].verdict, found[name].problem) for name in voided}
    assert outcomes == {(None, CONTROL_FAILED)}


# The rules.

BROKEN = [Control("graders_at_random", "negative", "chance", 0.5, False)]


def near(value: float, half: float = 0.01) -> Estimate:
    return Estimate(value, value - half, value + half, 100)


def varying(real: Estimate | None, controls: Sequence[Control] = ()) -> Claim:
    return replayed(claim_graders_vary(real=real, simulated=near(0.6), controls=controls))


def differing(real: Estimate | None, controls: Sequence[Control] = ()) -> Claim:
    return replayed(claim_standards_differ(real=real, simulated=near(0.1), controls=controls))


def tuned(gain: Estimate, controls: Sequence[Control] = (), evidence: str = SIMULATION) -> Claim:
    gains = tuning_study.TuningGains(near(0.1), gain, near(0.1), near(0.1))
    made = claim_adjudicated_tuning(gains, {}, networks=2, controls=controls, evidence=evidence)
    return replayed(made)


def beside(
    ophthalmologist: Estimate, specialist: Estimate, controls: Sequence[Control] = ()
) -> Claim:
    differences = {"ophthalmologist": ophthalmologist, "specialist": specialist}
    made = claim_on_par(differences, networks=2, controls=controls, evidence=SIMULATION)
    return replayed(made)


BARE = Estimate(0.5, None, None, 3)


@pytest.mark.parametrize(
    ("claimed", "found", "verdict"),
    [
        (varying, near(0.7), SUPPORTED),
        (varying, near(0.9), CONTRADICTED),
        (varying, near(0.8), INCONCLUSIVE),
        (varying, BARE, INCONCLUSIVE),
        (differing, near(0.1), SUPPORTED),
        (differing, near(0.0), CONTRADICTED),
        (differing, near(0.02), INCONCLUSIVE),
        (differing, BARE, INCONCLUSIVE),
    ],
)
def test_real_tables_decide_the_first_two_claims(
    claimed: Callable[[Estimate], Claim], found: Estimate, verdict: str
) -> None:
    claim = claimed(found)
    assert (claim.verdict, claim.problem, claim.evidence) == (verdict, None, CONFIRMATORY)


@pytest.mark.parametrize("claimed", [varying, differing])
def test_without_a_table_the_first_two_claims_need_people(claimed: Callable[..., Claim]) -> None:
    claim = claimed(None)
    assert (claim.verdict, claim.problem, claim.evidence) == (None, NEEDS_PEOPLE, SIMULATION)
    assert claim.primary.endswith("_of_simulated_graders")
    assert "needs grades by people" in claim.summary


@pytest.mark.parametrize(
    ("gain", "verdict"),
    [
        (near(0.02), SUPPORTED),
        (near(-0.02), CONTRADICTED),
        (near(0.005), INCONCLUSIVE),
        (Estimate(0.02, None, None, 3), INCONCLUSIVE),
    ],
)
def test_tuning_is_judged_by_the_gain_over_the_same_specialists(
    gain: Estimate, verdict: str
) -> None:
    claim = tuned(gain)
    assert (claim.verdict, claim.problem, claim.evidence) == (verdict, None, SIMULATION)
    assert claim.primary_measure.value == gain.value


@pytest.mark.parametrize(
    ("ophthalmologists", "specialists", "verdict"),
    [
        (0.0, 0.0, SUPPORTED),
        (0.2, -0.03, SUPPORTED),
        (0.0, -0.05, PARTLY),
        (-0.05, 0.0, PARTLY),
        (-0.05, -0.05, INCONCLUSIVE),
        (0.0, -0.1, CONTRADICTED),
        (-0.05, -0.1, CONTRADICTED),
    ],
)
def test_on_par_is_noninferiority_to_both_kinds(
    ophthalmologists: float, specialists: float, verdict: str
) -> None:
    claim = beside(near(ophthalmologists), near(specialists))
    assert (claim.verdict, claim.problem) == (verdict, None)
    assert claim.primary_measure.value == min(ophthalmologists, specialists)


def test_each_claim_without_its_controls_has_no_verdict() -> None:
    for claim in (
        varying(near(0.7), BROKEN),
        differing(near(0.1), BROKEN),
        tuned(near(0.02), BROKEN),
        beside(near(0.0), near(0.0), BROKEN),
    ):
        assert (claim.verdict, claim.problem) == (None, CONTROL_FAILED)


def test_a_better_measure_never_gives_a_worse_verdict() -> None:
    steps = np.linspace(0, 0.2, 21).tolist()
    for rising in (
        [varying(near(0.9 - step)) for step in steps],
        [differing(near(step)) for step in steps],
        [tuned(near(step - 0.1)) for step in steps],
        [beside(near(step - 0.1), near(0.0)) for step in steps],
        [beside(near(-0.05), near(step - 0.1)) for step in steps],
    ):
        ranks = [VERDICTS.index(claim.verdict or "") for claim in rising]
        assert ranks == sorted(ranks, reverse=True) and len({*ranks}) > 1


def test_the_summaries_say_the_numbers() -> None:
    assert varying(near(0.7)).summary == (
        "Graders agree with a kappa of 0.70 (0.69 to 0.71); 1 would be perfect, 0 chance."
    )
    assert differing(near(0.1)).summary == (
        "The majority's grade differs from the adjudicated one in 10.0% (9.0% to 11.0%) of images."
    )
    assert tuned(near(0.02)).summary == (
        "In simulation, tuning on adjudicated grades rather than on the same specialists' majority changes "
        "the algorithm's kappa by +0.0200 (+0.0100 to +0.0300)."
    )
    assert beside(near(0.0), near(-0.05)).summary == (
        "In simulation, the algorithm's kappa less that of single graders: ophthalmologists +0.000 "
        "(-0.010 to +0.010), specialists -0.050 (-0.060 to -0.040)."
    )


def test_a_table_of_people_counts_beside_the_simulation() -> None:
    real = replace(findings().real, fleiss=near(0.7), differing=near(0.1))
    found = claims(replace(findings(), real=real))
    assert [found[name].verdict for name in TABLES] == [SUPPORTED, SUPPORTED]
    assert [found[name].evidence for name in TABLES] == [CONFIRMATORY, CONFIRMATORY]
    assert [found[name].evidence for name in SIMULATED] == [SIMULATION, SIMULATION]
