"""The ten phantoms: one contract for all, and what is true of the five grey-scale ones one by one."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from medisyn_lib.modalities import MODALITIES, caption
from medisyn_lib.phantoms import IMAGES_PER_PATIENT, draw, draw_patient
from medisyn_lib.phantoms.drawing import paint, posed_grid, speckle, texture

EVERY = pytest.mark.parametrize("modality", MODALITIES)
CLASSES = [(m.key, f.key) for m in MODALITIES.values() for f in m.findings]
SIDED = [
    ("chest_xray", "pneumonia"),
    ("chest_xray", "pleural_effusion"),
    ("ct", "renal_mass"),
    ("brain_mri", "tumour"),
]
SIZED = [
    *SIDED,
    ("breast_ultrasound", "benign"),
    ("breast_ultrasound", "malignant"),
    ("ct", "liver_lesion"),
]


def change(modality: str, finding: str, index: int) -> tuple[np.ndarray, dict]:
    """What a finding alone changes in an image, without sign (64, 64), and the factors of that image."""
    sick, factors = draw(modality, seed=5, index=index, finding=finding)
    well, _ = draw(modality, seed=5, index=index, finding="normal")
    return np.abs(sick[:, :, 0].astype(float) - well[:, :, 0].astype(float)), factors


@EVERY
def test_same_seed_and_index_give_the_same_image(modality):
    first, factors = draw(modality, seed=3, index=4)
    again, factors_again = draw(modality, seed=3, index=4)
    assert np.array_equal(first, again)
    assert factors == factors_again
    assert first.dtype == np.uint8
    assert first.std() > 10


@EVERY
def test_factors_do_not_depend_on_the_size(modality):
    drawn = {size: draw(modality, seed=3, index=7, size=size) for size in (32, 64, 128, 256)}
    for size, (image, factors) in drawn.items():
        assert image.shape == (size, size, 3)
        assert factors == drawn[64][1]
    halved = drawn[128][0].astype(float).reshape(64, 2, 64, 2, 3).mean((1, 3))
    assert (
        np.corrcoef(halved.ravel(), drawn[64][0].ravel())[0, 1] > 0.6
    )  # the same scene, other noise


@EVERY
def test_patients_differ_and_their_images_share_the_patient(modality):
    one, another = draw(modality, seed=3, index=0), draw(modality, seed=3, index=1)
    stranger = draw(modality, seed=3, index=IMAGES_PER_PATIENT)
    finding = one[1]["finding"]
    own = draw_patient(modality, np.random.default_rng(0), finding).keys() - {"finding"}
    assert own
    assert one[1]["patient_id"] == another[1]["patient_id"] != stranger[1]["patient_id"]
    assert all(one[1][name] == another[1][name] for name in own)
    assert any(one[1][name] != stranger[1].get(name) for name in own)
    assert not np.array_equal(one[0], another[0])
    assert not np.array_equal(one[0], stranger[0])


@pytest.mark.parametrize(("modality", "finding"), CLASSES)
def test_every_finding_has_what_its_phrases_name(modality, finding):
    phrases = next(f.phrases for f in MODALITIES[modality].findings if f.key == finding)
    named = set(re.findall(r"{(\w+)}", " ".join(phrases)))
    for index in (0, 3, 6):
        _, factors = draw(modality, seed=1, index=index, size=32, finding=finding)
        assert factors["finding"] == finding
        assert all(type(v) in (str, int, float, bool) for v in factors.values())
        assert json.loads(json.dumps(factors)) == factors
        allowed = {
            "side": ("left", "right"),
            "lesion_size": ("small", "large"),
            "count": range(1, 11),
            "grade": range(5),
        }
        assert all(factors[name] in allowed[name] for name in named)
        text = caption(modality, finding, factors)
        assert "{" not in text
        assert all(
            str(factors[name]) in text
            for name in named & {"side", "lesion_size"}
            if f"{{{name}}}" in phrases[0]
        )


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        ({"size": 16}, "16"),
        ({"size": 512}, "512"),
        ({"modality": "x"}, "'x'"),
        ({"finding": "flu"}, "'flu'"),
    ],
)
def test_bad_input_is_named(bad, named):
    given = {"modality": "ct", "seed": 0, "index": 0, **bad}
    with pytest.raises(ValueError, match=named):
        draw(**given)


@pytest.mark.parametrize(("modality", "finding"), SIDED)
def test_a_lesion_lies_on_its_side_in_radiological_convention(modality, finding):
    sides = set()
    for index in range(0, 30, 3):
        difference, factors = change(modality, finding, index)
        at_right = difference[:, 32:].sum() > difference[:, :32].sum()
        assert at_right == (factors["side"] == "left")  # the patient's left is at image right
        sides.add(factors["side"])
    assert len(sides) == 2


@pytest.mark.parametrize(("modality", "finding"), SIZED)
def test_large_lesions_change_more_of_the_image(modality, finding):
    area: dict[str, list[float]] = {"small": [], "large": []}
    for index in range(0, 60, 3):
        difference, factors = change(modality, finding, index)
        area[factors["lesion_size"]].append((difference > 25).mean())
    assert np.mean(area["large"]) > 1.6 * np.mean(area["small"])


def test_anatomy_is_the_same_with_and_without_a_finding():
    for modality, finding in SIZED:
        _, sick = draw(modality, seed=5, index=2, size=32, finding=finding)
        _, well = draw(modality, seed=5, index=2, size=32, finding="normal")
        lesion = ("finding", "side", "lesion_size", "count")
        assert all(sick[name] == value for name, value in well.items() if name not in lesion)


def test_cardiomegaly_widens_the_heart():
    for index in range(0, 30, 3):
        well = draw("chest_xray", seed=5, index=index, finding="normal")[1]["heart_size"]
        assert (
            draw("chest_xray", seed=5, index=index, finding="cardiomegaly")[1]["heart_size"]
            > 1.3 * well
        )


def test_lungs_are_darker_than_the_middle_and_the_abdomen():
    images = [
        draw("chest_xray", seed=6, index=3 * i, finding="normal")[0][:, :, 0].astype(float)
        for i in range(10)
    ]
    mean = np.mean(images, axis=0)
    lungs = mean[22:36, [*range(14, 24), *range(41, 51)]].mean()
    assert lungs < mean[22:36, 29:35].mean() - 40
    assert lungs < mean[58:].mean() - 40


def test_lesions_have_the_sign_of_their_modality():
    def shift(modality: str, finding: str) -> float:
        sick, well = (
            draw(modality, seed=7, index=0, finding=f)[0].astype(float) for f in (finding, "normal")
        )
        return float((sick - well).mean())

    assert shift("chest_xray", "pleural_effusion") > 0
    assert shift("ct", "liver_lesion") < 0
    assert shift("brain_mri", "tumour") > 0
    assert shift("brain_mri", "white_matter_lesions") < 0
    assert shift("breast_ultrasound", "malignant") < 0


def test_glow_below_a_benign_mass_and_shadow_below_a_malignant_one():
    def below(finding: str) -> float:
        shifts = []
        for index in range(0, 24, 3):
            sick, factors = draw("breast_ultrasound", seed=8, index=index, finding=finding)
            well, _ = draw("breast_ultrasound", seed=8, index=index, finding="normal")
            column = round((factors["lesion_x"] * factors["zoom"] + factors["shift_x"] + 1) * 32)
            strip = np.s_[54:62, max(column - 3, 0) : column + 4, 0]
            shifts.append(sick[strip].astype(float).mean() - well[strip].astype(float).mean())
        return float(np.mean(shifts))

    assert below("benign") > 0 > below("malignant") + 20


def test_oedema_thickens_the_retina_and_a_membrane_lifts_its_pigment_epithelium():
    def surfaces(finding: str, index: int) -> tuple[float, float]:
        """Rows of the top of the retina and of its brightest layer, averaged over the middle of the lesion."""
        image, factors = draw("retinal_oct", seed=9, index=index, finding=finding)
        place = draw("retinal_oct", seed=9, index=index, finding="dme")[1]["lesion_x"]
        column = round((place * factors["zoom"] + factors["shift_x"] + 1) * 32)
        depth = image[:, column - 4 : column + 5, 0].astype(float).mean(axis=1)
        return float(np.argmax(depth > 0.5 * depth.max())), float(np.argmax(depth))

    rows = {
        f: np.mean([surfaces(f, i) for i in range(0, 36, 3)], axis=0)
        for f in ("normal", "dme", "cnv")
    }
    assert rows["dme"][0] < rows["normal"][0] - 3
    assert abs(rows["dme"][1] - rows["normal"][1]) < 3
    assert rows["cnv"][1] < rows["normal"][1] - 2


def test_drusen_are_three_to_seven():
    counts = {
        draw("retinal_oct", seed=9, index=3 * i, size=32, finding="drusen")[1]["count"]
        for i in range(60)
    }
    assert counts == set(range(3, 8))


def test_posed_grid_by_hand():
    x, y = posed_grid(4, 0.25, 0.0, 0.0, 2.0)
    assert x[0] == pytest.approx([-0.5, -0.25, 0.0, 0.25])
    assert y[:, 0] == pytest.approx([-0.375, -0.125, 0.125, 0.375])
    x, y = posed_grid(4, 0.0, 0.0, np.pi / 2)
    assert x[:, 0] == pytest.approx(
        [-0.75, -0.25, 0.25, 0.75]
    )  # turned by a right angle: x runs down
    image = np.array([1.0, 1.0])
    paint(image, np.array([0.0, 0.5]), 3.0)
    assert image.tolist() == [1.0, 2.0]


def test_texture_moves_with_its_coordinates():
    u = np.arange(16.0)
    still, moved = (texture(np.random.default_rng(1), u + shift, u) for shift in (0.0, 3.0))
    assert np.allclose(still[:, 3:], moved[:, :-3], atol=1e-5)
    assert texture(
        np.random.default_rng(2), np.linspace(0, 32, 200), np.linspace(0, 32, 200)
    ).std() == pytest.approx(1.0, abs=0.1)


def test_speckle_keeps_the_mean_and_looks_tame_it():
    flat = np.full((128, 128), 0.5)
    one, four = (speckle(np.random.default_rng(3), flat, 0.012, 0.008, looks) for looks in (1, 4))
    assert one.mean() == pytest.approx(0.5, rel=0.05)
    assert one.std() / one.mean() == pytest.approx(0.52, abs=0.05)  # Rayleigh: sqrt(4 / pi - 1)
    assert four.std() / four.mean() == pytest.approx(0.26, abs=0.04)
    assert np.corrcoef(one[:, :-1].ravel(), one[:, 1:].ravel())[0, 1] > 0.5
