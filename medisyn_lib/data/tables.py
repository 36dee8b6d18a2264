"""folder:DIR and hub:OWNER/NAME: a table with a text for each image, beside the files or in a Hugging Face dataset.

Columns: `file_name,text` in a folder's metadata, `image` and `text` or `caption` in a dataset of the hub; a label in
place of the text will do, as captions are made of it (`findings`). A folder without metadata may have a folder for
each class (`class_folders`). Optional columns are `modality, finding, patient_id, split, side, lesion_size, count,
grade, sex, age_group, site, scanner, view`. Splits are a dataset's own where it has more than train; without `split`
patients are assigned 70:10:20 by a stable hash, without `patient_id` every image is its own patient, identity unknown.
`identity_known` of 0 says that `patient_id` is a group of images that belong together, such as a lesion, but not a true
patient. What may be written behind a source, such as what its names of splits mean, is read by `source_options`.
"""

import csv
import hashlib
import io
import json
import os
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from medisyn_lib.data import records
from medisyn_lib.data.class_folders import class_records
from medisyn_lib.data.findings import TEXTS, completion
from medisyn_lib.data.pixels import open_images
from medisyn_lib.data.rows import (
    SUBGROUPS,
    UNKNOWN,
    WORDS,
    Row,
    check_images_are_unique,
    check_rows,
    check_text,
    require,
)
from medisyn_lib.data.source_options import SourceOptions, parse
from medisyn_lib.data.splits import deal_split, split_named
from medisyn_lib.data.values import as_text, as_whole_number, check_single, is_missing
from medisyn_lib.errors import InputError

__all__ = ["checked_name", "fingerprint", "finished_rows", "images", "row_of", "rows"]

METADATA = ("metadata.csv", "metadata.jsonl")
HASHED_AT_ONCE = 256  # rows


class Listing(NamedTuple):
    """What a folder states of its images."""

    path: Path  # the metadata file, or the folder where there is none
    records: list[dict[str, Any]]


class HubTables(NamedTuple):
    """A dataset of the hub."""

    splits: dict[str, Any]  # tables by the dataset's own names of splits, images as files
    digest: str  # hash of all columns in Arrow


def checked_name(source: str) -> str:
    """Return OWNER/NAME of a source `hub:`; all else takes the download. Raises InputError for another text."""
    name = parse(source).source
    require(
        re.fullmatch(r"hub:[\w.-]+/[\w.-]+", name),
        f"data source {source!r}: write hub:OWNER/NAME or hub:OWNER/NAME@MODALITY",
    )
    return name.removeprefix("hub:")


def fingerprint(source: str) -> str:
    """Hash the metadata file and the images that it names, or all columns of all splits (SHA-256).

    What else makes the rows, the names of class folders and all that is written behind the source, counts, too.
    """
    content = _hub_tables(source).digest if source.startswith("hub:") else _folder_digest(source)
    behind = source.removeprefix(parse(source).source)
    return hashlib.sha256(f"{content}{behind}".encode()).hexdigest() if behind else content


def _folder_digest(source: str) -> str:
    listing = _listing(source)
    named = {record["file_name"]: Path(place) for _, record, place in _with_files(listing)}
    if listing.path.is_file():
        return records.hash_files([listing.path, *named.values()])
    lines = [*named, records.hash_files(named.values())]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def rows(source: str) -> list[Row]:
    """Return all images of the table without their pixels."""
    found = _hub_rows(source) if source.startswith("hub:") else _folder_rows(source)
    return check_rows(list(found), source)


def finished_rows(source: str) -> list[Row]:
    """Return the images that a generator has made, a source `folder:`, without their pixels.

    They are nobody's and are not split, so the rules of a training set do not apply: columns `split` and
    `patient_id` are not read.
    """
    made = []
    for where, record, place in _with_files(_listing(source)):
        unsplit = {
            name: value for name, value in record.items() if name not in ("split", "patient_id")
        }
        name = str(record["file_name"])
        row = row_of(unsplit, image_id=name, place=place, where=where, split="test")
        require(row["text"], f"{where} has no text: say what the image was generated from")
        made.append(row)
    require(made, f"{source} holds no image: add some")
    check_images_are_unique(made, source)
    return made


def images(chosen: Sequence[Row]) -> Iterator[Image.Image]:
    """Yield the images of rows, opened or decoded one at a time."""
    return open_images(chosen, _opened)


def _opened(place: str) -> Image.Image:
    return _hub_image(place) if place.startswith("hub:") else Image.open(place)


