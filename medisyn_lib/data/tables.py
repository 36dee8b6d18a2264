"""folder:DIR and hub:OWNER/NAME: a table with a text for each image, beside the files or in a Hugging Face dataset.

Columns: `file_name,text` in a folder's metadata, `image` and `text` or `caption` in a dataset of the hub;
optionally `modality, finding, patient_id, split, side, lesion_size, count, grade`. Splits are a dataset's
own where it has more than train; without `split` patients are dealt 70:10:20 by a stable hash, without
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
from typing import Any

from PIL import Image

from medisyn_lib.data import records
from medisyn_lib.data.pixels import open_images
from medisyn_lib.data.rows import UNKNOWN, WORDS, Row, check_rows, check_text, require
from medisyn_lib.data.splits import deal_split
from medisyn_lib.errors import InputError

SPLIT_NAMES = {"train": "train", "val": "val", "validation": "val", "test": "test"}


def checked_name(source: str) -> str:
    """OWNER/NAME of a source `hub:`; everything else takes the download. Raises InputError for another text."""
    require(
        re.fullmatch(r"hub:[\w.-]+/[\w.-]+", source),
        f"data source {source!r}: write hub:OWNER/NAME",
    )
    return source.removeprefix("hub:")


def fingerprint(source: str) -> str:
    """SHA-256 over the metadata file and the images that it names, or over all columns of all splits."""
    if source.startswith("hub:"):
        return _hub_tables(source)[1]
    return records.hash_files([_metadata(source), *(Path(row["place"]) for row in rows(source))])


def rows(source: str) -> list[Row]:
    """All images of the table without their pixels."""
    return check_rows(
        list(_hub_rows(source) if source.startswith("hub:") else _folder_rows(source)), source
    )


def images(chosen: Sequence[Row]) -> Iterator[Image.Image]:
    """The images of chosen rows, opened or decoded one at a time."""
    return open_images(
        chosen, lambda place: _hub_image(place) if place.startswith("hub:") else Image.open(place)
    )


def _folder_rows(source: str) -> Iterator[Row]:
    """The rows of a folder. A file outside of it, also by a link, is an InputError."""
    path = _metadata(source)
    home = os.path.realpath(path.parent)
    for number, record in enumerate(_records(path), 1):
        where, name = f"{path}, record {number}", str(record.get("file_name") or "")
        check_text(name, f"{where}: file_name")
        place = os.path.realpath(path.parent / name)
        inside, there = Path(place).is_relative_to(home), os.path.isfile(place)
        require(
            inside, f"{where}: file_name {name!r} leads out of the folder: copy the image into it"
        )
        require(there, f"{where}: there is no image file {name!r}: add it or drop the record")
        yield row_of(record, image_id=name, place=place, where=where)


def row_of(
    record: Mapping[str, Any], *, image_id: str, place: str, where: str, split: str = ""
) -> Row:
    """One row from a record of metadata; `where` names it in errors, `split` stands in where it has none."""
    words = {"text": str(record.get("text") or record.get("caption") or "")}
    words |= {key: str(record[key]) for key in (*WORDS, "patient_id") if record.get(key)}
    for key, word in words.items():
        check_text(word, f"{where}: {key}")
    patient = words.get("patient_id", image_id)
    split = str(record.get("split") or split or deal_split(patient))
    require(
        split in SPLIT_NAMES, f"{where}: split {split!r} is unknown: write {', '.join(SPLIT_NAMES)}"
    )
    own = {"image_id": image_id, "patient_id": patient, "identity_known": "patient_id" in words}
    row = UNKNOWN | words | own | {"split": SPLIT_NAMES[split], "place": place}
    for key in ("count", "grade"):
        try:
            row[key] = -1 if record.get(key) in (None, "") else int(str(record[key]))
        except ValueError:
            raise InputError(
                f"{where}: {key} is {record[key]!r}: write a whole number or leave it empty"
            ) from None
    return row


def _metadata(source: str) -> Path:
    folder = records.source_folder(source)
    found = [
        path for name in ("metadata.csv", "metadata.jsonl") if (path := folder / name).exists()
    ]
    fault = (
        f"{len(found) or 'no'} metadata files there: keep one of metadata.csv and metadata.jsonl"
    )
    require(len(found) == 1, f"data source {source!r}: {fault}")
    return found[0]


def _records(path: Path) -> list[dict[str, Any]]:
    """The records of a metadata file."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            if path.suffix == ".csv":
                found = list(csv.DictReader(file, strict=True))
            else:
                found = [dict(json.loads(line)) for line in file if line.strip()]
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise InputError(
            f"{path} cannot be read ({error}): save it as UTF-8, in JSON one object a line"
        ) from error
    for name in ("file_name", "text"):
        require(
            found and name in found[0],
            f"{path} has no column {name}: each record must name file_name,text",
        )
    return found


@lru_cache(maxsize=1)
def _hub_tables(source: str) -> tuple[dict[str, Any], str]:
    """The splits of the dataset by its own names, not decoded, and the hash of all columns in Arrow."""
    import datasets

    name = checked_name(source)
    where, total = f"data source {source!r}", hashlib.sha256()
    try:
        tables = dict(datasets.load_dataset(name))
    except (
        Exception
    ) as error:  # offline, missing, gated, no internet certificate: each raises its own kind
        kind = type(error).__name__
        raise InputError(
            f"{where} could not be loaded ({kind}): check the name and the network"
        ) from error
    for split, table in tables.items():
        lacks = f"{where}: {split} has no column"
        require(
            isinstance(table.features.get("image"), datasets.Image),
            f"{lacks} image of images: name it so",
        )
        require({"text", "caption"} & {*table.features}, f"{lacks} text or caption: add one")
        total.update(split.encode())
        for batch in table.with_format("arrow").iter(256):
            for part in batch.combine_chunks().to_batches():
                total.update(part.serialize())
    return tables, total.hexdigest()


def _hub_rows(source: str) -> Iterator[Row]:
    tables = _hub_tables(source)[0]
    for name, table in tables.items():
        plain = table.remove_columns("image")
        labels = {
            key: feature for key, feature in plain.features.items() if hasattr(feature, "int2str")
        }
        split = name if len(tables) > 1 and name in SPLIT_NAMES else ""
        for number, record in enumerate(plain):
            record |= {
                key: label.int2str(record[key])
                for key, label in labels.items()
                if record[key] is not None
            }
            place, where = f"{source}/{name}/{number}", f"{source}, {name}, row {number}"
            yield row_of(record, image_id=f"{name}/{number}", place=place, where=where, split=split)


def _hub_image(place: str) -> Image.Image:
    source, name, number = place.rsplit("/", 2)
    if (image := _hub_tables(source)[0][name][int(number)]["image"]) is None:
        raise FileNotFoundError(place)
    return image
