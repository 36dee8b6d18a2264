"""What the answers say: telling apart with intervals over readers and images, equivalence, scales, agreement."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medisyn_lib.errors import InputError
from medisyn_lib.evaluation import agreement
from medisyn_lib.reader_study import answers
from medisyn_lib.reporting.gallery import FIGURES
from medisyn_lib.reporting.render import draw
from medisyn_lib.runtime import store
from medisyn_lib.statistics.estimates import Estimate, student
from medisyn_lib.statistics.intervals import cluster_proportion

if TYPE_CHECKING:
    import pandas as pd

CORRELATION, SPREAD = 0.1, 0.03  # assumed for power: of answers to one pair; of readers' accuracies
SCALES = ("realism", "alignment")  # of 5 grades each
RATED = ("real", "synthetic", "mismatched")


def pairs_needed(
    margin: float, readers: int, *, power: float = 0.8, alpha: float = 0.05
) -> int | None:
    """Pairs a reader that two one-sided tests (Schuirmann 1987) need to show a true 50% to be within `margin`.

    Few readers are fixed; from five on they are a sample, with t quantiles. None where no number is enough.
    """
    from scipy.stats import norm, t

    sample = readers >= agreement.FEWEST_RATERS
    law = t(readers - 1) if sample else norm()
    error = (
        margin / (law.ppf(1 - alpha) + law.ppf((1 + power) / 2))
    ) ** 2 - sample * SPREAD**2 / readers
    one = 0.25 * (1 + (readers - 1) * CORRELATION) / readers  # variance of a pair's mean answer
    return int(np.ceil(one / error)) if error > 0 else None


def power_table(margin: float, readers: int) -> str:
    """Pairs needed for half the margin, the margin and twice it, by number of readers: a Markdown table."""
    margins = (margin / 2, margin, min(2 * margin, 0.4))
    lines = [["readers", *(f"pairs, margin {100 * m:g} points" for m in margins)], ["---"] * 4]
    lines += [
        [f"{r}", *(f"{pairs_needed(m, r) or 'never'}" for m in margins)]
        for r in sorted({2, 4, 8, 16, readers})
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def over_readers(theta: np.ndarray, without: np.ndarray, level: float = 0.95) -> Estimate:
    """The mean of readers' values theta (r,) and its interval; `without` (r, items) leaves out one item each.

    Fewer than five readers are fixed: jackknife over items. From five on they are a sample: Obuchowski and Rockette
    1995 for one condition, degrees of freedom of Hillis 2007. n counts answers.
    """
    (r, n), value = without.shape, float(theta.mean())
    if r < agreement.FEWEST_RATERS:
        return agreement.interval([value, *without.mean(0)], r * n, level, bounded=False)
    covariance, between = np.cov(without, bias=True) * (n - 1), float(theta.var(ddof=1)) / r
    variance = between + max(0.0, (covariance.sum() - covariance.trace()) / (r * (r - 1)))
    return student(value, variance, (r - 1) * (variance / max(between, 1e-14)) ** 2, r * n, level)


def _without(x: np.ndarray) -> np.ndarray:
    """Means of the rows of (r, items) without each item in turn."""
    return (x.sum(1)[:, None] - x) / (x.shape[1] - 1)


def accuracy(right: np.ndarray, level: float = 0.95) -> Estimate:
    """The share of right answers, (r, items), as `over_readers` in log odds; of fixed readers, or all alike, Wilson."""
    from scipy.special import expit, logit

    sample = len(right) >= agreement.FEWEST_RATERS and right.shape[1] > 1
    found = over_readers(right.mean(1), _without(right), level) if sample else None
    if found is None or found.value is None or found.ci_high is None:
        return cluster_proportion(
            right.ravel(), np.tile(np.arange(right.shape[1]), len(right)), level
        )
    half = (found.ci_high - found.value) / (found.value * (1 - found.value))
    low, high = expit(logit(found.value) + np.array([-half, half])).tolist()
    return Estimate(found.value, low, high, found.n)


def equivalence(right: np.ndarray, margin: float, alpha: float = 0.05) -> str:
    """Two one-sided tests at `alpha` of accuracy against 50%: `equivalent`, `told apart` or `undecided`."""
    found = accuracy(right, 1 - 2 * alpha)
    low, high = (found.ci_low or 0.0) - 0.5, (1.0 if found.ci_high is None else found.ci_high) - 0.5
    equivalent, apart = low > -margin and high < margin, low > margin or high < -margin
    return "equivalent" if equivalent else "told apart" if apart else "undecided"


def d_prime(first: np.ndarray, truth: np.ndarray) -> Estimate:
    """Sensitivity d' of forced choice, free of bias to one side; `first` chosen, `truth`: float (r, items).

    Macmillan and Creelman 2005, chapter 7; half an answer added (Hautus 1995).
    """
    from scipy.stats import norm

    def rate(among: np.ndarray) -> np.ndarray:
        hits, total = (
            x.sum(1)[:, None] - np.pad(x, ((0, 0), (1, 0))) for x in (first * among, among)
        )
        return norm.ppf((hits + 0.5) / (total + 1))

    scores = (rate(truth) - rate(1 - truth)) / 2**0.5
    return over_readers(scores[:, 0], scores[:, 1:])


def difference(a: np.ndarray, b: np.ndarray) -> Estimate:
    """Mean rating of items a (r, n) minus that of items b (r, m), as `over_readers`."""
    theta = a.mean(1) - b.mean(1)
    return over_readers(
        theta, np.hstack([_without(a) - b.mean(1)[:, None], a.mean(1)[:, None] - _without(b)])
    )


def grid(table: pd.DataFrame, value: str, *kinds: str) -> np.ndarray:
    """One column of the answers (`answers.read`) to first showings of these kinds: float (readers, items)."""
    part = table[table["kind"].isin(kinds) & (table["again"] == 0)]
    return part.pivot(index="reader", columns="item", values=value).to_numpy(np.float64)


def _mean_kappas(panel: np.ndarray, *how: Any) -> np.ndarray:
    """`agreement.kappas` (quadratic-weighted), the mean over pairs of raters of a panel (n, r)."""
    return np.mean([agreement.kappas(a, b, *how) for a, b in combinations(panel.T, 2)], 0)


AGREEMENT: dict[str, agreement.PanelStatistic] = {
    "weighted_kappa": _mean_kappas,
    "fleiss_kappa": agreement.fleiss_kappas,
    "gwet_ac2": agreement.gwet_ac2s,
}


def _agreements(table: pd.DataFrame) -> Iterator[tuple[str, str, Estimate]]:
    both = table[table["again"] == 0].merge(table[table["again"] == 1], on=["reader", "item"])
    for column, least, grades in (("right", 0, 2), *((scale, 1, 5) for scale in SCALES)):
        twice = both[[f"{column}_x", f"{column}_y", "item"]].dropna().to_numpy(np.float64)
        yield (
            f"{column}: same again",
            "each reader",
            cluster_proportion(twice[:, 0] == twice[:, 1], twice[:, 2]),
        )
        panel = grid(table, column, *(["pair"] if column == "right" else RATED)).T
        for name, statistic in AGREEMENT.items():
            for part, rated in (("between readers", panel), ("each reader", twice[:, :2])):
                try:
                    clusters = None if rated is panel else twice[:, 2]
                    found = agreement.over_items(statistic, rated - least, grades, clusters)
                except InputError:  # undefined, as of a single reader or of equal grades
                    found = Estimate(None, None, None, len(rated))
                yield f"{column}: {name}", part, found


def analyse(table: pd.DataFrame) -> pd.DataFrame:
    """Tidy rows measure, part, value, low, high, n from the answers (`answers.read`); empty where undefined."""
    import pandas as pd

    pairs = table[table["kind"] == "pair"]
    right, first, truth = (grid(pairs, name, "pair") for name in ("right", "first", "truth"))
    rows = [
        ("accuracy", "all pairs", accuracy(right)),
        ("d_prime", "all pairs", d_prime(first, truth)),
    ]
    rows += [("accuracy", "control: both real", accuracy(grid(table, "right", "control")))]
    rows += [
        ("accuracy", str(name), accuracy(grid(part, "right", "pair")))
        for name, part in pairs.groupby("modality")
    ]
    rows += [("chose_first", "all pairs", accuracy(first)), *_agreements(table)]
    for scale, kind in product(SCALES, RATED):
        rated, real = grid(table, scale, kind), grid(table, scale, "real")
        rows += [(scale, kind, over_readers(rated.mean(1), _without(rated)))]
        rows += [(f"{scale}_difference", f"{kind} minus real", difference(rated, real))] * (
            kind != "real"
        )
    tidy = [(measure, part, e.value, e.ci_low, e.ci_high, e.n) for measure, part, e in rows]
    return pd.DataFrame(tidy, columns=["measure", "part", "value", "low", "high", "n"])


def figure_tables(found: pd.DataFrame, title: str) -> dict[str, pd.DataFrame]:
    """Tables for `figures.draw` out of those of `analyse`: telling apart, ratings, agreement."""
    column, _, name = found["measure"].str.partition(": ").to_numpy().T
    shown = found.assign(
        label=found["part"], panel=np.where(column == "right", "telling apart", column), title=title
    )
    told, rated, agreed = (
        shown[column == "accuracy"],
        shown[found["measure"].isin(SCALES)],
        shown[name != ""],
    )
    reference = {"panel": "", "reference": 0.5, "reference_label": "chance"}
    rated = rated.assign(
        xlabel="mean rating, 1 to 5", low=rated["low"].clip(1), high=rated["high"].clip(1, 5)
    )
    agreed = agreed.assign(label=name[name != ""], group=agreed["part"], xlabel="agreement").dropna(
        subset="value"
    )
    return {
        "04_told_apart": told.assign(xlabel="share of right answers", **reference),
        "04_ratings": rated,
        "04_agreement": agreed.assign(low=agreed["low"].clip(-1)),  # no statistic is lower
    }


def report(folder: Path) -> str:
    """Analyses the answers in a study's folder (`answers.read`), writes table and figures to `analysis/`; in words."""
    key, table = answers.load(folder / answers.KEY), answers.read(folder)
    found, right = analyse(table), grid(table, "right", "pair")
    size = f"{len(right)} of {len(key['readers'])} readers, {right.shape[1]} pairs, 95% intervals"
    title = f"Reader study {key['study']} ({size})"
    for name, rows in figure_tables(found, title).items():
        draw(FIGURES[name], rows, folder / "analysis")
    store.write_atomic(folder / "analysis" / "analysis.csv", found.to_csv(index=False))
    against = f"against 50% plus or minus {100 * key['margin']:g} points: {equivalence(right, key['margin'])}"
    return f"{title}\n{found.round(3).to_string(index=False, na_rep='-')}\n{against}"
