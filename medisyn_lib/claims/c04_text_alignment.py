"""Claim 04: images are realistic, and show what their prompts name.

Three claims with a rule each. Two are about words, judged by classifiers; realism is a question to
people, and decided only where the readers of a study are people.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from medisyn_lib.claims.claim import Claim, Control, make_claim, measure
from medisyn_lib.claims.outcome import RuleOutcome
from medisyn_lib.claims.rules import compare_to_bound
from medisyn_lib.evaluation.attribute_accuracy import (
    AUTOENCODED,
    DERANGED,
    GROUPS,
    REAL,
    SYNTHETIC,
    accuracy_gaps,
    by_attribute,
    by_modality,
    chance_accuracy,
    finding_shortfall,
    in_group,
    modalities_within,
)
from medisyn_lib.evaluation.word_changes import TWO_FINDINGS, WordEffect
from medisyn_lib.statistics.estimates import Estimate
from medisyn_lib.statistics.intervals import cluster_proportion
from medisyn_lib.statistics.power import detectable_difference, standard_error

if TYPE_CHECKING:
    import pandas as pd

RULES = {
    "text-aligned": "Synthetic and held-out real images of the same captions are read by the same classifiers. "
    "Reproduced if the lower 95% limit of the difference (synthetic minus real) in the share read right is above minus "
    "the margin for the modality, for the finding, and for side, size, count and grade together; not reproduced if the "
    "upper limits of all lie below it; partly if one surely lies above and another surely below, whatever the rest; "
    "else not testable here. What captions of the data never name is left out.",
    "word-by-word": "Prompts that differ in one word or part make two images from one seed. Reproduced if the lower "
    "95% limit of the difference that the word makes in what is read is above 50 points for the other side and for "
    "'no' before a finding, above 25 points for a second finding that training never joined to the first, and above "
    "minus the margin for a paraphrase; decided as text-aligned otherwise.",
    "realistic": "With simulated readers not testable here. With real answers reproduced if two one-sided tests find "
    "the share of pairs in which the synthetic image is named within 10 points of 50%, not reproduced if they find it "
    "outside, else not testable here.",
}
SOURCE = "arXiv 2405.09806 v7, abstract; protocol our own"
REALISM_MARGIN = 0.10
# Of the difference that a word makes; half of what a second finding makes where it is drawn.
LEAST_EFFECT = {"side": 0.50, "negation": 0.50, TWO_FINDINGS: 0.25}
# What sets of images are called in the names of measures; others are not listed.
MEASURE_SUFFIX = {REAL: "real", AUTOENCODED: "first_stage", SYNTHETIC: "read"}
CONTROL_LEVEL = 0.999


def decide(outcomes: Sequence[bool | None], *, testable: int) -> RuleOutcome:
    """Join the outcomes of several bounds.

    Decided where all are cleared, or none, or one is and another is not, and where `testable`
    modalities are at least one.
    """
    agree = None not in outcomes
    disagree = True in outcomes and False in outcomes
    decided = bool(outcomes) and (agree or disagree) and testable > 0
    return RuleOutcome(all(outcomes) if decided else None, any(outcomes))


# Attributes that prompts name.


def attribute_controls(recovered: Mapping[str, pd.DataFrame], modalities: int) -> list[Control]:
    """Check that classifiers recover what is there and nothing else.

    Parameters
    ----------
    recovered
        Tables of `attributes.recover` by set of images.
    modalities
        How many the classifier may take an image for.
    """
    controls = [deranged_control(recovered[DERANGED])]
    for group in GROUPS:
        table = in_group(recovered[REAL], group)
        if len(table):
            chance = 1 / modalities if group == "modality" else chance_accuracy(table)
            controls.append(real_control(group, table, chance))
    return controls


def deranged_control(deranged: pd.DataFrame) -> Control:
    """Check that deranged captions are recovered at chance, by a 99.9% interval."""
    found = cluster_proportion(
        deranged["correct"].astype(float), deranged["patient"], CONTROL_LEVEL
    )
    at_chance = found.contains(chance_accuracy(deranged))
    return Control("deranged_captions", "negative", "chance", found.value, at_chance)


def real_control(group: str, real: pd.DataFrame, chance: float) -> Control:
    """Check that a group of attributes is recovered from real images half-way from chance to perfect."""
    value = float(real["correct"].mean())
    passed = (value - chance) >= 0.5 * (1 - chance)
    return Control(f"real_{group}", "positive", "half-way from chance", value, bool(passed))


def claim_text_aligned(
    recovered: Mapping[str, pd.DataFrame],
    controls: Sequence[Control],
    margin: float,
    testable: int,
) -> Claim:
    """Judge whether synthetic images show what captions name as surely as real ones.

    The primary measure is the gap of the group named last: side, size, count and grade, if there are any.

    Parameters
    ----------
    recovered
        Tables of `attributes.recover` by set of images.
    controls
        Of `attribute_controls`.
    margin
        How far below real images accuracy may lie, a proportion.
    testable
        The number of modalities with enough test patients.
    """
    gaps = accuracy_gaps(real=recovered[REAL], synthetic=recovered[SYNTHETIC])
    estimates = {f"{group}_gap": gap for group, gap in gaps.items()}
    primary = list(estimates)[-1]
    outcomes = [compare_to_bound(gap, -margin) for gap in gaps.values()]
    outcome = decide(outcomes, testable=testable)
    for row in by_attribute(recovered):
        if row.images in MEASURE_SUFFIX:
            estimates[f"{row.attribute}_{MEASURE_SUFFIX[row.images]}"] = row.accuracy
    measures = [
        measure(name, estimate, unit="share", encoder="reader")
        for name, estimate in estimates.items()
    ]
    shortfall = finding_shortfall(by_modality(recovered))
    near = modalities_within(margin, shortfall)
    measures.append(measure("modalities_within_margin", near, unit="modalities"))
    return make_claim(
        id="text-aligned",
        statement="images show what their prompts name",
        source=SOURCE,
        rule=RULES["text-aligned"],
        passed=outcome.passed,
        partly=outcome.partly,
        primary=primary,
        detectable=detectable_difference(standard_error(estimates[primary])),
        measures=measures,
        controls=controls,
    )


# Single words.


def drawn_finding_control(drawn: WordEffect) -> Control:
    """Check that a second finding that was drawn into a real phantom is seen."""
    seen = (drawn.difference.ci_low or 0) > LEAST_EFFECT[TWO_FINDINGS]
    value = drawn.difference.value
    return Control("drawn_second_finding", "positive", "above 25 points", value, bool(seen))


def claim_word_by_word(
    effects: Mapping[str, WordEffect],
    drawn: WordEffect | None,
    controls: Sequence[Control],
    margin: float,
    testable: int,
) -> Claim:
    """Judge whether a change of one word is followed.

    The primary measure is the effect of joining a second finding or, where there is none, of "no".

    Parameters
    ----------
    effects
        The effect of each kind of change.
    drawn
        That of drawing a second finding into phantoms; None of other data.
    controls
        Of `attribute_controls`.
    margin
        How far apart a paraphrase may lie, a proportion.
    testable
        The number of modalities with enough test patients.
    """
    outcomes = [
        compare_to_bound(effect.difference, LEAST_EFFECT.get(kind, -margin))
        for kind, effect in effects.items()
    ]
    outcome = decide(outcomes, testable=testable)
    primary = max(effects, key=lambda kind: (kind == TWO_FINDINGS, kind == "negation"))
    estimates = {kind.replace(" ", "_"): effect.difference for kind, effect in effects.items()}
    every_control = list(controls)
    if drawn is not None:
        estimates["two_findings_drawn"] = drawn.difference
        every_control.append(drawn_finding_control(drawn))
    return make_claim(
        id="word-by-word",
        statement="single words are followed, in combinations never trained on, too",
        source=SOURCE,
        rule=RULES["word-by-word"],
        passed=outcome.passed,
        partly=outcome.partly,
        primary=primary.replace(" ", "_"),
        detectable=detectable_difference(standard_error(effects[primary].difference)),
        measures=[
            measure(name, estimate, unit="share", encoder="reader")
            for name, estimate in estimates.items()
        ],
        controls=every_control,
    )


# Realism.


def reader_controls(both_real: Estimate, recovery: pd.DataFrame, studies: int) -> list[Control]:
    """Check the analysis of a reader study, on simulated ones with allowance for their own error.

    Parameters
    ----------
    both_real
        Accuracy in the pairs of two real images, with a 99.9% interval.
    recovery
        Of simulated studies, `value`: the proportion of intervals that cover the planted accuracy;
        `wrong`: of those exactly at the margin, how many have a wrong verdict.
    studies
        How many were simulated for each row.
    """
    room = 3 * (0.95 * 0.05 / studies) ** 0.5  # three standard errors
    least, most = 0.95 - room, 0.05 + room
    coverage = float(recovery["value"].min())
    wrong = float(recovery["wrong"].max()) / studies
    guessing = both_real.ci_low is None or both_real.ci_low <= 0.5 <= (both_real.ci_high or 1.0)
    return [
        Control(
            "planted_skill",
            "positive",
            f"covered in {least:.3f} or more",
            coverage,
            coverage >= least,
        ),
        Control(
            "exactly_at_the_margin",
            "negative",
            f"wrong in {most:.3f} or fewer",
            wrong,
            wrong <= most,
        ),
        Control("both_real", "negative", "50%", both_real.value, bool(guessing)),
    ]


def claim_realistic(
    accuracy: Estimate, equivalence: str, controls: Sequence[Control], *, simulated: bool
) -> Claim:
    """Judge whether readers can tell synthetic images from real ones; simulated readers decide nothing.

    Parameters
    ----------
    accuracy
        Of the readers, in pairs of a real and a synthetic image.
    equivalence
        What two one-sided tests against REALISM_MARGIN found: "equivalent", "told apart" or "undecided".
    controls
        Of `reader_controls`.
    simulated
        Whether the readers are.
    """
    outcome = {"equivalent": True, "told apart": False, "undecided": None}[equivalence]
    name = "accuracy_of_simulated_readers" if simulated else "accuracy"
    return make_claim(
        id="realistic",
        statement="readers cannot tell synthetic images from real ones",
        source=SOURCE,
        rule=RULES["realistic"],
        passed=None if simulated else outcome,
        primary=name,
        detectable=detectable_difference(standard_error(accuracy)),
        measures=[measure(name, accuracy, unit="share")],
        controls=controls,
    )
