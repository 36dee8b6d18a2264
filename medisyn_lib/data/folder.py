"""Source `folder:DIR`: images beside a `metadata.csv` or `metadata.jsonl`, the imagefolder convention.

Columns: `file_name,text` and optionally `modality, finding, patient_id, split, side, lesion_size,
count, grade`. Without `split` patients are dealt 70:10:20 by a stable hash; without `patient_id`
every image is its own patient, identity unknown.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medisyn_lib.data.samples import SPLITS, Row, check_rows, check_text, deal_split, hash_files, open_image
from medisyn_lib.errors import InputError
from medisyn_lib.paths import resolve_out

if TYPE_CHECKING:
    from PIL import Image

HELP = "folder:DIR - image files beside metadata.csv or metadata.jsonl with file_name,text[,modality,finding,...]"
CODE = ("medisyn_lib.modalities", "medisyn_lib.data.samples", "medisyn_lib.data.folder")
UNKNOWN_MODALITY, UNKNOWN_FINDING = "image", "unlabelled"
SPLIT_NAMES = {"train": "train", "val": "val", "validation": "val", "test": "test"}


def preflight(rest: str) -> None:
    """Check the table and every image file's bytes. Raises InputError naming the line or file and the mend."""
    for row in rows(rest):
        with open_image(Path(row.place)) as image:
            try:
                image.verify()
            except (OSError, ValueError, SyntaxError) as error:
                raise InputError(f"{row.place} is damaged ({type(error).__name__}): copy or save it again") from error


def fingerprint(rest: str) -> str:
    """SHA-256 over the metadata file and the image files that it names."""
    return hash_files([_metadata(rest)] + [Path(row.place) for row in rows(rest)])


def images(rest: str, chosen: Sequence[Row]) -> Iterator[Image.Image]:
    """The images of chosen rows, opened one at a time."""
    for row in chosen:
        with open_image(Path(row.place)) as image:
            try:
                image.load()
            except (OSError, ValueError, SyntaxError) as error:
                raise InputError(f"{row.place} is damaged ({type(error).__name__}): copy or save it again") from error
            yield image


def rows(rest: str) -> list[Row]:
    """All images of the folder without their pixels."""
    path = _metadata(rest)
    result = []
    for number, line in _lines(path):
        where = f"{path}, line {number}"
        name = str(line.get("file_name") or "")
        place = _inside(path.parent, name, where)
        check_text(str(line.get("text") or ""), f"{where}: text")
        result.append(row_of(line, image_id=name, place=str(place), where=where))
    check_rows(result, str(path))
    return result


def row_of(line: Mapping[str, Any], *, image_id: str, place: str, where: str, split: str | None = None) -> Row:
    """One row from a record of metadata; `where` names it in errors, `split` stands in where it has none."""
    words = {key: str(line.get(key) or "") for key in ("modality", "finding", "patient_id", "side", "lesion_size")}
    for key, word in words.items():
        if word:
            check_text(word, f"{where}: {key}")
    own = str(line.get("split") or split or "")
    if own and own not in SPLIT_NAMES:
        raise InputError(f"{where}: split {own!r} is unknown: write {', '.join(SPLITS)}")
    patient = words["patient_id"] or image_id
    return Row(
        image_id=image_id,
        patient_id=patient,
        split=SPLIT_NAMES[own] if own else deal_split(patient),
        modality=words["modality"] or UNKNOWN_MODALITY,
        finding=words["finding"] or UNKNOWN_FINDING,
        place=place,
        text=str(line.get("text") or line.get("caption") or ""),
        side=words["side"],
        lesion_size=words["lesion_size"],
        count=_whole(line.get("count"), f"{where}: count"),
        grade=_whole(line.get("grade"), f"{where}: grade"),
        identity_known=bool(words["patient_id"]),
    )


def _metadata(rest: str) -> Path:
    folder = resolve_out(rest)
    if not rest or not folder.is_dir():
        raise InputError(f"data source 'folder:{rest}': no such folder: give one that holds images and metadata.csv")
    found = [folder / name for name in ("metadata.csv", "metadata.jsonl") if (folder / name).is_file()]
    if len(found) != 1:
        raise InputError(
            f"data source 'folder:{rest}': {'two metadata files' if found else 'no metadata file'} there: "
            "keep one of metadata.csv and metadata.jsonl"
        )
    return found[0]


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The records of a metadata file with the number of the line that they end on."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        try:
            if path.suffix == ".csv":
                reader = csv.DictReader(file, strict=True)
                absent = {"file_name", "text"} - set(reader.fieldnames or ())
                if absent:
                    raise InputError(
                        f"{path} has no column {sorted(absent)[0]}: its first line must name file_name,text"
                    )
                yield from ((reader.line_num, line) for line in reader)
                return
            for number, text in enumerate(file, 1):
                if text.strip():
                    line = json.loads(text)
                    if not isinstance(line, dict):
                        raise InputError(f"{path}, line {number} is no JSON object: write one object a line")
                    yield number, line
        except (UnicodeDecodeError, csv.Error, json.JSONDecodeError) as error:
            raise InputError(f"{path} cannot be read ({error}): save it as UTF-8") from error


def _inside(folder: Path, name: str, where: str) -> Path:
    """The path of an image file. Raises InputError where it is missing or leaves the folder, also by a link."""
    check_text(name, f"{where}: file_name")
    path = folder / name
    try:
        inside = not Path(name).is_absolute() and path.resolve().is_relative_to(folder.resolve())
        there = path.is_file()
    except (OSError, RuntimeError):  # a name too long, a circle of links
        inside, there = True, False
    if not inside:
        raise InputError(f"{where}: file_name {name!r} leads out of the folder: copy the image into it")
    if not there:
        raise InputError(f"{where}: there is no image file {name!r}: add it or drop the line")
    return path


def _whole(value: Any, where: str) -> int:
    """A whole number of metadata; missing means unknown, -1."""
    if value in (None, ""):
        return -1
    try:
        return int(str(value))
    except ValueError:
        raise InputError(f"{where} is {str(value)!r}: write a whole number or leave it empty") from None