def row_of(
    record: Mapping[str, Any],
    *,
    image_id: str,
    place: str,
    where: str,
    split: str = "",
    options: SourceOptions | None = None,
) -> Row:
    """Make one row from a record of metadata.

    Parameters
    ----------
    record
        The record's columns; what is missing counts as unknown (`values`).
    image_id
        Name of the image in the source.
    place
        Where its pixels are.
    where
        Names the record in errors.
    split
        Stands in where the record has no split.
    options
        Of the source.

    Raises
    ------
    InputError
        For a text, a split or a number that is not fit.
    """
    for name in (*TEXTS, *WORDS, *SUBGROUPS, "patient_id", "split"):
        check_single(record.get(name), f"{where}: {name}")
    text = as_text(record.get("text")) or as_text(record.get("caption"))
    if options and options.words:
        text = " ".join(text.split()[: options.words])
    words = {name: as_text(record.get(name)) for name in (*WORDS, *SUBGROUPS, "patient_id")}
    words = {name: word for name, word in words.items() if word}
    if "finding" not in words or any(name in record for name in TEXTS):
        words = {"text": text} | words  # else it is made of modality and finding
    for name, word in words.items():
        check_text(word, f"{where}: {name}")
    patient = words.get("patient_id", image_id)
    split = as_text(record.get("split")) or split or deal_split(patient)
    row = UNKNOWN | words
    row["image_id"] = image_id
    row["patient_id"] = patient
    is_group = as_text(record.get("identity_known")).lower() in ("0", "false")
    row["identity_known"] = "patient_id" in words and not is_group
    row["split"] = split_named(split, where, options.split_map if options else None)
    row["place"] = place
    for name in ("count", "grade"):
        row[name] = as_whole_number(record.get(name), f"{where}: {name}")
    return row


def _folder_rows(source: str) -> Iterator[Row]:
    """The rows of a folder."""
    options = parse(source)
    for where, record, place in _with_files(_listing(source)):
        name = str(record["file_name"])
        yield row_of(record, image_id=name, place=place, where=where, options=options)


def _with_files(listing: Listing) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Words that name each record of a folder, the record, and its image file.

    A file outside of the folder, also by a link, is an InputError.
    """
    path = listing.path
    folder = path if path.is_dir() else path.parent
    home = os.path.realpath(folder)
    for number, record in enumerate(listing.records, 1):
        where, stated = f"{path}, record {number}", record.get("file_name")
        name = "" if is_missing(stated) else str(stated)
        check_text(name, f"{where}: file_name")
        place = os.path.realpath(_as_spelt(folder, name))
        require(
            Path(place).is_relative_to(home),
            f"{where}: file_name {name!r} leads out of the folder: copy the image into it",
        )
        require(
            os.path.isfile(place),
            f"{where}: there is no image file {name!r}: add it or drop the record",
        )
        yield where, record, place


def _as_spelt(folder: Path, name: str) -> Path:
    """The file of a name, as it is spelt or with its blanks and accents as another system writes them."""
    spellings = [name, *(unicodedata.normalize(form, name.strip()) for form in ("NFC", "NFD"))]
    return next((folder / one for one in spellings if os.path.isfile(folder / one)), folder / name)


def _listing(source: str) -> Listing:
    """The one metadata file of a folder with its records, or those of its class folders."""
    folder = records.source_folder(source)
    present = [folder / name for name in METADATA if (folder / name).is_file()]
    found = [] if present else list(class_records(folder, parse(source).split_map))
    require(
        len(present) == 1 or found,
        f"data source {source!r}: {len(present) or 'no'} metadata files there: "
        f"keep one of {' and '.join(METADATA)}, or one folder of images for each class",
    )
    path = present[0] if present else folder
    found = _records(path) if present else found
    columns = list(dict.fromkeys(name for record in found for name in record))
    addition = completion(source, columns, ())
    numbered = enumerate(found, 1)
    return Listing(path, [addition.completed(one, f"{path}, record {n}") for n, one in numbered])


def _records(path: Path) -> list[dict[str, Any]]:
    """The records of a metadata file."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            if path.suffix == ".csv":
                result = _csv_records(path, csv.reader(file, strict=True))
            else:
                result = [dict(json.loads(line)) for line in file if line.strip()]
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise InputError(
            f"{path} cannot be read ({error}): save it as UTF-8, in JSON one object per line"
        ) from error
    columns = [*result[0]] if result else []
    require(
        "file_name" in columns,
        f"{path} has no column file_name but {columns!r}: each record must name file_name,text; "
        "in CSV with commas between them",
    )
    return result


