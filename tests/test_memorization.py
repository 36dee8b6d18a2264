"""Copies: the joint threshold keeps its rate, the tests of a set are exact, planted copies are seen, nulls are not."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from scipy.stats import fisher_exact

from medisyn_lib.errors import InputError
from medisyn_lib.evaluation.memorization import detectors, images, set_tests
from medisyn_lib.evaluation.memorization.closest_matches import (
    GALLERY,
    closest_pairs,
    flagged_by_subgroup,
    matched_patients,
    nearest_gallery,
)
from medisyn_lib.evaluation.memorization.closest_record import balanced_pool
from medisyn_lib.evaluation.memorization.conformal import (
    flag_copies,
    joint_p_values,
    single_detector_thresholds,
)
from medisyn_lib.evaluation.memorization.detectors import Detector, Matches, match
from medisyn_lib.evaluation.memorization.images import (
    JudgedImages,
    RealImages,
    rows_of_modalities,
)
from medisyn_lib.evaluation.memorization.membership import (
    denoising_losses,
    membership_inference,
)
from medisyn_lib.evaluation.memorization.overfitting import copier
from medisyn_lib.evaluation.memorization.planted_copies import DISTORTIONS, distort
from medisyn_lib.evaluation.memorization.set_tests import SetTests, detection_power
from medisyn_lib.evaluation.memorization.window_descriptors import centre_window, query_windows
from medisyn_lib.models import networks
from medisyn_lib.phantoms import draw
from medisyn_lib.pipeline.artifacts import ImageSet, Pixels
from medisyn_lib.pipeline.index import Index
from medisyn_lib.pipeline.judged import JudgedGenerator, judged_generator
from medisyn_lib.pipeline.overfitted import (
    OVERFITTED_IMAGES,
    overfitted_generator,
    overfitted_rows,
    small_overfitted_denoiser,
)
from medisyn_lib.pipeline.samples import sample_prompts
from medisyn_lib.pipeline.study import Study
from medisyn_lib.training.denoiser import FlowMatching


def ratios(rng: np.random.Generator, n: int, n_detectors: int = 3) -> np.ndarray:
    """Ratios of images that copy nothing, correlated over detectors as views of one image are."""
    shared, own = rng.normal(size=(n, 1)), rng.normal(size=(n, n_detectors))
    return 1 / (1 + np.exp(-(shared + own + 2)))


def test_distortions_change_what_they_say() -> None:
    image = draw("dermoscopy", seed=1, index=0, size=64)[0][None]
    made = {kind: distort(image, kind, seed=3) for kind in DISTORTIONS}
    assert set(made) == {"flip", "crop", "brightness", "noise", "jpeg"}
    assert all(copy.shape == image.shape and copy.dtype == np.uint8 for copy in made.values())
    assert (made["flip"] == image[:, :, ::-1]).all()
    buffer = io.BytesIO()
    Image.fromarray(image[0]).save(buffer, "JPEG", quality=50)
    assert (made["jpeg"][0] == np.asarray(Image.open(buffer))).all()
    error = {
        kind: np.sqrt(np.mean((copy.astype(float) - image) ** 2)) for kind, copy in made.items()
    }
    assert 6 < error["noise"] < 8.5 and 0 < error["jpeg"] < 20
    assert abs(made["brightness"].mean() / image.mean() - 1) == pytest.approx(0.2, abs=0.03)
    assert (distort(image, "noise", seed=3) == made["noise"]).all()
    assert (distort(image, "noise", seed=4) != made["noise"]).any()


def test_crops_lie_anywhere() -> None:
    """Of 32 rows, each 8 brighter than the one above, 29 are kept: some crops hold the first, some the last."""
    image = np.broadcast_to(np.arange(32, dtype=np.uint8)[:, None, None] * 8, (32, 32, 3))
    made = distort(np.stack([image] * 40), "crop", seed=0)[:, :, 0, 0]
    assert (
        made[:, 0].min() <= 1
        and made[:, -1].max() >= 247
        and (made[:, -1] - made[:, 0].astype(int)).max() < 230
    )


def test_joint_p_values_by_hand() -> None:
    """Of four calibration images; the query's own place among them counts."""
    calibration = np.array([[0.9, 0.8], [0.8, 0.9], [0.7, 0.7], [0.6, 0.6]])
    found = joint_p_values(np.array([[0.5, 1.0], [0.95, 0.95], [0.65, 0.65]]), calibration)
    # Ranks of the first: 1 and 5, so 1; in its presence the fourth image has ranks 2 and 1: as odd. 2 of 5.
    assert found.tolist() == pytest.approx([2 / 5, 1.0, 2 / 5])
    one = joint_p_values(np.array([[0.5], [0.65]]), calibration[:, :1])
    assert one.tolist() == pytest.approx([1 / 5, 2 / 5])


