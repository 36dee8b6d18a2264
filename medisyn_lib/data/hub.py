"""hub:OWNER/NAME - a Hugging Face dataset with columns image and text or caption (downloads once).

Columns: `image`, `text` or `caption`, and optionally those of `folder:`. Splits are the dataset's
own where it has more than train, else its `split` column, else patients are dealt as in `folder:`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from PIL import Image

from medisyn_lib.data.folder import SPLIT_NAMES, row_of
from medisyn_lib.data.samples import Row, check_rows, opened
from medisyn_lib.errors import InputError

if TYPE_CHECKING:
    import datasets


def preflight(rest: str) -> None:
    """Check the name only: everything else takes the download."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", rest):
        raise InputError(f"data source 'hub:{rest}': write hub:OWNER/NAME")


@lru_cache(maxsize=1)
def _tables(rest: str) -> tuple[dict[str, datasets.Dataset], str]:
    """The splits of the dataset by its own names, not decoded, and the hash of all columns in Arrow."""
    import datasets

    preflight(rest)
    where, total = f"data source 'hub:{rest}'", hashlib.sha256()
    try:
        tables = dict(datasets.load_dataset(rest))
    except Exception as error:  # offline, missing, gated, no internet certificate: each raises its own kind
        kind = type(error).__name__
        raise InputError(f"{where} could not be loaded ({kind}): check the name and the network") from error
    for name, table in tables.items():
        if not isinstance(table.features.get("image"), datasets.Image):
            raise InputError(f"{where}: {name} has no column image of images: name it so")
        if not {"text", "caption"} & set(table.column_names):
            raise InputError(f"{where}: {name} has no column text or caption: add one")
        total.update(name.encode())
        for batch in table.with_format("arrow").iter(256):
            for part in batch.combine_chunks().to_batches():
                total.update(part.serialize())
    return tables, total.hexdigest()


def fingerprint(rest: str) -> str:
    """SHA-256 over all columns of all splits."""
    return _tables(rest)[1]


def rows(rest: str) -> list[Row]:
    """All images of the dataset without their pixels."""
    tables, result = _tables(rest)[0], []
    for name, table in tables.items():
        plain = table.remove_columns("image")
        labels = {key: feature for key, feature in plain.features.items() if hasattr(feature, "int2str")}
        split = name if len(tables) > 1 and name in SPLIT_NAMES else ""
        for number, record in enumerate(plain):
            record |= {key: label.int2str(record[key]) for key, label in labels.items() if record[key] is not None}
            place, where = f"hub:{rest}/{name}/{number}", f"hub:{rest}, {name}, row {number}"
            result.append(row_of(record, image_id=f"{name}/{number}", place=place, where=where, split=split))
    return check_rows(result, f"hub:{rest}")


def images(chosen: Sequence[Row]) -> Iterator[Image.Image]:
    """The images of chosen rows, decoded one at a time."""
    return opened(chosen, _image)


def _image(row: Row) -> Image.Image:
    rest, name, number = row.place.removeprefix("hub:").rsplit("/", 2)
    if (image := _tables(rest)[0][name][int(number)]["image"]) is None:
        raise FileNotFoundError(row.place)
    return image