def _csv_records(path: Path, lines: Any) -> list[dict[str, Any]]:
    """The records of a CSV table. A line that has not a value for each column is an InputError."""
    columns = [name.strip() for name in next(lines, [])]
    require(len({*columns}) == len(columns), f"{path}, line 1: a column is named twice: rename one")
    result = []
    for values in lines:
        require(
            len(values) in (0, len(columns)),
            f"{path}, line {lines.line_num} has {len(values)} values for {len(columns)} columns: "
            "put a text that holds a comma into quotes",
        )
        if values:
            result.append(dict(zip(columns, values, strict=True)))
    return result


@lru_cache(maxsize=1)
def _hub_tables(source: str) -> HubTables:
    """The dataset of a source `hub:`, downloaded and checked."""
    import datasets

    where, total = f"data source {source!r}", hashlib.sha256()
    wanted = [name for name in (checked_name(source), parse(source).config) if name]
    try:
        splits = dict(datasets.load_dataset(*wanted))
    except Exception as error:  # offline, missing, gated, no certificate: each raises its own kind
        kind, remedy = type(error).__name__, _hub_remedy(source, error)
        raise InputError(f"{where} could not be loaded ({kind}): {remedy}") from error
    for split, table in splits.items():
        lacks = f"{where}: {split} has no column"
        require(
            isinstance(table.features.get("image"), datasets.Image),
            f"{lacks} image of images: name it so",
        )
        completion(source, [*table.features], _class_labels(table))
        total.update(split.encode())
        for batch in table.with_format("arrow").iter(HASHED_AT_ONCE):
            for part in batch.combine_chunks().to_batches():
                total.update(part.serialize())
        splits[split] = table.cast_column("image", datasets.Image(decode=False))
    return HubTables(splits, total.hexdigest())


def _hub_remedy(source: str, error: Exception) -> str:
    """What to do about a dataset of the hub that could not be loaded."""
    said, plain = " ".join(str(error).split()), parse(source).source
    configs = re.search(r"[Aa]vailable(?: configs)?: \[(.*?)\]", said)
    if configs:
        return f"it has the configurations {configs[1]}: choose one, as in {plain}?config=NAME"
    if "scripts are no longer supported" in said:
        return (
            "it is read by a script of its own, and no code is run here: "
            "save its images as a folder with metadata.csv"
        )
    if "gated" in said:
        return "it is gated: ask for access on its page, then log in with `hf auth login`"
    return "check the name and the network"


def _class_labels(table: Any) -> list[str]:
    """The columns of a dataset whose values are classes with names."""
    return [name for name, feature in table.features.items() if hasattr(feature, "int2str")]


def _class_name(feature: Any, number: int | None) -> str | None:
    """The name of a class; None where it is missing, which datasets write as nothing or as -1."""
    return None if number is None or number < 0 else feature.int2str(number)


def _hub_rows(source: str) -> Iterator[Row]:
    """The rows of a dataset of the hub, class labels in words."""
    options, splits = parse(source), _hub_tables(source).splits
    for name, split in _hub_splits(source, options, list(splits)).items():
        columns = splits[name].remove_columns("image")
        labels = _class_labels(columns)
        addition = completion(source, [*columns.features], labels)
        for number, record in enumerate(columns):
            for column in labels:
                record[column] = _class_name(columns.features[column], record[column])
            where = f"{source}, {name}, row {number}"
            yield row_of(
                addition.completed(record, where),
                image_id=f"{name}/{number}",
                place=f"{source}/{name}/{number}",
                where=where,
                split=split,
                options=options,
            )


def _hub_splits(source: str, options: SourceOptions, names: Sequence[str]) -> dict[str, str]:
    """What a dataset's own names of splits mean; "" where all is train, so that patients are assigned."""
    meaning = {name: split_named(name, source, options.split_map) for name in names}
    return meaning if {*meaning.values()} != {"train"} else dict.fromkeys(names, "")


def _hub_image(place: str) -> Image.Image:
    """The image at `hub:OWNER/NAME/SPLIT/NUMBER`."""
    source, split, number = place.rsplit("/", 2)
    image = _hub_tables(source).splits[split][int(number)]["image"]
    if image is None:
        raise FileNotFoundError(place)
    return Image.open(io.BytesIO(image["bytes"]) if image["bytes"] else image["path"])
