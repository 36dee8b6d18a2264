"""Recovering prompts: the classifier, deranged captions, and the verdict of claim 01 with its controls."""

from __future__ import annotations

from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import pytest

from medisyn_lib.claims.c01_training import claim_one_model
from medisyn_lib.errors import InputError
from medisyn_lib.evaluation import alignment
from medisyn_lib.pipeline import samples
from medisyn_lib.pipeline.samples import resized, sample_prompts
from medisyn_lib.profiles import PROFILES
from medisyn_lib.training import loop
from medisyn_lib.training.classifier import AttributeClassifier, train_classifier


def held_out_images(patients: int = 40, images: int = 3) -> datasets.Dataset:
    rows = []
    for modality in ("ct", "fundus"):
        for patient in range(patients):
            finding = ("normal", "ill")[patient % 2]
            rows += [
                {"modality": modality, "finding": finding, "patient_id": f"{modality}-{patient}"}
            ] * images
    table = pd.DataFrame(rows).assign(split="test", caption="x", identity_known=True, image="x")
    return datasets.Dataset.from_pandas(table)


def classified(
    part: datasets.Dataset, *, modality: float, finding: float, seed: int = 0
) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = part.select_columns(["modality", "finding"]).to_pandas()
    frame["patient"], frame["network"] = part["patient_id"][:], np.arange(len(frame)) % 5
    frame["modality_correct"] = rng.random(len(frame)) < modality
    frame["finding_correct"] = rng.random(len(frame)) < finding
    return frame


def judged(
    synthetic: tuple[float, float], deranged: float = 0.5, real: float = 1.0, untrained: float = 0.5
) -> str:
    part = held_out_images(200, 1)
    tables = {
        "real": classified(part, modality=real, finding=0.95),
        "synthetic": classified(part, modality=synthetic[0], finding=synthetic[1], seed=1),
        "untrained": classified(part, modality=untrained, finding=0.5, seed=2),
        "deranged": classified(part, modality=1.0, finding=deranged, seed=3),
    }
    return claim_one_model(tables, part, PROFILES["quick"]).verdict


def test_changed_settings_make_samples_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def sample(_: object, prompts: list[str], seeds: list[int], **call: float) -> np.ndarray:
        calls.append((seeds, call))
        return np.full((len(prompts), 2, 2, 3), len(calls), np.uint8)

    monkeypatch.setenv("MEDISYN_STORE", str(tmp_path))
    monkeypatch.setattr(samples, "load_pipeline", lambda model: None)
    monkeypatch.setattr(samples, "sample_images", sample)
    plain = sample_prompts("owner/name", ["a", "b"], first_seed=3)
    strong = sample_prompts("owner/name", ["a", "b"], first_seed=3, guidance_scale=8.0)
    assert (sample_prompts("owner/name", ["a", "b"], seeds=[3, 4]) == plain).all()
    assert (sample_prompts("owner/name", ["a", "b"], seeds=[3, 3]) != plain).all()
    assert calls.pop()[0] == [3, 3]
    assert (plain != strong).all()
    assert calls == [([3, 4], {}), ([3, 4], {"guidance_scale": 8.0})]


def test_images_of_another_size_are_brought_to_that_of_the_classifiers() -> None:
    made = np.zeros((2, 8, 8, 3), np.uint8)
    made[0, :4], made[1, ..., 1] = 200, 90
    assert (resized(made, 0) == made).all() and (resized(made, 8) == made).all()
    half = resized(made, 4)
    assert half.shape == (2, 4, 4, 3) and half.dtype == np.uint8
    noise = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), np.uint8)
    assert resized(noise, 8).std() < 20  # every pixel counts: noise of 74 is averaged away
    assert half[0, 0].tolist() == [[200] * 3] * 4 and half[0, 3].max() == 0
    assert (half[1] == [0, 90, 0]).all()


def test_verdict_follows_the_rule() -> None:
    assert judged((1.0, 0.95)) == "reproduced"
    assert judged((0.5, 0.5)) == "not reproduced"
    assert judged((1.0, 0.5)) == "partly"
    assert judged((1.0, 0.81)) == "not testable here"  # the interval straddles the margin


def test_each_control_can_fail() -> None:
    assert judged((1.0, 0.95), deranged=0.0) == "reproduced"
    assert judged((1.0, 0.95), deranged=0.95) == "not testable here"
    assert judged((1.0, 0.95), real=0.6) == "not testable here"
    assert judged((1.0, 0.95), untrained=0.9) == "not testable here"