@pytest.mark.parametrize("n_detectors", [1, 3])
def test_three_detectors_do_not_triple_the_alarms(n_detectors: int) -> None:
    rng, alarms = np.random.default_rng(1), []
    for _ in range(40):
        p = joint_p_values(ratios(rng, 100, n_detectors), ratios(rng, 200, n_detectors))
        alarms.append((p <= 0.05).mean())
    assert np.mean(alarms) <= 0.05 + 3 * np.std(alarms) / 40**0.5
    assert np.mean(alarms) > 0.02


def test_a_detector_that_sees_nothing_does_no_harm() -> None:
    rng = np.random.default_rng(2)
    calibration, queries = (
        ratios(rng, 300, 1),
        np.concatenate([ratios(rng, 50, 1), np.full((20, 1), 0.01)]),
    )
    constant = [np.concatenate([part, np.ones_like(part)], 1) for part in (queries, calibration)]
    assert joint_p_values(*constant).tolist() == joint_p_values(queries, calibration).tolist()
    assert (joint_p_values(np.ones((5, 3)), np.ones((100, 3))) == 1).all()


def test_a_threshold_is_the_largest_ratio_that_a_detector_flags_alone() -> None:
    rng = np.random.default_rng(7)
    calibration = ratios(rng, 1000)
    thresholds = single_detector_thresholds(calibration)
    assert thresholds.shape == (3,) and (thresholds > 0).all()
    for place, threshold in enumerate(thresholds):
        alone = np.full((2, 3), np.inf)
        alone[:, place] = (
            threshold,
            np.sort(calibration[calibration[:, place] > threshold, place])[0],
        )
        assert flag_copies(alone, calibration).tolist() == [True, False]
    assert np.isnan(single_detector_thresholds(calibration[:50])).all()  # too few for 1%


def test_the_rule_on_a_set_is_fishers_test() -> None:
    rng = np.random.default_rng(3)
    real, synthetic = ratios(rng, 40), ratios(rng, 60) + 1
    tests = set_tests.set_tests(real=real, synthetic=synthetic, flagged_real=1, flagged_synthetic=9)
    expected = fisher_exact([[9, 51], [1, 39]], alternative="greater").pvalue
    assert tests.flagged_p == pytest.approx(expected)
    assert (tests.exceedances, tests.exceedance_p) == (0, 1.0)


def test_exceedances_by_hand() -> None:
    """Two of three synthetic images below both real ones: 3/5 times 2/4 for one detector, twice that for two."""
    real, synthetic = np.array([[0.5], [0.6]]), np.array([[0.1], [0.2], [0.9]])
    none_flagged = {"flagged_real": 0, "flagged_synthetic": 0}
    one = set_tests.set_tests(real=real, synthetic=synthetic, **none_flagged)
    assert one[1:] == (0.3, 2)
    real, synthetic = (np.concatenate([part, np.ones_like(part)], 1) for part in (real, synthetic))
    two = set_tests.set_tests(real=real, synthetic=synthetic, **none_flagged)
    assert two[1:] == (0.6, 2)


def test_a_set_breaks_the_rule_at_half_the_level_for_each_test() -> None:
    assert SetTests(0.025, 1.0, 0).broken and SetTests(1.0, 0.025, 9).broken
    assert not SetTests(0.03, 0.03, 9).broken


def rule_broken(rng: np.random.Generator, n_copies: int) -> bool:
    calibration, real, synthetic = ratios(rng, 1000), ratios(rng, 300), ratios(rng, 300)
    synthetic[:n_copies, 0] = rng.uniform(0, 0.01, n_copies)
    return set_tests.flag_and_test(real=real, synthetic=synthetic, calibration=calibration).broken


