"""What every source has in common: the columns, dealing patients, checks, squaring images, writing Arrow.

A finite source gives its images as rows (all that is known of an image except its pixels, which `place` finds)
and opens the pixels of chosen rows later, one at a time, so that a set larger than memory works.
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
from medisyn_lib.errors import InputError
from medisyn_lib.modalities import MODALITIES, caption
from medisyn_lib.runtime.paths import resolve_out


def source_folder(source: str) -> Path:
    """The folder that a source names. Raises InputError where there is none."""
    folder = resolve_out(place) if (place := source.partition(":")[2]) else None
    if folder is None or not folder.is_dir():
        raise InputError(f"data source {source!r}: no such folder: give one that holds the images")
    return folder


def sample(
    row: Row, image: Image.Image | np.ndarray, *, role: str, size: int, seed: Sequence[int]
) -> dict[str, Any]:
    """One record: the row with the centre square of its pixels, RGB (size, size).

    Where the source has no text of its own the caption is drawn by `seed`.
    """
    return {key: value for key, value in row.items() if key not in ("place", "text")} | {
        "image": centre_square(image, size),
        "caption": row["text"]
        or caption(row["modality"], row["finding"], row, rng=np.random.default_rng(seed)),
        "specialty": MODALITIES[row["modality"]].specialty if row["modality"] in MODALITIES else "",
        "role": role,
        "factors": "{}",
    }


def write(
    directory: Path,
    samples: Callable[..., Iterator[dict[str, Any]]],
    arguments: dict[str, Any],
    *,
    workers: int = 1,
) -> None:
    """Write what `samples(**arguments)` yields as an Arrow dataset under `directory / "data"`, in small batches.

    With several workers the one list among the arguments is dealt to them in order.
    """
    import datasets

    draft = directory / "draft.tmp"
    shutil.rmtree(draft, ignore_errors=True)  # of a run that was killed
    datasets.disable_progress_bars()
    made = datasets.Dataset.from_generator(
        samples, cache_dir=str(draft), gen_kwargs=arguments, writer_batch_size=200, num_proc=workers
    )
    made.save_to_disk(directory / "data")
    del made  # frees the memory map, or the draft could not go on every system
    shutil.rmtree(draft)


def hash_files(paths: Iterable[Path]) -> str:
    """SHA-256 over the names and bytes of files."""
    stamps = [(path, path.stat()) for path in paths]
    lines = [
        f"{path.name}\0{_hash_file(path, now.st_size, now.st_mtime_ns)}\n" for path, now in stamps
    ]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


@cache
def _hash_file(path: Path, size: int, changed: int) -> str:
    """SHA-256 of a file's bytes, read once in a process while its size and time of change stay."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