def test_untrained_networks_are_judged_together() -> None:
    """One network's accidental agreement with prompts, however many images show it, is no failure; that of all is."""
    part = held_out_images(200, 1)
    tables = {
        name: classified(part, modality=1.0, finding=0.95, seed=k)
        for k, name in enumerate(("real", "synthetic"))
    }
    tables["deranged"] = classified(part, modality=1.0, finding=0.5, seed=3)
    for odd, passed in (({2}, True), ({0, 1, 2, 3, 4}, False)):
        blind = classified(part, modality=0.5, finding=0.5, seed=2)
        chosen = blind["network"].isin(odd)
        blind.loc[chosen, "modality_correct"] = (
            np.random.default_rng(1).random(int(chosen.sum())) < 0.75
        )
        claim = claim_one_model({**tables, "untrained": blind}, part, PROFILES["quick"])
        assert {c.name: c.passed for c in claim.controls}["untrained_denoiser"] is passed


def test_few_patients_are_not_testable() -> None:
    part = held_out_images(4, 1)
    tables = dict.fromkeys(
        ("real", "synthetic", "untrained", "deranged"), classified(part, modality=1.0, finding=0.9)
    )
    assert claim_one_model(tables, part, PROFILES["quick"]).verdict == "not testable here"


def test_deranged_captions_come_from_other_patients_of_the_modality() -> None:
    part = held_out_images(7)
    other = alignment.derange(part, seed=4)
    assert sorted(other["patient_id"][:]) == sorted(part["patient_id"][:])
    assert other["modality"][:] == part["modality"][:]
    assert not any(
        a == b for a, b in zip(other["patient_id"][:], part["patient_id"][:], strict=True)
    )


def test_chance_by_hand() -> None:
    frame = pd.DataFrame(
        {"modality": ["ct"] * 4 + ["mri"] * 4, "finding": list("aabb") + list("abbb")}
    )
    assert alignment.chance_accuracy(datasets.Dataset.from_pandas(frame)) == pytest.approx(
        (0.5 + 0.625) / 2
    )


def test_finding_gap_is_paired_and_signed() -> None:
    part = held_out_images(10, 1)
    real, synthetic = (
        classified(part, modality=1, finding=1),
        classified(part, modality=1, finding=1),
    )
    synthetic.loc[:4, "finding_correct"] = False
    tables = {"real": real, "synthetic": synthetic, "untrained": real, "deranged": real}
    claim = claim_one_model(tables, part, PROFILES["quick"])
    measures = {measure.name: measure for measure in claim.measures}
    found, near = measures["finding_gap"], measures["modalities_within_margin"]
    assert (near.value, near.ci_low, near.n) == (1, None, 2)  # all five are of one modality
    assert found.value == pytest.approx(-0.25) and found.ci_high < 0 and found.n == 20


def test_classifier_learns_and_is_loaded_again(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = [("ct", "dark"), ("ct", "bright"), ("fundus", "red")]
    pixels, modality, finding = [], [], []
    for number in range(60):
        name, kind = labels[number % 3]
        image = rng.integers(0, 60, (32, 32, 3), dtype=np.uint8)
        image[8:24, 8:24] += np.array(
            {"dark": (0, 0, 0), "bright": (180, 180, 180), "red": (180, 0, 0)}[kind], np.uint8
        )
        pixels.append(image), modality.append(name), finding.append(kind)
    plan = loop.TrainingPlan(steps=60, batch=16, learning_rate=3e-3)
    train_classifier(np.stack(pixels), modality, finding, plan, tmp_path)
    classifier = AttributeClassifier(tmp_path)
    scores = classifier.scores(np.stack(pixels))
    assert classifier.modality_right(scores, modality).mean() > 0.95
    assert classifier.finding_right(scores, modality, finding).mean() > 0.95
    np.testing.assert_allclose(classifier.scores(np.stack(pixels), batch=7), scores, atol=1e-4)
    with pytest.raises(InputError, match="at least 2 classes"):
        train_classifier(np.stack(pixels), ["ct"] * 60, ["dark"] * 60, plan, tmp_path)


def test_finding_is_classified_within_its_modality() -> None:
    classifier = object.__new__(AttributeClassifier)
    classifier.classes = [("ct", "a"), ("ct", "b"), ("mri", "a")]
    scores = np.array([[0.0, 1.0, 9.0], [2.0, 1.0, 0.0]])
    assert classifier.modality_right(scores, ["ct", "ct"]).tolist() == [False, True]
    assert classifier.finding_right(scores, ["ct", "ct"], ["b", "b"]).tolist() == [True, False]
