"""folder:DIR and hub:OWNER/NAME: a table with a text for each image, beside the files or in a Hugging Face dataset.

Columns: `file_name,text` in a folder's metadata, `image` and `text` or `caption` in a dataset of the hub;
optionally `modality, finding, patient_id, split, side, lesion_size, count, grade`. Splits are a dataset's
own where it has more than train; without `split` patients are assigned 70:10:20 by a stable hash, without
`patient_id` every image is its own patient, identity unknown.
"""

import csv
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from medisyn_lib.data import records
from medisyn_lib.data.pixels import open_images
from medisyn_lib.data.rows import UNKNOWN, WORDS, Row, check_rows, check_text, require
from medisyn_lib.data.splits import deal_split
from medisyn_lib.errors import InputError

__all__ = ["checked_name", "fingerprint", "images", "row_of", "rows"]

METADATA = ("metadata.csv", "metadata.jsonl")
SPLIT_NAMES = {"train": "train", "val": "val", "validation": "val", "test": "test"}
HASHED_AT_ONCE = 256  # rows


class HubTables(NamedTuple):
    """A dataset of the hub."""

    splits: dict[str, Any]  # tables by the dataset's own names of splits, images not decoded
    digest: str  # hash of all columns in Arrow


def checked_name(source: str) -> str:
    """Return OWNER/NAME of a source `hub:`; all else takes the download. Raises InputError for another text."""
    require(
        re.fullmatch(r"hub:[\w.-]+/[\w.-]+", source),
        f"data source {source!r}: write hub:OWNER/NAME",
    )
    return source.removeprefix("hub:")


def fingerprint(source: str) -> str:
    """Hash the metadata file and the images that it names, or all columns of all splits (SHA-256)."""
    if source.startswith("hub:"):
        return _hub_tables(source).digest
    return records.hash_files([_metadata(source), *(Path(row["place"]) for row in rows(source))])


def rows(source: str) -> list[Row]:
    """Return all images of the table without their pixels."""
    found = _hub_rows(source) if source.startswith("hub:") else _folder_rows(source)
    return check_rows(list(found), source)


def images(chosen: Sequence[Row]) -> Iterator[Image.Image]:
    """Yield the images of rows, opened or decoded one at a time."""
    return open_images(chosen, _opened)


def _opened(place: str) -> Image.Image:
    return _hub_image(place) if place.startswith("hub:") else Image.open(place)


def row_of(
    record: Mapping[str, Any], *, image_id: str, place: str, where: str, split: str = ""
) -> Row:
    """Make one row from a record of metadata.

    Parameters
    ----------
    record
        The record's columns; what is missing or empty counts as unknown.
    image_id
        Name of the image in the source.
    place
        Where its pixels are.
    where
        Names the record in errors.
    split
        Stands in where the record has no split.

    Raises
    ------
    InputError
        For a text, a split or a number that is not fit.
    """
    words = {"text": str(record.get("text") or record.get("caption") or "")}
    for name in (*WORDS, "patient_id"):
        if record.get(name):
            words[name] = str(record[name])
    for name, word in words.items():
        check_text(word, f"{where}: {name}")
    patient = words.get("patient_id", image_id)
    split = str(record.get("split") or split or deal_split(patient))
    require(
        split in SPLIT_NAMES, f"{where}: split {split!r} is unknown: write {', '.join(SPLIT_NAMES)}"
    )
    row = UNKNOWN | words
    row["image_id"] = image_id
    row["patient_id"] = patient
    row["identity_known"] = "patient_id" in words
    row["split"] = SPLIT_NAMES[split]
    row["place"] = place
    for name in ("count", "grade"):
        row[name] = _whole_number(record.get(name), f"{where}: {name}")
    return row


def _whole_number(value: object, where: str) -> int:
    """A count or a grade; -1 where there is none."""
    if value in (None, ""):
        return -1
    try:
        return int(str(value))
    except ValueError:
        raise InputError(f"{where} is {value!r}: write a whole number or leave it empty") from None


