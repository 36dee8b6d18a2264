"""folder:DIR - image files beside metadata.csv or metadata.jsonl with file_name,text[,modality,finding,...].

Columns: `file_name,text` and optionally `modality, finding, patient_id, split, side, lesion_size,
count, grade`. Without `split` patients are dealt 70:10:20 by a stable hash; without `patient_id`
every image is its own patient, identity unknown.
"""

import csv
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from medisyn_lib.data.samples import Row, check_rows, check_text, deal_split, opened, source_folder
from medisyn_lib.errors import InputError

WORDS = {"modality": "image", "finding": "unlabelled", "patient_id": "", "side": "", "lesion_size": ""}  # and defaults
SPLIT_NAMES = {"train": "train", "val": "val", "validation": "val", "test": "test"}


def files(rest: str) -> list[Path]:
    """The metadata file and the image files that it names."""
    return [_metadata(rest), *(Path(row.place) for row in rows(rest))]


def images(chosen: Sequence[Row]) -> Iterator[Image.Image]:
    """The images of chosen rows, opened one at a time."""
    return opened(chosen, lambda row: Image.open(row.place))


def rows(rest: str) -> list[Row]:
    """All images of the folder without their pixels. A file outside of it, also by a link, is an InputError."""
    path, result = _metadata(rest), []
    home = os.path.realpath(path.parent)
    for number, record in enumerate(_records(path), 1):
        where, name = f"{path}, record {number}", str(record.get("file_name") or "")
        check_text(name, f"{where}: file_name")
        place = os.path.realpath(path.parent / name)
        if not Path(place).is_relative_to(home):
            raise InputError(f"{where}: file_name {name!r} leads out of the folder: copy the image into it")
        if not os.path.isfile(place):
            raise InputError(f"{where}: there is no image file {name!r}: add it or drop the record")
        result.append(row_of(record, image_id=name, place=place, where=where))
    return check_rows(result, str(path))


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


def _metadata(rest: str) -> Path:
    folder = source_folder("folder", rest)
    found = [path for name in ("metadata.csv", "metadata.jsonl") if (path := folder / name).exists()]
    if len(found) != 1:
        fault = f"{len(found) or 'no'} metadata files there: keep one of metadata.csv and metadata.jsonl"
        raise InputError(f"data source 'folder:{rest}': {fault}")
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
