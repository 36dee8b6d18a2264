"""Two groups of images brought to one: the same size, the same file format, written anew in the same way."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from medisyn_lib.data import records, sources
from medisyn_lib.data.rows import SUBGROUPS, Row, require
from medisyn_lib.runtime import store

__all__ = ["COLUMNS", "GROUPS", "unify"]

GROUPS = ("real", "synthetic")  # folders that are written
COLUMNS = (
    *("text", "modality", "finding", "side", "lesion_size", *SUBGROUPS, "split"),
    *("patient_id", "identity_known"),
)
NUMBERS = ("count", "grade")  # columns that are left empty where they are not known


def unify(source: str, finished: str, out: Path, *, side: int, quality: int) -> list[Path]:
    """Write a data source and a folder of finished images anew, every image in the same way.

    Each is its centre square at one size, compressed as a JPEG of one quality, so that neither size nor
    file format tells the groups apart; differences in sharpness that are left are the generator's.

    Parameters
    ----------
    source
        The data source, finite.
    finished
        The folder of finished images.
    out
        Its folders `real` and `synthetic` are written; each is a source `folder:`.
    side
        Pixels.
    quality
        Of JPEG, 1 to 95.

    Returns
    -------
    list of Path
        The two folders.

    Raises
    ------
    InputError
        For a bad source, and where one of the folders is there already.
    """
    require(source != "phantom", "data source 'phantom': phantoms have no files to bring to one")
    folders = [out / name for name in GROUPS]
    for folder in folders:
        require(
            not folder.exists(), f"--out {out}: holds {folder.name} already; give another folder"
        )
    table = sources.checked_rows(source, sources.fingerprint(source))
    made = [row | {"split": ""} for row in sources.finished_rows(finished)]
    pictures = sources.source_module(source).images(table), sources.finished_images(finished, made)
    for folder, rows, images in zip(folders, (table, made), pictures, strict=True):
        _write(folder, rows, images, side, quality)
    return folders


def _write(
    folder: Path,
    rows: Iterable[Row],
    images: Iterable[Image.Image | np.ndarray],
    side: int,
    quality: int,
) -> None:
    """Write one group; its table comes last, so that a folder that has one is whole."""
    lines = []
    for number, (row, image) in enumerate(zip(rows, images, strict=True)):
        record = records.sample(row, image, role="", size=side, seed=(0, number))
        name, buffer = f"{number:06d}.jpg", io.BytesIO()
        record["image"].save(buffer, "JPEG", quality=quality)
        store.write_atomic(folder / name, buffer.getvalue())
        lines.append(_line(name, record))
    text = io.StringIO()
    table = csv.DictWriter(text, ["file_name", *COLUMNS, *NUMBERS], lineterminator="\n")
    table.writeheader()
    table.writerows(lines)
    store.write_atomic(folder / "metadata.csv", text.getvalue())


def _line(name: str, record: Mapping[str, Any]) -> dict[str, Any]:
    """A record's line of metadata.csv."""
    line = {column: record.get(column, "") for column in COLUMNS} | {"file_name": name}
    line["text"] = record["caption"]
    line["identity_known"] = int(record["identity_known"])
    numbers = {column: record[column] for column in NUMBERS if record[column] >= 0}
    return line | numbers
