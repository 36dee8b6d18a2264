"""Claim 04 over planted inputs: its three rules reach each of their verdicts, and each control can fail."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from test_attributes import captioned, planted_classifier

from medisyn_lib.claims import c04_text_alignment
from medisyn_lib.claims.claim import (
    CONTRADICTED,
    CONTROL_FAILED,
    DEMONSTRATION,
    EXPLORATORY,
    INCONCLUSIVE,
    NEEDS_PEOPLE,
    NOT_RUN,
    PARTLY,
    SUPPORTED,
    VERDICTS,
    Claim,
    Judgement,
)
from medisyn_lib.claims.decisions import replay
from medisyn_lib.evaluation import attributes
from medisyn_lib.evaluation.attributes import AttributeEvaluator
from medisyn_lib.evaluation.word_changes import WordEffect
from medisyn_lib.reader_study import analysis
from medisyn_lib.statistics.estimates import Estimate

STUDIES = 200
# What was recovered from images of two modalities, 200 patients each.
WORDS = {
    "modality": ["ct", "mri"],
    "finding": list("ab"),
    "side": ["left", "right"],
    "lesion_size": ["small", "large"],
}


def failed(claim: Claim) -> list[str]:
    return [control.name for control in claim.controls if not control.passed]


def recovered(accuracy: float, seed: int, **of_attribute: float) -> pd.DataFrame:
    """Rows of `attributes.recover`: a proportion is right, the others are like another patient's."""
    rng, parts = np.random.default_rng(seed), []
    for modality in ("ct", "mri"):
        for name, values in WORDS.items():
            value = np.full(200, modality) if name == "modality" else rng.choice(values, 200)
            other = rng.choice(values, 200)
            part = pd.DataFrame(
                {"attribute": name, "value": value, "recovered": other, "patient": np.arange(200)}
            )
            right = rng.permutation(200) < 200 * of_attribute.get(name, accuracy)
            part["recovered"] = np.where(right, part["value"], part["recovered"])
            patient = modality + part["patient"].astype(str)
            parts.append(part.assign(modality=modality, patient=patient))
    table = pd.concat(parts, ignore_index=True)
    correct = table["recovered"] == table["value"]
    return table.assign(image=np.arange(len(table)), correct=correct)


@cache
def answers_of_guessing_readers(seed: int = 1) -> pd.DataFrame:
    """Answers of six readers who guess, over 400 pairs and 60 pairs of two real images."""
    rng, kinds = np.random.default_rng(seed), ["pair"] * 400 + ["control"] * 60
    rows = [
        (r, i, kind, 0, bool(rng.integers(2))) for r in range(6) for i, kind in enumerate(kinds)
    ]
    return pd.DataFrame(rows, columns=["reader", "item", "kind", "again", "right"])


def tables(**changed: pd.DataFrame) -> dict[str, pd.DataFrame]:
    known = {"real": recovered(0.98, 0), "synthetic": recovered(0.98, 2)}
    deranged = {"deranged captions": recovered(0.0, 3).query("attribute != 'modality'")}
    return known | deranged | {name.replace("_", " "): table for name, table in changed.items()}


def effect(kind: str, difference: Estimate) -> WordEffect:
    nothing = Estimate(None, None, None, difference.n)
    return WordEffect(kind, nothing, nothing, difference)


def near(value: float, half: float = 0.04) -> Estimate:
    return Estimate(value, value - half, value + half, 200)


def recovery(*, coverage: float = 0.94, wrong: float = 5.0) -> pd.DataFrame:
    """What the analysis of simulated studies recovered; the larger error counts, the smaller coverage."""
    return pd.DataFrame({"value": [0.95, coverage], "wrong": [3.0, wrong]})


def replayed(claim: Claim) -> Claim:
    assert replay(claim) == Judgement(claim.verdict, claim.summary, claim.problem)
    return claim


DRAWN = effect("two findings, drawn", Estimate(0.7, 0.6, 0.8, 200))
EFFECTS = {"side": 0.9, "negation": 0.8, "two findings": 0.6, "paraphrase": 0.0}


