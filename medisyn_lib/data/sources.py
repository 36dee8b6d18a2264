"""The data sources behind one function: `load(source, split)` gives a memory-mapped dataset.

A source is one string, `phantom`, `npz:DIR`, `medmnist:NAMES@SIZE`, `folder:DIR` or `hub:OWNER/NAME`.
A module reads a kind or two: `fingerprint` (of a source), of a finite one `rows` and `images` (of rows),
and `checked_name` where a preflight is not to read all the images.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from medisyn_lib.data import records, tables
from medisyn_lib.data.kinds import KINDS
from medisyn_lib.data.rows import Row, require
from medisyn_lib.data.splits import ROLES, SPLIT_OF_ROLE, SPLITS, role_of, stable_fraction
from medisyn_lib.modalities import MODALITIES
from medisyn_lib.runtime.store import cache

if TYPE_CHECKING:
    import datasets
    from PIL import Image

__all__ = [
    "FINITE",
    "KINDS",
    "ROLES",
    "SIZES",
    "SPLITS",
    "checked_rows",
    "fingerprint",
    "finished_images",
    "finished_rows",
    "load",
    "preflight",
    "preflight_finished",
    "rows",
    "source_module",
]

FINITE = tuple(kind for kind in KINDS if kind != "phantom")
FILES = ("npz", "folder")  # kinds whose bytes lie here and are checked before any long work
SIZES = (16, 1024)  # smallest and largest side in pixels that a finite source is brought to
MANY = 4000  # phantoms; starting two processes takes two processor seconds: not worth it for fewer
# What every entry of the store hangs on, besides the module that reads the source.
CODE = (
    "medisyn_lib.modalities",
    "medisyn_lib.phantoms",
    "medisyn_lib.data.class_folders",
    "medisyn_lib.data.findings",
    "medisyn_lib.data.npz_arrays",
    "medisyn_lib.data.pixels",
    "medisyn_lib.data.records",
    "medisyn_lib.data.rows",
    "medisyn_lib.data.source_options",
    "medisyn_lib.data.sources",
    "medisyn_lib.data.splits",
    "medisyn_lib.data.values",
)


class NumberedRow(NamedTuple):
    """A row of a finite source, with its number there."""

    number: int
    row: Row


def source_module(source: str) -> ModuleType:
    """Return the module that reads a source. Raises InputError for an unknown kind."""
    kind = source.partition(":")[0]
    remedy = f"write phantom or one of {', '.join(FINITE)} and ':...'"
    require(kind in KINDS, f"data source {source!r} is unknown: {remedy}")
    return importlib.import_module(f"medisyn_lib.data.{KINDS[kind].module}")


def preflight(source: str) -> None:
    """Check a source down to its bytes without heavy imports, before any long work.

    The contents of `medmnist:` and `hub:` are checked when they are loaded, as that takes a download.

    Raises
    ------
    InputError
        One line that names the file, what is wrong with it and the remedy.
    """
    module = source_module(source)
    if source.partition(":")[0] not in FILES:
        module.checked_name(source)
        return
    for _ in module.images(module.rows(source)):
        pass


def fingerprint(source: str) -> str:
    """Hash a source's content: its files' bytes; of phantoms the code that draws them."""
    return str(source_module(source).fingerprint(source))


def rows(source: str) -> list[Row]:
    """Return all images of a finite source without their pixels. Raises InputError as `preflight` does."""
    return list(source_module(source).rows(source))


def finished_rows(folder: str) -> list[Row]:
    """Return a folder's finished images, which a generator has made, without their pixels.

    They need a text each and nothing else. Raises InputError for metadata that is not fit.
    """
    return tables.finished_rows(f"folder:{folder}")


def finished_images(folder: str, chosen: Sequence[Row] | None = None) -> Iterator[Image.Image]:
    """Yield the images of a folder's `finished_rows`, or of those chosen, one at a time."""
    return tables.images(finished_rows(folder) if chosen is None else chosen)


def preflight_finished(folder: str) -> None:
    """Check a folder of finished images down to its bytes. Raises InputError, one line that names the file."""
    for _ in finished_images(folder):
        pass


@lru_cache
def checked_rows(source: str, content: str) -> list[Row]:
    """Return the rows of a source whose fingerprint is `content`; none of phantoms.

    They are checked once while the content stays, as that reads every byte. Raises InputError as
    `preflight` does.
    """
    preflight(source)
    return [] if source == "phantom" else rows(source)