def _folder_rows(source: str) -> Iterator[Row]:
    """The rows of a folder. A file outside of it, also by a link, is an InputError."""
    path = _metadata(source)
    home = os.path.realpath(path.parent)
    for number, record in enumerate(_records(path), 1):
        where, name = f"{path}, record {number}", str(record.get("file_name") or "")
        check_text(name, f"{where}: file_name")
        place = os.path.realpath(path.parent / name)
        require(
            Path(place).is_relative_to(home),
            f"{where}: file_name {name!r} leads out of the folder: copy the image into it",
        )
        require(
            os.path.isfile(place),
            f"{where}: there is no image file {name!r}: add it or drop the record",
        )
        yield row_of(record, image_id=name, place=place, where=where)


def _metadata(source: str) -> Path:
    """The one metadata file of a folder."""
    folder = records.source_folder(source)
    present = [folder / name for name in METADATA if (folder / name).exists()]
    require(
        len(present) == 1,
        f"data source {source!r}: {len(present) or 'no'} metadata files there: "
        f"keep one of {' and '.join(METADATA)}",
    )
    return present[0]


def _records(path: Path) -> list[dict[str, Any]]:
    """The records of a metadata file."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            if path.suffix == ".csv":
                result = list(csv.DictReader(file, strict=True))
            else:
                result = [dict(json.loads(line)) for line in file if line.strip()]
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise InputError(
            f"{path} cannot be read ({error}): save it as UTF-8, in JSON one object per line"
        ) from error
    for name in ("file_name", "text"):
        require(
            result and name in result[0],
            f"{path} has no column {name}: each record must name file_name,text",
        )
    return result


@lru_cache(maxsize=1)
def _hub_tables(source: str) -> HubTables:
    """The dataset of a source `hub:`, downloaded and checked."""
    import datasets

    where, total = f"data source {source!r}", hashlib.sha256()
    name = checked_name(source)
    try:
        splits = dict(datasets.load_dataset(name))
    except Exception as error:  # offline, missing, gated, no certificate: each raises its own kind
        kind = type(error).__name__
        raise InputError(
            f"{where} could not be loaded ({kind}): check the name and the network"
        ) from error
    for split, table in splits.items():
        lacks = f"{where}: {split} has no column"
        require(
            isinstance(table.features.get("image"), datasets.Image),
            f"{lacks} image of images: name it so",
        )
        require({"text", "caption"} & {*table.features}, f"{lacks} text or caption: add one")
        total.update(split.encode())
        for batch in table.with_format("arrow").iter(HASHED_AT_ONCE):
            for part in batch.combine_chunks().to_batches():
                total.update(part.serialize())
    return HubTables(splits, total.hexdigest())


def _hub_rows(source: str) -> Iterator[Row]:
    """The rows of a dataset of the hub, class labels in words."""
    splits = _hub_tables(source).splits
    for name, table in splits.items():
        columns = table.remove_columns("image")
        labels = {
            column: feature
            for column, feature in columns.features.items()
            if hasattr(feature, "int2str")
        }
        split = name if len(splits) > 1 and name in SPLIT_NAMES else ""
        for number, record in enumerate(columns):
            for column, label in labels.items():
                if record[column] is not None:
                    record[column] = label.int2str(record[column])
            yield row_of(
                record,
                image_id=f"{name}/{number}",
                place=f"{source}/{name}/{number}",
                where=f"{source}, {name}, row {number}",
                split=split,
            )


def _hub_image(place: str) -> Image.Image:
    """The image at `hub:OWNER/NAME/SPLIT/NUMBER`."""
    source, split, number = place.rsplit("/", 2)
    image = _hub_tables(source).splits[split][int(number)]["image"]
    if image is None:
        raise FileNotFoundError(place)
    return image
