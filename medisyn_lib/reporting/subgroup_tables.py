"""Subgroup tables of a run: written by a notebook beside its results, shown by the audit's report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medisyn_lib.errors import InputError
from medisyn_lib.evaluation.subgroups import MIN_PATIENTS, SubgroupEstimate, Subgroups
from medisyn_lib.reporting.tables import interval_columns
from medisyn_lib.runtime.store import write_atomic
from medisyn_lib.statistics.estimates import Estimate

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["read_subgroups", "show_subgroups", "subgroup_table", "write_subgroups"]

FOLDER = "subgroups"
FEW = f"fewer than {MIN_PATIENTS} patients"


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


def show_subgroups(out: Path, notebook: str, found: Subgroups) -> pd.DataFrame | None:
    """Write a notebook's subgroups; return them as a table or, where there are none to compare, say so in a line."""
    write_subgroups(out, notebook, found)
    if found.rows:
        print(f"{found.measure} ({found.unit}), no verdict")
        return subgroup_table(found.rows).round(3)
    if found.stated:
        columns = ", ".join(found.stated).replace("_", " ")
        print(f"no subgroups: no two groups of {columns} have {MIN_PATIENTS} patients each")
    else:
        print("no subgroups: the data state no sex, age group, site, scanner or view")
    return None


def write_subgroups(out: Path, notebook: str, found: Subgroups) -> Path:
    """Write a notebook's subgroups, none of them too.

    Parameters
    ----------
    out
        The run's folder.
    notebook
        Its stem, such as "05_memorization".
    found
        What was measured.

    Returns
    -------
    Path
        `OUT/subgroups/NOTEBOOK.json`.
    """
    path = out / FOLDER / f"{notebook}.json"
    content = {
        "measure": found.measure,
        "unit": found.unit,
        "stated": list(found.stated),
        "rows": [row.as_row() for row in found.rows],
    }
    write_atomic(path, json.dumps(content, indent=1, allow_nan=False))
    return path


def read_subgroups(out: Path, notebook: str) -> Subgroups | None:
    """Read what `write_subgroups` wrote; None where a run has no such table. Raises InputError for a damaged one."""
    path = out / FOLDER / f"{notebook}.json"
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text("utf-8"))
        rows = [_row(line) for line in content["rows"]]
        stated = [str(column) for column in content["stated"]]
        return Subgroups(str(content["measure"]), str(content["unit"]), stated, rows)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} is damaged ({type(error).__name__}): run the notebook again"
        ) from error


def _row(line: Mapping[str, Any]) -> SubgroupEstimate:
    estimate = Estimate(line["value"], line["ci_low"], line["ci_high"], int(line["n"]))
    return SubgroupEstimate(
        str(line["column"]), str(line["group"]), int(line["patients"]), estimate
    )
