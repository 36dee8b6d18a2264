"""The data sources behind one function: `load(source, split)` gives a memory-mapped dataset.

A source is one string, `phantom`, `npz:DIR`, `medmnist:NAMES@SIZE`, `folder:DIR` or `hub:OWNER/NAME`.
Each kind is one module. That of a finite source has `rows` (of what follows the colon), `images` (of
rows) and either `files` or `fingerprint`; `preflight` where that is not to read all the images.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from medisyn_lib.data import samples
from medisyn_lib.data.checks import MIN_TEST_PATIENTS, check, near_duplicates, testable  # noqa: F401
from medisyn_lib.data.samples import ROLES, SPLIT_OF_ROLE, SPLITS, Row, role_of
from medisyn_lib.errors import InputError
from medisyn_lib.modalities import MODALITIES
from medisyn_lib.store import keep

if TYPE_CHECKING:
    import datasets

KINDS = ("phantom", "npz", "medmnist", "folder", "hub")
SIZES = (16, 1024)  # smallest and largest side in pixels that a finite source is brought to
CODE = ("medisyn_lib.phantoms", "medisyn_lib.modalities", "medisyn_lib.data")


def source_module(source: str) -> tuple[ModuleType, str]:
    """The module of a source and what follows the colon. Raises InputError for an unknown kind."""
    kind, _, rest = source.partition(":")
    if kind not in KINDS:
        mend = f"write phantom or one of {', '.join(KINDS[1:])} and ':...'"
        raise InputError(f"data source {source!r} is unknown: {mend}")
    return importlib.import_module(f"medisyn_lib.data.{kind}"), rest


def describe() -> list[dict[str, str]]:
    """One row a kind of source: `kind` and one line of `help`, the first of its module's docstring."""
    return [{"kind": kind, "help": str(source_module(kind)[0].__doc__).splitlines()[0]} for kind in KINDS]


def preflight(source: str) -> None:
    """Check a source down to its bytes without heavy imports, before any long work.

    Raises InputError with one line that names the file, what is wrong with it and the mend. The
    contents of `medmnist:` and `hub:` are checked when they are loaded, as that takes a download.
    """
    module, rest = source_module(source)
    if hasattr(module, "preflight"):
        module.preflight(rest)
    else:
        for _ in module.images(module.rows(rest)):
            pass


def fingerprint(source: str) -> str:
    """A hash of the source's content: of its files' bytes, for phantoms of the code that draws them."""
    module, rest = source_module(source)
    return str(samples.hash_files(module.files(rest)) if hasattr(module, "files") else module.fingerprint(rest))


def rows(source: str) -> list[Row]:
    """All images of a finite source without their pixels. Raises InputError as `preflight` does."""
    module, rest = source_module(source)
    return list(module.rows(rest))


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
    """The images of a split or a role, built once, kept in the store and mapped into memory.

    At least one of `split` (train, val, test) and `role` is given. Roles never share a patient: of a
    finite source's train patients a stable hash deals 70% to `generator` and 30% to `evaluator`, val
    is `calibration`, test is `test`; `first_stage` is the generator's patients again, as in the field
    the first stage sees the generator's own training images and nobody else's. For phantoms each role
    is a stream of its own patients, and that of `first_stage` is used nowhere else.

    `per_modality` caps the images a modality by a stable hash of image and `seed` (for phantoms it sets
    them, default 600). Images are brought to RGB of (size, size): the centre square, resampled with
    Lanczos. `seed` also draws captions and phantoms; the order of rows is fixed.

    Columns: image, caption, modality, specialty, finding, side, lesion_size, count and grade (-1:
    unknown), patient_id, image_id, split, role, identity_known (false: the patient ids are not known
    to be true patients), factors (JSON: every factor behind a phantom, else empty).

    Raises InputError for bad arguments, a bad source or where nothing is left.
    """
    low, high = getattr(source_module(source)[0], "SIZES", SIZES)
    if not low <= size <= high:
        raise InputError(f"size {size}: images of {source} have {low} to {high} pixels a side")
    if seed < 0 or (per_modality is not None and per_modality < 1):
        raise InputError(f"seed {seed}, per_modality {per_modality}: give a seed of 0 or more and at least 1 image")
    folder = _kept(source, _role(split, role), size, per_modality, tuple(modalities or ()), seed)
    import datasets

    # What `map` or `filter` would cache beside the dataset's files would spoil the store's entry.
    datasets.disable_caching()
    return datasets.Dataset.load_from_disk(str(folder / "data"))


