"""Claim 04 over planted inputs: all controls pass where they should, and each one can fail."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from test_attributes import captioned, planted_classifier

from medisyn_lib.claims import c04_text_alignment
from medisyn_lib.claims.claim import NOT_TESTABLE, Claim
from medisyn_lib.evaluation import attributes
from medisyn_lib.evaluation.attributes import AttributeEvaluator
from medisyn_lib.evaluation.word_changes import WordEffect
from medisyn_lib.reader_study import analysis
from medisyn_lib.statistics.estimates import Estimate

MARGIN, STUDIES = 0.05, 200
# What was recovered from images of two modalities, 200 patients each.
WORDS = {"modality": ["ct", "mri"], "finding": list("ab"), "side": ["left", "right"]}


def failed(claim: Claim) -> list[str]:
    return [control.name for control in claim.controls if not control.passed]


def recovered(accuracy: float, seed: int) -> pd.DataFrame:
    """Rows of `attributes.recover`, a proportion of them right, the others like another patient's."""
    rng, parts = np.random.default_rng(seed), []
    for modality in ("ct", "mri"):
        for name, values in WORDS.items():
            value = np.full(200, modality) if name == "modality" else rng.choice(values, 200)
            other = rng.choice(values, 200)
            part = pd.DataFrame(
                {"attribute": name, "value": value, "recovered": other, "patient": np.arange(200)}
            )
            right = rng.random(200) < accuracy
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


def recovery(*, coverage: float = 0.94, wrong: float = 5.0) -> pd.DataFrame:
    """What the analysis of simulated studies recovered; the larger error counts, the smaller coverage."""
    return pd.DataFrame({"value": [0.95, coverage], "wrong": [3.0, wrong]})


DRAWN = effect("two findings, drawn", Estimate(0.7, 0.6, 0.8, 200))
EFFECTS = {"side": 0.9, "negation": 0.8, "two findings": 0.6, "paraphrase": 0.0}


def claims(
    found: dict[str, pd.DataFrame] | None = None,
    drawn: WordEffect = DRAWN,
    skill: pd.DataFrame | None = None,
    answered: pd.DataFrame | None = None,
    simulated: bool = False,
) -> dict[str, Claim]:
    """The three claims; arguments replace what was planted."""
    found = tables(**{"real, first stage": recovered(0.98, 1)}) if found is None else found
    skill = recovery() if skill is None else skill
    answered = answers_of_guessing_readers() if answered is None else answered
    effects = {
        kind: effect(kind, Estimate(value, value - 0.04, value + 0.04, 200))
        for kind, value in EFFECTS.items()
    }
    controls = c04_text_alignment.attribute_controls(found, modalities=2)
    correct = analysis.grid(answered, "right", "pair")
    both_real = analysis.accuracy(analysis.grid(answered, "right", "control"), 0.999)
    return {
        "aligned": c04_text_alignment.claim_text_aligned(found, controls, MARGIN, testable=2),
        "followed": c04_text_alignment.claim_word_by_word(
            effects, drawn, controls, MARGIN, testable=2
        ),
        "realistic": c04_text_alignment.claim_realistic(
            analysis.accuracy(correct),
            analysis.equivalence(correct, c04_text_alignment.REALISM_MARGIN),
            c04_text_alignment.reader_controls(both_real, skill, STUDIES),
            simulated=simulated,
        ),
    }


def test_controls_pass_where_words_are_followed() -> None:
    found = claims()
    assert {name: claim.verdict for name, claim in found.items()} == dict.fromkeys(
        found, "reproduced"
    )
    assert sum(len(claim.controls) for claim in found.values()) == 4 + 5 + 3


def always_right_in_the_control() -> pd.DataFrame:
    table = answers_of_guessing_readers()
    return table.assign(right=table["right"] | (table["kind"] == "control"))


@pytest.mark.parametrize(
    ("broken", "control", "voided"),
    [
        (
            {"found": tables(deranged_captions=recovered(0.5, 4))},
            "deranged_captions",
            {"aligned", "followed"},
        ),
        ({"found": tables(real=recovered(0.3, 5))}, "real_finding", {"aligned", "followed"}),
        ({"found": tables(real=recovered(0.3, 5))}, "real_modality", {"aligned", "followed"}),
        ({"found": tables(real=recovered(0.3, 5))}, "real_named", {"aligned", "followed"}),
        (
            {"drawn": effect("two findings, drawn", Estimate(0.2, 0.1, 0.3, 200))},
            "drawn_second_finding",
            {"followed"},
        ),
        ({"skill": recovery(coverage=0.85)}, "planted_skill", {"realistic"}),
        ({"skill": recovery(wrong=30)}, "exactly_at_the_margin", {"realistic"}),
        ({"answered": always_right_in_the_control()}, "both_real", {"realistic"}),
    ],
)
def test_a_broken_control_voids_what_rests_on_it(
    broken: dict[str, Any], control: str, voided: set[str]
) -> None:
    found = claims(**broken)
    assert {name for name, claim in found.items() if control in failed(claim)} == voided
    assert {name for name, claim in found.items() if claim.verdict == NOT_TESTABLE} == voided


def test_an_encoder_that_sees_nothing_voids_the_verdict() -> None:
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
    found = claims({"real": blind, "synthetic": blind, "deranged captions": deranged})
    for name in ("aligned", "followed"):
        assert failed(found[name]) == ["real_modality", "real_finding", "real_named"], found[name]
        assert found[name].verdict == NOT_TESTABLE


def test_simulated_readers_decide_nothing() -> None:
    found = claims(simulated=True)
    assert found["realistic"].verdict == NOT_TESTABLE and not failed(found["realistic"])


@pytest.mark.parametrize(
    ("outcomes", "testable", "expected"),
    [
        ([True, True], 1, (True, True)),
        ([False, False], 1, (False, False)),
        ([True, False, None], 1, (False, True)),
        ([True, None], 1, (None, True)),
        ([True, True], 0, (None, True)),
        ([], 1, (None, False)),
    ],
)
def test_decisions_of_several_bounds(
    outcomes: list[bool | None], testable: int, expected: tuple[bool | None, bool]
) -> None:
    assert c04_text_alignment.decide(outcomes, testable=testable) == expected