def load(
    source: str,
    split: str | None = None,
    *,
    role: str | None = None,
    size: int = 64,
    per_modality: int | None = None,
    modalities: Sequence[str] | None = None,
    seed: int = 0,
) -> datasets.Dataset:
    """Load the images of a split or a role, built once, cached in the store and mapped into memory.

    Roles never share a patient. Of a finite source's train patients a stable hash assigns 70% to
    `generator` and 30% to `evaluator`; val is `calibration`, test is `test`; `first_stage` is the
    generator's patients again, as an autoencoder sees the generator's own training images alone. Of
    phantoms each role is a stream of its own patients; that of `first_stage` is used nowhere else.

    Parameters
    ----------
    source
        The data source.
    split
        train, val or test. At least one of `split` and `role` is given.
    role
        One of `ROLES`.
    size
        Side of the images in pixels: their centre square, RGB, resampled with Lanczos.
    per_modality
        Caps the images of each modality by a stable hash of image and `seed`; for phantoms it sets
        their number, by default 600.
    modalities
        Keys of those to load; None for all.
    seed
        0 or more; also draws captions and phantoms.

    Returns
    -------
    datasets.Dataset
        In a fixed order, with the columns image, caption, modality, specialty, finding, side,
        lesion_size, count and grade (-1: unknown), sex, age_group, site, scanner and view ("": unknown),
        patient_id, image_id, split, role, identity_known (whether patient ids are true patients) and
        factors (JSON: of a phantom all of them).

    Raises
    ------
    InputError
        For bad arguments, a bad source, or where no image is left.
    """
    role = _checked_role(split, role)
    module, content = source_module(source), fingerprint(source)
    _check_numbers(source, getattr(module, "SIZES", SIZES), size, per_modality, seed)
    table = checked_rows(source, content)
    names = _checked_modalities(table, modalities)
    settings = {
        "source": source.partition(":")[0],
        "fingerprint": content,
        "role": role,
        "size": size,
        "seed": seed,
        "per_modality": per_modality,
        "modalities": ",".join(names),
    }
    arguments: dict[str, Any] = {"size": size, "seed": seed}
    if table:
        make_records = _records
        arguments["chosen"] = _choose(table, role, per_modality, names, seed)
        arguments |= {"images": module.images, "role": role}
    else:
        make_records = module.records
        arguments["chosen"] = module.choose(role, per_modality, names)
    workers = 2 if source == "phantom" and len(arguments["chosen"]) > MANY else 1

    def make(folder: Path) -> None:
        records.write(folder, make_records, arguments, workers=workers)

    return _opened(cache("data", settings, make, code=(*CODE, module.__name__)))


def _opened(folder: Path) -> datasets.Dataset:
    """The dataset of a store entry, mapped into memory."""
    import datasets

    # What `map` or `filter` would cache beside the dataset's files would spoil the store's entry.
    datasets.disable_caching()
    return datasets.Dataset.load_from_disk(str(folder / "data"))


def _checked_role(split: str | None, role: str | None) -> str | None:
    """The role that is asked for, None for all of train. Raises InputError for what does not fit."""
    for name, value, choices in (("split", split, SPLITS), ("role", role, ROLES)):
        require(
            value in (None, *choices),
            f"{name} {value!r} is unknown: choose among {', '.join(choices)}",
        )
    choice = f"{', '.join(SPLITS)} or {', '.join(ROLES)}"
    require(split or role, f"neither split nor role is given: choose one of {choice}")
    if role is None:
        return None if split == "train" else role_of(str(split), "")
    home = SPLIT_OF_ROLE[role]
    require(
        split in (None, home),
        f"role {role!r} belongs to split {home!r}, not {split!r}: give one of them",
    )
    return role


def _check_numbers(
    source: str, sizes: tuple[int, int], size: int, per_modality: int | None, seed: int
) -> None:
    """Raise InputError for a size, a cap or a seed that is out of range."""
    low, high = sizes
    require(
        low <= size <= high, f"size {size}: images of {source} have {low} to {high} pixels per side"
    )
    require(
        seed >= 0 and (per_modality is None or per_modality > 0),
        f"seed {seed}, per_modality {per_modality}: give a seed of 0 or more and at least 1 image",
    )


def _checked_modalities(table: Sequence[Row], modalities: Sequence[str] | None) -> tuple[str, ...]:
    """The modalities that are asked for, by default all that the source has."""
    present = tuple(dict.fromkeys(row["modality"] for row in table)) or tuple(MODALITIES)
    names = tuple(modalities or present)
    for name in names:
        require(
            name in present,
            f"modality {name!r} is not in the data source: choose among {', '.join(present)}",
        )
    return names


def _choose(
    table: Sequence[Row],
    role: str | None,
    per_modality: int | None,
    names: Sequence[str],
    seed: int,
) -> tuple[NumberedRow, ...]:
    """The rows that are asked for; no list, which `datasets` would divide among workers."""
    if role is None:
        roles: tuple[str, ...] = ("generator", "evaluator")
    else:
        roles = ("generator",) if role == "first_stage" else (role,)
    eligible = [
        NumberedRow(number, row)
        for number, row in enumerate(table)
        if role_of(row["split"], row["patient_id"]) in roles
    ]
    eligible.sort(key=lambda numbered: stable_fraction("cap", seed, numbered.row["image_id"]))
    chosen: list[NumberedRow] = []
    for name in names:
        of_modality = [numbered for numbered in eligible if numbered.row["modality"] == name]
        chosen += of_modality[:per_modality]
    require(
        chosen, f"no image in the data source for {role or 'train'}: add some or choose another"
    )
    return tuple(sorted(chosen, key=lambda numbered: numbered.number))


def _records(
    images: Callable[..., Iterator[Any]],
    chosen: Sequence[NumberedRow],
    role: str | None,
    size: int,
    seed: int,
) -> Iterator[dict[str, Any]]:
    """The records of chosen rows, one image in memory at a time."""
    pixels = images([numbered.row for numbered in chosen])
    for (number, row), image in zip(chosen, pixels, strict=True):
        patient_role = role or role_of(row["split"], row["patient_id"])
        yield records.sample(row, image, role=patient_role, size=size, seed=(seed, number))