def aligned(
    found: Mapping[str, pd.DataFrame] | None = None,
    *,
    testable: int = 2,
    evidence: str = EXPLORATORY,
) -> Claim:
    found = tables() if found is None else found
    controls = c04_text_alignment.attribute_controls(found, modalities=2)
    return replayed(c04_text_alignment.claim_text_aligned(found, controls, evidence, testable))


def followed(
    effects: Mapping[str, float] = EFFECTS,
    drawn: WordEffect | None = DRAWN,
    found: Mapping[str, pd.DataFrame] | None = None,
    *,
    testable: int = 2,
    evidence: str = EXPLORATORY,
) -> Claim:
    found = tables() if found is None else found
    controls = c04_text_alignment.attribute_controls(found, modalities=2)
    measured = {kind: effect(kind, near(value)) for kind, value in effects.items()}
    return replayed(
        c04_text_alignment.claim_word_by_word(measured, drawn, controls, evidence, testable)
    )


def realistic(
    accuracy: Estimate | None = None,
    skill: pd.DataFrame | None = None,
    answered: pd.DataFrame | None = None,
    *,
    simulated: bool = False,
    evidence: str = EXPLORATORY,
) -> Claim:
    answered = answers_of_guessing_readers() if answered is None else answered
    if accuracy is None:
        accuracy = analysis.accuracy(analysis.grid(answered, "right", "pair"), 0.90)
    both_real = analysis.accuracy(analysis.grid(answered, "right", "control"), 0.999)
    skill = recovery() if skill is None else skill
    controls = c04_text_alignment.reader_controls(both_real, skill, STUDIES)
    return replayed(
        c04_text_alignment.claim_realistic(
            accuracy, controls, simulated=simulated, evidence=evidence
        )
    )


def test_controls_pass_where_words_are_followed() -> None:
    made = [aligned(), followed(), realistic()]
    assert [claim.verdict for claim in made] == [SUPPORTED] * 3
    assert [claim.problem for claim in made] == [None] * 3
    assert sum(len(claim.controls) for claim in made) == 4 + 5 + 3


# Attributes.


@pytest.mark.parametrize(
    ("synthetic", "verdict"),
    [
        (recovered(0.98, 2), SUPPORTED),
        (recovered(0.70, 2), CONTRADICTED),
        (recovered(0.98, 2, lesion_size=0.74), PARTLY),  # the side is kept, the size falls short
        (recovered(0.89, 2), INCONCLUSIVE),
    ],
)
def test_aligned_follows_the_rule(synthetic: pd.DataFrame, verdict: str) -> None:
    claim = aligned(tables(synthetic=synthetic))
    assert (claim.verdict, claim.problem) == (verdict, None)


def test_an_attribute_that_surely_falls_short_is_not_made_up_for_by_another() -> None:
    real = recovered(0.98, 0, side=0.7)
    synthetic = recovered(0.98, 2, side=0.98, lesion_size=0.74)
    claim = aligned(tables(real=real, synthetic=synthetic))
    assert claim.primary_measure.above(-0.05) and claim.verdict == PARTLY
    assert claim.summary.endswith("; by more than the 5 points allowed for lesion size.")


def test_captions_that_name_no_attribute_leave_nothing_to_run() -> None:
    found = {
        name: table[table["attribute"].isin(["modality", "finding"])]
        for name, table in tables().items()
    }
    claim = aligned(found)
    assert (claim.verdict, claim.problem, claim.detectable) == (None, NOT_RUN, None)
    assert claim.summary == "The captions of these data name no side, size, count or grade."


def test_better_recovered_attributes_never_give_a_worse_verdict() -> None:
    ranks = [
        VERDICTS.index(
            aligned(tables(synthetic=recovered(rate, 2, lesion_size=size))).verdict or ""
        )
        for rate, size in ((0.6, 0.6), (0.89, 0.7), (0.98, 0.74), (0.98, 0.98))
    ]
    assert ranks == sorted(ranks, reverse=True)


def test_the_summary_of_attributes_says_the_gap() -> None:
    claim = aligned(tables(synthetic=recovered(0.70, 2)))
    points = f"{-100 * (claim.primary_measure.value or 0):.1f}"
    assert points.startswith("1")
    assert claim.summary == (
        f"Side, size, count and grade are recovered {points} points less often (11.4 to 16.6) than from "
        "real images of the same captions; by more than the 5 points allowed for side and lesion size."
    )


