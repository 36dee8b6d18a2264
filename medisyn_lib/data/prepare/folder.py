"""Writes a prepared folder: images, metadata.csv and a page that says what they are; all of it, or nothing."""

import csv
import io
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from medisyn_lib.data.prepare.pictures import Contents, Picture, record_of
from medisyn_lib.data.rows import Row, check_rows, require
from medisyn_lib.data.tables import row_of
from medisyn_lib.errors import InputError
from medisyn_lib.runtime.store import creatable, replace_folder, write_atomic

__all__ = ["check_out", "link_or_copy", "saver", "write_folder"]


def check_out(out: Path, folder: Path) -> None:
    """Check the place of a prepared folder before any work.

    Raises
    ------
    InputError
        Where it is inside the folder that is read, holds files already or cannot be made.
    """
    require(
        not out.resolve().is_relative_to(folder.resolve()),
        f"--out {str(out)!r} is inside the folder that is read: choose another place",
    )
    is_free = not out.exists() or (out.is_dir() and not any(out.iterdir()))
    require(is_free, f"--out {str(out)!r} is there already: name a new folder")
    require(creatable(out), f"--out {str(out)!r} cannot be written: name a folder that can")


def write_folder(
    out: Path,
    folder: Path,
    contents: Contents,
    put: Callable[[Picture, Path], Any],
    page: Callable[[list[Row]], str],
) -> list[Row]:
    """Write the pictures as a `folder:` source.

    All is made in `OUT.tmp` and renamed at the end; after an error nothing is left of it.

    Parameters
    ----------
    out
        The folder to be made.
    folder
        Where the pictures come from, for errors.
    contents
        The pictures.
    put
        Writes the image of a picture to a path, or raises InputError.
    page
        Gives the text of `README.md` from the rows.

    Returns
    -------
    list of Row
        The rows as `folder:` will read them.

    Raises
    ------
    InputError
        For rows that `folder:` would refuse, an image that cannot be read, or a place that cannot be written.
    """
    check_out(out, folder)
    rows = _checked_rows(folder, contents)
    draft = out.with_name(f"{out.name}.tmp")
    try:
        shutil.rmtree(draft, ignore_errors=True)  # of a run that was killed
        for name in {(draft / row["image_id"]).parent for row in rows}:
            name.mkdir(parents=True, exist_ok=True)
        for picture, row in zip(contents.pictures, rows, strict=True):
            put(picture, draft / row["image_id"])
        write_atomic(draft / "metadata.csv", _table(contents, rows))
        write_atomic(draft / "README.md", page(rows))
        replace_folder(draft, out)
    except OSError as error:
        fault = f"--out {str(out)!r} cannot be written ({error.strerror or error})"
        raise InputError(f"{fault}: name a folder that can, with room for the images") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return rows


def _checked_rows(folder: Path, contents: Contents) -> list[Row]:
    rows = []
    for picture in contents.pictures:
        record = record_of(picture)
        name = record["file_name"]
        rows.append(row_of(record, image_id=name, place=picture.place, where=picture.place))
    return check_rows(rows, str(folder))


def _table(contents: Contents, rows: list[Row]) -> str:
    """The lines of `metadata.csv`, each with the split that its row has."""
    records = [record_of(picture) for picture in contents.pictures]
    columns = list(dict.fromkeys(column for record in records for column in record))
    text = io.StringIO()
    table = csv.DictWriter(text, columns, lineterminator="\n")
    table.writeheader()
    for record, row in zip(records, rows, strict=True):
        table.writerow(record | {"split": row["split"]})
    return text.getvalue()


def link_or_copy(source: Path, target: Path) -> None:
    """Put a file at another place without a second copy of its bytes, where the disk can; else copy it."""
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)


def saver(decode: Callable[[Picture], Image.Image]) -> Callable[[Picture, Path], None]:
    """Return a function that writes decoded pictures as PNG, which holds pixels and nothing else."""

    def put(picture: Picture, target: Path) -> None:
        decode(picture).save(target, format="PNG")

    return put
