"""Agreement: hand-computed values, reference implementations, bad input by name, intervals that cover."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from medisyn_lib.errors import InputError
from medisyn_lib.evaluation import agreement
from medisyn_lib.statistics.estimates import Estimate
from medisyn_lib.statistics.jackknife import means

Q = 5
RUNS = 2000
# irrcac 0.4.4, CAC(table, weights=, categories=range(5), digits=12): it asks for scipy 1.12, so it is not a dependency.
# Tables are `table(seed)` of below; pairs are their first two columns, complete cases. Where the package is
# installed, `test_irrcac_itself` compares with it, too.
IRRCAC = {  # Fleiss, AC2 with quadratic weights, quadratic-weighted kappa of the first two raters
    0: (0.251006241615, 0.773444124131, 0.794608472401),
    1: (0.221158906192, 0.757480491776, 0.72402044293),
    2: (0.359071117562, 0.790885640585, 0.821596244131),
    3: (0.133819760959, 0.739985554753, 0.706976744186),
}


def table(seed: int, n: int = 30, r: int = 4, missing: float = 0.2) -> np.ndarray:
    """Grades of raters who see the true grade with a step of error, some missing."""
    rng = np.random.default_rng(seed)
    grades = np.clip(rng.integers(0, Q, n)[:, None] + rng.integers(-1, 2, (n, r)), 0, Q - 1).astype(
        float
    )
    grades[rng.random(grades.shape) < missing] = np.nan
    return grades


def test_kappa_by_hand() -> None:
    """Two of four items agree; grades 0 to 2: weights 1, 3/4, 0."""
    a, b = [0, 1, 2, 0], [0, 1, 1, 2]
    # observed (1 + 1 + 3/4 + 0)/4; chance from marginals (2, 1, 1)/4 and (1, 2, 1)/4
    observed, chance = 2.75 / 4, (2 * (1 + 2 * 0.75) + (0.75 + 2 + 0.75) + (2 * 0.75 + 1)) / 16
    assert agreement.kappas(a, b, 3)[0] == pytest.approx(
        (observed - chance) / (1 - chance), abs=1e-12
    )


def test_ac2_by_hand() -> None:
    """Three items, two raters, two grades: with two grades AC2 is AC1."""
    pairs = np.array([[0, 0], [0, 1], [0, 0]])
    share = np.array([5 / 6, 1 / 6])
    chance = (share * (1 - share)).sum()
    expected = (2 / 3 - chance) / (1 - chance)
    assert agreement.gwet_ac2s(pairs, 2)[0] == pytest.approx(expected, abs=1e-12)


def test_an_item_graded_once_counts_for_the_shares_alone() -> None:
    """Gwet 2014, chapter 5: of four items three have two grades, of which two agree; the shares are of all four."""
    grades = np.array([[0, 0], [1, 1], [0, 1], [1, -1]])
    chance = (1.5 / 4) ** 2 + (2.5 / 4) ** 2
    assert agreement.fleiss_kappas(grades, 2)[0] == pytest.approx(
        (2 / 3 - chance) / (1 - chance), abs=1e-12
    )


def test_an_interval_below_one_by_hand() -> None:
    """Three clusters; Student's interval of log(1 - value), t of two degrees of freedom being 4.302653."""
    half = 4.302653 * (2 * 0.02**2 * 2 / 3) ** 0.5
    found = agreement.interval([0.8, 0.78, 0.8, 0.82], 30)
    limits = 1 - 0.2 * np.exp(half / 0.2), 1 - 0.2 * np.exp(-half / 0.2)
    assert (found.value, found.ci_low, found.ci_high, found.n) == pytest.approx(
        (0.8, *limits, 30), abs=1e-6
    )
    plain = agreement.interval([0.8, 0.78, 0.8, 0.82], 30, bounded=False)
    assert (plain.ci_low, plain.ci_high) == pytest.approx((0.8 - half, 0.8 + half), abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_scikit_learn_and_statsmodels_agree(seed: int) -> None:
    from sklearn.metrics import cohen_kappa_score, roc_auc_score
    from statsmodels.stats.inter_rater import aggregate_raters, fleiss_kappa

    full = table(seed, missing=0).astype(int)
    expected = cohen_kappa_score(full[:, 0], full[:, 1], weights="quadratic", labels=range(Q))
    assert agreement.kappas(full[:, 0], full[:, 1], Q)[0] == pytest.approx(expected, abs=1e-9)
    assert agreement.fleiss_kappas(full, Q)[0] == pytest.approx(
        fleiss_kappa(aggregate_raters(full)[0]), abs=1e-9
    )
    ill = full[:, 0] >= 2
    assert agreement.aucs(full[:, 1], ill)[0] == pytest.approx(
        roc_auc_score(ill, full[:, 1]), abs=1e-9
    )


@pytest.mark.parametrize("seed", IRRCAC)
def test_irrcac_agrees_with_missing_grades(seed: int) -> None:
    grades = table(seed)
    found = [agreement.fleiss_kappas(grades, Q)[0], agreement.gwet_ac2s(grades, Q)[0]]
    found.append(agreement.kappas(grades[:, 0], grades[:, 1], Q)[0])
    assert found == pytest.approx(IRRCAC[seed], abs=1e-9)


def test_irrcac_itself() -> None:
    raw = pytest.importorskip("irrCAC.raw")
    for seed, expected in IRRCAC.items():
        frame = pd.DataFrame(table(seed))
        plain, weighted = (
            raw.CAC(frame, weights=w, categories=[*range(Q)], digits=12)
            for w in ("identity", "quadratic")
        )
        pair = raw.CAC(
            frame[[0, 1]].dropna(), weights="quadratic", categories=[*range(Q)], digits=12
        ).conger()
        found = [plain.fleiss(), weighted.gwet(), pair]
        assert [f["est"]["coefficient_value"] for f in found] == pytest.approx(expected, abs=1e-11)


@pytest.mark.parametrize("statistic", [agreement.fleiss_kappas, agreement.gwet_ac2s])
def test_leaving_out_is_leaving_out(statistic: Callable[..., np.ndarray]) -> None:
    """The closed form equals the statistic of the table without the cluster."""
    grades, clusters = table(7), np.arange(30) // 3
    rows = statistic(grades, Q, clusters)
    direct = [statistic(grades[clusters != c], Q)[0] for c in range(10)]
    assert rows[1:] == pytest.approx(direct, abs=1e-12)


def test_leaving_out_of_pairs_and_of_curves() -> None:
    grades, clusters = table(8, missing=0.1), np.arange(30) // 3
    a, b = grades[:, 0], grades[:, 1]
    direct = [agreement.kappas(a[clusters != c], b[clusters != c], Q)[0] for c in range(10)]
    assert agreement.kappas(a, b, Q, clusters)[1:] == pytest.approx(direct, abs=1e-12)
    score, ill = np.nan_to_num(a), np.nan_to_num(b) >= 2
    direct = np.array(
        [agreement.aucs(score[clusters != c], ill[clusters != c])[0] for c in range(10)]
    )
    rows = agreement.aucs(score, ill, clusters)
    assert rows[1:] == pytest.approx(direct, abs=0.005)  # to first order
    assert np.corrcoef(rows[1:], direct)[0, 1] > 0.98


def test_graders_without_error_agree_perfectly_and_order_does_not_matter() -> None:
    truth = np.arange(20) % Q
    panel = np.tile(truth[:, None], 3)
    assert agreement.fleiss_kappas(panel, Q)[0] == agreement.gwet_ac2s(panel, Q)[0] == 1
    assert agreement.over_items(agreement.fleiss_kappas, panel, Q) == Estimate(1.0, None, None, 20)
    grades, order = table(3), np.random.default_rng(0).permutation(30)
    for statistic in (agreement.fleiss_kappas, agreement.gwet_ac2s):
        assert statistic(grades, Q)[0] == pytest.approx(
            statistic(grades[order][:, ::-1], Q)[0], abs=1e-12
        )


def test_more_errors_agree_less() -> None:
    rng = np.random.default_rng(1)
    truth = rng.integers(0, Q, 400)
    values = []
    for share in (0.1, 0.3, 0.6):
        panel = np.where(rng.random((400, 3)) < share, rng.integers(0, Q, (400, 3)), truth[:, None])
        pair = agreement.kappas(panel[:, 0], truth, Q)[0]
        values.append(
            [agreement.fleiss_kappas(panel, Q)[0], agreement.gwet_ac2s(panel, Q)[0], pair]
        )
    assert (np.diff(values, axis=0) < 0).all()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: agreement.checked(np.zeros((4, 1)), Q), "at least 2 graders"),
        (lambda: agreement.checked([[0, 5]], Q), "grade 5 of item 0 by grader 1 is unknown"),
        (lambda: agreement.checked([[0, 1.5]], Q), "grade 1.5 of item 0"),
        (lambda: agreement.checked([[0, -2]], Q), "unknown"),
        (lambda: agreement.checked([[0, -1], [np.nan, 2]], Q), "no overlap"),
        (lambda: agreement.kappas([2, 2, 2], [2, 2, 2], Q), "undefined: all grades are 2"),
        (lambda: agreement.fleiss_kappas([[0, 0], [0, -1]], Q), "undefined: all grades are 0"),
        (lambda: agreement.aucs([0.1, 0.2], [True, True]), "AUC is undefined"),
    ],
)
def test_bad_input_is_said_by_name(call: Callable[[], object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        call()


def test_equal_grades_have_an_ac2_and_few_raters_no_interval() -> None:
    assert agreement.gwet_ac2s(np.full((4, 3), 2), Q)[0] == 1
    found = agreement.over_raters(agreement.gwet_ac2s, table(0, r=4), Q)
    assert found.value is not None and found.ci_low is None and found.n == 4


def test_operating_points_by_hand() -> None:
    sensitivity, specificity = agreement.operating_point(
        [0, 1, 2, 3, -1], [1, 1, 0, 3, 2], 1, range(5)
    )
    assert (sensitivity.value, sensitivity.n) == (pytest.approx(2 / 3), 3)
    assert (specificity.value, specificity.n) == (0, 1)
    assert agreement.operating_point([0, 0], [0, 0], 1, [0, 1])[0] == Estimate(None, None, None, 0)


# Coverage. Raters grade by confusion matrices whose population statistic is known exactly.


def matrix(error: float) -> np.ndarray:
    """A rater's confusion matrix: right but for `error`, which falls on the neighbouring grades."""
    near = np.eye(Q, k=1) + np.eye(Q, k=-1)
    return (1 - error) * np.eye(Q) + error * near / near.sum(1, keepdims=True)


def drawn(rng: np.random.Generator, truth: np.ndarray, errors: list[float]) -> np.ndarray:
    edges = np.cumsum([matrix(error) for error in errors], 2)[:, truth]
    return (rng.random((len(errors), len(truth), 1)) > edges).sum(2).T


def population(
    errors: list[float], prevalence: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, float]:
    """Mean shares of grades and mean agreement of two raters of the panel, for ever many items."""
    shares = [prevalence @ matrix(e) for e in errors]
    alike = [
        np.einsum("t,tk,tl,kl", prevalence, matrix(a), matrix(b), weights)
        for i, a in enumerate(errors)
        for b in errors[i + 1 :]
    ]
    return np.mean(shares, 0), float(np.mean(alike))


def coverage(found: list[Estimate], truth: float) -> float:
    """Share of the intervals that were given and hold the truth; at least 95% must have been given."""
    given = [e for e in found if e.ci_low is not None and e.ci_high is not None]
    assert len(given) >= 0.95 * len(found)
    return float(np.mean([e.ci_low <= truth <= e.ci_high for e in given]))


SKEWED, EVEN = np.array([0.6, 0.15, 0.15, 0.05, 0.05]), np.full(Q, 0.2)
CASES = [
    (60, [0.3, 0.4, 0.5], EVEN),
    (60, [0.1, 0.2, 0.3], SKEWED),
    (200, [0.05, 0.1, 0.1], SKEWED),
]


@pytest.mark.parametrize(("n", "errors", "prevalence"), CASES, ids=str)
def test_intervals_over_items_cover(n: int, errors: list[float], prevalence: np.ndarray) -> None:
    rng, weights = np.random.default_rng(n), agreement.quadratic_weights(Q)
    found: dict[str, list[Estimate]] = {"kappa": [], "fleiss": [], "ac2": []}
    for _ in range(RUNS):
        panel = drawn(rng, rng.choice(Q, n, p=prevalence), errors)
        found["kappa"].append(agreement.interval(agreement.kappas(panel[:, 0], panel[:, 1], Q), n))
        found["fleiss"].append(agreement.over_items(agreement.fleiss_kappas, panel, Q))
        found["ac2"].append(agreement.over_items(agreement.gwet_ac2s, panel, Q))
    (a, b), (_, observed) = (
        [prevalence @ matrix(e) for e in errors[:2]],
        population(errors[:2], prevalence, weights),
    )
    truth = {"kappa": (observed - a @ weights @ b) / (1 - a @ weights @ b)}
    shares, observed = population(errors, prevalence, np.eye(Q))
    truth["fleiss"] = (observed - (shares**2).sum()) / (1 - (shares**2).sum())
    shares, observed = population(errors, prevalence, weights)
    chance = weights.sum() / (Q * (Q - 1)) * (shares * (1 - shares)).sum()
    truth["ac2"] = (observed - chance) / (1 - chance)
    covered = {name: coverage(found[name], truth[name]) for name in found}
    assert min(covered.values()) >= 0.93, covered


@pytest.mark.parametrize("size", [5, 6, 10])
@pytest.mark.parametrize("statistic", [agreement.fleiss_kappas, agreement.gwet_ac2s])
def test_intervals_over_raters_cover(statistic: Callable[..., np.ndarray], size: int) -> None:
    """The truth is the statistic of all raters there are; a few, drawn at random, make the panel."""
    rng, many = np.random.default_rng(size), 600
    truth = rng.choice(Q, 80, p=EVEN)
    everyone = drawn(rng, truth, rng.uniform(0.05, 0.6, many).tolist())
    value = statistic(everyone, Q)[0]
    found = [
        agreement.over_raters(statistic, everyone[:, rng.choice(many, size, replace=False)], Q)
        for _ in range(RUNS)
    ]
    assert coverage(found, value) >= 0.93


def test_intervals_of_rates_and_curves_cover() -> None:
    """Three images a patient; sensitivity and specificity of one rater, a mean, AUC of a score."""
    from scipy.stats import norm

    rng, patients = np.random.default_rng(9), np.repeat(np.arange(70), 3)
    found: dict[str, list[Estimate]] = {"sensitivity": [], "specificity": [], "mean": [], "auc": []}
    for _ in range(RUNS):
        truth = np.repeat(rng.choice(Q, 70), 3)
        shift = np.repeat(rng.normal(0, 0.5, 70), 3) + rng.normal(
            0, 0.75**0.5, 210
        )  # of variance 1, within patients 1/4
        grade = np.where(truth >= 2, 2 * (shift < 1.0), 2 * (shift > 1.2))
        for name, point in zip(
            ("sensitivity", "specificity"),
            agreement.operating_point(grade, truth, 2, patients),
            strict=True,
        ):
            found[name].append(point)
        found["mean"].append(agreement.interval(means(shift, patients), 210, bounded=False))
        found["auc"].append(
            agreement.interval(
                agreement.aucs(shift + 1.5 * (truth >= 2), truth >= 2, patients), 210
            )
        )
    truths = {
        "sensitivity": norm.cdf(1.0),
        "specificity": norm.cdf(1.2),
        "mean": 0.0,
        "auc": norm.cdf(1.5 / 2**0.5),
    }
    covered = {name: coverage(found[name], truths[name]) for name in found}
    assert min(covered.values()) >= 0.93, covered


@pytest.mark.parametrize("size", [5, 8])
def test_intervals_of_mean_rates_over_raters_cover(size: int) -> None:
    """Sensitivities of raters of differing skill, 60 ill items each: the truth is the mean of all raters there are."""
    rng, found = np.random.default_rng(size), []
    for _ in range(RUNS):
        rates = rng.binomial(60, rng.uniform(0.75, 0.97, size)) / 60
        found.append(
            agreement.interval(
                [rates.mean(), *(np.delete(rates, k).mean() for k in range(size))], size
            )
        )
    assert coverage(found, 0.86) >= 0.93


def test_operating_points_are_scikit_learns_recalls() -> None:
    from sklearn.metrics import recall_score

    grades, truth = table(5, n=60, missing=0).astype(int)[:, :2].T
    for cut in (1, 2, 3):
        found = [point.value for point in agreement.operating_point(grades, truth, cut, range(60))]
        expected = [
            recall_score(truth >= cut, grades >= cut, pos_label=label) for label in (True, False)
        ]
        assert found == pytest.approx(expected, abs=1e-9)


def test_ratings_of_a_reader_study_go_through_the_same_code() -> None:
    """Five steps of realism, some images not shown to all: intervals over images and over five readers."""
    rng = np.random.default_rng(12)
    rows = [
        (f"r{r}", i, 1 + min(i % 5 + int(rng.random() < 0.3), 4))
        for r in range(5)
        for i in range(40)
    ]
    answers = pd.DataFrame(rows, columns=["reader", "item", "realism"]).sample(
        frac=0.9, random_state=0
    )
    ratings = answers.pivot(index="item", columns="reader", values="realism") - 1
    for statistic in (agreement.fleiss_kappas, agreement.gwet_ac2s):
        items, readers = (
            agreement.over_items(statistic, ratings, 5),
            agreement.over_raters(statistic, ratings, 5),
        )
        for point in (items, readers):
            assert (
                point.ci_low is not None
                and point.value is not None
                and 0 < point.ci_low < point.value
            )
        assert (items.n, readers.n) == (40, 5)


@pytest.mark.parametrize("errors", [[0.3, 0.4, 0.5], [0.05, 0.1, 0.1]], ids=str)
def test_intervals_over_items_of_what_graders_have_together_cover(errors: list[float]) -> None:
    """The mean of graders' kappas with the truth; sensitivity and specificity of all their readings; by patient."""
    rng, weights, patients = (
        np.random.default_rng(4),
        agreement.quadratic_weights(Q),
        np.repeat(np.arange(60), 2),
    )
    found: dict[str, list[Estimate]] = {"kappa": [], "sensitivity": [], "specificity": []}
    for _ in range(RUNS):
        truth = np.repeat(rng.integers(0, Q, 60), 2)
        panel = drawn(rng, truth, errors)
        rows = [agreement.kappas(column, truth, Q, patients) for column in panel.T]
        found["kappa"].append(agreement.interval(np.mean(rows, 0), 120))
        pooled = panel.T.ravel(), np.tile(truth, len(errors)), 2, np.tile(patients, len(errors))
        for name, point in zip(
            ("sensitivity", "specificity"), agreement.operating_point(*pooled), strict=True
        ):
            found[name].append(point)
    even = np.full(Q, 1 / Q)
    chance = [np.einsum("k,kl,l", even @ matrix(e), weights, even) for e in errors]
    alike = [np.einsum("t,tk,tk", even, matrix(e), weights) for e in errors]
    truths = {"kappa": np.mean([(o - c) / (1 - c) for o, c in zip(alike, chance, strict=True)])}
    truths["sensitivity"] = np.mean([matrix(e)[2:, 2:].sum() / 3 for e in errors])
    truths["specificity"] = np.mean([matrix(e)[:2, :2].sum() / 2 for e in errors])
    covered = {name: coverage(found[name], truths[name]) for name in found}
    assert min(covered.values()) >= 0.93, covered


@pytest.mark.parametrize("size", [5, 8])
def test_intervals_of_mean_kappas_over_raters_cover(size: int) -> None:
    """The truth is the mean kappa of all raters there are with the true grades of these very images."""
    rng, many = np.random.default_rng(size), 600
    truth = rng.integers(0, Q, 80)
    kappas = [
        agreement.kappas(column, truth, Q)[0]
        for column in drawn(rng, truth, rng.uniform(0.05, 0.6, many).tolist()).T
    ]
    found = []
    for _ in range(RUNS):
        few = rng.choice(kappas, size, replace=False)
        found.append(
            agreement.interval([few.mean(), *(np.delete(few, k).mean() for k in range(size))], size)
        )
    assert coverage(found, float(np.mean(kappas))) >= 0.93
