"""Subgroup tables of a run: written by a notebook beside its results, shown by the audit's report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from medisyn_lib.errors import InputError
from medisyn_lib.evaluation.subgroups import MIN_PATIENTS, SubgroupEstimate
from medisyn_lib.reporting.tables import interval_columns
from medisyn_lib.runtime.store import write_atomic
from medisyn_lib.statistics.estimates import Estimate

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["SubgroupTable", "read_subgroups", "subgroup_table", "write_subgroups"]

FOLDER = "subgroups"
FEW = f"fewer than {MIN_PATIENTS} patients"


class SubgroupTable(NamedTuple):
    """One measure by subgroup."""

    measure: str  # in words
    unit: str
    rows: Sequence[SubgroupEstimate]


def subgroup_table(rows: Sequence[SubgroupEstimate]) -> pd.DataFrame:
    """Return subgroups as a table to show: column, group, patients, value, low, high, n and a remark."""
    import pandas as pd

    names = ["column", "group", "patients", "value", "low", "high", "n", "remark"]
    lines = [
        {
            "column": row.column,
            "group": row.group,
            "patients": row.patients,
            **interval_columns(row.estimate),
            "remark": FEW if row.patients < MIN_PATIENTS else "",
        }
        for row in rows
    ]
    return pd.DataFrame(lines, columns=names)


def write_subgroups(
    out: Path, notebook: str, measure: str, unit: str, rows: Sequence[SubgroupEstimate]
) -> Path:
    """Write a notebook's subgroups, none of them too.

    Parameters
    ----------
    out
        The run's folder.
    notebook
        Its stem, such as "05_memorization".
    measure, unit
        What was measured, in words.
    rows
        Of `by_subgroup`.

    Returns
    -------
    Path
        `OUT/subgroups/NOTEBOOK.json`.
    """
    lines = [
        {
            "column": row.column,
            "group": row.group,
            "patients": row.patients,
            "value": row.estimate.value,
            "ci_low": row.estimate.ci_low,
            "ci_high": row.estimate.ci_high,
            "n": row.estimate.n,
        }
        for row in rows
    ]
    path = out / FOLDER / f"{notebook}.json"
    content = {"measure": measure, "unit": unit, "rows": lines}
    write_atomic(path, json.dumps(content, indent=1, allow_nan=False))
    return path


def read_subgroups(out: Path, notebook: str) -> SubgroupTable | None:
    """Read what `write_subgroups` wrote; None where a run has no such table. Raises InputError for a damaged one."""
    path = out / FOLDER / f"{notebook}.json"
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text("utf-8"))
        rows = [_row(line) for line in content["rows"]]
        return SubgroupTable(str(content["measure"]), str(content["unit"]), rows)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} is damaged ({type(error).__name__}): run the notebook again"
        ) from error


def _row(line: Mapping[str, Any]) -> SubgroupEstimate:
    estimate = Estimate(line["value"], line["ci_low"], line["ci_high"], int(line["n"]))
    return SubgroupEstimate(
        str(line["column"]), str(line["group"]), int(line["patients"]), estimate
    )
