"""Copies: the joint threshold keeps its rate, the tests of a set are exact, planted copies are seen, nulls are not."""

from __future__ import annotations

import ast
import io
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.stats import fisher_exact

from medisyn_lib.claims.claim import judge
from medisyn_lib.errors import InputError
from medisyn_lib.evaluation import memorization
from medisyn_lib.phantoms import draw
from medisyn_lib.pipeline.study import Study

NOTEBOOK = Path(__file__).resolve().parents[1] / "notebooks" / "05_memorization.py"


def ratios(rng: np.random.Generator, n: int, looks: int = 3) -> np.ndarray:
    """Ratios of images that copy nothing, the looks correlated as views of one image are."""
    return 1 / (1 + np.exp(-(rng.normal(size=(n, 1)) + rng.normal(size=(n, looks)) + 2)))


def test_distortions_change_what_they_say() -> None:
    image = draw("dermoscopy", seed=1, index=0, size=64)[0][None]
    made = {kind: memorization.distort(image, kind, seed=3) for kind in memorization.DISTORTIONS}
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
    assert (memorization.distort(image, "noise", seed=3) == made["noise"]).all()
    assert (memorization.distort(image, "noise", seed=4) != made["noise"]).any()


def test_crops_lie_anywhere() -> None:
    """Of 32 rows, each 8 brighter than the one above, 29 are kept: some crops hold the first, some the last."""
    image = np.broadcast_to(np.arange(32, dtype=np.uint8)[:, None, None] * 8, (32, 32, 3))
    made = memorization.distort(np.stack([image] * 40), "crop", seed=0)[:, :, 0, 0]
    assert (
        made[:, 0].min() <= 1
        and made[:, -1].max() >= 247
        and (made[:, -1] - made[:, 0].astype(int)).max() < 230
    )


def test_suspicion_by_hand() -> None:
    """Of four calibration images; the query's own place among them counts."""
    calibration = np.array([[0.9, 0.8], [0.8, 0.9], [0.7, 0.7], [0.6, 0.6]])
    found = memorization.suspicion(np.array([[0.5, 1.0], [0.95, 0.95], [0.65, 0.65]]), calibration)
    # Ranks of the first: 1 and 5, so 1; in its presence the fourth image has ranks 2 and 1: as odd. 2 of 5.
    assert found.tolist() == pytest.approx([2 / 5, 1.0, 2 / 5])
    one = memorization.suspicion(np.array([[0.5], [0.65]]), calibration[:, :1])
    assert one.tolist() == pytest.approx([1 / 5, 2 / 5])


@pytest.mark.parametrize("looks", [1, 3])
def test_three_looks_do_not_triple_the_alarms(looks: int) -> None:
    rng, alarms = np.random.default_rng(1), []
    for _ in range(40):
        p = memorization.suspicion(ratios(rng, 100, looks), ratios(rng, 200, looks))
        alarms.append((p <= 0.05).mean())
    assert np.mean(alarms) <= 0.05 + 3 * np.std(alarms) / 40**0.5
    assert np.mean(alarms) > 0.02


def test_a_look_that_sees_nothing_does_no_harm() -> None:
    rng = np.random.default_rng(2)
    calibration, queries = (
        ratios(rng, 300, 1),
        np.concatenate([ratios(rng, 50, 1), np.full((20, 1), 0.01)]),
    )
    constant = [np.concatenate([part, np.ones_like(part)], 1) for part in (queries, calibration)]
    assert (
        memorization.suspicion(*constant).tolist()
        == memorization.suspicion(queries, calibration).tolist()
    )
    assert (memorization.suspicion(np.ones((5, 3)), np.ones((100, 3))) == 1).all()


def test_the_rule_on_a_set_is_fishers_test() -> None:
    rng = np.random.default_rng(3)
    real, synthetic = ratios(rng, 40), ratios(rng, 60) + 1
    flagged, leading, leaders = memorization.set_rule(
        real=real, synthetic=synthetic, flagged_real=1, flagged_synthetic=9
    )
    assert flagged == pytest.approx(fisher_exact([[9, 51], [1, 39]], alternative="greater").pvalue)
    assert (leaders, leading) == (0, 1.0)


