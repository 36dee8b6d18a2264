"""Intervals against hand values, reference implementations and their own promised coverage."""

import numpy as np
import pytest
from scipy import stats

from medisyn_lib.statistics.estimates import Estimate, student
from medisyn_lib.statistics.intervals import (
    cluster_interval,
    cluster_proportion,
    difference,
    exact_proportion,
    paired_difference,
    paired_proportions,
    t_interval,
    wilson,
)
from medisyn_lib.statistics.power import detectable_difference, standard_error


def ends(estimate):
    return estimate.ci_low, estimate.ci_high


@pytest.mark.parametrize(
    ("bound", "contains", "above", "below"),
    [
        (0.0, False, True, False),
        (0.1, True, False, False),
        (0.3, True, False, False),
        (0.4, False, False, True),
    ],
)
def test_an_interval_beside_a_bound(bound, contains, above, below):
    found = Estimate(0.2, 0.1, 0.3, 9)
    assert (found.contains(bound), found.above(bound), found.below(bound)) == (
        contains,
        above,
        below,
    )


def test_without_an_interval_nothing_is_said_of_a_bound():
    found = Estimate(0.2, None, None, 1)
    assert not (found.contains(0.2) or found.above(0.0) or found.below(1.0))


def test_wilson_by_hand():
    found = wilson(8, 10)  # centre (p + z^2/2n)/(1 + z^2/n), half width by the textbook formula
    assert (
        ends(found) == pytest.approx((0.4902, 0.9433), abs=1e-4)
        and found.value == 0.8
        and found.n == 10
    )
    assert wilson(10, 10).ci_high == 1.0 and wilson(10, 10).ci_low == pytest.approx(
        10 / (10 + 1.95996**2), abs=1e-5
    )
    assert wilson(0, 0) == type(found)(None, None, None, 0)
    with pytest.raises(ValueError, match="11 of 10"):
        wilson(11, 10)


def test_t_interval_by_hand():
    # mean 2, sd 1, se 1/sqrt(3), t(2) 4.3027
    assert ends(t_interval([1, 2, 3])) == pytest.approx(
        (2 - 4.3027 / 3**0.5, 2 + 4.3027 / 3**0.5), abs=1e-4
    )


@pytest.mark.parametrize("values", [[], [0.5], [0.3, 0.3, 0.3]])
def test_degenerate_has_no_interval(values):
    found = t_interval(values)
    assert ends(found) == (None, None) and found.n == len(values)
    assert found.value == (pytest.approx(values[0]) if values else None)


def test_cluster_interval_by_hand():
    # Patient means 0 and 1 and 4, two images each: t interval of the three means.
    found = cluster_interval([0, 0, 1, 1, 4, 4], ["a", "a", "b", "b", "c", "c"])
    expected = stats.t.interval(0.95, 2, loc=5 / 3, scale=stats.sem([0, 1, 4]))
    assert ends(found) == pytest.approx(expected) and found.n == 6
    assert ends(cluster_interval([1, 2, 3], ["a"] * 3)) == (None, None)


def test_cluster_interval_against_statsmodels():
    import statsmodels.api as sm

    rng = np.random.default_rng(0)
    group = rng.integers(200, size=800)
    values = rng.normal(size=200)[group] + rng.normal(size=800)
    fit = sm.OLS(values, np.ones(800)).fit(cov_type="cluster", cov_kwds={"groups": group})
    assert standard_error(cluster_interval(values, group)) == pytest.approx(fit.bse[0], rel=0.02)


def simulated_coverage(interval, draw, truth, runs=2000):
    rng = np.random.default_rng(1)
    found = [interval(*draw(rng)) for _ in range(runs)]
    return np.mean([e.ci_low is not None and e.ci_low <= truth <= e.ci_high for e in found])


def patients(rng, g=20):
    group = np.repeat(np.arange(g), rng.integers(1, 6, size=g))
    return group, rng.normal(size=g)[group]


def test_cluster_interval_covers():
    def draw(rng):
        group, effect = patients(rng)
        return effect + rng.normal(size=len(group)), group

    assert simulated_coverage(cluster_interval, draw, 0.0) >= 0.93


def test_cluster_proportion_covers_near_one():
    def draw(rng):
        group = np.repeat(np.arange(60), 3)
        proportion = rng.beta(9.5, 0.5, size=60)  # mean 0.95
        return rng.random(180) < proportion[group], group

    assert simulated_coverage(cluster_proportion, draw, 0.95) >= 0.93


