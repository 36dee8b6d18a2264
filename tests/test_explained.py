"""What notebooks show before they measure: patients recognised, lost detail, guidance, a copy found, a toy."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import datasets
import numpy as np
import pytest
from PIL import Image
from test_memorization import index_of

from medisyn_lib.evaluation import guidance_sweep
from medisyn_lib.evaluation.guidance_toy import MEANS, SPREAD, guided_samples
from medisyn_lib.evaluation.memorization.detectors import Detector, match
from medisyn_lib.evaluation.memorization.images import RealImages
from medisyn_lib.evaluation.memorization.window_descriptors import centre_window, query_windows
from medisyn_lib.evaluation.memorization.worked_example import work_examples
from medisyn_lib.evaluation.patient_leakage import (
    coin_accuracy,
    split_neighbours,
    toss_coins,
)
from medisyn_lib.evaluation.reconstruction import lost_detail
from medisyn_lib.evaluation.utility.toy_classifiers import ARMS, toy_curves
from medisyn_lib.phantoms import draw


def table(pixels: np.ndarray, **columns: list[str]) -> datasets.Dataset:
    """Images that lie in memory, uint8 (n, h, w, 3), with columns."""
    shown = {"image": [Image.fromarray(image) for image in pixels], **columns}
    return datasets.Dataset.from_dict(shown).cast_column("image", datasets.Image())


def shades(*values: int) -> np.ndarray:
    """Images of one shade each."""
    return np.stack([np.full((16, 16, 3), value, np.uint8) for value in values])


def test_neighbours_of_either_split_by_hand() -> None:
    images = table(
        shades(10, 12, 90, 13, 50, 200),
        modality=["ct", "ct", "ct", "ct", "ct", "fundus"],
        patient_id=["a", "a", "a", "b", "c", "d"],
    )
    found = split_neighbours(images)
    assert list(found) == ["ct"], "nobody is there to be mistaken for in the other"
    ct = found["ct"]
    assert ct.image.tolist() == [0, 1, 2, 3, 4]
    assert ct.by_image.tolist() == [1, 3, 4, 1, 3]
    assert ct.by_patient.tolist() == [3, 3, 4, 1, 3]
    assert ct.recognised.tolist() == [True, False, False, False, False]


def test_a_coin_is_guessed_where_patients_are_recognised_and_not_where_they_are_split() -> None:
    rng = np.random.default_rng(0)
    patients = [f"p{number}" for number in range(60) for _ in range(3)]
    own = rng.integers(0, 256, (60, 16, 16, 3)).repeat(3, 0)
    pixels = (own + rng.integers(-3, 4, own.shape)).clip(0, 255).astype(np.uint8)
    images = table(pixels, modality=["ct"] * 180, patient_id=patients)
    found = split_neighbours(images)["ct"]
    accuracy = coin_accuracy(images, found)
    assert found.recognised.all() and accuracy["split by image"].value == 1
    by_patient = accuracy["split by patient"]
    assert by_patient.ci_low < 0.5 < by_patient.ci_high and by_patient.n == 180
    coins = toss_coins(np.array(patients))
    assert (coins.reshape(60, 3) == coins[::3, None]).all() and 0.3 < coins.mean() < 0.7


def test_blur_loses_the_finest_detail_and_an_exact_copy_none() -> None:
    images = np.stack([draw("fundus", seed=5, index=number)[0] for number in range(6)])
    modality = np.array(["fundus"] * 3 + ["ct"] * 3)
    assert (lost_detail(real=images, decoded=images, modality=modality)["lost"] == 0).all()
    flat = np.full_like(images, 90)
    gone = lost_detail(real=images, decoded=flat, modality=modality)
    assert gone["lost"].to_numpy() == pytest.approx(1), "all of it is wrong, and nothing is new"
    shrunk = images.reshape(6, 32, 2, 32, 2, 3).mean((2, 4)).repeat(2, 1).repeat(2, 2)
    soft = lost_detail(real=images, decoded=shrunk.astype(np.uint8), modality=modality)
    by_modality = soft.pivot(index="fineness", columns="modality", values="lost")
    assert list(by_modality.columns) == ["ct", "fundus"] and len(by_modality) == 8
    assert (by_modality.iloc[0] < 0.05).all() and (by_modality.iloc[-1] > 0.5).all()
    assert 0 < by_modality.index[0] < 10 and 90 < by_modality.index[-1] < 100


def test_samples_of_the_toy_without_guidance_have_the_findings_distribution() -> None:
    alone, both = guided_samples(1), guided_samples(0)
    assert (alone.mean(), alone.std()) == pytest.approx((MEANS[1], SPREAD), abs=0.02)
    assert both.mean() == pytest.approx(0, abs=1e-6)
    assert both.std() == pytest.approx(np.hypot(1, SPREAD), abs=0.03)


def test_guidance_drives_samples_away_from_the_other_finding_and_makes_them_alike() -> None:
    scales = (1, 2, 4, 8)
    means, spreads = zip(*((x.mean(), x.std()) for x in map(guided_samples, scales)), strict=True)
    assert list(means) == sorted(means) and list(spreads) == sorted(spreads, reverse=True)
    # What notebook 04 says of its exercise.
    four = guided_samples(4)
    assert four.mean() == pytest.approx(2, abs=0.05) and (four > 0).all()
    assert (guided_samples(1) < 0).mean() == pytest.approx(0.08, abs=0.01)


def test_example_images_are_those_that_the_sweep_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[list[str], float]] = []

    def sample(model: str, prompts: list[str], *, guidance_scale: float, **_: Any) -> np.ndarray:
        asked.append((prompts, guidance_scale))
        return np.arange(len(prompts), dtype=np.uint8)[:, None, None, None] + np.zeros(
            (1, 4, 4, 3), np.uint8
        )

    monkeypatch.setattr(guidance_sweep, "sample_prompts", sample)
    rows = 4
    held_out = datasets.Dataset.from_dict(
        {
            "modality": ["ct"] * rows + ["fundus"] * rows,
            "finding": ["mass"] * rows + ["drusen"] * rows,
            "patient_id": [str(number) for number in range(2 * rows)],
            "caption": [f"caption {number}" for number in range(2 * rows)],
        }
    )
    settings = SimpleNamespace(
        size=4, guidance=3.0, alignment=SimpleNamespace(guidance_prompts=2 * rows)
    )
    generator: Any = SimpleNamespace(
        model="m", guidance=None, study=SimpleNamespace(settings=settings)
    )
    prompts, images = guidance_sweep.example_images(generator, held_out)
    assert prompts == ["caption 0", "caption 4"] and list(images) == [1, 2, 3, 8]
    shown = [image[:, :, 0, 0, 0].tolist() for image in images.values()]
    assert shown == [[[0, 8], [4, 12]]] * 4
    assert all(len(texts) == guidance_sweep.IMAGES_PER_PROMPT * 2 * rows for texts, _ in asked)


@pytest.mark.parametrize("distortion", ["crop", "flip", "noise"])
def test_a_worked_example_keeps_what_a_match_says(
    distortion: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv("MEDISYN_STORE", str(tmp_path))
    pixels = np.stack([draw("chest_xray", seed=3, index=3 * number)[0] for number in range(41)])
    detector = Detector("pixels", index_of(pixels[:40], centre_window), query_windows)
    real = RealImages(table(pixels[:40]), table(pixels[40:]), table(pixels[40:]))
    examples = work_examples(detector, real, distortion)
    held_out, copy = examples.values()
    assert list(examples) == ["held out", f"copy: {distortion}"]
    assert copy.row[0] == 20 and len(copy.row) == len(copy.distance) == 2
    assert copy.relative[0] < 0.5 < held_out.relative[0] <= copy.relative[-1] == 1
    both = match([detector], np.stack([held_out.pixels, copy.pixels]))
    assert both.ratio[:, 0] == pytest.approx([held_out.relative[0], copy.relative[0]])
    assert both.row[:, 0].tolist() == [held_out.row[0], copy.row[0]]


def test_a_perfect_generator_is_worth_as_many_real_images() -> None:
    curves = toy_curves(sizes=(20, 40)).pivot(index="n", columns="arm", values="auroc")
    alone, perfect, _, made_of_these = (curves[arm] for arm in ARMS)
    assert perfect[20] == pytest.approx(alone[40], abs=0.01)
    assert (made_of_these < alone).all()


def test_a_generator_that_errs_helps_few_images_and_harms_many() -> None:
    """As the notebook says: between 80 and 160 real images, or at about 320."""
    gains = {}
    for angle, sizes in ((45, (10, 80, 160)), (30, (160, 640)), (180, (10, 160))):
        curves = toy_curves(angle=angle, sizes=sizes)
        found = curves.pivot(index="n", columns="arm", values="auroc")
        gains[angle] = found[ARMS[2]] - found[ARMS[0]]
        if angle == 180:
            assert found[ARMS[2]].to_numpy() == pytest.approx(0.5, abs=0.02)
    assert gains[45][10] > 0.02 and gains[45][80] > 0 > gains[45][160]
    assert gains[30][160] > 0 > gains[30][640]
