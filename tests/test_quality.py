"""Claim 02: images paired by prompt and seed, the frozen pilot, and controls that fail when broken."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import datasets
import numpy as np
import pytest

from medisyn_lib.claims import c02_quality, pilot
from medisyn_lib.claims.claim import Claim
from medisyn_lib.claims.pilot import PILOT, Pilot, load_pilot, primary_measure
from medisyn_lib.data.pixels import load_pixels
from medisyn_lib.errors import InputError
from medisyn_lib.evaluation.comparison import (
    EQUAL_EXPOSURE,
    OWN_BEST_BUDGET,
    Budget,
    Comparison,
    mean_effect,
)
from medisyn_lib.evaluation.fidelity import frechet_distance, kernel_distance
from medisyn_lib.models import encoders
from medisyn_lib.models.encoders import FeatureSet
from medisyn_lib.pipeline import paired_samples
from medisyn_lib.pipeline.arms import ArmKey
from medisyn_lib.pipeline.features import cached_features
from medisyn_lib.pipeline.paired_samples import (
    SEEDS_APART,
    evaluation_splits,
    rows_of,
    sample_modalities,
)
from medisyn_lib.pipeline.study import Study
from medisyn_lib.pipeline.suite import compared_modalities
from medisyn_lib.statistics.estimates import Estimate
from medisyn_lib.statistics.noninferiority import Contrast


@pytest.fixture(scope="module")
def asked() -> datasets.Dataset:
    (split,) = evaluation_splits(Study("tiny", "phantom"))
    return split


def test_evaluation_splits_are_the_test_images_by_modality(asked: datasets.Dataset) -> None:
    quick = Study("quick", "phantom")
    assert (
        evaluation_splits(quick)[0]["image_id"][:] == quick.images("test")["image_id"][:]
    )  # notebook 01's samples serve
    assert rows_of(asked, "fundus").tolist() == list(range(48, 60))
    assert rows_of(asked, "fundus", 2).tolist() == [48, 49]


def test_a_missing_modality_and_its_specialist_are_refused(asked: datasets.Dataset) -> None:
    with pytest.raises(
        InputError, match=r"modality 'x_ray': no held-out image; choose among .*'fundus'"
    ):
        rows_of(asked, "x_ray")
    with pytest.raises(InputError, match="specialist for 'x_ray': the data have no such images"):
        Study("tiny", "phantom").denoiser("x_ray").ensure()


def test_modalities_with_too_few_patients_count_only_where_all_have() -> None:
    specialists = ["ct", "fundus", "x_ray"]
    assert compared_modalities(specialists, {"fundus": "", "ct": "2 test patients"}) == ["fundus"]
    few = {"fundus": "1 test patient", "ct": "2 test patients"}
    assert compared_modalities(specialists, few) == ["ct", "fundus"]


def test_each_seed_has_other_images_where_there_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    table = datasets.Dataset.from_dict(
        {"modality": ["a", "b"] * 5 + ["b"] * 2, "image_id": list(range(12))}
    )
    monkeypatch.setattr(
        paired_samples.sources,
        "load",
        lambda *_, **how: table if how["per_modality"] == 6 else None,
    )
    study = Study("gpu", "phantom")  # three seeds
    splits = [list(split["image_id"]) for split in evaluation_splits(study, n=2)]
    # Five images of a: the third split begins anew. Seven of b.
    assert splits == [[0, 2, 1, 3], [4, 6, 5, 7], [0, 8, 9, 10]]


def test_a_rows_place_is_its_seed(asked: datasets.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    def sample(model: str, prompts: list[str], *, seeds: list[int], side: int) -> np.ndarray | None:
        words = [sum(map(ord, prompt)) for prompt in prompts]
        return np.stack([words, seeds], 1) if side == 64 else None

    monkeypatch.setattr(paired_samples, "sample_prompts", sample)
    names = ["histopathology", "fundus"]
    own = sample_modalities("g", asked, names, 2, 5)
    alone = {name: sample_modalities("g", asked, [name], 2, 5)[name] for name in names}
    assert list(own) == names and all((alone[name] == own[name]).all() for name in names)
    assert own["fundus"][:, 1].tolist() == [2 * SEEDS_APART + 48 + k for k in range(5)]


def test_features_are_cached_and_know_their_encoder(
    asked: datasets.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = load_pixels(asked, [0, 1, 48])
    found = cached_features(pixels)
    assert found.encoder == "efflite0" and found.values == pytest.approx(
        encoders.features(pixels).values, abs=1e-5
    )
    monkeypatch.setattr(encoders, "features", None)
    assert (cached_features(pixels).values == found.values).all()


def test_the_pilot_is_read_by_profile_and_data(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from safetensors.numpy import save_file

    axes = np.linalg.qr(np.random.default_rng(0).normal(size=(16, 2)))[0].astype(np.float32)
    run = {"primary": "FD_pc", "margins": {"ct": 0.1}}
    (tmp_path / "pilot.json").write_text(json.dumps({"runs": {"tiny-phantom": run}}))
    save_file({"tiny-phantom": np.ascontiguousarray(axes)}, tmp_path / "pilot.safetensors")
    monkeypatch.setattr(pilot, "PILOT", tmp_path / "pilot.json")
    assert load_pilot(Study("quick", "phantom")) == Pilot()
    frozen = load_pilot(Study("tiny", "phantom"))
    assert frozen.margins == {"ct": 0.1} and (frozen.axes == axes).all()
    a, b = np.random.default_rng(1).normal(size=(2, 40, 16))
    within = frechet_distance(real=a @ axes, synthetic=b @ axes)
    assert primary_measure(frozen)(real=a, synthetic=b) == pytest.approx(within)
    assert primary_measure(Pilot()) is kernel_distance


def test_the_frozen_margins_are_a_fifth_of_what_was_surely_seen() -> None:
    runs = json.loads(PILOT.read_text())["runs"]
    assert runs
    for run in runs.values():
        assert run["primary"] in ("KID", "FD_pc") and run["encoder"] == "efflite0"
        for name, margin in run["margins"].items():
            low = run["effects"][name][1]
            assert margin == (None if low is None or low <= 0 else pytest.approx(low / 5, abs=1e-4))


# Claim 02: simulated features of three modalities, further from the real ones the worse the arm.
NAMES = ("a", "b", "c")
AWAY = {
    "real": 0.0,
    "other patients": 0.0,
    "blurred": 1.5,
    "generalist": 1.0,
    "specialist": 1.0,
    "half the steps": 1.3,
}
PILOT_MARGINS = Pilot(margins=dict.fromkeys(NAMES, 0.6))


def simulated_comparison(n: int = 300, seeds: int = 1, **away: float) -> Comparison:
    """Simulated features of every arm, some of them moved."""
    rng = np.random.default_rng(0)
    arms = AWAY | {name.replace("_", " "): value for name, value in away.items()}
    features = {
        ArmKey(arm, name, number): FeatureSet(rng.normal(size=(n, 16)) + shift, "simulated")
        for arm, shift in arms.items()
        for name in NAMES
        for number in range(seeds)
    }
    patients = {(name, number): np.arange(n) // 3 for name in NAMES for number in range(seeds)}
    return Comparison(NAMES, features, patients, kernel_distance)


def claim_at(budget: Budget, comparison: Comparison) -> Claim:
    """The claim of one budget, controls included."""
    outcome = c02_quality.decide_budgets(comparison, PILOT_MARGINS.margins)[budget]
    controls = c02_quality.quality_controls(comparison)
    return c02_quality.budget_claim(budget, outcome, PILOT_MARGINS, controls)


def test_02_reproduces_equality_and_sees_a_worse_generalist() -> None:
    assert claim_at(EQUAL_EXPOSURE, simulated_comparison()).verdict == "reproduced"
    worse = claim_at(EQUAL_EXPOSURE, simulated_comparison(generalist=1.5, half_the_steps=1.9))
    assert worse.verdict == "not reproduced" and worse.measures[0].ci_low > 0.6
    small = claim_at(EQUAL_EXPOSURE, simulated_comparison(n=30))
    assert small.verdict == "not testable here" and small.detectable > 0.05


@pytest.mark.parametrize(
    "broken, control",
    [
        ({"half_the_steps": 1.0}, "half_the_steps"),
        ({"blurred": 0.0}, "blur"),
        ({"other_patients": 0.5}, "real_against_real"),
    ],
)
def test_02_a_broken_control_voids_the_verdict(broken: dict[str, float], control: str) -> None:
    claim = claim_at(EQUAL_EXPOSURE, simulated_comparison(**broken))
    assert [c.name for c in claim.controls if not c.passed] == [control]
    assert claim.verdict == "not testable here"


def test_02_a_budget_without_specialists_is_not_testable() -> None:
    comparison = simulated_comparison()
    claim = claim_at(OWN_BEST_BUDGET, comparison)
    assert (
        claim.verdict == "not testable here" and claim.measures[0].n == 0 and claim.id == "own-best"
    )
    outcomes = c02_quality.decide_budgets(comparison, PILOT_MARGINS.margins)
    claims = c02_quality.quality_claims(outcomes, PILOT_MARGINS, claim.controls)
    assert c02_quality.tested(outcomes, claims) == ["equal-exposure"]


def test_02_an_encoder_that_sees_nothing_voids_the_verdict() -> None:
    """Constant features: no distance anywhere, so neither half the steps nor blur is seen."""
    comparison = simulated_comparison()
    blind = {
        key: FeatureSet(np.ones_like(rows.values), rows.encoder)
        for key, rows in comparison.features.items()
    }
    claim = claim_at(EQUAL_EXPOSURE, replace(comparison, features=blind))
    assert claim.verdict == "not testable here" and not any(c.passed for c in claim.controls)
    assert claim.measures[0].value is None and claim.detectable is None


def test_02_the_mean_effect_holds_the_spread_over_seeds() -> None:
    rows = {name: Contrast([0.1, 0.2, 0.3], 1e-12, 19, 50) for name in "ab"}
    one = mean_effect(rows)
    assert one.value == pytest.approx(0.2) and one.n == 100
    assert one.ci_high - one.value == pytest.approx(
        4.303 * 0.1 / 3**0.5, rel=1e-3
    )  # t of 2 degrees of freedom
    assert mean_effect({}) == Estimate(None, None, None, 0)
