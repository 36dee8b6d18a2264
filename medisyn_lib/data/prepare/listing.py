"""A table that comes with images: read whole, every line held against the header."""

import csv
from collections.abc import Sequence
from pathlib import Path

from medisyn_lib.errors import InputError

__all__ = ["read_listing"]


def read_listing(path: Path, needed: Sequence[str]) -> list[dict[str, str]]:
    """Read a table with a header; tabs separate columns in a `.tab` or `.tsv` file, commas in others.

    A header may name columns with a comma in brackets, `Size[width,height]`, quoted or not: it is then taken
    as the two columns that its lines have. An empty last column, of a comma at the end, does not count.

    Parameters
    ----------
    path
        The table, in UTF-8.
    needed
        Columns that must be there.

    Returns
    -------
    list of dict
        Stripped texts by column.

    Raises
    ------
    InputError
        For a file that cannot be read, a missing column, or a line with too many or too few of them.
    """
    mark = "\t" if path.suffix in (".tab", ".tsv") else ","
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, delimiter=mark, strict=True)
            numbered = [(reader.line_num, line) for line in reader if any(line)]
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(
            f"{path} cannot be read ({error}): save it as CSV in UTF-8, or download it again"
        ) from error
    if not numbered:
        raise InputError(f"{path} is empty: download it again")
    header = [name.strip() for name in mark.join(numbered[0][1]).split(mark)]
    while header and not header[-1]:
        header.pop()
    for name in needed:
        if name not in header:
            raise InputError(
                f"{path} has no column {name!r} but {header!r}: give the table as its owner ships it, "
                "with commas between columns, or tabs in a .tab or .tsv file"
            )
    return [_record(path, header, number, line) for number, line in numbered[1:]]


def _record(path: Path, header: Sequence[str], number: int, line: list[str]) -> dict[str, str]:
    while len(line) > len(header) and not line[-1].strip():
        line = line[:-1]
    if len(line) != len(header):
        raise InputError(
            f"{path}, line {number}: {len(line)} columns where the header has {len(header)}: "
            "quote a text that holds a comma"
        )
    return dict(zip(header, (text.strip() for text in line), strict=True))
