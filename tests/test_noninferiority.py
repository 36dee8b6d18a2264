"""Log-ratios by modality: paired contrasts, their variance over patients and seeds, limits that hold together."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from medisyn_lib.errors import InputError
from medisyn_lib.evaluation import fidelity
from medisyn_lib.statistics.noninferiority import (
    Contrast,
    against_margin,
    contrast,
    simultaneous,
    step_down,
)


def row(effects: list[float], error: float = 0.01, degrees_of_freedom: int = 19) -> Contrast:
    return Contrast(effects, error**2, degrees_of_freedom, 1000)


def features(rng: np.random.Generator, n: int, shift: float) -> np.ndarray:
    return rng.normal(size=(n, 16)) + shift


def test_one_modality_has_one_sided_limits_of_five_percent() -> None:
    found = simultaneous({"ct": row([0.1], 0.03)})["ct"]
    half = stats.t.ppf(0.95, 19) * 0.03
    assert (found.ci_low, found.ci_high) == pytest.approx((0.1 - half, 0.1 + half))
    assert found.n == 1000


def test_limits_of_ten_modalities_err_half_a_percent_each() -> None:
    found = simultaneous({str(i): row([0.0], 0.03) for i in range(10)})
    half = stats.t.ppf(1 - 0.05 / 10, 19) * 0.03
    assert found["3"].ci_high == pytest.approx(half)


def test_all_limits_hold_together_in_95_percent_of_studies() -> None:
    """2,000 studies of ten modalities at zero: an upper limit below zero anywhere in at most 6%."""
    rng = np.random.default_rng(5)
    wrong = 0
    for _ in range(2000):
        errors = 0.02 * np.sqrt(rng.chisquare(19, 10) / 19)
        values = 0.02 * rng.normal(size=10)
        study = {str(i): row([values[i]], errors[i]) for i in range(10)}
        wrong += any(one.below(0) for one in simultaneous(study).values())
    assert 60 < wrong <= 120


def test_seed_variance_by_the_two_way_table() -> None:
    """Shifts that all modalities share have the seeds' degrees of freedom; independent ones have the whole table's."""
    shift = np.array([-0.01, 0.0, 0.01])
    together = simultaneous({str(i): row(list(shift), 1e-9) for i in range(10)})
    half = stats.t.ppf(1 - 0.05 / 10, 2) * shift.std(ddof=1) / 3**0.5
    assert together["3"].ci_high == pytest.approx(half, rel=1e-3)
    # Every shift as often at each seed.
    apart = simultaneous({str(i): row(list(np.roll(shift, i)), 1e-9) for i in range(9)})
    half = stats.t.ppf(1 - 0.05 / 9, 16) * shift.std(ddof=1) / 3**0.5
    assert apart["3"].ci_high == pytest.approx(half, rel=1e-3)


def test_a_modality_whose_seeds_vary_more_than_the_usual_has_its_own_variance() -> None:
    """The variance of a mean over seeds is the modality's own where that is larger, else the modalities' mean."""
    effects = np.array(
        [[0.00, 0.02, 0.05], [0.01, 0.00, 0.02], [0.03, 0.01, 0.02], [-0.04, 0.04, 0.09]]
    )
    study = {name: row(list(values), 1e-9) for name, values in zip("abcd", effects, strict=True)}
    found = simultaneous(study)
    spread, off = effects.var(1, ddof=1) / 3, effects - effects.mean(1, keepdims=True)
    shared = (off.mean(0) ** 2).sum() / (off**2).sum(1).mean()
    for name, own in zip("abcd", spread, strict=True):
        variance, loud = max(own, spread.mean()), own > spread.mean()
        freedom = 1 / (shared**2 / 2 + (1 - shared) ** 2 / (2 if loud else 6))
        half = stats.t.ppf(1 - 0.05 / 4, freedom) * variance**0.5
        assert found[name].ci_high == pytest.approx(found[name].value + half, rel=1e-6)


def test_a_modality_without_a_ratio_spoils_no_other() -> None:
    shift = [-0.01, 0.0, 0.01]
    study = {str(i): row(list(np.roll(shift, i)), 0.002) for i in range(9)}
    whole = simultaneous(study)
    holed = simultaneous(study | {"hole": row([float("nan"), 0.0, 0.0], 0.002)})
    assert holed["hole"].value is None
    assert holed["3"].ci_high == pytest.approx(whole["3"].ci_high, rel=0.05)


def test_without_variance_there_are_no_limits_and_without_modalities_nothing() -> None:
    assert simultaneous({"a": row([0.0], float("nan"))})["a"].ci_low is None
    assert simultaneous({}) == {}


def test_bad_input_is_refused() -> None:
    real = np.zeros((20, 2))
    with pytest.raises(InputError, match=r"contrast: 1 sets, of .*\(19, 2\)"):
        contrast(fidelity.kernel_distance, [(real, real, real[1:])])
    with pytest.raises(InputError, match="contrast: 0 sets"):
        contrast(fidelity.kernel_distance, [])
    with pytest.raises(InputError, match="simultaneous: needs"):
        simultaneous({"a": row([0.0]), "b": row([0.0, 0.1])})


def test_contrast_is_the_paired_log_ratio() -> None:
    rng = np.random.default_rng(0)
    measure, real = fidelity.kernel_distance, features(rng, 200, 0)
    near, far = ([features(rng, 200, shift) for _ in range(2)] for shift in (0.5, 1.0))
    found, variance, degrees_of_freedom, n = contrast(
        measure, [(real, *two) for two in zip(far, near, strict=True)]
    )
    expected = [
        np.log(measure(real=real, synthetic=a) / measure(real=real, synthetic=b))
        for a, b in zip(far, near, strict=True)
    ]
    assert found == pytest.approx(expected) and min(found) > 0.5
    assert 0 < variance < 0.2 and (degrees_of_freedom, n) == (19, 400)
    # Paired: equal sets differ by nothing, surely.
    same = contrast(measure, [(real, side, side) for side in near])
    assert same.effects == [0, 0] and same.variance == 0
    # A copy's KID is negative: no ratio.
    copies = [(real, real[::-1].copy(), near[0])]
    floor = contrast(measure, copies)
    assert np.isnan(floor.effects[0]) and np.isnan(floor.variance)
    plain = contrast(measure, copies, ratio=False)
    assert plain.effects[0] < 0 and plain.variance > 0


def test_seeds_on_the_same_patients_vary_together() -> None:
    """Three seeds whose images are the same ones are worth one; on other patients each they are worth three."""
    rng = np.random.default_rng(1)
    one = [
        (features(rng, 100, 0), features(rng, 100, 0.6), features(rng, 100, 0.5)) for _ in range(3)
    ]
    people = [np.arange(100)] * 3
    single = contrast(fidelity.kernel_distance, one[:1], people[:1])
    thrice = contrast(fidelity.kernel_distance, one[:1] * 3, people)
    apart = contrast(fidelity.kernel_distance, one)
    assert thrice.variance == pytest.approx(single.variance)
    assert 0.1 < apart.variance / single.variance < 0.8


def test_p_values_at_a_margin_by_hand() -> None:
    found = against_margin({"ct": row([0.04], 0.03)}, 0.1)["ct"]
    expected = stats.t.cdf(-2.0, 19)
    assert found == pytest.approx((expected, 1 - expected))
    assert against_margin({}, 0.1) == {}
    unknown = against_margin({"a": row([0.0], float("nan"))}, 0.1)["a"]
    assert np.isnan(unknown.not_worse) and not step_down(unknown).any()
    with pytest.raises(InputError, match="same training seeds"):
        against_margin({"a": row([0.0]), "b": row([0.0, 0.1])}, 0.1)


def test_holms_step_down_test_is_statsmodels() -> None:
    from statsmodels.stats.multitest import multipletests

    rng = np.random.default_rng(0)
    for _ in range(50):
        p = rng.random(7) ** 4
        assert step_down(p).tolist() == multipletests(p, method="holm")[0].tolist()
    assert step_down([]).tolist() == []


def test_step_down_counts_no_more_than_are_there_in_95_percent_of_studies() -> None:
    """2,000 studies: seven modalities at zero, three at the margin; more than seven counted in at most 6%."""
    rng, wrong = np.random.default_rng(6), 0
    truth = np.array([0.0] * 7 + [0.1] * 3)
    for _ in range(2000):
        errors = 0.02 * np.sqrt(rng.chisquare(19, 10) / 19)
        values = truth + 0.02 * rng.normal(size=10)
        study = {str(i): row([values[i]], errors[i]) for i in range(10)}
        counted = step_down([p.not_worse for p in against_margin(study, 0.1).values()])
        wrong += counted[7:].any()
    assert 30 < wrong <= 120