def test_the_rule_holds_its_level_and_sees_copies() -> None:
    """At most 5% of clean sets break it, and nearly all sets of which a twentieth are copies."""
    rng = np.random.default_rng(4)
    assert sum(rule_broken(rng, 0) for _ in range(60)) <= 7  # P(more than 7 | 5%) = 1%
    assert sum(rule_broken(rng, 15) for _ in range(20)) >= 18


def test_power_grows_with_the_contamination() -> None:
    rng = np.random.default_rng(5)
    sides = {"real": ratios(rng, 300), "calibration": ratios(rng, 1000), "copies": ratios(rng, 100)}
    sides["copies"][:, 1] = 0.001
    power = [
        detection_power(**sides, contamination=fraction, n=300, replicates=40).value
        for fraction in (0, 0.01, 0.1)
    ]
    assert power[0] <= 0.15 and power[2] == 1 and power[0] <= power[1] <= 1
    blind = sides | {"copies": sides["real"]}
    assert detection_power(**blind, contamination=0.1, n=300, replicates=40).value <= 0.15


def test_power_asks_the_rule_about_sets_of_the_stated_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of 40 images each is a copy with chance 0.1; a smallest p of 0.02 breaks the rule, whose two tests share 5%."""
    asked = []

    def rule(*, real: np.ndarray, synthetic: np.ndarray, **flagged: int) -> SetTests:
        asked.append((len(real), synthetic[:, 0].tolist().count(0.5), len(synthetic)))
        return SetTests(0.02, 1.0, 0)

    monkeypatch.setattr(set_tests, "set_tests", rule)
    sides = {
        "real": np.full((30, 1), 0.9),
        "calibration": np.full((200, 1), 0.9),
        "copies": np.full((9, 1), 0.5),
    }
    assert detection_power(**sides, contamination=0.1, n=40, replicates=5).value == 1
    assert {n for *_, n in asked} == {40} and 0 < max(copies for _, copies, _ in asked) <= 12


def table(n: int) -> datasets.Dataset:
    rows = {
        "patient_id": [f"p{i // 2}" for i in range(n)],
        "modality": ["ct"] * (n // 2) + ["mri"] * (n - n // 2),
    }
    return datasets.Dataset.from_dict(
        rows | {"finding": [str(i % 3) for i in range(n)], "image": list(range(n))}
    )


def test_the_overfitted_see_other_patients_and_all_findings() -> None:
    training = table(400)
    rows = overfitted_rows(training)
    chosen = training.select(rows)
    assert len(rows) == len(set(chosen["patient_id"])) == OVERFITTED_IMAGES == 64
    assert (
        pd.Series([*zip(chosen["modality"], chosen["finding"], strict=True)]).value_counts().min()
        >= 10
    )


def test_a_small_training_set_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageSet, "load", lambda self: table(20))
    with pytest.raises(InputError, match="training set of phantom: 20 images, 64 are needed"):
        images.training_images(judged_generator(Study("tiny", "phantom")))


def test_a_generator_made_elsewhere_is_held_against_all_train_images(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []
    monkeypatch.setattr(
        images.sources,
        "load",
        lambda source, split, size: asked.append((source, split)) or table(80),
    )
    monkeypatch.setattr(ImageSet, "load", lambda self: table(70))
    study = Study("tiny", "npz:somewhere")
    trained, given = judged_generator(study), judged_generator(study, "model")
    assert len(images.training_images(trained)) == 70
    assert len(images.training_images(given)) == 80 and asked == [("npz:somewhere", "train")]


def test_an_encoder_without_weights_is_refused() -> None:
    with pytest.raises(InputError, match="encoder timm:none@nowhere"):
        detectors.photograph_encoder("timm:none@nowhere")(np.zeros((2, 32, 32, 3), np.uint8))


def index_of(pixels: np.ndarray, describe: Callable[[np.ndarray], np.ndarray]) -> Index:
    """An index of images that lie in memory, uint8 (n, h, w, 3)."""
    shown = datasets.Dataset.from_dict({"image": [Image.fromarray(image) for image in pixels]})
    return Index(
        Pixels(pixels).key(),
        None,
        images=shown.cast_column("image", datasets.Image()),
        describe=describe,
        describe_code=(),
    )


def test_planted_copies_are_matched_and_others_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images to matches through the store; a subset of the index is another question."""
    monkeypatch.setenv("MEDISYN_STORE", str(tmp_path))
    pixels = np.stack([draw("histopathology", seed=2, index=3 * i, size=32)[0] for i in range(230)])
    detector = Detector("pixels", index_of(pixels[:210], centre_window), query_windows)
    copies = match([detector], distort(pixels[:5], "jpeg", seed=0))
    assert copies.row[:, 0].tolist() == list(range(5)) and copies.ratio.max() < 0.5
    assert match([detector], pixels[210:]).ratio.min() > 0.6
    without = match([detector], pixels[:5], np.arange(5, 210))
    assert without.ratio.min() > 0.5 and without.row.min() >= 5  # rows are those of the whole index


