"""Source `hub:OWNER/NAME`: a dataset of the Hugging Face hub, or whatever `datasets.load_dataset` takes by that name.

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
from medisyn_lib.data.samples import Row, check_image, check_rows
from medisyn_lib.errors import InputError

if TYPE_CHECKING:
    import datasets

HELP = "hub:OWNER/NAME - a Hugging Face dataset with columns image and text or caption (downloads once)"


def preflight(rest: str) -> None:
    """Check the name only: everything else takes the download."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", rest):
        raise InputError(f"data source 'hub:{rest}': write hub:OWNER/NAME")


@lru_cache(maxsize=1)
def _tables(rest: str) -> tuple[dict[str, datasets.Dataset], str]:
    """The splits of the dataset by its own names, not decoded, and the hash of all columns in Arrow."""
    import datasets

    preflight(rest)
    where = f"data source 'hub:{rest}'"
    try:
        loaded = datasets.load_dataset(rest)
    except Exception as error:  # offline, missing, gated, no internet certificate: each raises its own kind
        kind = type(error).__name__
        raise InputError(f"{where} could not be loaded ({kind}): check the name and the network") from error
    total = hashlib.sha256()
    for name, table in loaded.items():
        if not isinstance(table.features.get("image"), datasets.Image):
            raise InputError(f"{where}: {name} has no column image of images: name it so")
        if not {"text", "caption"} & set(table.column_names):
            raise InputError(f"{where}: {name} has no column text or caption: add one")
        total.update(name.encode())
        for batch in table.with_format("arrow").iter(256):
            for part in batch.combine_chunks().to_batches():
                total.update(part.serialize())
    return dict(loaded), total.hexdigest()


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
        for number, line in enumerate(plain):
            line |= {key: feature.int2str(line[key]) for key, feature in labels.items() if line[key] is not None}
            where = f"hub:{rest}, {name}, row {number}"
            names = {"image_id": f"{name}/{number}", "place": f"{rest}/{name}/{number}", "where": where}
            result.append(row_of(line, **names, split=split))
    return check_rows(result, f"hub:{rest}")


def images(chosen: Sequence[Row]) -> Iterator[Image.Image]:
    """The images of chosen rows, decoded one at a time."""
    for row in chosen:
        rest, name, number = row.place.rsplit("/", 2)
        where = f"hub:{rest}: image {row.image_id}"
        try:
            image = _tables(rest)[0][name][int(number)]["image"]
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            image = None
        if image is None:
            raise InputError(f"{where} is missing or damaged: drop the row from the dataset")
        yield check_image(image, where)
