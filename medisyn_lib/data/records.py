"""From rows to a dataset on disk: one record for each image, written as Arrow; hashes of files.

A finite source gives its images as rows (all that is stated of an image except its pixels, which `place`
finds) and opens the pixels of chosen rows later, one at a time, so that a set larger than memory works.
"""

import hashlib
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from medisyn_lib.data.pixels import centre_square
from medisyn_lib.data.rows import Row
from medisyn_lib.data.source_options import parse
from medisyn_lib.errors import InputError
from medisyn_lib.modalities import MODALITIES, caption
from medisyn_lib.runtime.paths import resolve_out

__all__ = ["hash_files", "sample", "source_folder", "write"]

WRITER_BATCH = 200  # records
NOT_KEPT = ("place", "text")  # columns of a row that a record does without


def source_folder(source: str) -> Path:
    """Return the folder that a source names. Raises InputError where there is none."""
    place = parse(source).source.partition(":")[2]
    folder = resolve_out(place) if place else None
    if folder is None or not folder.is_dir():
        raise InputError(f"data source {source!r}: no such folder: give one that holds the images")
    return folder


def sample(
    row: Row, image: Image.Image | np.ndarray, *, role: str, size: int, seed: Sequence[int]
) -> dict[str, Any]:
    """Make one record of a dataset.

    Parameters
    ----------
    row
        What the source states of the image.
    image
        Its pixels, of any size, grey or RGB.
    role
        The role of its patient.
    size
        Side of the record's image in pixels.
    seed
        Draws the caption where the source has no text of its own.

    Returns
    -------
    dict
        The row with `image` (RGB, size x size), `caption`, `specialty`, `role` and `factors`.
    """
    record = {name: value for name, value in row.items() if name not in NOT_KEPT}
    record["image"] = centre_square(image, size)
    record["caption"] = row["text"] or caption(
        row["modality"], row["finding"], row, rng=np.random.default_rng(seed)
    )
    modality = MODALITIES.get(row["modality"])
    record["specialty"] = modality.specialty if modality else ""
    record["role"] = role
    record["factors"] = "{}"
    return record


def write(
    directory: Path,
    samples: Callable[..., Iterator[dict[str, Any]]],
    arguments: dict[str, Any],
    *,
    workers: int = 1,
) -> None:
    """Write what `samples(**arguments)` yields as an Arrow dataset, in small batches.

    Parameters
    ----------
    directory
        The dataset comes to lie in its folder `data`.
    samples
        Yields records.
    arguments
        Of `samples`. The one list among them is divided among several workers, in order.
    workers
        How many processes write.
    """
    import datasets

    draft = directory / "draft.tmp"
    shutil.rmtree(draft, ignore_errors=True)  # of a run that was killed
    datasets.disable_progress_bars()
    dataset = datasets.Dataset.from_generator(
        samples,
        cache_dir=str(draft),
        gen_kwargs=arguments,
        writer_batch_size=WRITER_BATCH,
        num_proc=workers,
    )
    dataset.save_to_disk(directory / "data")
    del dataset  # frees the memory map, or the draft could not be removed on every system
    shutil.rmtree(draft)


def hash_files(paths: Iterable[Path]) -> str:
    """Return the SHA-256 over the names and bytes of files."""
    stamps = [(path, path.stat()) for path in paths]
    lines = [
        f"{path.name}\0{_hash_file(path, stat.st_size, stat.st_mtime_ns)}\n"
        for path, stat in stamps
    ]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


@cache
def _hash_file(path: Path, size: int, modified: int) -> str:
    """SHA-256 of a file's bytes, read once in a process while its size and time of change stay."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
