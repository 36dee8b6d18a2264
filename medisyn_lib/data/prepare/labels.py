"""What the user states of their own files: a table with a line per file, beside DICOM or NIfTI."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medisyn_lib.data.prepare.listing import read_listing
from medisyn_lib.data.rows import SUBGROUPS, require
from medisyn_lib.data.values import as_text

__all__ = ["KEPT_COLUMNS", "read_labels"]

# Taken over into the prepared folder; `patient_id` is taken, too, but hashed.
KEPT_COLUMNS = (
    "side",
    "lesion_size",
    "count",
    "grade",
    *SUBGROUPS,
)


def read_labels(path: Path | None, folder: Path) -> Mapping[Path, dict[str, Any]] | None:
    """Read a table with `file_name`, a path inside the folder, and what is known of each file.

    Parameters
    ----------
    path
        The table; None where the user gives none.
    folder
        The folder of the files.

    Returns
    -------
    mapping
        The lines by absolute path; None without a table.

    Raises
    ------
    InputError
        For a table that cannot be read, or a file that is listed twice, missing or outside the folder.
    """
    if path is None:
        return None
    lines: dict[Path, dict[str, Any]] = {}
    home = folder.resolve()
    for line in read_listing(path, ["file_name"]):
        name = line["file_name"]
        file = (home / name).resolve()
        require(
            file.is_relative_to(home) and file.is_file(),
            f"{path}: there is no file {name!r} in {folder}: correct its name or drop the line",
        )
        require(file not in lines, f"{path}: {name!r} is listed twice: keep one line of each file")
        lines[file] = {column: as_text(text) for column, text in line.items()}
    return lines
