"""Tables of real grades: read and checked from a CSV file, or taken from a data source's fundus images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from medisyn_lib.data import sources
from medisyn_lib.errors import InputError
from medisyn_lib.evaluation.reference_standards import CATEGORIES

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ["image", "grader", "grade", "gradable"]
CONSENSUS = "adjudicated"  # the grader whose grades are a consensus
MESSIDOR = {
    "image_id": "image",
    "adjudicated_dr_grade": "grade",
    "adjudicated_gradable": "gradable",
}
MESSIDOR_MARK = "adjudicated_dme"  # a column that only the Messidor-2 table has
GRADES = [str(grade) for grade in range(CATEGORIES)]


def read_grades(where: str) -> pd.DataFrame:
    """Read the grades of a CSV file or of a data source.

    Parameters
    ----------
    where : str
        A CSV file of columns image, grader, grade and, optionally, gradable; or the Messidor-2 adjudicated table,
        which is recognised by its columns; or a finite data source such as "npz:DIR", whose fundus images' grades
        are of grader "source".

    Returns
    -------
    DataFrame
        Columns image, grader, grade (0 to 4; NaN where ungradable), gradable (bool): a row per grade.

    Raises
    ------
    InputError
        If the table cannot be read or holds a fault; it names the file, the line and the remedy.
    """
    if where.partition(":")[0] in sources.FINITE:
        return _grades_of_source(where)
    table = _with_defaults(_read_csv(where))
    _check_columns(table, where)
    _check_rows(table, where)
    gradable = table["gradable"] == "1"
    grade = table["grade"].where(gradable).astype(float)
    return table.assign(gradable=gradable, grade=grade)[COLUMNS]


def _grades_of_source(where: str) -> pd.DataFrame:
    """The grades that a data source's images carry; fundus images alone have one."""
    import pandas as pd

    rows = [
        (image["image_id"], "source", float(image["grade"]), True)
        for image in sources.rows(where)
        if image["grade"] >= 0
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _read_csv(where: str) -> pd.DataFrame:
    """The table as text, with our names of columns."""
    import pandas as pd

    try:
        return pd.read_csv(where, dtype=str).rename(columns=MESSIDOR)
    except (OSError, ValueError) as error:
        fault = f"cannot be read as CSV ({type(error).__name__}); give another"
        raise InputError(f"grades {where}: {fault}") from error


def _with_defaults(table: pd.DataFrame) -> pd.DataFrame:
    """The table with the columns that may be absent: all is gradable; the Messidor-2 table is a consensus."""
    if "gradable" not in table:
        table = table.assign(gradable="1")
    if MESSIDOR_MARK in table and "grader" not in table:
        table = table.assign(grader=CONSENSUS)
    return table


def _check_columns(table: pd.DataFrame, where: str) -> None:
    absent = [name for name in COLUMNS if name not in table]
    if absent:
        raise InputError(f"grades {where}: no column {absent[0]!r}; give {', '.join(COLUMNS)}")


def _check_rows(table: pd.DataFrame, where: str) -> None:
    """Raise InputError for the first line with a fault; each kind of fault in turn."""
    gradable = table["gradable"] == "1"
    grades = ", ".join(GRADES)
    faults = {
        "an image or a grader without a name: give it one": (
            table[["image", "grader"]].isna().any(axis=1)
        ),
        "gradable is neither 1 nor 0: give one of them": ~table["gradable"].isin(["0", "1"]),
        f"unknown grade: give {grades}, or gradable 0": gradable & ~table["grade"].isin(GRADES),
        "the image was graded twice by this grader: keep one of the grades": (
            table.duplicated(["image", "grader"])
        ),
    }
    for fault, where_faulty in faults.items():
        faulty_rows = np.flatnonzero(where_faulty)
        if len(faulty_rows):
            row = faulty_rows[0]
            line = row + 2  # counted from one, after the header
            who = ", ".join(f"{name} {table[name][row]}" for name in COLUMNS[:3])
            raise InputError(f"grades {where}, line {line} ({who}): {fault}")
