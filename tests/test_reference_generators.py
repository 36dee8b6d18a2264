"""Reference generators: each has its fault and no other, and the measures see what they should see and no more.

Margins were measured over seeds 0 to 6 of the same two modalities; what was found stands beside each bound.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import reference_generators as benchmark

from medisyn_lib.data.pixels import blurred
from medisyn_lib.errors import InputError
from medisyn_lib.evaluation.memorization.conformal import FALSE_ALARM_RATE, flag_copies
from medisyn_lib.evaluation.memorization.set_tests import flag_and_test
from medisyn_lib.evaluation.reference_generators import (
    class_gaussian,
    copies,
    measure_table,
    prototypes,
    reference_sets,
)

MODALITIES = ("fundus", "blood_smear")
N = 50  # images of a modality in each set
FAULTY = ["blurred", "class Gaussian", "prototypes"]
FAITHFUL = ["other patients", "copies"]


def noise(n: int, seed: int = 0, side: int = 8) -> np.ndarray:
    return np.random.default_rng(seed).integers(40, 216, (n, side, side, 3), dtype=np.uint8)


def test_copies_are_training_images_none_twice() -> None:
    training = noise(7)
    made = copies(training, np.random.default_rng(0), 7)
    assert sorted(made.sum((1, 2, 3))) == sorted(training.sum((1, 2, 3)))
    many = copies(training, np.random.default_rng(0), 20)
    assert len(many) == 20 and {image.tobytes() for image in many} <= {
        t.tobytes() for t in training
    }
    few = [copies(training, np.random.default_rng(seed), 3) for seed in (1, 1, 2)]
    assert (few[0] == few[1]).all() and (few[0] != few[2]).any()


def test_blur_spreads_a_point_by_one_pixel_within_its_image_and_channel() -> None:
    pixels = np.zeros((2, 15, 15, 3), np.uint8)
    pixels[0, 7, 7, 1] = 255
    made = blurred(pixels)
    assert made.dtype == np.uint8 and not made[1].any() and not made[0, :, :, [0, 2]].any()
    profile = made[0, 7, :, 1] / made[0, 7, 7, 1]
    assert profile[[6, 8]] == pytest.approx(np.exp(-1 / 2), abs=0.02)
    assert profile[[5, 9]] == pytest.approx(np.exp(-4 / 2), abs=0.02)
    assert (blurred(np.full((1, 8, 8, 3), 77, np.uint8)) == 77).all()


def test_a_prototype_is_the_mean_of_its_class() -> None:
    training = noise(6)
    made = prototypes(training, ["a", "b", "a", "b", "b", "a"], ["b", "a", "b"])
    assert (made[0] == made[2]).all()
    assert np.abs(made[0] - training[[1, 3, 4]].mean(0)).max() <= 0.5
    assert np.abs(made[1] - training[[0, 2, 5]].mean(0)).max() <= 0.5


def test_a_class_gaussian_has_the_mean_and_covariance_of_its_class() -> None:
    training = noise(5, side=4)
    classes, requested = ["a"] * 4 + ["b"], ["a"] * 4000
    made = class_gaussian(training, classes, requested, np.random.default_rng(0))
    flat, of_class = (
        pixels.reshape(len(pixels), -1).astype(float) for pixels in (made, training[:4])
    )
    # Clipping at 0 and 255 shrinks some of it.
    assert np.abs(flat.mean(0) - of_class.mean(0)).max() < 6
    assert np.trace(np.cov(flat.T)) / np.trace(np.cov(of_class.T)) == pytest.approx(0.95, abs=0.06)
    assert np.corrcoef(np.cov(flat.T).ravel(), np.cov(of_class.T).ravel())[0, 1] > 0.98


def test_a_class_gaussian_keeps_the_largest_components() -> None:
    """Images that differ by 30 in one direction and by 4 in another; one component is the first."""
    steps = np.array([[30, 4], [30, -4], [-30, 4], [-30, -4]])
    training = np.full((4, 2, 2, 3), 128, np.uint8)
    training[:, 0, 0, 0], training[:, 1, 1, 2] = 128 + steps.T
    made = class_gaussian(training, ["a"] * 4, ["a"] * 50, np.random.default_rng(0), components=1)
    spread = made.reshape(50, -1).std(0)
    assert spread[0] > 20 and (spread[1:] == 0).all()


def test_a_class_of_one_image_gives_that_image() -> None:
    training = noise(1)
    made = class_gaussian(training, ["a"], ["a", "a"], np.random.default_rng(0))
    assert (made == training).all() and (prototypes(training, ["a"], ["a"]) == training).all()


def test_a_class_without_training_images_is_refused() -> None:
    with pytest.raises(InputError, match="class b: no training image is of it"):
        prototypes(noise(2), ["a", "a"], ["a", "b"])


@pytest.fixture(scope="module")
def drawn() -> tuple:
    return benchmark.draw_real(MODALITIES, n=N, calibration=60, size=64, seed=2)


@pytest.fixture(scope="module")
def table(drawn: tuple, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """All measures of all reference generators, from a store of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEDISYN_STORE", str(tmp_path_factory.mktemp("store")))
        found = benchmark.measured(*drawn, seed=2)
    return found.rename(columns=lambda name: name.removesuffix("_efflite0"))