def pictures(shades: list[int], modality: list[str]) -> datasets.Dataset:
    """Images of one grey each, one per patient."""
    shown = [Image.fromarray(np.full((4, 4, 3), shade, np.uint8)) for shade in shades]
    names = [f"p{i}" for i in range(len(shades))]
    columns = {"image": shown, "modality": modality, "patient_id": names}
    return datasets.Dataset.from_dict(columns).cast_column("image", datasets.Image())


def test_the_most_suspicious_detector_says_what_is_matched() -> None:
    """Of two images the second is closer; its threshold makes the second detector the more suspicious one."""
    training = pictures([10, 20, 30], ["ct", "ct", "mri"])
    pixels = np.stack([np.full((4, 4, 3), shade, np.uint8) for shade in (1, 2)])
    matches = Matches(np.array([[0.6, 0.9], [0.3, 0.1]]), np.array([[0, 1], [0, 2]]))
    thresholds = np.array([np.nan, 0.5])
    pairs = closest_pairs(pixels, matches, thresholds, training)
    assert pairs.images[:, 0, 0, 0].tolist() == [2, 1]
    assert pairs.training[:, 0, 0, 0].tolist() == [30, 10]
    patients = matched_patients(np.array([False, True]), matches, thresholds, training)
    assert (patients.proportion.value, patients.proportion.n, patients.most) == (1 / 3, 3, 1)
    assert patients.by_modality.loc["mri"].tolist() == [1, 1]
    nobody = matched_patients(np.array([False, False]), matches, thresholds, training)
    assert (nobody.proportion.value, nobody.most) == (0, 0)


def test_the_gallery_shows_flagged_images_first_then_the_nearest() -> None:
    training = pictures([10, 20, 30], ["ct", "ct", "mri"])
    training = training.add_column("image_id", ["a", "b", "c"])
    pixels = np.stack([np.full((4, 4, 3), shade, np.uint8) for shade in (1, 2, 3)])
    names = np.array(["x.png", "y.png", "z.png"])
    judged = JudgedImages(True, pixels, np.array(["ct"] * 3), np.zeros(3, bool), names)
    matches = Matches(
        np.array([[0.6, 0.9], [0.3, 0.4], [0.5, 0.1]]), np.array([[0, 1], [0, 2], [1, 2]])
    )
    thresholds, looks = np.array([np.nan, 0.5]), [Detector(name, None, None) for name in "pe"]
    flagged = np.array([True, False, False])
    found = nearest_gallery(judged, matches, flagged, thresholds, looks, training)
    assert found.table.to_dict("list") == {
        "image": ["x.png", "z.png", "y.png"],
        "modality": ["ct", "mri", "ct"],
        "flagged": [True, False, False],
        "ratio": [0.6, 0.1, 0.3],
        "detector": ["p", "e", "p"],
        "training_image": ["a", "c", "a"],
    }
    assert found.pairs.images[:, 0, 0, 0].tolist() == [1, 3, 2]
    assert found.pairs.training[:, 0, 0, 0].tolist() == [10, 30, 10]
    many = Matches(*(np.tile(part, (40, 1)) for part in matches))
    parts = (pixels, judged.modality, judged.of_training_caption, judged.name)
    repeated = JudgedImages(True, *(np.repeat(part, 40, 0) for part in parts))
    gallery = nearest_gallery(repeated, many, np.tile(flagged, 40), thresholds, looks, training)
    assert len(gallery.table) == len(gallery.pairs.images) == GALLERY


