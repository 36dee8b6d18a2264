"""Claims 07, after Krause et al. 2017: graders vary, and how their disagreement is resolved matters.

The first two are judged on a table of real grades alone: simulated graders vary because they were made so. The last
two hold in simulation at most.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from medisyn_lib.claims.claim import (
    CONFIRMATORY,
    CONTRADICTED,
    INCONCLUSIVE,
    NEEDS_PEOPLE,
    PARTLY,
    SIMULATION,
    SUPPORTED,
    Claim,
    Control,
    Decide,
    Judgement,
    Measure,
    Measures,
    make_claim,
    measure,
)
from medisyn_lib.claims.rules import Rule, rule
from medisyn_lib.claims.words import with_interval
from medisyn_lib.evaluation.grading.controls import AgreementControls, TuningControls
from medisyn_lib.evaluation.grading.real_graders import RealGraders
from medisyn_lib.evaluation.grading.tuning_study import TuningGains
from medisyn_lib.statistics.estimates import Estimate
from medisyn_lib.statistics.power import detectable_difference, standard_error

VARY, DIFFER = rule("graders-vary"), rule("standards-differ")
TUNING, PAR = rule("adjudicated-tuning"), rule("on-par")
RULES = (VARY, DIFFER, TUNING, PAR)
KAPPA, DIFFERING = "fleiss_kappa", "share_majority_not_adjudicated"
SIMULATED = "_of_simulated_graders"  # ends the names of measures that decide nothing
GAIN = "kappa_gain_over_specialists"
DIFFERENCE = "kappa_minus_"  # and the kind of graders: its measure
MOST_GAIN_WITHOUT_ERRORS = 0.01
SOURCE = "arXiv 1710.01711, abstract; protocol our own"


@dataclass(frozen=True)
class Findings:
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
    kind : str
        The evidence of the claims in simulation, as of `Claim`.
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
    kind: str


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
    margin = PAR.thresholds["margin"]
    inferior = shuffled.below(-margin)
    on_par = graders.above(-margin)
    return [
        Control("tuned_on_shuffled", "positive", "inferiority seen", shuffled.value, inferior),
        Control("graders_beside_graders", "negative", "on par", graders.value, on_par),
    ]


def decide_graders_vary(measures: Measures) -> Judgement:
    """Whether people grade widely differently, by Fleiss' kappa of their table."""
    if KAPPA not in measures:
        return _needs_people("graders vary")
    kappa, most = measures[KAPPA], VARY.thresholds["kappa"]
    said = f"Graders agree with a kappa of {with_interval(kappa)}; 1 would be perfect, 0 chance."
    return Judgement(_by_bound(most, kappa, wanted_below=True), said)


def decide_standards_differ(measures: Measures) -> Judgement:
    """Whether people's majority differs from their adjudicated grade."""
    if DIFFERING not in measures:
        return _needs_people("ways of resolving disagreement differ")
    differing, least = measures[DIFFERING], DIFFER.thresholds["differing"]
    said = f"The majority's grade differs from the adjudicated one in {with_interval(differing, '.1%')} of images."
    return Judgement(_by_bound(least, differing), said)


def decide_adjudicated_tuning(measures: Measures) -> Judgement:
    """Whether adjudication gains kappa over the same specialists' own majority, at equal cost."""
    gain = measures[GAIN]
    said = (
        "In simulation, tuning on adjudicated grades rather than on the same specialists' majority changes the "
        f"algorithm's kappa by {with_interval(gain, '+.4f')}."
    )
    return Judgement(_by_bound(0, gain), said)


def decide_on_par(measures: Measures) -> Judgement:
    """Whether the algorithm is on par with each kind of graders."""
    margin = PAR.thresholds["margin"]
    kinds = {
        name.removeprefix(DIFFERENCE): one
        for name, one in measures.items()
        if name.startswith(DIFFERENCE)
    }
    par = [kind for kind, one in kinds.items() if one.above(-margin)]
    if any(one.below(-margin) for one in kinds.values()):
        verdict = CONTRADICTED
    elif len(par) == len(kinds):
        verdict = SUPPORTED
    else:
        verdict = PARTLY if par else INCONCLUSIVE
    found = ", ".join(f"{kind} {with_interval(one, '+.3f')}" for kind, one in kinds.items())
    said = f"In simulation, the algorithm's kappa less that of single graders: {found}."
    return Judgement(verdict, said)


def _by_bound(bound: float, found: Measure, *, wanted_below: bool = False) -> str:
    """The verdict of a measure that should lie wholly on one side of a bound."""
    above, below = found.ci_low is not None and found.ci_low > bound, found.below(bound)
    wanted, unwanted = (below, above) if wanted_below else (above, below)
    if wanted:
        return SUPPORTED
    return CONTRADICTED if unwanted else INCONCLUSIVE


