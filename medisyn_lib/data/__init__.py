"""The data sources behind one function: `load(source, split)` gives a memory-mapped dataset.

A source is one string, `phantom`, `npz:DIR`, `medmnist:NAMES@SIZE`, `folder:DIR` or `hub:OWNER/NAME`.
Each kind is one module with `preflight`, `fingerprint` and either `build` (phantoms) or `rows` and
`images` (finite sources), all taking what follows the colon.
"""

from __future__ import annotations

import importlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from medisyn_lib.data.checks import MIN_TEST_PATIENTS, check, testable
from medisyn_lib.data.duplicates import near_duplicates
from medisyn_lib.data.samples import ROLES, SPLIT_OF_ROLE, SPLITS, Choice, Row, role_of, sample, share, write
from medisyn_lib.errors import InputError

if TYPE_CHECKING:
    import datasets

__all__ = [
    "MIN_TEST_PATIENTS",
    "ROLES",
    "SPLITS",
    "check",
    "describe",
    "fingerprint",
    "load",
    "near_duplicates",
    "pixels",
    "preflight",
    "testable",
]

KINDS = ("phantom", "npz", "medmnist", "folder", "hub")
SIZES = (16, 1024)  # smallest and largest side in pixels that a finite source is brought to


def source_module(source: str) -> tuple[ModuleType, str]:
    """The module of a source and what follows the colon. Raises InputError for an unknown kind."""
    kind, _, rest = source.partition(":")
    if kind not in KINDS:
        raise InputError(
            f"data source {source!r} is unknown: write phantom or one of {', '.join(KINDS[1:])} and ':...'"
        )
    return importlib.import_module(f"medisyn_lib.data.{kind}"), rest


def describe() -> list[dict[str, str]]:
    """One row a kind of source: `kind` and one line of `help`."""
    return [{"kind": kind, "help": source_module(kind)[0].HELP} for kind in KINDS]


def preflight(source: str) -> None:
    """Check a source without heavy imports, before any long work.

    Raises InputError with one line that names the file, what is wrong with it and the mend. The
    contents of `medmnist:` and `hub:` are checked when they are loaded, as that takes a download.
    """
    module, rest = source_module(source)
    module.preflight(rest)


def fingerprint(source: str) -> str:
    """A hash of the source's content: of its files' bytes, for phantoms of the code that draws them."""
    module, rest = source_module(source)
    return str(module.fingerprint(rest))


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
    module, rest = source_module(source)
    if seed < 0 or (per_modality is not None and per_modality < 1):
        raise InputError(f"seed {seed}, per_modality {per_modality}: give a seed of 0 or more and at least 1 image")
    names = tuple(modalities) if modalities else None
    choice = Choice(_split_of(split, role), role, size, per_modality, names, seed)
    content = fingerprint(source)
    _preflight_once(source, content)
    folder = module.build(choice) if hasattr(module, "build") else _build_finite(module, rest, content, choice)
    import datasets

    # What `map` or `filter` would cache beside the dataset's files would spoil the store's entry.
    datasets.disable_caching()
    return datasets.Dataset.load_from_disk(str(folder / "data"))


@lru_cache
def _preflight_once(source: str, content: str) -> None:
    """Check a source as long as its content is what it was; reading every byte takes a while."""
    preflight(source)


def pixels(dataset: datasets.Dataset, indices: Sequence[int] | np.ndarray | None = None) -> np.ndarray:
    """The images of a dataset, or of some of its rows, as uint8 (n, size, size, 3)."""
    import datasets
    from PIL import Image

    chosen = dataset if indices is None else dataset.select(np.asarray(indices).tolist())
    packed = chosen.select_columns("image").cast_column("image", datasets.Image(decode=False))
    first = chosen[0]["image"].size if len(chosen) else (0, 0)
    result = np.empty((len(chosen), first[1], first[0], 3), np.uint8)
    for number, row in enumerate(packed):
        result[number] = Image.open(io.BytesIO(row["image"]["bytes"]))
    return result


def _split_of(split: str | None, role: str | None) -> str:
    if split is None and role is None:
        raise InputError(f"neither split nor role is given: choose one of {', '.join(SPLITS)} or {', '.join(ROLES)}")
    if role is not None and role not in ROLES:
        raise InputError(f"role {role!r} is unknown: choose among {', '.join(ROLES)}")
    if split is not None and split not in SPLITS:
        raise InputError(f"split {split!r} is unknown: choose among {', '.join(SPLITS)}")
    if role is not None and split not in (None, SPLIT_OF_ROLE[role]):
        raise InputError(f"role {role!r} belongs to split {SPLIT_OF_ROLE[role]!r}, not {split!r}: give one of them")
    return SPLIT_OF_ROLE[role] if role is not None else str(split)


def _build_finite(module: ModuleType, rest: str, content: str, choice: Choice) -> Path:
    """Write, or find in the store, the chosen images of a finite source."""
    from medisyn_lib.store import keep

    if not SIZES[0] <= choice.size <= SIZES[1]:
        raise InputError(f"size {choice.size}: images are brought to {SIZES[0]} to {SIZES[1]} pixels")
    settings = {"source": module.__name__, "fingerprint": content, **asdict(choice)}
    # A tuple, because datasets deals lists out one element at a time.
    chosen = tuple(_choose(module.rows(rest), choice))
    arguments = {"module": module.__name__, "rest": rest, "chosen": chosen, "choice": choice}
    return keep("data", settings, lambda directory: write(directory, _records, arguments), code=module.CODE)


def _choose(rows: Sequence[Row], choice: Choice) -> list[tuple[int, Row]]:
    """The rows that are asked for, with their numbers in the source."""
    known = list(dict.fromkeys(row.modality for row in rows))
    for name in choice.modalities or ():
        if name not in known:
            raise InputError(f"modality {name!r} is not in the data source: choose among {', '.join(known)}")
    dealt = "generator" if choice.role == "first_stage" else choice.role
    result = []
    for name in choice.modalities or known:
        own = [(number, row) for number, row in enumerate(rows) if (row.modality, row.split) == (name, choice.split)]
        own = [(number, row) for number, row in own if dealt in (None, role_of(row.split, row.patient_id))]
        if choice.per_modality is not None:
            own = sorted(own, key=lambda pair: share("cap", choice.seed, pair[1].image_id))[: choice.per_modality]
        result += own
    if not result:
        raise InputError(f"no image in the data source for {choice.role or choice.split}: add some or choose another")
    return sorted(result, key=lambda pair: pair[0])


def _records(module: str, rest: str, chosen: Sequence[tuple[int, Row]], choice: Choice) -> Iterator[dict[str, Any]]:
    """The records of chosen rows, one image in memory at a time."""
    images = importlib.import_module(module).images(rest, [row for _, row in chosen])
    for (number, row), image in zip(chosen, images, strict=True):
        role = choice.role or role_of(row.split, row.patient_id)
        yield sample(row, image, role=role, size=choice.size, seed=(choice.seed, number))