def pixels(dataset: datasets.Dataset, indices: Sequence[int] | np.ndarray | None = None) -> np.ndarray:
    """The images of a dataset, or of some of its rows, as uint8 (n, size, size, 3)."""
    chosen = dataset if indices is None else dataset.select(np.asarray(indices).tolist())
    first = chosen[0]["image"].size if len(chosen) else (0, 0)
    result = np.empty((len(chosen), first[1], first[0], 3), np.uint8)
    for number, row in enumerate(chosen.select_columns("image")):
        result[number] = row["image"]
    return result


def _role(split: str | None, role: str | None) -> str | None:
    """The role that is asked for, None for all of train. Raises InputError for what does not fit."""
    for name, value, known in (("split", split, SPLITS), ("role", role, ROLES)):
        if value not in (None, *known):
            raise InputError(f"{name} {value!r} is unknown: choose among {', '.join(known)}")
    if role is not None and split not in (None, SPLIT_OF_ROLE[role]):
        raise InputError(f"role {role!r} belongs to split {SPLIT_OF_ROLE[role]!r}, not {split!r}: give one of them")
    if split is None and role is None:
        raise InputError(f"neither split nor role is given: choose one of {', '.join(SPLITS)} or {', '.join(ROLES)}")
    return role if split in (None, "train") else role_of(split, "")


def _kept(source: str, role: str | None, size: int, many: int | None, modalities: tuple[str, ...], seed: int) -> Path:
    """The folder in the store that holds the chosen images, which are drawn or read where they are not there yet."""
    content, module = fingerprint(source), source_module(source)[0]
    every = _checked_rows(source, content)
    known = tuple(dict.fromkeys(row.modality for row in every) or MODALITIES)
    names = modalities or known
    if unknown := sorted({*names} - {*known}):
        raise InputError(f"modality {unknown[0]!r} is not in the data source: choose among {', '.join(known)}")
    arguments: dict[str, Any] = {"size": size, "seed": seed}
    if every:
        records = _records
        arguments |= {"images": module.images, "role": role, "chosen": _choose(every, role, many, names, seed)}
    else:
        records, arguments["chunks"] = module.records, module.chunks_of(role, many, names)
    # Starting processes takes about a second: not worth it for a few images.
    workers = 2 if len(arguments.get("chunks", ())) > 10 else 1
    settings = {"source": source.partition(":")[0], "fingerprint": content, "role": role, "size": size, "seed": seed}
    settings |= {"per_modality": many, "modalities": ",".join(names)}
    return keep("data", settings, lambda place: samples.write(place, records, arguments, workers=workers), code=CODE)


@lru_cache
def _checked_rows(source: str, content: str) -> list[Row]:
    """The rows of a source, none of phantoms; checked once while its content stays, as that reads every byte."""
    preflight(source)
    return rows(source) if hasattr(source_module(source)[0], "rows") else []


def _choose(
    every: Sequence[Row], role: str | None, many: int | None, names: Sequence[str], seed: int
) -> tuple[tuple[int, Row], ...]:
    """The rows that are asked for, with their numbers in the source; no list, which `datasets` would deal out."""
    dealt = {None: ("generator", "evaluator"), "first_stage": ("generator",)}.get(role, (role,))
    pairs = [pair for pair in enumerate(every) if role_of(pair[1].split, pair[1].patient_id) in dealt]
    pairs.sort(key=lambda pair: samples.share("cap", seed, pair[1].image_id))
    result = [pair for name in names for pair in [pair for pair in pairs if pair[1].modality == name][:many]]
    if not result:
        raise InputError(f"no image in the data source for {role or 'train'}: add some or choose another")
    return tuple(sorted(result, key=lambda pair: pair[0]))


def _records(
    images: Callable[..., Iterator[Any]], chosen: Sequence[tuple[int, Row]], role: str | None, size: int, seed: int
) -> Iterator[dict[str, Any]]:
    """The records of chosen rows, one image in memory at a time."""
    for (number, row), image in zip(chosen, images([row for _, row in chosen]), strict=True):
        own = role or role_of(row.split, row.patient_id)
        yield samples.sample(row, image, role=own, size=size, seed=(seed, number))