def _needs_people(what: str) -> Judgement:
    said = f"Whether {what} needs grades by people; those of simulated graders do so because they were made so."
    return Judgement(None, said, NEEDS_PEOPLE)


def claim_graders_vary(
    *, real: Estimate | None, simulated: Estimate, controls: Sequence[Control]
) -> Claim:
    """Claim that graders vary widely, by Fleiss' kappa of a real table; that of simulated graders decides nothing."""
    return _claim_of_table(
        VARY, decide_graders_vary, KAPPA, "kappa", real=real, simulated=simulated, controls=controls
    )


def claim_standards_differ(
    *, real: Estimate | None, simulated: Estimate, controls: Sequence[Control]
) -> Claim:
    """Claim that ways of resolving disagreement differ, by the proportion of images whose real grades differ."""
    return _claim_of_table(
        DIFFER,
        decide_standards_differ,
        DIFFERING,
        "share",
        real=real,
        simulated=simulated,
        controls=controls,
    )


def _claim_of_table(
    rule: Rule,
    decide: Decide,
    name: str,
    unit: str,
    *,
    real: Estimate | None,
    simulated: Estimate,
    controls: Sequence[Control],
) -> Claim:
    """A claim that a table of people's grades decides; it confirms, as nobody here has seen it."""
    found = simulated if real is None else real
    primary = name + SIMULATED if real is None else name
    return make_claim(
        rule,
        decide,
        id=rule.id,
        source=SOURCE,
        evidence=SIMULATION if real is None else CONFIRMATORY,
        primary=primary,
        measures=[measure(primary, found, unit=unit)],
        controls=controls,
        detectable=detectable_difference(standard_error(found)),
    )


def claim_adjudicated_tuning(
    gains: TuningGains,
    synthetic_gains: Mapping[str, Estimate],
    *,
    networks: int,
    controls: Sequence[Control],
    evidence: str,
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
    evidence : str
        As of `Claim`.
    """
    estimates = {
        GAIN: gains.kappa_over_specialists,
        "kappa_gain_over_ophthalmologists": gains.kappa,
        "auc_gain_over_ophthalmologists": gains.auc,
        "kappa_gain_smallest_cost": gains.kappa_at_smallest_cost,
    }
    for judge, estimate in synthetic_gains.items():
        estimates[f"synthetic_gain_{judge}"] = estimate
    return make_claim(
        TUNING,
        decide_adjudicated_tuning,
        id=TUNING.id,
        source=f"{SOURCE}, simulated graders",
        evidence=evidence,
        primary=GAIN,
        detectable=detectable_difference(standard_error(gains.kappa_over_specialists)),
        measures=[
            measure(name, estimate, unit="kappa", seeds=networks)
            for name, estimate in estimates.items()
        ],
        controls=controls,
    )


def claim_on_par(
    differences: Mapping[str, Estimate],
    *,
    networks: int,
    controls: Sequence[Control],
    evidence: str,
) -> Claim:
    """Claim that the algorithm is on par with single graders, in simulation: non-inferiority by a margin.

    `differences` in kappa are by kind of graders, at least one with a value; the smallest is the primary measure.
    """
    estimates = {f"{DIFFERENCE}{kind}s": estimate for kind, estimate in differences.items()}
    primary = min(estimates, key=lambda name: estimates[name].value or 0.0)
    return make_claim(
        PAR,
        decide_on_par,
        id=PAR.id,
        source=f"{SOURCE}, simulated graders",
        evidence=evidence,
        primary=primary,
        detectable=detectable_difference(standard_error(estimates[primary])),
        measures=[
            measure(name, estimate, unit="kappa", seeds=networks)
            for name, estimate in estimates.items()
        ],
        controls=controls,
    )


def make_claims(findings: Findings) -> list[Claim]:
    """Make the four claims from all that was measured."""
    shared = agreement_controls(findings.planted_agreement)
    return [
        claim_graders_vary(
            real=findings.real.fleiss, simulated=findings.simulated_fleiss, controls=shared
        ),
        claim_standards_differ(
            real=findings.real.differing, simulated=findings.simulated_differing, controls=shared
        ),
        claim_adjudicated_tuning(
            findings.gains,
            findings.synthetic_gains,
            networks=findings.networks,
            controls=shared + tuning_controls(findings.planted_tuning),
            evidence=findings.kind,
        ),
        claim_on_par(
            findings.beside_graders,
            networks=findings.networks,
            controls=shared + par_controls(findings.planted_tuning),
            evidence=findings.kind,
        ),
    ]
