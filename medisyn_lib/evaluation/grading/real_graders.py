"""How far real graders agree, and whether their majority differs from an adjudicated grade; no image is needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from medisyn_lib.errors import InputError
from medisyn_lib.evaluation import agreement, reference_standards
from medisyn_lib.evaluation.grading.grade_tables import CONSENSUS, read_grades
from medisyn_lib.evaluation.grading.reference_quality import cross_tabulate
from medisyn_lib.evaluation.reference_standards import CATEGORIES
from medisyn_lib.statistics.estimates import Estimate
from medisyn_lib.statistics.intervals import cluster_proportion

if TYPE_CHECKING:
    import pandas as pd

PAIR_COLUMNS = ["grader", "with", "kappa", "n"]


@dataclass(frozen=True)
class RealGraders:
    """What a table of real grades says.

    Attributes
    ----------
    graders, images : int
        Size of the table, a consensus counting as a grader.
    fleiss : Estimate or None
        Fleiss' kappa of all graders together; None where it cannot be computed.
    pairs : DataFrame
        Quadratic-weighted kappa of each grader with the adjudicated grade and with the majority of the others:
        columns grader, with, kappa (an estimate), n.
    changes : DataFrame or None
        Images by majority and adjudicated grade.
    differing : Estimate or None
        Proportion of images whose majority differs from the adjudicated grade; None without three graders and a
        consensus.
    reasons : list of str
        Why a number is missing.
    """

    graders: int
    images: int
    fleiss: Estimate | None
    pairs: pd.DataFrame
    changes: pd.DataFrame | None
    differing: Estimate | None
    reasons: list[str]


def read_tables(grades: str, data: str) -> pd.DataFrame | None:
    """Read real grades from a file, a data source or both.

    Parameters
    ----------
    grades : str
        A CSV file; may be empty.
    data : str
        A data source; phantoms have no graders.

    Returns
    -------
    DataFrame or None
        Grades 0 to 4, NaN where missing or ungradable: a row per image, a column per grader. None where neither
        gives any table.
    """
    import pandas as pd

    names = [grades, "" if data == "phantom" else data]
    tables = [read_grades(name) for name in names if name]
    if not tables:
        return None
    return pd.concat(tables).pivot(index="image", columns="grader", values="grade")


def compare_graders(table: pd.DataFrame | None) -> RealGraders:
    """Measure the agreement of real graders, a row of `table` per image and a column per grader; None: no table."""
    import pandas as pd

    if table is None:
        return RealGraders(0, 0, None, pd.DataFrame(columns=PAIR_COLUMNS), None, None, [])
    reasons: list[str] = []
    readers = table[[name for name in table.columns if name != CONSENSUS]]
    fleiss = _attempt(reasons, agreement.over_items, agreement.fleiss_kappas, readers, CATEGORIES)
    pairs = _pairs(table, readers, reasons)
    changes = differing = None
    if len(readers.columns) > 2 and CONSENSUS in table:
        majority = reference_standards.combine(readers)
        changes = cross_tabulate(majority, table[CONSENSUS])
        differing = _proportion_differing(majority, table[CONSENSUS].to_numpy(float))
    return RealGraders(len(table.columns), len(table), fleiss, pairs, changes, differing, reasons)


def _attempt(reasons: list[str], statistic: Callable[..., Any], *arguments: Any) -> Any:
    """A statistic; None where the input does not allow it, and the reason is noted."""
    try:
        return statistic(*arguments)
    except InputError as error:
        reasons.append(f"not testable: {error}")
        return None


def _pairs(table: pd.DataFrame, readers: pd.DataFrame, reasons: list[str]) -> pd.DataFrame:
    """Each grader beside the adjudicated grade and the majority of the others, as far as they are there."""
    import pandas as pd

    rows = []
    for name in readers.columns:
        references = {}
        if CONSENSUS in table:
            references["the adjudicated grade"] = table[CONSENSUS].fillna(-1).to_numpy()
        if len(readers.columns) > 2:
            others = reference_standards.combine(readers.drop(columns=name))
            references["the majority of the others"] = others
        grades = readers[name].fillna(-1).to_numpy()
        for what, reference in references.items():
            kappas = _attempt(reasons, agreement.kappas, grades, reference, CATEGORIES)
            if kappas is not None:
                both = int(((grades >= 0) & (reference >= 0)).sum())
                rows.append((name, what, agreement.interval(kappas, both), both))
    return pd.DataFrame(rows, columns=PAIR_COLUMNS)


def _proportion_differing(majority: np.ndarray, consensus: np.ndarray) -> Estimate | None:
    """In how many of the images that both grade the two differ; every image stands for itself."""
    graded = (majority >= 0) & (consensus >= 0)
    differ = (majority != consensus)[graded].astype(float)
    if not len(differ):
        return None
    return cluster_proportion(differ, np.arange(len(differ)))
