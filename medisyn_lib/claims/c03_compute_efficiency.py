"""Claim 03: one generalist needs substantially less compute than a suite, by the denoisers' training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from medisyn_lib.claims.claim import (
    CONTRADICTED,
    INCONCLUSIVE,
    PARTLY,
    SUPPORTED,
    Claim,
    Control,
    Judgement,
    Measure,
    Measures,
    count,
    make_claim,
    measure,
)
from medisyn_lib.claims.floor import coverage_measures, under_floor
from medisyn_lib.claims.rules import rule
from medisyn_lib.claims.words import from_base
from medisyn_lib.evaluation.efficiency import BreakEven, factor_in_words, planted_saving
from medisyn_lib.evaluation.planted_sharing import PlantedSharing
from medisyn_lib.evaluation.serving import MachineCosts
from medisyn_lib.evaluation.training_costs import SuiteCosts
from medisyn_lib.statistics.estimates import Estimate
from medisyn_lib.statistics.power import detectable_difference, standard_error

RULE = rule("less-compute")
SOURCE = "arXiv 2405.09806 v7, abstract; protocol our own"
SAVING = "log_saving"
ABOUT = 1.5  # factor within which a planted saving counts as seen


def decide(measures: Measures) -> Judgement:
    """Apply the rule to the saving; an open limit decides nothing on its side."""
    saving, limits = measures[SAVING], RULE.thresholds
    if saving.above(math.log(limits["substantial"])):
        verdict = SUPPORTED
    elif saving.above(0):
        verdict = PARTLY
    elif saving.below(math.log(limits["substantial"])):
        verdict = CONTRADICTED
    else:
        verdict = INCONCLUSIVE
    judgement = Judgement(verdict, _summary(saving))
    return under_floor(judgement, measures, limits["floor"])


def _summary(saving: Measure) -> str:
    """The saving in words."""
    if saving.value is None:
        return "No saving could be measured."
    estimate = Estimate(saving.value, saving.ci_low, saving.ci_high, saving.n)
    if saving.ci_low is None and saving.ci_high is not None:
        said = (
            "The generalist never came as near to real images as the specialists: whatever it saves is "
            f"a factor of {factor_in_words(estimate)}."
        )
        if saving.seeds == 1:
            said += " Of one training: the limit knows of no sampling uncertainty."
        return said
    return (
        "To come as near to real images as the specialists, training them all takes "
        f"{factor_in_words(estimate)} times the compute of one generalist."
    )


def efficiency_controls(again: Sequence[PlantedSharing]) -> list[Control]:
    """Plant sharing in the accounts, and none, and see whether the saving shows it."""
    return judge_controls(
        copies=planted_saving(again, networks=1),
        unshared=planted_saving(again, networks=10),
    )


def judge_controls(*, copies: float, unshared: float) -> list[Control]:
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


def _is_about(value: float, expected: float) -> bool:
    return abs(math.log(value / expected)) <= math.log(ABOUT)


def efficiency_claim(
    saving: Estimate,
    coverage: Mapping[str, Estimate],
    beside: Sequence[Measure],
    controls: Sequence[Control],
    *,
    seeds: int,
    evidence: str,
    base: str = "",
) -> Claim:
    """Make the claim. Logarithms are kept in the result: a saving of 2 is 0.69.

    Parameters
    ----------
    saving
        Logarithm of the factor, of `efficiency.estimate_saving`.
    coverage
        Of real images, by the better of generalist and specialists, by encoder.
    beside
        Of `beside_measures`.
    controls, evidence
        As of `Claim`.
    seeds
        Training seeds.
    base
        What all models were fine-tuned from; empty: trained from scratch.
    """
    return make_claim(
        RULE,
        decide,
        id="less-compute",
        statement=f"{RULE.statement}{from_base(base)}",
        source=SOURCE,
        evidence=evidence,
        controls=controls,
        primary=SAVING,
        detectable=detectable_difference(standard_error(saving)),
        measures=[
            _log_measure(SAVING, saving, seeds),
            *coverage_measures(coverage),
            *beside,
        ],
    )


def beside_measures(
    even: BreakEven,
    forgotten: Mapping[str, Estimate],
    costs: SuiteCosts,
    machine: MachineCosts,
    seeds: int,
) -> list[Measure]:
    """Make the measures that are shown beside the saving.

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
        count("tflop_autoencoder", costs.autoencoder / 1e12, unit="TFLOP"),
        count("peak_memory", machine.peak_memory / 1e9, kind="machine", unit="GB"),
        count("latency", machine.latency, kind="machine", unit="s"),
        count("loading", machine.loading, kind="machine", unit="s"),
    ]


def _log_measure(name: str, estimate: Estimate, seeds: int) -> Measure:
    return measure(name, estimate, unit="log ratio", seeds=seeds, encoder="efflite0")
