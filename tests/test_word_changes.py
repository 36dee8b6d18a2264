"""Pairs of prompts that differ in one word, the effect of the word, and guidance against diversity."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from test_attributes import captioned, planted_classifier

from medisyn_lib.evaluation import guidance_sweep, prompt_pairs, word_changes
from medisyn_lib.evaluation.attributes import AttributeEvaluator
from medisyn_lib.modalities import MODALITIES

CLASSES = [("ct", "normal"), ("ct", "liver_lesion"), ("ct", "renal_mass")]
HEADS = {f"chest_xray\tside\t{side}": np.zeros(2, np.float32) for side in ("left", "right")}


def evaluator(*scores: list[float]) -> AttributeEvaluator:
    return AttributeEvaluator(planted_classifier(CLASSES, torch.tensor(scores)), HEADS)


def test_pairs_of_prompts_by_hand() -> None:
    images = captioned(
        modality=["ct", "ct", "chest_xray"],
        finding=["normal", "liver_lesion", "pneumonia"],
        side=["", "", "left"],
        lesion_size=["", "", "large"],
    )
    pairs = prompt_pairs.prompt_pairs(images, evaluator([0.0] * 3), ["ct", "chest_xray"], 10)
    kinds = pairs.groupby("image")["kind"].agg(list)
    assert kinds.tolist() == [
        ["paraphrase"],
        ["negation", "paraphrase", "two findings"],
        ["negation", "paraphrase", "side"],
    ]
    rows = pairs.set_index(["kind", "image"])
    second = rows.loc[("two findings", 1)]
    name = prompt_pairs.finding_names("ct")["renal_mass"]
    assert second["changed_prompt"] == f"{second['first_prompt']} and {name}"
    assert (second["subject"], second["finding"]) == ("renal_mass", "liver_lesion")
    side = rows.loc[("side", 2)]
    assert side["changed_prompt"] == side["first_prompt"].replace("left", "right")
    assert side["changed_prompt"] != side["first_prompt"] and side["subject"] == "left"
    denied = rows.loc[("negation", 1)]
    assert denied["changed_prompt"] == denied["first_prompt"].replace(", ", ", no ", 1)
    few = prompt_pairs.prompt_pairs(images, evaluator([0.0] * 3), ["ct", "chest_xray"], 1)
    assert few["kind"].value_counts().to_dict() == dict.fromkeys(pairs["kind"].unique(), 1)


def test_findings_that_may_occur_together_are_findings() -> None:
    for modality, together in prompt_pairs.COEXISTING.items():
        assert {*together} < {finding.key for finding in MODALITIES[modality].findings}
        assert prompt_pairs.normal_finding(modality) not in (None, *together)
    names = prompt_pairs.finding_names("ct")
    both = f"{names['liver_lesion']} and {names['renal_mass']}"
    assert prompt_pairs.captions_naming_two([both, names["renal_mass"], "x"]) == 1


def test_a_second_finding_is_preferred_to_all_but_the_first() -> None:
    pairs = pd.DataFrame(
        {"modality": "ct", "finding": "liver_lesion", "subject": "renal_mass"}, index=range(3)
    )
    scores = [[0.0, 9.0, 1.0], [2.0, 9.0, 1.0], [0.0, 1.0, 9.0]]
    seen = word_changes.second_finding_seen(
        evaluator(*scores), np.zeros((3, 8, 8, 3), np.uint8), pairs
    )
    assert seen.tolist() == [True, False, True]


def test_an_effect_is_positive_where_the_word_does_what_it_says() -> None:
    before, after, patients = np.ones(20), np.zeros(20), np.arange(20)
    before[:2] = 0
    for kind, sign in (("side", 1), ("negation", 1), ("two findings", -1), ("paraphrase", -1)):
        found = word_changes.effect(kind, before, after, patients)
        assert found.difference.value == sign * 0.9
        assert (found.before.value, found.after.value) == (0.9, 0.0)


def test_prompts_of_a_sweep_have_two_images_of_other_patients() -> None:
    images = captioned(
        finding=["mass"] * 4 + ["cyst"] * 2, patient_id=["a", "a", "b", "c", "d", "e"]
    )
    prompts = guidance_sweep.sweep_prompts(images, 10)
    assert prompts.rows.tolist() == [0, 1, 2, 3]
    assert prompts.companions.T.tolist() == [[2, 3], [2, 3], [0, 1], [0, 1]]


def test_diversity_of_alike_images_is_less_than_that_of_real_ones() -> None:
    real, patients = np.linspace(1, 2, 20), np.arange(20)
    ratio = guidance_sweep.diversity_ratio(real / 2, real, patients)
    assert ratio.value == 0.5 and ratio.n == 20
    assert guidance_sweep.guidance_scales(2.0) == [1.0, 2.0, 8.0]
