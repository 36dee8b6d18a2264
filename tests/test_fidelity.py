"""Fidelity measures: by hand, by direction, against their reference implementations, and their intervals."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
import torch

from medisyn_lib.errors import InputError
from medisyn_lib.evaluation import fidelity
from medisyn_lib.evaluation.fidelity import blocks, intervals
from medisyn_lib.models.encoders import FeatureSet
from medisyn_lib.statistics.estimates import Estimate
from medisyn_lib.statistics.jackknife import delete_group, delete_one_cluster

DISTANCES = ("FD", "KID")


def values(*, real: np.ndarray, synthetic: np.ndarray, **settings) -> dict[str, float]:
    """All point values of a pair of sets."""
    unequal = settings.get("unequal", False)
    found = fidelity.block_measures(real=real, synthetic=synthetic, **settings)
    return found | {
        "FD": fidelity.frechet_distance(real=real, synthetic=synthetic, unequal=unequal)
    }


def two_sets(n: int, d: int, seed: int = 0, shift: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    """Positive, correlated features as networks give them, the second set a little off."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(d, d)) / d**0.5
    first, second = rng.normal(size=(2, n, d)) @ mixing
    return np.maximum(first + 0.5, 0), np.maximum(1.1 * second + 0.5 + shift, 0)


def column(*numbers: float) -> np.ndarray:
    return np.array(numbers, dtype=np.float64)[:, None]


def test_frechet_distance_by_hand() -> None:
    assert fidelity.frechet_distance(real=column(0, 2), synthetic=column(3, 5)) == pytest.approx(9)
    # Means 1 and 2, variances 2 and 8: 1 + 2 + 8 - 2 sqrt(16).
    assert fidelity.frechet_distance(real=column(0, 2), synthetic=column(0, 4)) == pytest.approx(3)


def test_frechet_distance_of_known_gaussians() -> None:
    """Sets whitened to exact moments, covariances that do not commute: against scipy's matrix root."""
    from scipy.linalg import sqrtm

    rng = np.random.default_rng(1)
    factors = rng.normal(size=(2, 4, 4))
    sets = []
    for factor in factors:
        rows = rng.normal(size=(50, 4))
        white = (rows - rows.mean(0)) @ np.linalg.inv(
            np.linalg.cholesky(np.cov(rows, rowvar=False)).T
        )
        sets.append(white @ factor.T)
    a, b = (factor @ factor.T for factor in factors)
    expected = np.trace(a + b - 2 * sqrtm(a @ b).real)
    assert fidelity.frechet_distance(real=sets[0], synthetic=sets[1]) == pytest.approx(
        expected, rel=1e-9
    )


def test_kernel_distance_by_hand() -> None:
    """Kernel (x y + 1)^3: 1 within {0, 1}, 27 within {1, 2}, on average (1 + 1 + 8 + 27) / 4 across."""
    assert fidelity.kernel_distance(real=column(0, 1), synthetic=column(1, 2)) == pytest.approx(
        1 + 27 - 2 * 37 / 4
    )


def test_overlaps_by_hand() -> None:
    """Radii of the nearest neighbour: real 1, 1, 2; synthetic 3, 3, 6.5."""
    near, far = column(0, 1, 3), column(0.5, 3.5, 10)
    found = fidelity.block_measures(real=near, synthetic=far, k=1)
    assert {name: found[name] for name in fidelity.OVERLAPS} == pytest.approx(
        {"precision": 2 / 3, "recall": 1, "density": 1, "coverage": 1}
    )
    found = fidelity.block_measures(real=far, synthetic=near, k=1)
    assert {name: found[name] for name in fidelity.OVERLAPS} == pytest.approx(
        {"precision": 1, "recall": 2 / 3, "density": 5 / 3, "coverage": 2 / 3}
    )


@pytest.mark.parametrize("n, d", [(60, 8), (40, 80)])
def test_copies_are_at_no_distance_and_overlap_fully(n: int, d: int) -> None:
    """A copy's k-th neighbour lies exactly on the radius, which rounding must not count as inside."""
    real, _ = two_sets(n, d)
    copies = real[np.random.default_rng(3).permutation(n)]
    found = values(real=real, synthetic=copies, k=3)
    assert found["FD"] == pytest.approx(0, abs=1e-10)
    assert {name: found[name] for name in fidelity.OVERLAPS} == dict.fromkeys(
        fidelity.OVERLAPS, 1.0
    )
    assert found["KID"] < 0  # unbiased: a copy is nearer than an independent sample


