"""Reference generators get the outcomes that `docs/rules.md` names: the guard for spread of 01, 05, the floor."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import reference_generators as benchmark
from test_alignment import claimed
from test_validity import said

from medisyn_lib.claims.claim import CONTRADICTED, INCONCLUSIVE, SUPPORTED
from medisyn_lib.data.pixels import blurred, load_pixels
from medisyn_lib.evaluation.labelled_features import LabelledFeatures
from medisyn_lib.evaluation.memorization.detectors import match
from medisyn_lib.evaluation.quality_floor import quality_floor
from medisyn_lib.evaluation.reference_generators import _copy_detectors, reference_sets
from medisyn_lib.evaluation.spread import spread_ratio
from medisyn_lib.models import encoders
from medisyn_lib.statistics.estimates import Estimate

MODALITIES, N, CALIBRATION = ("fundus", "blood_smear"), 60, 120
FLOOR = 0.10
RECALL = {"flip": Estimate(0.99, 0.97, 1.0, 500)}  # of planted copies; no generator changes it


class Outcome(NamedTuple):
    """Coverage and spread, and the verdicts of 01 and 05; for 01 both readers find what was asked for."""

    covered: float
    spread: float
    one_model: str
    copies: str


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    real, other_patients = benchmark.draw_real(
        MODALITIES, n=N, calibration=CALIBRATION, size=64, seed=3
    )
    made = reference_sets(real=real, other_patients=other_patients, rng=np.random.default_rng(3))
    made["blurred copies"] = blurred(made["copies"])
    made["equal images"] = np.repeat(made["other patients"][:1], 40, 0)
    held_out = load_pixels(real.held_out)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEDISYN_STORE", str(tmp_path_factory.mktemp("store")))
        detectors = _copy_detectors(real.training, "efflite0")
        calibration, held_out_ratio = (
            match(detectors, pixels).ratio for pixels in (load_pixels(real.calibration), held_out)
        )

        def labelled(pixels: np.ndarray) -> LabelledFeatures:
            n = len(pixels)
            names = (
                np.array(real.held_out[name][:n]) for name in ("modality", "patient_id", "finding")
            )
            return LabelledFeatures([encoders.features(pixels)], *names)

        of_real, found = labelled(held_out), {}
        for name, pixels in made.items():
            of_made = labelled(pixels)
            (covered,) = quality_floor(real=of_real, synthetic=of_made)
            spread = spread_ratio(real=of_real, synthetic=of_made)
            ratio = match(detectors, pixels).ratio
            found[name] = Outcome(
                covered.value or 0.0,
                spread.value or 0.0,
                claimed(spread=spread).verdict or "",
                said(held_out_ratio, ratio, calibration, RECALL, {"efflite0": covered}) or "",
            )
    print(*found.items(), sep="\n")
    return found


def test_faithful_images_are_safe_and_copies_are_not(outcomes: dict[str, Outcome]) -> None:
    """Of 120 images a flagged one or two leave the limit above 5%; that 300 suffice is in test_validity."""
    others, copies = outcomes["other patients"], outcomes["copies"]
    assert others.covered > 0.7 and copies.covered > 0.7  # found: 0.95 and 0.98
    assert others.one_model == copies.one_model == SUPPORTED
    assert others.copies in (SUPPORTED, INCONCLUSIVE) and copies.copies == CONTRADICTED


def test_blur_hides_no_copies(outcomes: dict[str, Outcome]) -> None:
    assert outcomes["blurred copies"].copies == CONTRADICTED


@pytest.mark.parametrize("name", ["prototypes", "equal images"])
def test_a_collapsed_generator_is_contradicted_by_its_spread(
    outcomes: dict[str, Outcome], name: str
) -> None:
    found = outcomes[name]
    assert found.spread < 1e-9 and found.one_model == CONTRADICTED
    assert found.copies in (INCONCLUSIVE, CONTRADICTED)


def test_prototypes_are_below_the_floor_and_one_image_covers_about_five(
    outcomes: dict[str, Outcome],
) -> None:
    """One point lies in the balls of about five real images, of however many: in 100 it is below the floor."""
    assert outcomes["prototypes"].covered < FLOOR
    assert outcomes["equal images"].covered <= 8 / 40  # found: 5 of 40


def test_a_class_gaussian_is_below_the_floor_and_no_copier(outcomes: dict[str, Outcome]) -> None:
    found = outcomes["class Gaussian"]
    assert found.covered < FLOOR and found.copies == INCONCLUSIVE
