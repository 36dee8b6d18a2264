"""What the answers say: telling apart, equivalence, ratings and agreement, as tidy tables."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from medisyn_lib.errors import InputError
from medisyn_lib.evaluation import agreement
from medisyn_lib.reader_study.reader_statistics import (
    accuracy,
    d_prime,
    difference,
    means_left_out,
    over_readers,
)
from medisyn_lib.statistics.estimates import Estimate
from medisyn_lib.statistics.intervals import cluster_proportion

if TYPE_CHECKING:
    import pandas as pd

RATINGS = ("realism", "alignment")
RATED = ("real", "synthetic", "mismatched")  # kinds of item that are rated


class Finding(NamedTuple):
    """One number of the analysis: what was measured, of which part of the answers."""

    measure: str
    part: str
    estimate: Estimate


class Scale(NamedTuple):
    """A kind of answer: its column, the items it is asked of, its lowest grade and its grades."""

    column: str
    kinds: tuple[str, ...]
    lowest: int
    grades: int


SCALES = (
    Scale("right", ("pair",), lowest=0, grades=2),
    Scale("realism", RATED, lowest=1, grades=5),
    Scale("alignment", RATED, lowest=1, grades=5),
)


def _mean_kappas(panel: np.ndarray, *how: Any) -> np.ndarray:
    """Return `agreement.kappas` (quadratic-weighted), the mean over pairs of raters of a panel (n, r)."""
    return np.mean([agreement.kappas(a, b, *how) for a, b in combinations(panel.T, 2)], 0)


AGREEMENT: dict[str, agreement.PanelStatistic] = {
    "weighted_kappa": _mean_kappas,
    "fleiss_kappa": agreement.fleiss_kappas,
    "gwet_ac2": agreement.gwet_ac2s,
}


def grid(table: pd.DataFrame, value: str, *kinds: str) -> np.ndarray:
    """Return one column of the answers to first showings of these kinds: float (readers, items).

    Parameters
    ----------
    table : DataFrame
        Of `answers.read`.
    value : str
        The column.
    *kinds : str
        Of items.
    """
    part = table[table["kind"].isin(kinds) & (table["again"] == 0)]
    return part.pivot(index="reader", columns="item", values=value).to_numpy(np.float64)


def equivalence(
    right: np.ndarray, margin: float, alpha: float = 0.05, *, random: bool | None = None
) -> str:
    """Decide by two one-sided tests at `alpha` whether accuracy is 50%, give or take `margin`.

    Parameters
    ----------
    right : (r, n) array
        1 where a reader's answer to a pair is right, else 0.
    margin, alpha : float
        Proportions.
    random : bool or None
        Whether readers are a random sample, as of `reader_statistics.over_readers`.

    Returns
    -------
    str
        `equivalent`, `told apart` or `undecided`.
    """
    interval = accuracy(right, 1 - 2 * alpha, random=random)
    low = 0.0 if interval.ci_low is None else interval.ci_low
    high = 1.0 if interval.ci_high is None else interval.ci_high
    if low - 0.5 > -margin and high - 0.5 < margin:
        return "equivalent"
    if low - 0.5 > margin or high - 0.5 < -margin:
        return "told apart"
    return "undecided"


def analyse(table: pd.DataFrame) -> pd.DataFrame:
    """Analyse the answers.

    Parameters
    ----------
    table : DataFrame
        Of `answers.read`.

    Returns
    -------
    DataFrame
        Columns `measure`, `part`, `value`, `low`, `high`, `n`; empty where undefined.
    """
    import pandas as pd

    rows = []
    for measure, part, estimate in _findings(table):
        rows.append(
            {
                "measure": measure,
                "part": part,
                "value": estimate.value,
                "low": estimate.ci_low,
                "high": estimate.ci_high,
                "n": estimate.n,
            }
        )
    return pd.DataFrame(rows, columns=["measure", "part", "value", "low", "high", "n"])


def _findings(table: pd.DataFrame) -> Iterator[Finding]:
    """Yield all numbers of the analysis."""
    yield from _telling_apart(table)
    yield from _agreements(table)
    yield from _ratings(table)
    yield from _times(table)


def _telling_apart(table: pd.DataFrame) -> Iterator[Finding]:
    """Yield how often readers name the synthetic image of a pair, and how often the first one."""
    pairs = table[table["kind"] == "pair"]
    first, truth = grid(pairs, "first", "pair"), grid(pairs, "truth", "pair")
    yield Finding("accuracy", "all pairs", accuracy(grid(pairs, "right", "pair")))
    right = grid(pairs, "right", "pair")
    if len(right) > 1:  # what may be said of readers like these, also where they are few
        sampled = accuracy(right, random=True)
        yield Finding("accuracy_random_readers", "all pairs", sampled)
    yield Finding("d_prime", "all pairs", d_prime(first, truth))
    control = grid(table, "right", "control")
    yield Finding("accuracy", "control: both real", accuracy(control))
    for modality, part in pairs.groupby("modality"):
        yield Finding("accuracy", str(modality), accuracy(grid(part, "right", "pair")))
    yield Finding("chose_first", "all pairs", accuracy(first))


def _agreements(table: pd.DataFrame) -> Iterator[Finding]:
    """Yield how far readers agree with each other, and with themselves where items come twice."""
    once, again = table[table["again"] == 0], table[table["again"] == 1]
    both = once.merge(again, on=["reader", "item"], suffixes=("_x", "_y"))
    for scale in SCALES:
        column = scale.column
        twice = both[[f"{column}_x", f"{column}_y", "item"]].dropna().to_numpy(np.float64)
        answers, items = twice[:, :2], twice[:, 2]
        same = cluster_proportion(answers[:, 0] == answers[:, 1], items)
        yield Finding(f"{column}: same again", "each reader", same)
        panel = grid(table, column, *scale.kinds).T
        for name, statistic in AGREEMENT.items():
            between = _agreement(statistic, panel, scale, None)
            yield Finding(f"{column}: {name}", "between readers", between)
            within = _agreement(statistic, answers, scale, items)
            yield Finding(f"{column}: {name}", "each reader", within)


def _agreement(
    statistic: agreement.PanelStatistic,
    panel: np.ndarray,
    scale: Scale,
    clusters: np.ndarray | None,
) -> Estimate:
    """Return a statistic of a panel (n, r) of grades, empty where it is undefined."""
    try:
        return agreement.over_items(statistic, panel - scale.lowest, scale.grades, clusters)
    except InputError:  # as of a single reader or of equal grades
        return Estimate(None, None, None, len(panel))


def _ratings(table: pd.DataFrame) -> Iterator[Finding]:
    """Yield mean ratings of each kind of item, and how far below or above real images they lie."""
    for column in RATINGS:
        real = grid(table, column, "real")
        for kind in RATED:
            rated = grid(table, column, kind)
            mean = over_readers(rated.mean(1), means_left_out(rated))
            yield Finding(column, kind, mean)
            if kind != "real":
                gap = difference(rated, real)
                yield Finding(f"{column}_difference", f"{kind} minus real", gap)


def _times(table: pd.DataFrame) -> Iterator[Finding]:
    """Yield how many minutes each reader took over all answers that count."""
    for reader, part in table.groupby("reader"):
        seconds = part["seconds"].sum(min_count=1)
        minutes = float(seconds) / 60 if seconds >= 0 else None
        yield Finding("minutes", str(reader), Estimate(minutes, None, None, len(part)))


def figure_tables(findings: pd.DataFrame, title: str) -> dict[str, pd.DataFrame]:
    """Return the tables of the figures, by their names, from that of `analyse`."""
    return {
        "04_told_apart": _told_apart_table(findings, title),
        "04_ratings": _ratings_table(findings, title),
        "04_agreement": _agreement_table(findings, title),
    }


def _told_apart_table(findings: pd.DataFrame, title: str) -> pd.DataFrame:
    """Return accuracies beside chance."""
    rows = findings[findings["measure"] == "accuracy"]
    return rows.assign(
        label=rows["part"],
        panel="",
        title=title,
        xlabel="proportion of right answers",
        reference=0.5,
        reference_label="chance",
    )


def _ratings_table(findings: pd.DataFrame, title: str) -> pd.DataFrame:
    """Return mean ratings, a panel for each scale, their intervals cut at its ends."""
    rows = findings[findings["measure"].isin(RATINGS)]
    return rows.assign(
        label=rows["part"],
        panel=rows["measure"],
        title=title,
        xlabel="mean rating, 1 to 5",
        low=rows["low"].clip(1),
        high=rows["high"].clip(1, 5),
    )


def _agreement_table(findings: pd.DataFrame, title: str) -> pd.DataFrame:
    """Return agreement, a panel for each scale; the measure's name is `scale: statistic`."""
    scales_and_names = findings["measure"].str.partition(": ")
    is_agreement = scales_and_names[2] != ""
    rows = findings[is_agreement]
    scale, name = scales_and_names[0][is_agreement], scales_and_names[2][is_agreement]
    return rows.assign(
        label=name,
        panel=scale.where(scale != "right", "telling apart"),
        title=title,
        group=rows["part"],
        xlabel="agreement",
        low=rows["low"].clip(-1),  # no statistic is lower
    ).dropna(subset="value")