def test_distances_are_symmetric_and_precision_is_the_others_recall() -> None:
    a, b = two_sets(70, 6)
    there, back = values(real=a, synthetic=b), values(real=b, synthetic=a)
    for name in (*DISTANCES, "KID_variance"):
        assert there[name] == pytest.approx(back[name], rel=1e-9)
    assert there["precision"] == back["recall"] and there["recall"] == back["precision"]


def test_directions() -> None:
    real, fresh = two_sets(600, 6, shift=0.0)
    rng = np.random.default_rng(5)
    collapsed = fresh[:6][rng.integers(0, 6, 600)] + 0.01 * rng.normal(size=fresh.shape)
    noisy = fresh + 3 * rng.normal(size=fresh.shape)
    floor, modes, noise = (values(real=real, synthetic=s) for s in (fresh, collapsed, noisy))
    for name in DISTANCES:
        assert min(modes[name], noise[name]) > 5 * abs(floor[name])
    assert modes["precision"] > 0.6 and modes["recall"] < 0.2 and modes["coverage"] < 0.3
    assert noise["precision"] < 0.3 and noise["density"] < 0.3 and noise["coverage"] < 0.5
    assert min(floor[name] for name in fidelity.OVERLAPS) > 0.75


def test_all_equal_rows_are_inside_nothing() -> None:
    real, _ = two_sets(50, 5)
    found = values(real=real, synthetic=np.repeat(real[:1], 50, 0))
    assert found["precision"] == 1 and found["recall"] == 0


