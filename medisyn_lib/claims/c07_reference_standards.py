"""Claims 07, after Krause et al. 2017: graders vary, and how their disagreement is resolved matters.

The first two are judged on a table of real grades alone: simulated graders vary because they were made so. The last
two hold in simulation at most.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from medisyn_lib.claims.claim import Claim, Control, make_claim, measure
from medisyn_lib.claims.rules import compare_to_bound
from medisyn_lib.evaluation.grading.controls import AgreementControls, TuningControls
from medisyn_lib.evaluation.grading.real_graders import RealGraders
from medisyn_lib.evaluation.grading.tuning_study import TuningGains
from medisyn_lib.statistics.estimates import Estimate
from medisyn_lib.statistics.power import detectable_difference, standard_error

RULES = {
    "graders-vary": "On simulated graders variability is an input: not testable here. On a real table: reproduced if "
    "the upper 95% limit of Fleiss' kappa lies below 0.8, not reproduced if the lower limit lies above it.",
    "standards-differ": "On simulated graders the difference is an input: not testable here. On a real table with a "
    "grader named adjudicated and at least three others: reproduced if the lower 95% limit of the share of images "
    "whose majority differs from the adjudicated grade is above 2%, not reproduced if the upper limit is below.",
    "adjudicated-tuning": "Reproduced, in simulation, if at equal cost and a correlation of errors of 0.5 the lower "
    "95% limit of the gain in quadratic-weighted kappa with the truth (algorithm tuned on grades adjudicated by "
    "specialists minus tuned on the majority of ophthalmologists) is above zero; not reproduced if the upper limit "
    "is below zero.",
    "on-par": "Reproduced, in simulation, if the lower 95% limit of the difference in quadratic-weighted kappa with "
    "the truth (algorithm tuned on adjudicated grades minus single graders' mean) is above -0.05 against "
    "ophthalmologists and against specialists; partly if against one kind alone; not reproduced if an upper limit "
    "lies below -0.05.",
}
IN_SIMULATION = ("adjudicated-tuning", "on-par")
MOST_KAPPA = 0.8  # of graders who vary
LEAST_DIFFERING = 0.02  # of the images, where standards differ
MARGIN = 0.05  # of kappa: on par
MOST_GAIN_WITHOUT_ERRORS = 0.01
SOURCE = "arXiv 1710.01711, abstract; protocol our own, "
REAL = "real table"
SIMULATED = "simulated graders: an input"


class Outcome(NamedTuple):
    """What a rule says: `passed` is None where it cannot be decided."""

    passed: bool | None
    partly: bool


@dataclass(frozen=True)
class Evidence:
    """What the four claims rest on.

    Attributes
    ----------
    real : RealGraders
        The table of real grades; empty where none was given.
    simulated_fleiss, simulated_differing : Estimate
        Fleiss' kappa of simulated ophthalmologists, and the proportion of images whose simulated majority differs
        from the simulated adjudication: shown where there is no real table, but deciding nothing.
    gains : TuningGains
        What adjudicated grades gain an algorithm.
    synthetic_gains : mapping
        What synthetic images gain by who judges; may be empty.
    beside_graders : mapping
        Kappa of the algorithm minus that of single graders, by their kind.
    planted_agreement : AgreementControls
        Graders without error, and grades at random.
    planted_tuning : TuningControls
        Tuning on planted grades, and graders beside graders.
    networks : int
        Number of training seeds.
    """

    real: RealGraders
    simulated_fleiss: Estimate
    simulated_differing: Estimate
    gains: TuningGains
    synthetic_gains: Mapping[str, Estimate]
    beside_graders: Mapping[str, Estimate]
    planted_agreement: AgreementControls
    planted_tuning: TuningControls
    networks: int


def agreement_controls(planted: AgreementControls) -> list[Control]:
    """Make the controls of agreement: graders without error agree perfectly, graders at random by chance."""
    perfect, random = planted.without_errors, planted.at_random
    return [
        Control("graders_without_error", "positive", "kappa 1", perfect, perfect == 1),
        Control("graders_at_random", "negative", "chance", random.value, random.contains(0)),
    ]


def tuning_controls(planted: TuningControls) -> list[Control]:
    """Make the controls of tuning: a bad reference must show as worse, and an idle one as no better."""
    loss, idle = planted.mild_called_healthy, planted.no_errors
    no_gain = idle.value is not None and abs(idle.value) < MOST_GAIN_WITHOUT_ERRORS
    return [
        Control("mild_called_healthy", "positive", "a loss seen", loss.value, loss.above(0)),
        Control("no_errors_no_gain", "negative", "below 0.01", idle.value, no_gain),
    ]


def par_controls(planted: TuningControls) -> list[Control]:
    """Make the controls of "on par": shuffled grades must show as inferior, graders as on par with graders."""
    shuffled, graders = planted.shuffled, planted.other_graders
    inferior = shuffled.below(-MARGIN)
    on_par = graders.above(-MARGIN)
    return [
        Control("tuned_on_shuffled", "positive", "inferiority seen", shuffled.value, inferior),
        Control("graders_beside_graders", "negative", "on par", graders.value, on_par),
    ]


def decide_graders_vary(fleiss: Estimate | None) -> bool | None:
    """Whether real graders vary widely; None without a real table, or where the interval holds the bound."""
    if fleiss is None:
        return None
    agree = compare_to_bound(fleiss, MOST_KAPPA)
    return None if agree is None else not agree


def decide_standards_differ(differing: Estimate | None) -> bool | None:
    """Whether a real majority differs from an adjudicated grade; None as of `decide_graders_vary`."""
    return None if differing is None else compare_to_bound(differing, LEAST_DIFFERING)


def decide_adjudicated_tuning(gain: Estimate) -> bool | None:
    """Whether tuning on adjudicated grades gains kappa at equal cost."""
    return compare_to_bound(gain, 0)


def decide_on_par(differences: Sequence[Estimate]) -> Outcome:
    """Whether the algorithm is on par with each kind of graders: differences in kappa, algorithm minus graders."""
    outcomes = [compare_to_bound(difference, -MARGIN) for difference in differences]
    partly = True in outcomes and False not in outcomes
    if False in outcomes:
        return Outcome(passed=False, partly=partly)
    if True not in outcomes:
        return Outcome(passed=None, partly=partly)
    return Outcome(passed=None not in outcomes, partly=partly)


def claim_graders_vary(
    *, real: Estimate | None, simulated: Estimate, controls: Sequence[Control]
) -> Claim:
    """Claim that graders vary widely, by Fleiss' kappa of a real table; that of simulated graders decides nothing."""
    fleiss = simulated if real is None else real
    return make_claim(
        id="graders-vary",
        statement="graders of diabetic retinopathy vary widely",
        source=SOURCE + _origin(real),
        rule=RULES["graders-vary"],
        passed=decide_graders_vary(real),
        primary="fleiss_kappa",
        measures=[measure("fleiss_kappa", fleiss, unit="kappa")],
        controls=controls,
        detectable=detectable_difference(standard_error(fleiss)),
    )


