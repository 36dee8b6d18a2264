"""Spread within prompts: by hand, directions, its interval, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from medisyn_lib.errors import InputError
from medisyn_lib.evaluation.labelled_features import LabelledFeatures
from medisyn_lib.evaluation.spread import spread_ratio


def labelled(
    features: np.ndarray, classes: list[str], patients: list[str] | None = None
) -> LabelledFeatures:
    """Each class is a modality and a finding with a slash between."""
    modality, finding = np.array([name.split("/") for name in classes]).T
    patient = np.array(patients or [f"p{i}" for i in range(len(classes))])
    return LabelledFeatures([features], modality, patient, finding)


def column(*numbers: float) -> np.ndarray:
    return np.array(numbers, dtype=np.float64)[:, None]


def sampled(seed: int, scale: float = 1.0, n: int = 120) -> LabelledFeatures:
    """Three groups of a modality, far apart, each of its own spread."""
    rng = np.random.default_rng(seed)
    group = np.arange(n) % 3
    noise = rng.normal(size=(n, 5)) * (1 + group[:, None])
    return labelled(50 * group[:, None] + scale * noise, [f"ct/{number}" for number in group])


def test_by_hand() -> None:
    """Variances: real 2 and 8, synthetic 0.5 and 2; the third group has one real image."""
    classes = ["ct/a", "ct/a", "ct/b", "ct/b", "mri/a"]
    real = labelled(column(0, 2, 0, 4, 9), classes)
    synthetic = labelled(column(7, 8, 3, 5, 0, 99), [*classes, "mri/a"])
    found = spread_ratio(real=real, synthetic=synthetic)
    assert found.value == pytest.approx((0.5 + 2) / (2 + 8)) and found.n == 4


def test_groups_count_alike_whatever_their_size() -> None:
    """Real variances 2 and 8; synthetic ones 2, of four images, and 0."""
    real = labelled(column(0, 2, 0, 4), ["ct/a", "ct/a", "ct/b", "ct/b"])
    rows = column(1 - 1.5**0.5, 1 - 1.5**0.5, 1 + 1.5**0.5, 1 + 1.5**0.5, 5, 5)
    synthetic = labelled(rows, ["ct/a"] * 4 + ["ct/b"] * 2)
    assert spread_ratio(real=real, synthetic=synthetic).value == pytest.approx((2 + 0) / (2 + 8))


def test_the_variance_is_the_trace_of_numpys_covariance() -> None:
    real, synthetic = sampled(0), sampled(1, 0.7)
    traces = [
        np.mean(
            [
                np.trace(np.cov(images.features[0][images.finding == name].T))
                for name in np.unique(images.finding)
            ]
        )
        for images in (synthetic, real)
    ]
    found = spread_ratio(real=real, synthetic=synthetic)
    assert found.value == pytest.approx(traces[0] / traces[1])


def test_of_several_encoders_it_is_the_geometric_mean() -> None:
    classes = ["ct/a", "ct/a"]
    one, other = column(0, 2), column(0, 4)
    real, synthetic = labelled(one, classes), labelled(one, classes)
    real.features[:], synthetic.features[:] = [one, one], [one, other]  # ratios 1 and 4
    assert spread_ratio(real=real, synthetic=synthetic).value == pytest.approx(2)


def test_directions() -> None:
    real, others = sampled(0), sampled(1)
    same = spread_ratio(real=real, synthetic=others)
    assert same.value == pytest.approx(1, abs=0.25) and same.contains(1)
    halved = spread_ratio(real=real, synthetic=sampled(1, 0.5))
    assert halved.value == pytest.approx(same.value / 4) and halved.below(0.8)
    prototypes = spread_ratio(real=real, synthetic=sampled(1, 0.0))
    assert (prototypes.value, prototypes.ci_low, prototypes.ci_high) == (0, 0, 0)
    assert spread_ratio(real=real, synthetic=sampled(1, 2)).above(1)


def test_its_interval_covers() -> None:
    """Of 100 pairs of independent sets the 95% interval leaves out the true ratio in a few."""
    missed = 0
    for seed in range(100):
        found = spread_ratio(real=sampled(2 * seed), synthetic=sampled(2 * seed + 1, 0.9))
        missed += not found.contains(0.81)
    assert 1 <= missed <= 12


def test_images_of_a_patient_are_left_out_together() -> None:
    """Each image twice: the value hardly moves, and the interval is no narrower for it."""
    real, synthetic = sampled(0), sampled(1, 0.9)
    once = spread_ratio(real=real, synthetic=synthetic)
    twice = [
        LabelledFeatures(
            [np.repeat(images.features[0], 2, 0)],
            *(np.repeat(x, 2) for x in (images.modality, images.patient, images.finding)),
        )
        for images in (real, synthetic)
    ]
    found = spread_ratio(real=twice[0], synthetic=twice[1])
    assert found.value == pytest.approx(once.value) and found.n == 2 * once.n
    widths = [one.ci_high - one.ci_low for one in (once, found)]
    assert widths[0] == pytest.approx(widths[1], rel=0.05)


def test_no_interval_of_one_patient() -> None:
    classes, patients = ["ct/a"] * 3, ["p"] * 3
    real = labelled(column(0, 2, 5), classes, patients)
    found = spread_ratio(real=real, synthetic=labelled(column(0, 2, 4), classes, patients))
    assert found.value > 0 and found.ci_low is None and found.ci_high is None


def test_bad_input_is_refused() -> None:
    real = labelled(column(0, 1), ["ct/a", "ct/a"])
    with pytest.raises(InputError, match="no modality and finding has 2 real and 2 synthetic"):
        spread_ratio(real=real, synthetic=labelled(column(0, 1), ["ct/b", "ct/b"]))
    with pytest.raises(InputError, match="no modality and finding has 2 real and 2 synthetic"):
        spread_ratio(real=real, synthetic=labelled(column(0, 1), ["ct/a", "ct/b"]))
    with pytest.raises(InputError, match="real images do not differ"):
        spread_ratio(real=labelled(column(1, 1), ["ct/a", "ct/a"]), synthetic=real)
    with pytest.raises(InputError, match="findings are missing"):
        nameless = LabelledFeatures(real.features, real.modality, real.patient)
        spread_ratio(real=real, synthetic=nameless)
