"""Source `folder:DIR`: images beside a `metadata.csv` or `metadata.jsonl`, the imagefolder convention.

Columns: `file_name,text` and optionally `modality, finding, patient_id, split, side, lesion_size,
count, grade`. Without `split` patients are dealt 70:10:20 by a stable hash; without `patient_id`
every image is its own patient, identity unknown.
"""

from __future__ import annotations

import csv
import json
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from medisyn_lib.data.samples import Row, check_image, check_rows, check_text, deal_split, source_folder
from medisyn_lib.errors import InputError

HELP = "folder:DIR - image files beside metadata.csv or metadata.jsonl with file_name,text[,modality,finding,...]"
WORDS = {"modality": "image", "finding": "unlabelled", "patient_id": "", "side": "", "lesion_size": ""}  # and defaults
SPLIT_NAMES = {"train": "train", "val": "val", "validation": "val", "test": "test"}


def files(rest: str) -> list[Path]:
    """The metadata file and the image files that it names."""
    return [_metadata(rest), *(Path(row.place) for row in rows(rest))]


def images(chosen: Sequence[Row]) -> Iterator[Image.Image]:
    """The images of chosen rows, opened one at a time."""
    for row in chosen:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # `check_image` has the last word
                image = Image.open(row.place)
            check_image(image, row.place).load()
        except (UnidentifiedImageError, Image.DecompressionBombError) as error:
            raise InputError(f"{row.place} is no image that can be read ({error!r}): save it again, smaller") from error
        except (OSError, SyntaxError) as error:
            raise InputError(f"{row.place} is damaged ({type(error).__name__}): copy or save it again") from error
        yield image


def rows(rest: str) -> list[Row]:
    """All images of the folder without their pixels. A file outside of it, also by a link, is an InputError."""
    path, result = _metadata(rest), []
    for number, line in _lines(path):
        where, name = f"{path}, line {number}", str(line.get("file_name") or "")
        check_text(name, f"{where}: file_name")
        place = os.path.realpath(path.parent / name)
        if not Path(place).is_relative_to(os.path.realpath(path.parent)):
            raise InputError(f"{where}: file_name {name!r} leads out of the folder: copy the image into it")
        if not os.path.isfile(place):
            raise InputError(f"{where}: there is no image file {name!r}: add it or drop the line")
        result.append(row_of(line, image_id=name, place=place, where=where))
    return check_rows(result, str(path))


def row_of(line: Mapping[str, Any], *, image_id: str, place: str, where: str, split: str = "") -> Row:
    """One row from a record of metadata; `where` names it in errors, `split` stands in where it has none."""
    words = {key: str(line[key]) for key in WORDS if line.get(key)}
    text = str(line.get("text") or line.get("caption") or "")
    for key, word in {"text": text, **words}.items():
        check_text(word, f"{where}: {key}")
    patient = words.get("patient_id", image_id)
    split = str(line.get("split") or split or deal_split(patient))
    if split not in SPLIT_NAMES:
        raise InputError(f"{where}: split {split!r} is unknown: write {', '.join(SPLIT_NAMES)}")
    own: dict[str, Any] = WORDS | words | {"patient_id": patient, "identity_known": "patient_id" in words}
    for key in ("count", "grade"):
        try:
            own[key] = -1 if line.get(key) in (None, "") else int(str(line[key]))
        except ValueError:
            raise InputError(f"{where}: {key} is {line[key]!r}: write a whole number or leave it empty") from None
    return Row(image_id=image_id, split=SPLIT_NAMES[split], place=place, text=text, **own)


def _metadata(rest: str) -> Path:
    found = [
        path for path in sorted(source_folder("folder", rest).glob("metadata.*")) if path.suffix in (".csv", ".jsonl")
    ]
    if len(found) != 1:
        fault = "two metadata files" if found else "no metadata file"
        raise InputError(f"data source 'folder:{rest}': {fault} there: keep one of metadata.csv and metadata.jsonl")
    return found[0]


def _lines(path: Path) -> list[tuple[int, dict[str, Any]]]:
    """The records of a metadata file with the number of the line that they end on."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            if path.suffix == ".csv":
                reader = csv.DictReader(file, strict=True)
                found = [(reader.line_num, line) for line in reader]
            else:
                found = [(number, dict(json.loads(line))) for number, line in enumerate(file, 1) if line.strip()]
    except (ValueError, TypeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read ({error}): save it as UTF-8, in JSON one object a line") from error
    if absent := sorted({"file_name", "text"} - set(found[0][1] if found else ())):
        raise InputError(f"{path} has no column {absent[0]}: each record must name file_name,text")
    return found