# Single words.


def effects(side: float, negation: float, two: float, paraphrase: float) -> dict[str, float]:
    return dict(zip(EFFECTS, (side, negation, two, paraphrase), strict=True))


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (effects(0.9, 0.8, 0.6, 0.0), SUPPORTED),
        (effects(0.1, 0.1, 0.0, -0.2), CONTRADICTED),
        (effects(0.9, 0.1, 0.6, 0.0), PARTLY),
        (effects(0.9, 0.5, 0.6, 0.0), PARTLY),
        (effects(0.9, 0.8, 0.6, -0.2), PARTLY),  # a paraphrase changes what is seen
        (effects(0.1, 0.1, 0.0, 0.0), CONTRADICTED),  # deaf to every word, and to paraphrases
        (effects(0.1, 0.5, 0.0, 0.0), INCONCLUSIVE),
    ],
)
def test_words_follow_the_rule(found: dict[str, float], verdict: str) -> None:
    claim = followed(found)
    assert (claim.verdict, claim.problem) == (verdict, None)


def test_the_summary_of_words_names_what_is_followed() -> None:
    assert followed(effects(0.9, 0.1, 0.25, 0.0)).summary == (
        "Of 3 kinds of changed words, followed: side; not followed: negation."
    )
    assert followed().summary.endswith("negation and two findings; not followed: none.")
    drifting = followed(effects(0.9, 0.8, 0.6, -0.2))
    assert drifting.summary.endswith("; a paraphrase may change the image.")


def test_a_word_more_that_is_followed_never_gives_a_worse_verdict() -> None:
    order = [CONTRADICTED, INCONCLUSIVE, PARTLY, SUPPORTED]
    for side in (0.1, 0.5, 0.9):
        verdicts = [followed(effects(side, more, 0.0, 0.0)).verdict for more in (0.1, 0.5, 0.9)]
        ranks = [order.index(verdict or "") for verdict in verdicts]
        assert ranks == sorted(ranks)


def test_without_phantoms_no_second_finding_is_drawn() -> None:
    only = {"negation": 0.8, "paraphrase": 0.0}
    claim = followed(only, drawn=None)
    assert claim.primary == "effect_of_negation" and claim.verdict == SUPPORTED
    assert "drawn_second_finding" not in {control.name for control in claim.controls}


# Realism.


@pytest.mark.parametrize(
    ("accuracy", "verdict"),
    [
        (near(0.5), SUPPORTED),
        (near(0.75), CONTRADICTED),
        (near(0.25), CONTRADICTED),  # who is always wrong does not guess
        (near(0.6), INCONCLUSIVE),
        (near(0.5, 0.2), INCONCLUSIVE),
        (Estimate(0.5, None, None, 2), INCONCLUSIVE),
    ],
)
def test_realism_follows_the_rule(accuracy: Estimate, verdict: str) -> None:
    claim = realistic(accuracy)
    assert (claim.verdict, claim.problem) == (verdict, None)
    assert claim.summary == (
        f"Readers named the synthetic image in {accuracy.value:.0%} of pairs, where guessing names 50%."
    )


def test_realism_is_the_two_one_sided_tests_of_the_analysis() -> None:
    verdict_of = {
        "equivalent": SUPPORTED,
        "told apart": CONTRADICTED,
        "undecided": INCONCLUSIVE,
    }
    rng = np.random.default_rng(5)
    found = set()
    for skill in (0.2, 0.5, 0.6, 0.8):
        right = rng.permuted(np.tile(np.arange(300.0) < 300 * skill, (6, 1)), axis=1)
        said = analysis.equivalence(right, c04_text_alignment.REALISM_MARGIN)
        assert realistic(analysis.accuracy(right, 0.90)).verdict == verdict_of[said]
        found.add(said)
    assert found == {*verdict_of}


def test_what_readers_could_have_detected_by_hand() -> None:
    """Of a 90% interval, half its width is 1.645 standard errors: 2.8016 of them are seen with power 0.8."""
    claim = realistic(Estimate(0.5, 0.5 - 1.6449 * 0.03, 0.5 + 1.6449 * 0.03, 400))
    assert claim.detectable == pytest.approx(2.8016 * 0.03, rel=1e-3)


