"""Claim 04: images are realistic, and show what their prompts name.

Three claims with a rule each. Two are about words, judged by classifiers; realism is a question to
people, and decided only where the readers of a study are people.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from medisyn_lib.claims.claim import (
    CONTRADICTED,
    INCONCLUSIVE,
    NEEDS_PEOPLE,
    NOT_RUN,
    PARTLY,
    SUPPORTED,
    TESTABLE,
    Claim,
    Control,
    Judgement,
    Measures,
    count,
    make_claim,
    measure,
    untestable,
)
from medisyn_lib.claims.rules import rule
from medisyn_lib.claims.words import how_often, listed
from medisyn_lib.evaluation.attribute_accuracy import (
    AUTOENCODED,
    DERANGED,
    GROUPS,
    REAL,
    SYNTHETIC,
    accuracy_gaps,
    by_attribute,
    chance_accuracy,
    gaps_by_attribute,
    in_group,
)
from medisyn_lib.evaluation.word_changes import TWO_FINDINGS, WordEffect
from medisyn_lib.statistics.estimates import Estimate
from medisyn_lib.statistics.intervals import cluster_proportion
from medisyn_lib.statistics.power import detectable_difference, standard_error

if TYPE_CHECKING:
    import pandas as pd

ALIGNED, WORDS, REALISTIC = rule("text-aligned"), rule("word-by-word"), rule("realistic")
SOURCE = "arXiv 2405.09806 v7, abstract; protocol our own"
GAP, GAP_OF = "attributes_gap", "gap_of_"  # of all attributes together, and of each
SIMULTANEOUS = "share, simultaneous 95%"
WORD = "effect_of_"  # and the kind of change: its measure
PARAPHRASE = "paraphrase"
DRAWN = "second_finding_drawn"
REALISM_MARGIN = REALISTIC.thresholds["margin"]
ACCURACY, OF_SIMULATED = "accuracy", "accuracy_of_simulated_readers"
CONTROL_LEVEL = 0.999
# What sets of images are called in the names of measures; others are not listed.
MEASURE_SUFFIX = {REAL: "real", AUTOENCODED: "autoencoded", SYNTHETIC: "synthetic"}


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


def decide_aligned(measures: Measures) -> Judgement:
    """Apply the rule on side, size, count and grade."""
    if GAP not in measures:
        said = "The captions of these data name no side, size, count or grade."
        return Judgement(None, said, NOT_RUN)
    margin, gap = ALIGNED.thresholds["margin"], measures[GAP]
    of_each = {
        name.removeprefix(GAP_OF): one for name, one in measures.items() if name.startswith(GAP_OF)
    }
    short = [name for name, one in of_each.items() if one.below(-margin)]
    kept = [name for name, one in of_each.items() if one.above(-margin)]
    if untestable(measures):
        verdict = INCONCLUSIVE
    elif gap.above(-margin) and not short:
        verdict = SUPPORTED
    elif gap.below(-margin):
        verdict = CONTRADICTED
    elif 2 * len(kept) >= len(of_each):
        verdict = PARTLY
    else:
        verdict = INCONCLUSIVE
    said = (
        "Side, size, count and grade are recovered "
        f"{how_often(gap)} than from real images of the same captions"
    )
    if short:
        said += f"; by more than the {100 * margin:.0f} points allowed for {listed(short)}"
    return Judgement(verdict, said + ".")


def claim_text_aligned(
    recovered: Mapping[str, pd.DataFrame],
    controls: Sequence[Control],
    evidence: str,
    testable: int,
) -> Claim:
    """Judge whether synthetic images show side, size, count and grade as surely as real ones.

    Parameters
    ----------
    recovered
        Tables of `attributes.recover` by set of images.
    controls
        Of `attribute_controls`.
    evidence
        As of `Claim`.
    testable
        The number of modalities with enough test patients; with none nothing is decided.
    """
    pair = {"real": recovered[REAL], "synthetic": recovered[SYNTHETIC]}
    measures = []
    gap = accuracy_gaps(**pair).get("named")
    if gap is not None:
        measures.append(measure(GAP, gap, unit="share", encoder="cnn"))
        measures += [
            measure(GAP_OF + name, one, unit=SIMULTANEOUS, encoder="cnn")
            for name, one in gaps_by_attribute(**pair).items()
        ]
    for row in by_attribute(recovered):
        if row.images in MEASURE_SUFFIX:
            name = f"{row.attribute}_recovered_{MEASURE_SUFFIX[row.images]}"
            measures.append(measure(name, row.accuracy, unit="share", encoder="cnn"))
    measures.append(count(TESTABLE, testable))
    return make_claim(
        ALIGNED,
        decide_aligned,
        id=ALIGNED.id,
        source=SOURCE,
        evidence=evidence,
        primary=measures[0].name,
        detectable=None if gap is None else detectable_difference(standard_error(gap)),
        measures=measures,
        controls=controls,
    )


# Single words.


def least_effect(kind: str) -> float:
    """Return the difference that a kind of change must make to count as followed."""
    limits = WORDS.thresholds
    if kind in ("side", "negation"):
        return limits["word"]
    return limits["second"] if kind == TWO_FINDINGS.replace(" ", "_") else -limits["margin"]


def drawn_finding_control(drawn: WordEffect) -> Control:
    """Check that a second finding that was drawn into a real phantom is seen."""
    least = WORDS.thresholds["second"]
    seen = (drawn.difference.ci_low or 0) > least
    expected = f"above {100 * least:.0f} points"
    return Control("drawn_second_finding", "positive", expected, drawn.difference.value, bool(seen))


def decide_words(measures: Measures) -> Judgement:
    """Apply the rule on single words; that a paraphrase changes nothing is no word followed."""
    effects = {
        name.removeprefix(WORD): one for name, one in measures.items() if name.startswith(WORD)
    }
    paraphrase = effects.pop(PARAPHRASE, None)
    steady = paraphrase is None or paraphrase.above(least_effect(PARAPHRASE))
    followed = [kind for kind, one in effects.items() if one.above(least_effect(kind))]
    ignored = [kind for kind, one in effects.items() if one.below(least_effect(kind))]
    if untestable(measures):
        verdict = INCONCLUSIVE
    elif followed and len(followed) == len(effects) and steady:
        verdict = SUPPORTED
    elif ignored and len(ignored) == len(effects):
        verdict = CONTRADICTED
    else:
        verdict = PARTLY if followed else INCONCLUSIVE
    said = f"Of {len(effects)} kinds of changed words, followed: {listed(followed)}"
    said += f"; not followed: {listed(ignored)}"
    if not steady:
        said += "; a paraphrase may change the image"
    return Judgement(verdict, said + ".")


def claim_word_by_word(
    effects: Mapping[str, WordEffect],
    drawn: WordEffect | None,
    controls: Sequence[Control],
    evidence: str,
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
    evidence
        As of `Claim`.
    testable
        The number of modalities with enough test patients; with none nothing is decided.
    """
    primary = max(effects, key=lambda kind: (kind == TWO_FINDINGS, kind == "negation"))
    measures = [
        measure(
            WORD + kind.replace(" ", "_"),
            effect.difference,
            unit="share",
            encoder="cnn",
        )
        for kind, effect in effects.items()
    ]
    measures.append(count(TESTABLE, testable))
    every_control = list(controls)
    if drawn is not None:
        measures.append(measure(DRAWN, drawn.difference, unit="share", encoder="cnn"))
        every_control.append(drawn_finding_control(drawn))
    return make_claim(
        WORDS,
        decide_words,
        id=WORDS.id,
        source=SOURCE,
        evidence=evidence,
        primary=WORD + primary.replace(" ", "_"),
        detectable=detectable_difference(standard_error(effects[primary].difference)),
        measures=measures,
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


def decide_realistic(measures: Measures) -> Judgement:
    """Apply the rule on readers' accuracy; simulated readers leave no verdict."""
    if OF_SIMULATED in measures:
        said = "Whether physicians can tell the images apart has not been asked; readers here are simulated."
        return Judgement(None, said, NEEDS_PEOPLE)
    accuracy, margin = measures[ACCURACY], REALISM_MARGIN
    if accuracy.above(0.5 - margin) and accuracy.below(0.5 + margin):
        verdict = SUPPORTED
    elif accuracy.above(0.5 + margin) or accuracy.below(0.5 - margin):
        verdict = CONTRADICTED
    else:
        verdict = INCONCLUSIVE
    said = f"Readers named the synthetic image in {accuracy.value or 0:.0%} of pairs, where guessing names 50%."
    return Judgement(verdict, said)


def claim_realistic(
    accuracy: Estimate, controls: Sequence[Control], *, simulated: bool, evidence: str
) -> Claim:
    """Judge whether readers can tell synthetic images from real ones; simulated readers decide nothing.

    Parameters
    ----------
    accuracy
        Of the readers, in pairs of a real and a synthetic image, with its 90% interval.
    controls
        Of `reader_controls`.
    simulated
        Whether the readers are.
    evidence
        As of `Claim`.
    """
    name = OF_SIMULATED if simulated else ACCURACY
    return make_claim(
        REALISTIC,
        decide_realistic,
        id=REALISTIC.id,
        source=SOURCE,
        evidence=evidence,
        primary=name,
        detectable=detectable_difference(standard_error(accuracy, 0.90)),
        measures=[measure(name, accuracy, unit="share, 90% interval")],
        controls=controls,
    )
