"""folder:DIR and hub:OWNER/NAME: a table with a text for each image, beside the files or in a Hugging Face dataset.

Columns: `file_name,text` in a folder's metadata, `image` and `text` or `caption` in a dataset of the hub;
optionally `modality, finding, patient_id, split, side, lesion_size, count, grade`. Splits are a dataset's
own where it has more than train; without `split` patients are dealt 70:10:20 by a stable hash, without
`patient_id` every image is its own patient, identity unknown.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from medisyn_lib.data.samples import Row, check_rows, check_text, deal_split, hash_files, opened, source_folder
from medisyn_lib.errors import InputError

if TYPE_CHECKING:
    import datasets

WORDS = {"modality": "image", "finding": "unlabelled", "patient_id": "", "side": "", "lesion_size": ""}  # and defaults
SPLIT_NAMES = {"train": "train", "val": "val", "validation": "val", "test": "test"}


def checked_name(source: str) -> str:
    """OWNER/NAME of a source `hub:`; everything else takes the download. Raises InputError for another text."""
    if not re.fullmatch(r"hub:[\w.-]+/[\w.-]+", source):
        raise InputError(f"data source {source!r}: write hub:OWNER/NAME")
    return source.removeprefix("hub:")


def fingerprint(source: str) -> str:
    """SHA-256 over the metadata file and the images that it names, or over all columns of all splits."""
    if source.startswith("hub:"):
        return _hub_tables(source)[1]
    return hash_files([_metadata(source), *(Path(row.place) for row in rows(source))])


def rows(source: str) -> list[Row]:
    """All images of the table without their pixels."""
    return check_rows(list(_hub_rows(source) if source.startswith("hub:") else _folder_rows(source)), source)


def images(chosen: Sequence[Row]) -> Iterator[Image.Image]:
    """The images of chosen rows, opened or decoded one at a time."""
    return opened(chosen, lambda row: _hub_image(row.place) if row.place.startswith("hub:") else Image.open(row.place))


def _folder_rows(source: str) -> Iterator[Row]:
    """The rows of a folder. A file outside of it, also by a link, is an InputError."""
    path = _metadata(source)
    home = os.path.realpath(path.parent)
    for number, record in enumerate(_records(path), 1):
        where, name = f"{path}, record {number}", str(record.get("file_name") or "")
        check_text(name, f"{where}: file_name")
        place = os.path.realpath(path.parent / name)
        if not Path(place).is_relative_to(home):
            raise InputError(f"{where}: file_name {name!r} leads out of the folder: copy the image into it")
        if not os.path.isfile(place):
            raise InputError(f"{where}: there is no image file {name!r}: add it or drop the record")
        yield row_of(record, image_id=name, place=place, where=where)


def row_of(record: Mapping[str, Any], *, image_id: str, place: str, where: str, split: str = "") -> Row:
    """One row from a record of metadata; `where` names it in errors, `split` stands in where it has none."""
    words = {key: str(record[key]) for key in WORDS if record.get(key)}
    text = str(record.get("text") or record.get("caption") or "")
    for key, word in {"text": text, **words}.items():
        check_text(word, f"{where}: {key}")
    patient = words.get("patient_id", image_id)
    split = str(record.get("split") or split or deal_split(patient))
    if split not in SPLIT_NAMES:
        raise InputError(f"{where}: split {split!r} is unknown: write {', '.join(SPLIT_NAMES)}")
    own: dict[str, Any] = WORDS | words | {"patient_id": patient, "identity_known": "patient_id" in words}
    for key in ("count", "grade"):
        try:
            own[key] = -1 if record.get(key) in (None, "") else int(str(record[key]))
        except ValueError:
            raise InputError(f"{where}: {key} is {record[key]!r}: write a whole number or leave it empty") from None
    return Row(image_id=image_id, split=SPLIT_NAMES[split], place=place, text=text, **own)


def _metadata(source: str) -> Path:
    folder = source_folder(source)
    found = [path for name in ("metadata.csv", "metadata.jsonl") if (path := folder / name).exists()]
    if len(found) != 1:
        fault = f"{len(found) or 'no'} metadata files there: keep one of metadata.csv and metadata.jsonl"
        raise InputError(f"data source {source!r}: {fault}")
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
        raise InputError(f"{path} cannot be read ({error}): save it as UTF-8, in JSON one object a line") from error
    if absent := sorted({"file_name", "text"} - set(found[0] if found else ())):
        raise InputError(f"{path} has no column {absent[0]}: each record must name file_name,text")
    return found


@lru_cache(maxsize=1)
def _hub_tables(source: str) -> tuple[dict[str, datasets.Dataset], str]:
    """The splits of the dataset by its own names, not decoded, and the hash of all columns in Arrow."""
    import datasets

    name = checked_name(source)
    where, total = f"data source {source!r}", hashlib.sha256()
    try:
        tables = dict(datasets.load_dataset(name))
    except Exception as error:  # offline, missing, gated, no internet certificate: each raises its own kind
        kind = type(error).__name__
        raise InputError(f"{where} could not be loaded ({kind}): check the name and the network") from error
    for split, table in tables.items():
        if not isinstance(table.features.get("image"), datasets.Image):
            raise InputError(f"{where}: {split} has no column image of images: name it so")
        if not {"text", "caption"} & set(table.column_names):
            raise InputError(f"{where}: {split} has no column text or caption: add one")
        total.update(split.encode())
        for batch in table.with_format("arrow").iter(256):
            for part in batch.combine_chunks().to_batches():
                total.update(part.serialize())
    return tables, total.hexdigest()


def _hub_rows(source: str) -> Iterator[Row]:
    tables = _hub_tables(source)[0]
    for name, table in tables.items():
        plain = table.remove_columns("image")
        labels = {key: feature for key, feature in plain.features.items() if hasattr(feature, "int2str")}
        split = name if len(tables) > 1 and name in SPLIT_NAMES else ""
        for number, record in enumerate(plain):
            record |= {key: label.int2str(record[key]) for key, label in labels.items() if record[key] is not None}
            place, where = f"{source}/{name}/{number}", f"{source}, {name}, row {number}"
            yield row_of(record, image_id=f"{name}/{number}", place=place, where=where, split=split)


def _hub_image(place: str) -> Image.Image:
    source, name, number = place.rsplit("/", 2)
    if (image := _hub_tables(source)[0][name][int(number)]["image"]) is None:
        raise FileNotFoundError(place)
    return image
