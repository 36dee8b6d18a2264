"""The quality floor: by hand, beside the reference, directions, subsets, intervals, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from medisyn_lib.data.pixels import blurred
from medisyn_lib.errors import InputError
from medisyn_lib.evaluation import quality_floor as floor
from medisyn_lib.evaluation.labelled_features import LabelledFeatures
from medisyn_lib.evaluation.quality_floor import coverage_by_modality, quality_floor
from medisyn_lib.evaluation.reference_generators import prototypes
from medisyn_lib.models import encoders
from medisyn_lib.models.encoders import FeatureSet
from medisyn_lib.phantoms import draw

SIX = np.arange(6.0)[:, None]  # balls to the fifth neighbour reach 5, 4, 3, 3, 4 and 5 far


def labelled(
    *features: np.ndarray, modality: str | np.ndarray = "ct", patient: str = "p"
) -> LabelledFeatures:
    n = len(features[0])
    names = np.full(n, modality) if isinstance(modality, str) else modality
    return LabelledFeatures(features, names, np.array([f"{patient}{i}" for i in range(n)]))


def gaussian(n: int, seed: int, shift: float = 0.0, d: int = 4) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, size=(n, d))


def test_by_hand() -> None:
    """Synthetic rows at 8 are strictly inside the ball of 5 alone, those at 2.5 inside every ball."""
    real, far, near = labelled(SIX), labelled(np.full((6, 1), 8.0)), labelled(np.full((6, 1), 2.5))
    assert coverage_by_modality(real=real, synthetic=far) == {"ct": pytest.approx([1 / 6])}
    assert coverage_by_modality(real=real, synthetic=near) == {"ct": pytest.approx([1])}


def test_each_encoder_has_a_floor_of_its_own() -> None:
    """By the one encoder the rows are far, by the other near: no mean of the two."""
    both = labelled(np.full((6, 1), 8.0), np.full((6, 1), 2.5))
    first, second = quality_floor(real=labelled(SIX, SIX), synthetic=both)
    assert (first.value, second.value) == pytest.approx((1 / 6, 1)) and first.n == second.n == 6


def test_it_is_the_lower_median_over_modalities_that_both_have() -> None:
    modality = np.repeat(["a", "b", "c", "d", "real alone"], 6)
    real = labelled(np.tile(SIX, (5, 1)), modality=modality)
    places = np.repeat([100.0, 8.0, 2.5, 2.5], 6)[:, None]
    synthetic = labelled(places, modality=modality[:24])
    by_modality = coverage_by_modality(real=real, synthetic=synthetic)
    assert {name: value for name, (value,) in by_modality.items()} == pytest.approx(
        {"a": 0, "b": 1 / 6, "c": 1, "d": 1}
    )
    (found,) = quality_floor(real=real, synthetic=synthetic)
    assert found.value == pytest.approx(1 / 6) and found.n == 24


def test_one_subset_is_the_reference_implementations() -> None:
    from prdc import compute_prdc

    real, synthetic = gaussian(100, 0), gaussian(100, 1, shift=0.7)
    expected = compute_prdc(real, synthetic, nearest_k=5)["coverage"]
    found = coverage_by_modality(real=labelled(real), synthetic=labelled(synthetic))
    assert found["ct"] == pytest.approx([expected]) and 0.2 < expected < 0.95


def test_images_of_the_same_distribution_have_the_coverage_that_theory_expects() -> None:
    """Naeem et al., equation 6: 1 - (n-1)...(n-k) / ((2n-1)...(2n-k)), whatever the distribution."""
    n, k = 100, np.arange(1, 6)
    expected = 1 - np.prod((n - k) / (2 * n - k))
    real, synthetic = labelled(gaussian(2000, 0)), labelled(gaussian(2000, 1))
    (found,) = coverage_by_modality(real=real, synthetic=synthetic)["ct"]
    assert found == pytest.approx(expected, abs=0.015) and expected == pytest.approx(0.97, abs=0.01)


def test_it_does_not_depend_on_the_number_of_images() -> None:
    """Of all rows at once it would rise, as the same fault shows less among more images."""
    found = []
    for n in (100, 800):
        real = gaussian(n, 0, d=16)
        synthetic = 1.5 * gaussian(n, 1, d=16)
        values = coverage_by_modality(real=labelled(real), synthetic=labelled(synthetic))
        found.append(values["ct"].item())
    assert found[0] == pytest.approx(found[1], abs=0.06)


@pytest.mark.parametrize(
    ("real", "synthetic", "number", "size"),
    [(40, 40, 1, 40), (40, 90, 1, 40), (150, 150, 2, 100), (300, 300, 3, 100), (300, 1000, 3, 100)],
)
def test_subsets_use_every_row_and_are_equal_on_both_sides(
    real: int, synthetic: int, number: int, size: int
) -> None:
    rng = np.random.default_rng(0)
    subsets = floor._subsets_of(np.arange(real), 7 + np.arange(synthetic), rng)
    assert len(subsets) == number
    for subset in subsets:
        assert {len(rows) for rows in subset} == {len(np.unique(rows)) for rows in subset} == {size}
    assert {*np.concatenate([subset.real for subset in subsets])} == {*range(real)}
    of_synthetic = np.concatenate([subset.synthetic for subset in subsets])
    assert len(np.unique(of_synthetic)) == min(synthetic, number * size)


def test_the_seed_decides_the_subsets_alone() -> None:
    real, synthetic = labelled(gaussian(150, 0)), labelled(gaussian(150, 1, 0.7))
    values = [
        quality_floor(real=real, synthetic=synthetic, seed=seed)[0].value for seed in (0, 0, 1)
    ]
    assert values[0] == values[1] != values[2]


def test_its_interval_lies_around_it_and_within_0_and_1() -> None:
    real = labelled(gaussian(60, 0))
    for shift in (0.0, 0.8):
        (found,) = quality_floor(real=real, synthetic=labelled(gaussian(60, 1, shift)))
        assert 0 <= found.ci_low < found.value < found.ci_high <= 1


def test_no_interval_of_one_patient_or_of_too_few_images() -> None:
    alone = LabelledFeatures([gaussian(60, 0)], np.full(60, "ct"), np.full(60, "p"))
    other = LabelledFeatures([gaussian(60, 1, 0.5)], np.full(60, "ct"), np.full(60, "p"))
    few = quality_floor(real=labelled(SIX), synthetic=labelled(SIX + 3))
    for (found,) in (quality_floor(real=alone, synthetic=other), few):
        assert found.value is not None and found.ci_low is None and found.ci_high is None


def test_bad_input_is_refused() -> None:
    real = labelled(SIX)
    with pytest.raises(InputError, match="real images are of ct, synthetic of mri"):
        quality_floor(real=real, synthetic=labelled(SIX, modality="mri"))
    with pytest.raises(InputError, match="ct has 5 images; give 6 real and synthetic ones"):
        quality_floor(real=real, synthetic=labelled(SIX[:5]))
    with pytest.raises(InputError, match="real by 1 encoders, synthetic by 2"):
        quality_floor(real=real, synthetic=labelled(SIX, SIX))
    with pytest.raises(InputError, match=r"synthetic features and labels are \[5, 6\] in number"):
        odd = LabelledFeatures([SIX], real.modality[:5], real.patient)
        quality_floor(real=real, synthetic=odd)
    with pytest.raises(InputError, match="real are of encoder one, synthetic of two"):
        first, second = (labelled(FeatureSet(SIX, name)) for name in ("one", "two"))
        quality_floor(real=first, synthetic=second)


@pytest.fixture(scope="module")
def covered() -> dict[str, float]:
    """The floor of generators with a known fault, on phantoms of two modalities, 40 of each."""
    modality = np.repeat(["fundus", "blood_smear"], 40)

    def drawn(seed: int) -> np.ndarray:
        return np.stack([draw(name, seed=seed, index=i)[0] for i, name in enumerate(modality)])

    held_out, training, others = drawn(1), drawn(2), drawn(3)
    sets = {
        "other patients": others,
        "copies of training images": training,
        "copies": held_out,
        "blurred": blurred(others),
        "much blurred": blurred(others, 4.0),
        "prototypes": prototypes(training, modality, modality),
    }

    def of(pixels: np.ndarray) -> LabelledFeatures:
        return labelled(encoders.features(pixels), modality=modality)

    real = of(held_out)
    return {name: quality_floor(real=real, synthetic=of(x))[0].value for name, x in sets.items()}


def test_directions(covered: dict[str, float]) -> None:
    """Other patients were found at 0.80, copies of training images at 0.83, blurred images at 0.25."""
    assert covered["copies"] == 1
    assert covered["other patients"] > 0.7 and covered["copies of training images"] > 0.7
    assert covered["blurred"] < 0.45
    assert covered["much blurred"] < 0.1 and covered["prototypes"] < 0.1