def claim_standards_differ(
    *, real: Estimate | None, simulated: Estimate, controls: Sequence[Control]
) -> Claim:
    """Claim that ways of resolving disagreement differ, by the proportion of images whose real grades differ."""
    differing = simulated if real is None else real
    return make_claim(
        id="standards-differ",
        statement="ways of resolving graders' disagreement differ",
        source=SOURCE + _origin(real),
        rule=RULES["standards-differ"],
        passed=decide_standards_differ(real),
        primary="share_majority_not_adjudicated",
        measures=[measure("share_majority_not_adjudicated", differing, unit="share")],
        controls=controls,
        detectable=detectable_difference(standard_error(differing)),
    )


def claim_adjudicated_tuning(
    gains: TuningGains,
    synthetic_gains: Mapping[str, Estimate],
    *,
    networks: int,
    controls: Sequence[Control],
) -> Claim:
    """Claim that a small adjudicated tuning set improves the algorithm, in simulation.

    Parameters
    ----------
    gains : TuningGains
        What adjudicated grades gain.
    synthetic_gains : mapping
        What synthetic images gain by who judges; may be empty.
    networks : int
        Number of training seeds.
    controls : sequence of Control
        Those of agreement and of tuning.
    """
    estimates = {
        "kappa_gain": gains.kappa,
        "kappa_gain_over_specialists": gains.kappa_over_specialists,
        "auc_gain": gains.auc,
        "kappa_gain_smallest_cost": gains.kappa_at_smallest_cost,
    }
    for judge, estimate in synthetic_gains.items():
        estimates[f"synthetic_gain_{judge}"] = estimate
    return make_claim(
        id="adjudicated-tuning",
        statement="in simulation: a small adjudicated tuning set improves the algorithm at equal cost of readings",
        source=SOURCE + "simulated graders",
        rule=RULES["adjudicated-tuning"],
        passed=decide_adjudicated_tuning(gains.kappa),
        primary="kappa_gain",
        detectable=detectable_difference(standard_error(gains.kappa)),
        measures=[
            measure(name, estimate, unit="kappa", seeds=networks)
            for name, estimate in estimates.items()
        ],
        controls=controls,
    )


def claim_on_par(
    differences: Mapping[str, Estimate], *, networks: int, controls: Sequence[Control]
) -> Claim:
    """Claim that the algorithm is on par with single graders, in simulation: non-inferiority by `MARGIN`.

    `differences` in kappa are by kind of graders, at least one with a value; the smallest is the primary measure.
    """
    estimates = {f"kappa_minus_{kind}s": estimate for kind, estimate in differences.items()}
    primary = min(estimates, key=lambda name: estimates[name].value or 0.0)
    outcome = decide_on_par(list(differences.values()))
    return make_claim(
        id="on-par",
        statement="in simulation: the algorithm is on par with single ophthalmologists and specialists",
        source=SOURCE + "simulated graders",
        rule=RULES["on-par"],
        passed=outcome.passed,
        partly=outcome.partly,
        primary=primary,
        detectable=detectable_difference(standard_error(estimates[primary])),
        measures=[
            measure(name, estimate, unit="kappa", seeds=networks)
            for name, estimate in estimates.items()
        ],
        controls=controls,
    )


def make_claims(evidence: Evidence) -> list[Claim]:
    """Make the four claims from all that was measured."""
    shared = agreement_controls(evidence.planted_agreement)
    return [
        claim_graders_vary(
            real=evidence.real.fleiss, simulated=evidence.simulated_fleiss, controls=shared
        ),
        claim_standards_differ(
            real=evidence.real.differing, simulated=evidence.simulated_differing, controls=shared
        ),
        claim_adjudicated_tuning(
            evidence.gains,
            evidence.synthetic_gains,
            networks=evidence.networks,
            controls=shared + tuning_controls(evidence.planted_tuning),
        ),
        claim_on_par(
            evidence.beside_graders,
            networks=evidence.networks,
            controls=shared + par_controls(evidence.planted_tuning),
        ),
    ]


def main_claims(claims: Sequence[Claim]) -> list[str]:
    """Name the claims whose worst verdict is the result's: the first two count only with a real table."""
    return [
        claim.id for claim in claims if claim.id in IN_SIMULATION or claim.source.endswith(REAL)
    ]


def _origin(real: Estimate | None) -> str:
    return SIMULATED if real is None else REAL