def test_leaders_by_hand() -> None:
    """Two of three synthetic images below both real ones: 3/5 times 2/4, for one look; for two looks twice that."""
    real, synthetic = np.array([[0.5], [0.6]]), np.array([[0.1], [0.2], [0.9]])
    assert memorization.set_rule(
        real=real, synthetic=synthetic, flagged_real=0, flagged_synthetic=0
    )[1:] == (0.3, 2)
    both = [np.concatenate([part, np.ones_like(part)], 1) for part in (real, synthetic)]
    assert memorization.set_rule(
        real=both[0], synthetic=both[1], flagged_real=0, flagged_synthetic=0
    )[1:] == (0.6, 2)


def rule_broken(rng: np.random.Generator, copies: int) -> bool:
    calibration, real, synthetic = ratios(rng, 1000), ratios(rng, 300), ratios(rng, 300)
    synthetic[:copies, 0] = rng.uniform(0, 0.01, copies)
    counts = [
        int((memorization.suspicion(part, calibration) <= 0.01).sum()) for part in (real, synthetic)
    ]
    tests = memorization.set_rule(
        real=real, synthetic=synthetic, flagged_real=counts[0], flagged_synthetic=counts[1]
    )  # fmt: skip
    return min(tests[:2]) <= memorization.LEVEL / 2


def test_the_rule_holds_its_level_and_sees_copies() -> None:
    """At most 5% of clean sets break it, and nearly all sets of which a twentieth are copies."""
    rng = np.random.default_rng(4)
    assert sum(rule_broken(rng, 0) for _ in range(60)) <= 7  # P(more than 7 | 5%) = 1%
    assert sum(rule_broken(rng, 15) for _ in range(20)) >= 18


def test_power_grows_with_the_dose() -> None:
    rng = np.random.default_rng(5)
    sides = {"real": ratios(rng, 300), "calibration": ratios(rng, 1000), "copies": ratios(rng, 100)}
    sides["copies"][:, 1] = 0.001
    found = [memorization.power(**sides, dose=dose, n=300, draws=40) for dose in (0, 0.01, 0.1)]
    assert found[0].value <= 0.15 and found[2].value == 1 and found[0].value <= found[1].value <= 1
    blind = sides | {"copies": sides["real"]}
    assert memorization.power(**blind, dose=0.1, n=300, draws=40).value <= 0.15


def test_power_asks_the_rule_about_sets_of_the_size_it_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of 40 images each is a copy with chance 0.1; a smallest p of 0.02 breaks the rule, whose two tests share 5%."""
    asked = []

    def rule(
        *, real: np.ndarray, synthetic: np.ndarray, **flagged: int
    ) -> tuple[float, float, int]:
        asked.append((len(real), synthetic[:, 0].tolist().count(0.5), len(synthetic)))
        return 0.02, 1.0, 0

    monkeypatch.setattr(memorization, "set_rule", rule)
    sides = {
        "real": np.full((30, 1), 0.9),
        "calibration": np.full((200, 1), 0.9),
        "copies": np.full((9, 1), 0.5),
    }
    assert memorization.power(**sides, dose=0.1, n=40, draws=5).value == 1
    assert {synthetic for *_, synthetic in asked} == {40} and 0 < max(
        copies for _, copies, _ in asked
    ) <= 12


def table(n: int) -> datasets.Dataset:
    rows = {
        "patient_id": [f"p{i // 2}" for i in range(n)],
        "modality": ["ct"] * (n // 2) + ["mri"] * (n - n // 2),
    }
    return datasets.Dataset.from_dict(
        rows | {"finding": [str(i % 3) for i in range(n)], "image": list(range(n))}
    )


def test_the_over_trained_see_other_patients_and_all_findings() -> None:
    images = table(400)
    rows = memorization.overtrained_rows(images)
    chosen = images.select(rows)
    assert len(rows) == len(set(chosen["patient_id"])) == memorization.OVERTRAINED
    assert (
        pd.Series([*zip(chosen["modality"], chosen["finding"], strict=True)]).value_counts().min()
        >= 10
    )


def test_a_small_training_set_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Study, "images", lambda self, role: table(20))
    with pytest.raises(InputError, match="training set of phantom: 20 images, 64 are needed"):
        memorization.training_images(Study("tiny", "phantom"))


def test_a_generator_made_elsewhere_is_held_against_all_train_images(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []
    monkeypatch.setattr(
        memorization.data,
        "load",
        lambda source, split, size: asked.append((source, split)) or table(80),
    )
    monkeypatch.setattr(Study, "images", lambda self, role: table(70))
    study = Study("tiny", "npz:somewhere")
    assert len(memorization.training_images(study)) == 70
    assert len(memorization.training_images(study, "model")) == 80 and asked == [
        ("npz:somewhere", "train")
    ]


def test_an_encoder_without_weights_is_refused() -> None:
    with pytest.raises(InputError, match="encoder timm:none@nowhere"):
        memorization._photographs("timm:none@nowhere")(np.zeros((2, 32, 32, 3), np.uint8))


def test_planted_copies_are_matched_and_others_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images to matches through the store; a subset of the index is another question."""
    from medisyn_lib.evaluation import neighbours
    from medisyn_lib.pipeline.index import VECTORS

    monkeypatch.setenv("MEDISYN_STORE", str(tmp_path))
    images = np.stack([draw("histopathology", seed=2, index=3 * i, size=32)[0] for i in range(230)])
    np.save(tmp_path / VECTORS, neighbours.centre(images[:210]))
    look = memorization.Look("pixels", tmp_path, neighbours.views)
    copies = memorization.match([look], memorization.distort(images[:5], "jpeg", seed=0))
    assert copies.row[:, 0].tolist() == list(range(5)) and copies.ratio.max() < 0.5
    assert memorization.match([look], images[210:]).ratio.min() > 0.6
    without = memorization.match([look], images[:5], np.arange(5, 210))
    assert without.ratio.min() > 0.5