def test_subgroups_are_those_of_the_nearest_training_image() -> None:
    """Of 60 images 20 are flagged, all of women; the site is stated, too, but of no second group with 20 patients."""
    training = pictures(list(range(60)), ["ct"] * 60)
    training = training.add_column("sex", ["f"] * 30 + ["m"] * 30)
    training = training.add_column("site", ["north"] * 10 + ["south"] * 50)
    matches = Matches(np.full((60, 1), 0.5), np.arange(60)[:, None])
    flagged = np.arange(60) < 20
    found = flagged_by_subgroup(matches, flagged, np.array([0.5]), training)
    assert found.stated == ["sex", "site"]
    assert [(one.column, one.group, one.patients) for one in found.rows] == [
        ("sex", "f", 30),
        ("sex", "m", 30),
    ]
    assert [one.estimate.value for one in found.rows] == [20 / 30, 0]


def test_the_copier_of_an_audit_needs_nothing_that_is_trained_but_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A denoiser of 64 images, and the pipeline that samples with it; the shipped autoencoder, untrained words."""
    monkeypatch.setenv("MEDISYN_STORE", str(tmp_path))
    study = Study("tiny", "phantom")
    rows = overfitted_rows(study.images("generator"))
    denoiser = small_overfitted_denoiser(study, study.image_set("generator"), rows)
    made = overfitted_generator(study, denoiser).folder
    steps = {path.name.partition("-")[0] for path in tmp_path.iterdir()}
    assert not steps & {"denoiser"}, steps
    cost = denoiser.compute()
    assert cost["steps"] == study.settings.memorization.overfit_steps and cost["flops"] > 0
    shown = sample_prompts(made, study.images("generator")["caption"][:2], side=64)
    assert shown.shape == (2, 64, 64, 3) and shown.std() > 1


@pytest.mark.parametrize(("name", "kind"), [("trained", "denoiser"), ("flagship", "untrained")])
def test_what_copies_starts_from_the_generalist_only_where_that_is_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, kind: str
) -> None:
    monkeypatch.setenv("MEDISYN_STORE", str(tmp_path))
    assert copier(JudgedGenerator(Study("tiny", "phantom"), name), np.arange(4)).base.step == kind


def test_the_pool_of_records_is_balanced_by_modality() -> None:
    training = pictures([1, 2, 3, 4], ["ct", "ct", "ct", "mri"])
    held_out = pictures([5, 6, 7], ["ct", "mri", "mri"])
    real = RealImages(training, training, held_out)
    pool = balanced_pool(real, np.random.default_rng(0))
    assert [training[int(row)]["modality"] for row in pool.training] == ["ct", "mri"]
    assert [held_out[int(row)]["modality"] for row in pool.held_out] == ["ct", "mri"]


def test_losses_of_membership_are_those_of_training() -> None:
    class Halves(torch.nn.Module):
        """Stands in for a denoiser."""

        def forward(self, mixed: torch.Tensor, time: object, text: object, **_: bool) -> tuple:
            return (mixed / 2,)

    rng = torch.Generator().manual_seed(0)
    latents, noise = (torch.randn(3, 4, 2, 2, generator=rng) for _ in range(2))
    text = torch.zeros(3, 1, 1)
    each = denoising_losses(Halves(), networks.scheduler(), latents, text, noise)
    trained = [
        FlowMatching(Halves())(latents, noise, torch.full((3,), time), text).item()
        for time in (0.3, 0.5, 0.7)
    ]
    assert each.shape == (3,) and each.mean() == pytest.approx(np.mean(trained), rel=1e-6)


def test_membership_is_told_by_smaller_losses_and_only_where_n_allows() -> None:
    rng = np.random.default_rng(6)
    area, rates = membership_inference(rng.normal(0, 1, 150), rng.normal(2, 1, 150))
    assert area.value == pytest.approx(0.92, abs=0.04) and area.ci_low < area.value < area.ci_high
    assert set(rates) == {0.1} and rates[0.1].value > 0.6
    null, many = membership_inference(rng.normal(size=300), rng.normal(size=1000))
    assert null.ci_low < 0.5 < null.ci_high and set(many) == {0.01, 0.05, 0.1}
    assert many[0.05].ci_low <= 0.05 <= many[0.05].ci_high


def test_rows_of_requested_modalities_are_spread_evenly() -> None:
    modality = np.array(["ct"] * 5 + ["mri"] * 3)
    rows = rows_of_modalities(np.array(["mri", "ct", "ct", "ct", "mri"]), modality)
    assert rows.tolist() == [5, 0, 2, 4, 7]
    with pytest.raises(InputError, match="modality x_ray: no training image is of it"):
        rows_of_modalities(np.array(["x_ray"]), modality)
