"""What is true of the five colour phantoms one by one: anatomy on the right side, stains, grades."""

from __future__ import annotations

import numpy as np
import pytest

from medisyn_lib.errors import InputError
from medisyn_lib.modalities import MODALITIES
from medisyn_lib.phantoms import draw
from medisyn_lib.phantoms.drawing import absorb, stamp
from medisyn_lib.phantoms.fundus import GRADES, QUADRANTS, draw_patient, icdr_grade

NONE, FEW, MANY = [0, 0, 0, 0], [1, 0, 2, 0], [21, 21, 21, 21]


@pytest.mark.parametrize(
    ("grade", "signs"),
    [
        (0, {"microaneurysms": 0, "haemorrhages": NONE}),
        (1, {"microaneurysms": 1, "haemorrhages": NONE}),
        (2, {"microaneurysms": 1, "haemorrhages": FEW}),
        (2, {"microaneurysms": 1, "haemorrhages": NONE, "exudates": 1}),
        (2, {"microaneurysms": 1, "haemorrhages": NONE, "cotton_wool": 1}),
        (2, {"microaneurysms": 1, "haemorrhages": [40, 40, 40, 20]}),  # 20 is not more than 20
        (3, {"microaneurysms": 1, "haemorrhages": MANY}),
        (2, {"microaneurysms": 1, "haemorrhages": FEW, "beading_quadrants": 1}),
        (3, {"microaneurysms": 1, "haemorrhages": FEW, "beading_quadrants": 2}),
        (3, {"microaneurysms": 1, "haemorrhages": FEW, "irma_quadrants": 1}),
        (4, {"microaneurysms": 0, "haemorrhages": NONE, "neovascularisation": True}),
        (4, {"microaneurysms": 1, "haemorrhages": MANY, "preretinal_haemorrhage": True}),
    ],
)
def test_icdr_grade_by_hand(grade, signs):
    assert icdr_grade(**signs) == grade


@pytest.mark.parametrize("counts", [[1, 2, 3], [1, 2, 3, -1]])
def test_icdr_grade_refuses_bad_counts(counts):
    with pytest.raises(InputError, match="four counts"):
        icdr_grade(0, counts)


def test_the_lesions_of_a_fundus_give_its_finding():
    for seed in range(200):
        finding = GRADES[seed % 5]
        patient = draw_patient(np.random.default_rng(seed), finding)
        totals = {
            name: sum(patient[f"{name}_{q}"] for q in QUADRANTS)
            for name in ("microaneurysms", "beading", "irma")
        }
        bleeding = [patient[f"haemorrhages_{q}"] for q in QUADRANTS]
        soft = sum(
            patient[f"{name}_{q}"] for name in ("exudates", "cotton_wool") for q in QUADRANTS
        )
        growth = patient["neovascularisation"], patient["preretinal_haemorrhage"]
        again = icdr_grade(
            totals["microaneurysms"], bleeding, totals["beading"], totals["irma"], *growth, soft
        )
        assert again == patient["grade"] == GRADES.index(finding)


def test_every_sign_of_severe_retinopathy_occurs():
    patients = [draw_patient(np.random.default_rng(seed), "severe_npdr") for seed in range(60)]
    assert any(sum(p[f"beading_{q}"] for q in QUADRANTS) >= 2 for p in patients)
    assert any(sum(p[f"irma_{q}"] for q in QUADRANTS) >= 1 for p in patients)
    assert any(min(p[f"haemorrhages_{q}"] for q in QUADRANTS) > 20 for p in patients)
    assert all(min(p[f"haemorrhages_{q}"] for q in QUADRANTS) > 0 for p in patients)


def test_the_optic_disc_is_nasal():
    sides = {"left": 0, "right": 0}
    for index in range(0, 45, 3):
        image, factors = draw("fundus", seed=1, index=index, finding="no_dr")
        pale = image[16:48, :, 1].astype(float)  # green: the disc is the brightest thing in it
        at_right = pale[:, 32:].max() > pale[:, :32].max()
        assert at_right == (factors["side"] == "right")
        sides[factors["side"]] += 1
    assert min(sides.values()) > 0


def test_the_polyp_is_on_its_side():
    for index in range(0, 45, 3):
        _, factors = draw("endoscopy", seed=1, index=index, finding="polyp")
        assert (factors["polyp_x"] > 0) == (factors["side"] == "right")
        assert (factors["polyp_radius"] > 0.3) == (factors["lesion_size"] == "large")
    _, factors = draw("endoscopy", seed=1, index=0, finding="normal")
    assert factors["side"] == factors["lesion_size"] == ""


def test_a_large_polyp_changes_its_own_side_of_the_picture_more():
    from medisyn_lib.phantoms import endoscopy

    for seed in range(12):
        patient = {
            "finding": "polyp",
            **endoscopy.draw_patient(np.random.default_rng(seed), "polyp"),
        }
        with_polyp, _ = endoscopy.draw_image(np.random.default_rng(seed), patient, 64)
        flat, _ = endoscopy.draw_image(
            np.random.default_rng(seed), {**patient, "polyp_radius": 0.0}, 64
        )
        change = np.abs(with_polyp - flat).sum((0, 2))
        assert (change[32:].sum() > change[:32].sum()) == (patient["side"] == "right")