def test_no_patient_is_in_two_sets(drawn: tuple) -> None:
    real, other_patients = drawn
    sets = [real.training, real.calibration, real.held_out, other_patients]
    patients = [name for images in sets for name in images["patient_id"][:]]
    assert len(set(patients)) == len(patients) == (3 * N + 60) * len(MODALITIES)


def test_every_measure_is_a_number_of_every_generator(table: pd.DataFrame) -> None:
    assert list(table.index) == [*FAITHFUL, *FAULTY]
    fidelity = ["FD", "KID", "precision", "recall", "density", "coverage"]
    assert list(table) == [*fidelity, "flagged", "rule_broken", "nearer_to_training"]
    assert np.isfinite(table.to_numpy(float)).all()


def test_other_patients_have_no_fault(table: pd.DataFrame) -> None:
    others = table.loc["other patients"]
    assert abs(others["KID"]) < 0.15  # found: at most 0.04
    assert others[["precision", "recall", "coverage"]].min() > 0.85  # at least 0.93
    assert others["density"] == pytest.approx(1, abs=0.3)  # 0.92 to 1.12
    assert others["flagged"] <= 5 * FALSE_ALARM_RATE and not others["rule_broken"]  # none flagged
    assert 0.25 < others["nearer_to_training"] < 0.75  # 0.39 to 0.71


def test_only_the_detectors_of_copies_see_the_copier(table: pd.DataFrame) -> None:
    copied, others = table.loc["copies"], table.loc["other patients"]
    assert abs(copied["KID"]) < 0.15  # found: at most 0.05
    assert copied[["precision", "recall", "coverage"]].min() > 0.85  # at least 0.95
    assert copied["FD"] == pytest.approx(others["FD"], rel=0.2)  # within 7%
    assert copied["flagged"] == 1 and copied["rule_broken"]
    assert copied["nearer_to_training"] == 1
    assert table["flagged"].drop("copies").max() <= 5 * FALSE_ALARM_RATE  # 2% at most


def test_distances_and_overlaps_see_each_fault(table: pd.DataFrame) -> None:
    others, faulty = table.loc["other patients"], table.loc[FAULTY]
    assert faulty["KID"].min() > 0.4  # found: at least 0.69
    assert faulty["FD"].min() > 1.7 * others["FD"]  # 2.3 times
    assert faulty[["precision", "coverage"]].max(axis=None) < 0.65  # 0.46
    assert faulty[["recall", "density"]].max(axis=None) < 0.65  # 0.45


def test_blur_is_milder_than_a_class_gaussian(table: pd.DataFrame) -> None:
    blur, gaussian = table.loc["blurred"], table.loc["class Gaussian"]
    assert gaussian["KID"] > 1.8 * blur["KID"]  # found: at least 2.7 times
    assert gaussian["FD"] > 1.4 * blur["FD"]  # 2.2 times
    assert gaussian["coverage"] < blur["coverage"]  # by 0.09


def test_prototypes_lack_variety(table: pd.DataFrame) -> None:
    """Images of one prototype lie on one point, whose ball is empty: recall is 0, not only small."""
    assert table.loc["prototypes", "recall"] == 0
    assert table.loc["prototypes", "coverage"] < 0.1  # found: at most 0.02


def test_nearer_to_training_is_no_proof_of_copying(table: pd.DataFrame) -> None:
    """Images made from training images lie nearer to them; the rule on sets asks the detectors instead."""
    gaussian, others = table.loc["class Gaussian"], table.loc["other patients"]
    assert gaussian["nearer_to_training"] > others["nearer_to_training"] + 0.03  # found: 0.09
    assert gaussian["flagged"] <= 5 * FALSE_ALARM_RATE


def test_one_image_repeated_counts_each_time_among_the_exceedances() -> None:
    """So prototypes may break the rule on sets although nothing is flagged: the test takes images as independent."""
    rng = np.random.default_rng(0)
    held_out, calibration = rng.uniform(0.6, 1, (100, 1)), rng.uniform(0.4, 1, (500, 1))
    repeated, distinct = rng.uniform(0.6, 1, (2, 100, 1))
    repeated[:17], distinct[0] = 0.55, 0.55
    ratios = {"real": held_out, "calibration": calibration}
    assert flag_and_test(synthetic=repeated, **ratios).broken
    assert not flag_and_test(synthetic=distinct, **ratios).broken
    assert not flag_copies(repeated, calibration).any()


def test_sets_that_do_not_fit_are_refused(drawn: tuple) -> None:
    real, other_patients = drawn
    with pytest.raises(InputError, match="one image for each held-out one, of its modality"):
        shuffled = other_patients.select(range(len(other_patients))[::-1])
        reference_sets(real=real, other_patients=shuffled, rng=np.random.default_rng(0))
    with pytest.raises(InputError, match=r"mine: \(3, 8, 8, 3\), the held-out images"):
        measure_table(real=real, synthetic={"mine": noise(3)})