@pytest.mark.parametrize("block", [7, 64])
def test_blocks_and_order_change_nothing(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    real, synthetic = two_sets(90, 12)
    expected = values(real=real, synthetic=synthetic)
    monkeypatch.setattr(blocks, "BLOCK", block)
    rng = np.random.default_rng(0)
    shuffled = values(real=rng.permutation(real), synthetic=rng.permutation(synthetic))
    assert shuffled == pytest.approx(expected, rel=1e-9)


def test_float32_blocks_change_no_count() -> None:
    real, synthetic = two_sets(1500, 64)
    exact, fast = (
        fidelity.block_measures(real=real, synthetic=synthetic, dtype=t)
        for t in ("float64", "float32")
    )
    for name in fidelity.OVERLAPS:
        assert fast[name] == pytest.approx(exact[name], abs=1e-3)
    assert fast["KID"] == pytest.approx(exact["KID"], rel=1e-3)


@pytest.mark.parametrize("n, d", [(64, 8), (400, 64), (1100, 20)])
def test_agreement_with_the_reference_implementations(n: int, d: int) -> None:
    from prdc import compute_prdc
    from torch_fidelity import metric_fid, metric_kid

    real, synthetic = two_sets(n, d, seed=n)
    both = [torch.from_numpy(f) for f in (real, synthetic)]
    moments = [metric_fid.fid_features_to_statistics(f) for f in both]
    with contextlib.redirect_stdout(io.StringIO()):
        reference = compute_prdc(real, synthetic, nearest_k=5)
    reference["FD"] = metric_fid.fid_statistics_to_metric(*moments, verbose=False)[
        "frechet_inception_distance"
    ]
    kid = metric_kid.kid_features_to_metric(*both, kid_subsets=1, kid_subset_size=n, verbose=False)
    reference["KID"] = kid["kernel_inception_distance_mean"]
    found = values(real=real, synthetic=synthetic)
    assert {name: found[name] for name in reference} == pytest.approx(reference, rel=1e-6)


def named(rows: np.ndarray, encoder: str) -> FeatureSet:
    return FeatureSet(rows, encoder)


def bad_inputs() -> dict[str, tuple[np.ndarray, np.ndarray, str]]:
    a, b = two_sets(20, 4)
    broken = b.copy()
    broken[3, 2] = np.nan
    return {
        "n": (a, b[:15], r"real are \(20, 4\), synthetic \(15, 4\); .* say unequal=True"),
        "one row": (a[:1], b[:1], "n >= 2"),
        "not finite": (a, broken, "synthetic must be finite"),
        "width": (a, b[:, :3], r"\(20, 4\), synthetic \(20, 3\)"),
        "encoder": (named(a, "one"), b, "encoder one, synthetic of None"),
        "shape": (a[0], b, "real must be"),
    }


@pytest.mark.parametrize("case", bad_inputs())
def test_bad_input_is_refused_by_name(case: str) -> None:
    real, synthetic, words = bad_inputs()[case]
    for measure in (
        fidelity.frechet_distance,
        fidelity.kernel_distance,
        fidelity.block_measures,
        fidelity.measures,
    ):
        with pytest.raises(InputError, match=words) as refusal:
            measure(real=real, synthetic=synthetic)
        assert "\n" not in str(refusal.value)


def test_too_few_rows_for_the_question_are_refused() -> None:
    real, synthetic = two_sets(5, 3)
    with pytest.raises(InputError, match="5 nearest neighbours need more than 5 rows, got 5"):
        fidelity.block_measures(real=real, synthetic=synthetic)


def test_unequal_numbers_are_measured_when_said() -> None:
    real, synthetic = two_sets(300, 5)
    found = values(real=real, synthetic=synthetic[:150], unequal=True)
    whole = values(real=real, synthetic=synthetic)
    assert (
        found["KID"] == pytest.approx(whole["KID"], rel=0.5)
        and found["KID_variance"] > whole["KID_variance"]
    )
    assert fidelity.measures(real=real, synthetic=synthetic[:150], unequal=True)["FD"].n == 150


def test_measures_carry_intervals_n_and_the_encoders_name() -> None:
    real, synthetic = two_sets(120, 10)
    real_named, synthetic_named = (named(rows, "one") for rows in (real, synthetic))
    found = fidelity.measures(real=real_named, synthetic=synthetic_named, k=3)
    assert list(found) == [f"{measure}_one" for measure in ("FD", "KID", *fidelity.OVERLAPS)]
    for estimate in found.values():
        assert estimate.n == 120 and estimate.ci_low < estimate.value < estimate.ci_high
    with pytest.raises(InputError, match="real are of encoder one, synthetic of other"):
        fidelity.measures(real=real_named, synthetic=named(synthetic, "other"))
    plain = fidelity.measures(real=real, synthetic=synthetic, groups=0)
    assert plain["KID"].ci_low is not None and plain["FD"].value == pytest.approx(
        found["FD_one"].value
    )
    assert plain["FD"].ci_low is None and plain["recall"].ci_high is None
    copies = fidelity.measures(real=real, synthetic=real)
    assert copies["precision"] == Estimate(1.0, None, None, 120)


@pytest.mark.parametrize("shift", [0.0, 0.15, 0.6])
@pytest.mark.parametrize("m", [40, 80])
def test_kernel_variance_is_the_spread_over_samples(shift: float, m: int) -> None:
    """Degenerate (equal distributions; there it errs to the safe side), in between and far; 600 pairs each."""
    found = []
    for seed in range(600):
        rng = np.random.default_rng(seed)
        real, synthetic = rng.normal(size=(40, 3)), rng.normal(size=(m, 3)) + shift
        both = fidelity.block_measures(real=real, synthetic=synthetic, k=0, unequal=True)
        found.append((both["KID"], both["KID_variance"]))
    kid, variance = np.array(found).T
    assert 0.8 < variance.mean() / kid.var(ddof=1) < (1.6 if shift == 0 else 1.25)


def test_the_kernels_interval_is_by_patient_where_patients_are_given() -> None:
    """Four images a patient that are nearly one: the variance is that of the patients, four times as large."""
    rng = np.random.default_rng(4)
    patients = rng.normal(loc=[[[0.0]], [[0.7]]], size=(2, 200, 3))
    real, synthetic = np.repeat(patients, 4, axis=1) + 0.01 * rng.normal(size=(2, 800, 3))
    by_image = fidelity.measures(real=real, synthetic=synthetic, groups=0)["KID"]
    by_patient = fidelity.measures(
        real=real, synthetic=synthetic, clusters=np.repeat(np.arange(200), 4)
    )["KID"]
    widths = [found.ci_high - found.ci_low for found in (by_image, by_patient)]
    assert 1.5 < widths[1] / widths[0] < 3


def test_many_rows_are_measured_in_subsets_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """From twice the subset's size on each row is compared with its own subset alone; FD with all."""
    monkeypatch.setattr(intervals, "SUBSET", 40)
    real, synthetic = two_sets(130, 6)
    below = fidelity.measures(real=real[:79], synthetic=synthetic[:79], groups=0)
    exact = values(real=real[:79], synthetic=synthetic[:79])
    assert {name: below[name].value for name in ("KID", *fidelity.OVERLAPS)} == pytest.approx(
        {name: exact[name] for name in ("KID", *fidelity.OVERLAPS)}
    )
    found = fidelity.measures(real=real, synthetic=synthetic[:125], unequal=True)
    deals = [np.random.default_rng(1).permutation(n) % 3 for n in (130, 125)]
    parts = [
        values(
            real=real[deals[0] == number],
            synthetic=synthetic[:125][deals[1] == number],
            unequal=True,
        )
        for number in range(3)
    ]
    for name in ("KID", *fidelity.OVERLAPS):
        assert (
            found[name].value == pytest.approx(np.mean([part[name] for part in parts]))
            and found[name].n == 125
        )
    assert found["FD"].value == pytest.approx(
        values(real=real, synthetic=synthetic[:125], unequal=True)["FD"]
    )
    with pytest.raises(InputError, match=r"real are \(130, 6\), synthetic \(125, 6\)"):
        fidelity.measures(real=real, synthetic=synthetic[:125])


def test_the_interval_over_subsets_is_their_means_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways, U-statistic and jackknife by patient, beside the spread over 150 samples; patients of two images."""
    monkeypatch.setattr(intervals, "SUBSET", 25)
    found, widths = [], []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        real, synthetic = rng.normal(size=(2, 100, 3)) + np.array([0, 0.5])[:, None, None]
        ways = [{}, {"clusters": np.arange(100) // 2}]
        both = [
            fidelity.measures(real=real, synthetic=synthetic, k=1, groups=10, **way)["KID"]
            for way in ways
        ]
        found.append(both[0].value)
        widths.append([(one.ci_high - one.ci_low) / 2 for one in both])
    from scipy.stats import t

    spread = np.std(found, ddof=1) * t.ppf(0.975, [99, 9])
    assert 0.85 < (np.mean(widths, 0) / spread).min() <= (np.mean(widths, 0) / spread).max() < 1.25


def test_delete_group_is_the_usual_standard_error_of_a_mean() -> None:
    rows = np.random.default_rng(0).normal(size=(30, 1))
    value, variance, freedom = delete_group(lambda x: x.mean(), [rows], groups=30)
    assert value[0] == pytest.approx(rows.mean()) and freedom == 29
    assert variance[0] == pytest.approx(rows.var(ddof=1) / 30)
    patients = np.repeat(np.arange(10), 3)
    _, variance, freedom = delete_group(lambda x: x.mean(), [rows], clusters=patients)
    assert freedom == 9 and variance[0] == pytest.approx(
        delete_one_cluster(rows[:, 0], patients).variance
    )


def test_delete_group_keeps_rows_of_one_place_together() -> None:
    rows = np.arange(40.0)
    _, variance, _ = delete_group(lambda a, b: [(a - b).mean(), a.mean()], [rows, rows + 1])
    assert variance[0] == pytest.approx(0, abs=1e-20) and variance[1] > 1


@pytest.mark.full
@pytest.mark.parametrize("name", ["KID", "FD", *fidelity.OVERLAPS])
def test_intervals_cover(name: str) -> None:
    """At least 93% of 2,000 intervals cover the measure's mean at that n."""
    low, value, high = coverage_runs()[name]
    assert ((low <= value.mean()) & (value.mean() <= high)).mean() >= 0.93


_RUNS: dict[str, np.ndarray] = {}


def coverage_runs() -> dict[str, np.ndarray]:
    """Low, value and high of every measure, (3, 2000), over independent pairs of sets; made once."""
    if not _RUNS:
        found = []
        for seed in range(2000):
            rng = np.random.default_rng(seed)
            real, synthetic = rng.normal(size=(100, 16)), 1.2 * rng.normal(size=(100, 16)) + 0.4
            found.append(fidelity.measures(real=real, synthetic=synthetic, k=5))
        for name in found[0]:
            ends = [(f[name].ci_low, f[name].value, f[name].ci_high) for f in found]
            _RUNS[name] = np.array(
                ends, dtype=np.float64
            ).T  # no interval is NaN, which covers nothing
    return _RUNS