def test_colitis_is_redder_than_normal_mucosa():
    def redness(finding: str) -> float:
        images = np.stack(
            [draw("endoscopy", seed=2, index=3 * i, finding=finding)[0] for i in range(20)]
        ).astype(float)
        lit = images[images.sum(-1) > 240]
        return float(np.median(lit[:, 0] / (lit[:, 1] + 1)))

    assert redness("colitis") > 1.1 * redness("normal")


@pytest.mark.parametrize(
    ("modality", "finding"), [("histopathology", "inflammation"), ("blood_smear", "lymphocyte")]
)
def test_nuclei_are_darker_and_bluer_than_what_surrounds_them(modality, finding):
    for index in range(0, 30, 3):
        image = draw(modality, seed=3, index=index, finding=finding)[0].astype(float).reshape(-1, 3)
        light = image.sum(1)
        nuclei, rest = (
            image[light < np.quantile(light, 0.05)],
            image[light > np.quantile(light, 0.4)],
        )
        assert nuclei[:, 2].mean() > 1.15 * nuclei[:, 0].mean()  # blue over red
        assert nuclei[:, 2].mean() / nuclei[:, 0].mean() > rest[:, 2].mean() / rest[:, 0].mean()


def test_only_glands_have_white_lumina_and_tumour_takes_most_haematoxylin():
    def mean_over(finding: str, measure) -> float:
        images = [
            draw("histopathology", seed=4, index=3 * i, finding=finding)[0].astype(float)
            for i in range(12)
        ]
        return float(np.mean([measure(image) for image in images]))

    def white(image: np.ndarray) -> float:
        return (image.min(-1) > 205).mean()

    assert mean_over("normal", white) > 3 * mean_over("tumour", white)
    assert mean_over("tumour", lambda image: image[..., 0].mean()) < mean_over(
        "inflammation", lambda i: i[..., 0].mean()
    )


def test_only_the_eosinophil_has_orange_granules():
    def orange(finding: str) -> float:
        images = np.stack(
            [draw("blood_smear", seed=5, index=3 * i, finding=finding)[0] for i in range(8)]
        ).astype(float)
        return (
            (images[..., 0] > 1.5 * images[..., 1]) & (images[..., 0] > 1.3 * images[..., 2])
        ).mean()

    assert orange("eosinophil") > 5 * max(
        orange("neutrophil"), orange("lymphocyte"), orange("monocyte"), 1e-3
    )


def test_large_skin_lesions_cover_more_and_a_melanoma_is_less_even():
    from medisyn_lib.phantoms import dermoscopy

    def shade(finding: str, **fixed) -> np.ndarray:
        patient = {"finding": finding, **dermoscopy.draw_patient(np.random.default_rng(6), finding)}
        patient |= {"skin_melanin": 0.05, "hairs": 0, "pigment": 1.2, **fixed}
        return dermoscopy.draw_image(np.random.default_rng(7), patient, 64)[0].mean(-1)

    covered = [(shade("naevus", radius=radius) < 0.45).sum() for radius in (0.28, 0.6)]
    assert 2 * covered[0] < covered[1]
    spread = {
        finding: shade(finding, radius=0.6)[24:40, 24:40].std()
        for finding in ("naevus", "melanoma")
    }
    assert spread["melanoma"] > 1.3 * spread["naevus"]


def test_captions_find_the_attributes_that_their_phrases_name():
    for modality in ("fundus", "dermoscopy", "histopathology", "blood_smear", "endoscopy"):
        for finding in MODALITIES[modality].findings:
            _, factors = draw(modality, seed=8, index=0, size=32, finding=finding.key)
            for phrase in finding.phrases:
                assert phrase.format(**factors)
                assert all(
                    factors[name] != ""
                    for name in ("side", "lesion_size", "grade")
                    if f"{{{name}}}" in phrase
                )


def test_stamp_by_hand():
    alone = stamp(8, -0.125, -0.125, 0.5, 0.5)  # centre of pixel (3, 3), radius two pixels
    assert alone[3, 3] == alone[3, 4] == 1.0
    assert alone[3, 5] == pytest.approx(0.5)
    assert alone[3, 6] == 0.0
    twice = stamp(8, [-0.125, -0.125], [-0.125, -0.125], 0.5, 0.5, value=0.7, join=np.add)
    assert twice[3, 3] == pytest.approx(1.4)
    assert stamp(8, [], [], 0.5, 0.5).sum() == 0.0


def test_absorb_is_beer_lambert():
    density = np.array([[0.0, 1.0]])
    image = absorb(
        (1.0, 0.5, 1.0), (density, (0.0, np.log(2), 1.0)), (density, (0.0, np.log(2), 0.0))
    )
    assert image[0, 0] == pytest.approx((1.0, 0.5, 1.0))
    assert image[0, 1] == pytest.approx((1.0, 0.125, np.exp(-1)))
