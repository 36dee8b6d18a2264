"""Claim 03: one generalist needs substantially less compute than a suite, by two accounts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from medisyn_lib.claims.claim import Claim, Control, Measure, count, make_claim, measure
from medisyn_lib.claims.rules import compare_to_bound
from medisyn_lib.claims.statements import NOTEBOOKS
from medisyn_lib.evaluation.efficiency import BreakEven, Saving, planted_saving
from medisyn_lib.evaluation.quality_curves import QualityCurves
from medisyn_lib.evaluation.serving import MachineCosts
from medisyn_lib.evaluation.training_costs import SuiteCosts
from medisyn_lib.statistics.estimates import Estimate
from medisyn_lib.statistics.power import detectable_difference, standard_error

RULE = (
    "Reproduced if the lower 95% limit of the saving is at least 2; partly if it is at least 1; "
    "not reproduced if the upper limit is below 2 otherwise; not testable here else, and where even "
    "a generalist that costs nothing could not save 2."
)
SOURCE = "arXiv 2405.09806 v7, abstract; protocol our own"
SUBSTANTIAL, NONE = 2.0, 1.0  # savings, as factors
ABOUT = 1.5  # factor within which a planted saving counts as seen


class Outcome(NamedTuple):
    """What the rule finds by one account."""

    passed: bool | None
    partly: bool


def decide_saving(log_saving: Estimate, largest: float) -> Outcome:
    """Apply the rule.

    Parameters
    ----------
    log_saving
        Logarithm of the saving; without an upper limit where it is only known to be at least this.
    largest
        Factor that a generalist which costs nothing would save.
    """
    if log_saving.ci_low is None or largest < SUBSTANTIAL:
        return Outcome(None, False)
    factor = _as_factor(log_saving)
    substantial = compare_to_bound(factor, SUBSTANTIAL)
    some = compare_to_bound(factor, NONE) is True
    if substantial is None and some:
        return Outcome(False, True)
    return Outcome(substantial, some)


def _as_factor(log_saving: Estimate) -> Estimate:
    """An estimate of a logarithm as one of the factor; an upper limit that is open is infinite."""

    def exponential(logarithm: float | None) -> float:
        return math.inf if logarithm is None else math.exp(logarithm)

    return Estimate(
        exponential(log_saving.value),
        exponential(log_saving.ci_low),
        exponential(log_saving.ci_high),
        log_saving.n,
    )


def efficiency_controls(curves: QualityCurves, costs: SuiteCosts) -> list[Control]:
    """Plant sharing in the accounts, and none, and see whether the saving shows it."""
    return judge_controls(
        copies=planted_saving(curves, costs, networks=1),
        unshared=planted_saving(curves, costs, networks=10),
    )


def judge_controls(*, copies: float | None, unshared: float | None) -> list[Control]:
    """Say which controls passed: sharing that is there must be seen, and none where there is none.

    Parameters
    ----------
    copies
        Saving of ten copies of one modality that one network serves.
    unshared
        Saving of ten unshared networks presented as one.
    """
    return [
        Control("ten_copies_of_one", "positive", "about 10", copies, _is_about(copies, 10)),
        Control("ten_unshared_networks", "negative", "about 1", unshared, _is_about(unshared, 1)),
    ]


def _is_about(value: float | None, expected: float) -> bool:
    return value is not None and abs(math.log(value / expected)) <= math.log(ABOUT)


def shared_measures(
    even: BreakEven,
    forgotten: Mapping[str, Estimate],
    costs: SuiteCosts,
    machine: MachineCosts,
    seeds: int,
) -> list[Measure]:
    """Make the measures that both claims show beside the saving.

    Parameters
    ----------
    even
        The break-even number of modalities.
    forgotten
        By modality, the log-ratio of KID after learning an eleventh one to before.
    costs
        Of training.
    machine
        Seconds and memory.
    seeds
        Training seeds.
    """
    logarithms = {"log_break_even": even.to_match}
    for name, effect in forgotten.items():
        logarithms[f"log_ratio_KID_after_tuning_{name}"] = effect
    return [
        *(_log_measure(name, one, seeds) for name, one in logarithms.items()),
        count("tflop_generalist", costs.checkpoints[-1] / 1e12, unit="TFLOP"),
        count("tflop_suite", costs.suite / 1e12, unit="TFLOP"),
        count("tflop_first_stage", costs.autoencoder / 1e12, unit="TFLOP"),
        count("peak_memory", machine.peak_memory / 1e9, kind="machine", unit="GB"),
        count("latency", machine.latency, kind="machine", unit="s"),
        count("loading", machine.loading, kind="machine", unit="s"),
    ]


def _log_measure(name: str, estimate: Estimate, seeds: int) -> Measure:
    return measure(name, estimate, unit="log ratio", seeds=seeds, encoder="efflite0")


def account_claim(
    saving: Saving, beside: Sequence[Measure], controls: Sequence[Control], seeds: int
) -> Claim:
    """Make the claim of one account. Logarithms are kept in the result: a saving of 2 is 0.69."""
    outcome = decide_saving(saving.log_saving, saving.largest)
    return make_claim(
        id=f"less-compute-{saving.account.replace(' ', '-')}",
        statement=f"{NOTEBOOKS['03_compute_efficiency']}: {saving.account}",
        source=SOURCE,
        rule=RULE,
        controls=controls,
        passed=outcome.passed,
        partly=outcome.partly,
        primary="log_saving",
        detectable=detectable_difference(standard_error(saving.log_saving)),
        measures=[_log_measure("log_saving", saving.log_saving, seeds), *beside],
    )


def efficiency_claims(
    savings: Sequence[Saving],
    beside: Sequence[Measure],
    controls: Sequence[Control],
    seeds: int,
) -> list[Claim]:
    """Make the claims of all accounts."""
    return [account_claim(saving, beside, controls, seeds) for saving in savings]


def tested(savings: Sequence[Saving], claims: Sequence[Claim]) -> list[str]:
    """List the claims that count for the verdict of the whole: those that could save enough."""
    return [
        claim.id
        for claim, saving in zip(claims, savings, strict=True)
        if saving.largest >= SUBSTANTIAL
    ]