def definitions(**known: Any) -> dict[str, Any]:
    """The notebook's imports and functions, with these names for what its other cells would have made."""
    tree = ast.parse(NOTEBOOK.read_text())
    tree.body = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)] + [
        node
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name in ("decide", "told", "area_under")
    ]
    space: dict[str, Any] = {}
    exec(compile(tree, "05_memorization", "exec"), space)  # noqa: S102
    return space | known


def test_the_verdict_follows_the_rule() -> None:
    decide = definitions()["decide"]
    power = pd.DataFrame({"x": [1, 5, 5], "y": [0.1, 0.95, 0.9]})
    assert decide((0.5, 1.0, 0), power, True) is True
    assert decide((0.02, 1.0, 0), power, True) is decide((0.5, 0.02, 9), power, True) is False
    assert decide((0.5, 1.0, 0), power.assign(y=0.8), True) is None
    assert decide((0.01, 1.0, 0), power, False) is None


@pytest.mark.parametrize("blind", [["pixels"], ["pixels", "photographs"]])
def test_encoders_that_see_nothing_void_the_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blind: list[str]
) -> None:
    """Constant descriptions in all looks: no planted copy is flagged, so there is no power and a control fails."""
    monkeypatch.setenv("MEDISYN_STORE", str(tmp_path / "store"))
    images = np.stack([draw("ct", seed=2, index=i, size=32)[0] for i in range(60)])
    found = []
    for name in blind:
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / memorization.neighbours.VECTORS, np.ones((60, 4), np.float32))
        found.append(
            memorization.Look(
                name, tmp_path / name, lambda pixels: np.ones((len(pixels), 4), np.float32)
            )
        )
    copies, real = (memorization.match(found, part).ratio for part in (images[:30], images[30:]))
    calibration = np.concatenate([real] * 40)
    flagged = [
        memorization.suspicion(part, calibration) <= memorization.RATE for part in (copies, real)
    ]
    assert not np.concatenate(flagged).any()
    power = memorization.power(
        real=real, copies=copies, calibration=calibration, dose=0.05, n=30, draws=5
    )
    tests = memorization.set_rule(real=real, synthetic=copies, flagged_real=0, flagged_synthetic=0)
    assert power.value == 0 and tests == (1.0, 1.0, 0)
    passed = definitions()["decide"](tests, pd.DataFrame({"x": [5], "y": [power.value]}), True)
    assert passed is None and judge(passed) == "not testable here"


def test_membership_is_told_by_smaller_losses_and_only_where_n_allows() -> None:
    told, rng = definitions()["told"], np.random.default_rng(6)
    area, rates = told(rng.normal(0, 1, 150), rng.normal(2, 1, 150))
    assert area.value == pytest.approx(0.92, abs=0.04) and area.ci_low < area.value < area.ci_high
    assert set(rates) == {0.1} and rates[0.1].value > 0.6
    null, many = told(rng.normal(size=300), rng.normal(size=1000))
    assert null.ci_low < 0.5 < null.ci_high and set(many) == {0.01, 0.05, 0.1}
    assert many[0.05].ci_low <= 0.05 <= many[0.05].ci_high