def test_simulated_readers_decide_nothing() -> None:
    claim = realistic(simulated=True)
    assert (claim.verdict, claim.problem, failed(claim)) == (None, NEEDS_PEOPLE, [])
    assert "has not been asked" in claim.summary


# Controls.


def always_right_in_the_control() -> pd.DataFrame:
    table = answers_of_guessing_readers()
    return table.assign(right=table["right"] | (table["kind"] == "control"))


NOT_SEEN = effect("two findings, drawn", Estimate(0.2, 0.1, 0.3, 200))
BLIND_TO_REAL = {"found": tables(real=recovered(0.3, 5))}


@pytest.mark.parametrize(
    ("broken", "control"),
    [
        ({"found": tables(deranged_captions=recovered(0.5, 4))}, "deranged_captions"),
        (BLIND_TO_REAL, "real_finding"),
        (BLIND_TO_REAL, "real_modality"),
        (BLIND_TO_REAL, "real_named"),
    ],
)
def test_a_broken_control_of_attributes_leaves_no_verdict(
    broken: dict[str, Any], control: str
) -> None:
    for claim in (aligned(**broken), followed(**broken)):
        assert control in failed(claim)
        assert (claim.verdict, claim.problem) == (None, CONTROL_FAILED)


def test_a_second_finding_that_is_not_seen_where_drawn_leaves_no_verdict() -> None:
    claim = followed(drawn=NOT_SEEN)
    assert failed(claim) == ["drawn_second_finding"]
    assert (claim.verdict, claim.problem) == (None, CONTROL_FAILED)


@pytest.mark.parametrize("simulated", [False, True])
@pytest.mark.parametrize(
    ("broken", "control"),
    [
        ({"skill": recovery(coverage=0.85)}, "planted_skill"),
        ({"skill": recovery(wrong=30)}, "exactly_at_the_margin"),
        ({"answered": always_right_in_the_control()}, "both_real"),
    ],
)
def test_a_broken_control_of_readers_leaves_no_verdict(
    broken: dict[str, Any], control: str, simulated: bool
) -> None:
    claim = realistic(**broken, simulated=simulated)
    assert failed(claim) == [control]
    assert (claim.verdict, claim.problem) == (None, CONTROL_FAILED)


def test_an_encoder_that_sees_nothing_leaves_no_verdict() -> None:
    """Features and scores that do not depend on the image: whatever the caption, the same is recovered."""
    classes = [("ct", "a"), ("ct", "b"), ("mri", "a"), ("mri", "b")]
    heads = {
        f"{modality}\tside\t{side}": np.zeros(13, np.float32)
        for modality in ("ct", "mri")
        for side in ("left", "right")
    }
    evaluator = AttributeEvaluator(planted_classifier(classes, torch.zeros(400, 4)), heads)
    rng, n = np.random.default_rng(0), 400
    side = rng.choice(["left", "right"], n).tolist()
    images = captioned(
        modality=["ct", "mri"] * (n // 2),
        finding=rng.choice(list("ab"), n).tolist(),
        side=side,
        caption=side,
    )
    requested = attributes.labels(images)
    blind = attributes.recover(evaluator, np.zeros((n, 8, 8, 3), np.uint8), requested)
    assert blind.groupby("attribute")["recovered"].nunique().tolist() == [1, 1, 1]
    deranged = blind.query("attribute != 'modality'")
    found = {"real": blind, "synthetic": blind, "deranged captions": deranged}
    for claim in (aligned(found), followed(found=found)):
        assert failed(claim) == ["real_modality", "real_finding", "real_named"]
        assert (claim.verdict, claim.problem) == (None, CONTROL_FAILED)


def test_modalities_with_few_patients_decide_nothing() -> None:
    for claim in (aligned(testable=0), followed(testable=0)):
        assert (claim.verdict, claim.problem) == (INCONCLUSIVE, None)


def test_a_demonstration_has_no_verdict() -> None:
    for claim in (
        aligned(evidence=DEMONSTRATION),
        followed(evidence=DEMONSTRATION),
        realistic(evidence=DEMONSTRATION),
    ):
        assert (claim.verdict, claim.problem) == (None, None)