def test_cluster_proportion_counts_patients_where_all_succeed():
    found = cluster_proportion(np.ones(30), np.repeat(np.arange(10), 3))
    assert ends(found) == ends(wilson(10, 10)) and found.n == 30


def test_patients_who_differ_in_nothing_leave_the_plain_interval():
    """One of two images right, of every patient: no spread between patients, so no more than 20 images of them."""
    found = cluster_proportion([1, 0] * 10, np.arange(20) // 2)
    assert ends(found) == pytest.approx(ends(wilson(10, 20)))


def test_a_small_spread_has_an_interval_and_rounding_has_none():
    assert student(1.0, 1e-14, 5, 9).ci_high == pytest.approx(1 + 2.570582e-7, abs=1e-12)
    assert student(1.0, 1e-26, 5, 9).ci_high is None


def test_independent_images_make_a_plain_proportion():
    hits = np.r_[np.ones(80), np.zeros(20)]
    assert ends(cluster_proportion(hits, np.arange(100))) == pytest.approx(
        ends(wilson(80, 100)), abs=2e-3
    )


def test_paired_difference_is_the_mean_of_differences():
    a, b, group = [1.0, 2.0, 4.0], [0.0, 0.0, 0.0], ["p", "q", "r"]
    assert paired_difference(a, b, group) == cluster_interval(a, group)
    with pytest.raises(ValueError, match="3 and 2"):
        paired_difference(a, b[:2], group)


def test_paired_proportions_have_an_interval_where_nothing_differs():
    """Of 20 images no difference was seen: up to 1 - 20/(20 + 1.96^2) = 16.1% may differ, either way."""
    some, group, rest = np.array([1.0, 0.0] * 10), np.arange(20), 1 - 20 / (20 + 1.95996**2)
    assert ends(paired_proportions(some, some, group)) == pytest.approx((-rest, rest), abs=1e-5)
    assert ends(paired_proportions(np.ones(20), np.zeros(20), group)) == pytest.approx(
        (1 - 2 * rest, 1), abs=1e-5
    )
    assert ends(paired_proportions(np.zeros(20), np.ones(20), group)) == pytest.approx(
        (-1, 2 * rest - 1), abs=1e-5
    )
    other = np.roll(some, 1) * np.arange(20) % 2
    assert paired_proportions(some, other, group) == paired_difference(some, other, group)
    assert ends(paired_proportions([1.0, 0.0], [1.0, 0.0], ["p", "p"])) == (None, None)


def test_difference_is_welchs():
    rng = np.random.default_rng(2)
    a, b = rng.normal(1, 2, size=30), rng.normal(size=50)
    reference = stats.ttest_ind(a, b, equal_var=False).confidence_interval()
    assert ends(difference(a, np.arange(30), b, np.arange(50))) == pytest.approx(
        (reference.low, reference.high)
    )
    assert ends(difference([1.0], [0], b, np.arange(50))) == (None, None)


def test_difference_covers():
    def draw(rng):
        (ga, ea), (gb, eb) = patients(rng, 15), patients(rng, 30)
        return ea + rng.normal(size=len(ga)), ga, 2 * eb + rng.normal(size=len(gb)), gb

    assert simulated_coverage(difference, draw, 0.0, runs=1000) >= 0.93


def test_detectable_difference():
    assert detectable_difference(1.0) == pytest.approx(1.95996 + 0.84162, abs=1e-4)
    assert detectable_difference(None) is None


def test_detectable_difference_is_seen_in_four_of_five():
    rng = np.random.default_rng(3)
    seen = (
        np.abs(rng.normal(loc=detectable_difference(0.3), scale=0.3, size=20_000)) > 1.95996 * 0.3
    )
    assert seen.mean() == pytest.approx(0.8, abs=0.01)


def test_bad_numbers_are_refused():
    with pytest.raises(ValueError, match="finite"):
        t_interval([1.0, float("nan")])
    with pytest.raises(ValueError, match="2 for 3"):
        cluster_interval([1, 2, 3], [0, 1])


def test_exact_proportion_by_hand() -> None:
    """Of 0 in 10 the upper limit is 1 - 0.025^(1/10); 7 in 21 as scipy's binomtest has it."""
    from scipy.stats import binomtest

    none = exact_proportion(0, 10)
    assert (none.value, none.ci_low) == (0, 0) and none.ci_high == pytest.approx(1 - 0.025**0.1)
    some, expected = (
        exact_proportion(7, 21, 0.9),
        binomtest(7, 21).proportion_ci(0.9, method="exact"),
    )
    assert (some.ci_low, some.ci_high) == pytest.approx((expected.low, expected.high))
