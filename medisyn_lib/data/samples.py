"""What every source has in common: the columns, dealing patients, checks, squaring images, writing Arrow.

A finite source gives its images as `Row`s (all that is known of an image except its pixels) and
opens the pixels of chosen rows later, one at a time, so that a set larger than memory works.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from medisyn_lib.errors import InputError
from medisyn_lib.modalities import MODALITIES, caption
from medisyn_lib.paths import resolve_out

if TYPE_CHECKING:
    import datasets

SPLITS = ("train", "val", "test")
ROLES = ("first_stage", "generator", "evaluator", "calibration", "test")
SPLIT_OF_ROLE = dict(zip(ROLES, ("train", "train", "train", "val", "test"), strict=True))
GENERATOR_SHARE = 0.7  # of the train patients; the others belong to the evaluator
MAX_PIXELS = 89_478_485  # Pillow's own warning limit, an error here: a larger image is taken for a bomb
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


@dataclass(frozen=True)
class Row:
    """One image of a finite source without its pixels; `place` is where its source finds them."""

    image_id: str
    patient_id: str
    split: str
    modality: str
    finding: str
    place: str
    text: str = ""
    side: str = ""
    lesion_size: str = ""
    count: int = -1
    grade: int = -1
    identity_known: bool = False


def share(*words: object) -> float:
    """A number in [0, 1) that depends on the words alone: the same on every machine, in every run."""
    digest = hashlib.blake2b("/".join(map(str, words)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def role_of(split: str, patient_id: str) -> str:
    """The role of a patient of a finite source; train patients are dealt 70:30 by a stable hash."""
    if split != "train":
        return {"val": "calibration", "test": "test"}[split]
    return "generator" if share("role", patient_id) < GENERATOR_SHARE else "evaluator"


def deal_split(patient_id: str) -> str:
    """The split of a patient where a source has none: 70% train, 10% val, 20% test by a stable hash."""
    number = share("split", patient_id)
    return "train" if number < 0.7 else "val" if number < 0.8 else "test"


def check_text(text: str, where: str) -> None:
    """Raise InputError where a text is empty or holds control characters; `where` names it."""
    if not text.strip():
        raise InputError(f"{where} is empty: give every image one")
    if CONTROL.search(text):
        raise InputError(f"{where} holds control characters: replace line breaks and tabs by blanks")


def source_folder(source: str) -> Path:
    """The folder that a source names. Raises InputError where there is none."""
    place = source.partition(":")[2]
    if not place or not (folder := resolve_out(place)).is_dir():
        raise InputError(f"data source {source!r}: no such folder: give one that holds the images")
    return folder


def check_rows(rows: list[Row], where: str, findings: Sequence[str] = ()) -> list[Row]:
    """The rows; raises InputError for a name that stands twice, a patient in two splits, a class without train images.

    `findings` are classes that must be there besides those of the rows. A class that is empty in val
    or test is no error: `check` reports it.
    """
    if not rows:
        raise InputError(f"{where} holds no image: add some")
    name, many = Counter(row.image_id for row in rows).most_common(1)[0]
    if many > 1:
        raise InputError(f"{where}: the image {name!r} stands there twice: keep one of them")
    homes: dict[str, str] = {}
    for row in rows:
        if row.split != (home := homes.setdefault(row.patient_id, row.split)):
            both = f"patient {row.patient_id!r} is in {home} and in {row.split}"
            raise InputError(f"{where}: {both}: keep all images of a patient in one split")
    for modality in dict.fromkeys(row.modality for row in rows):
        own = [row for row in rows if row.modality == modality]
        train = [row.finding for row in own if row.split == "train"]
        if len(train) < 2:
            raise InputError(f"{where}: {modality} needs at least 2 train images, got {len(train)}: add images")
        if absent := sorted({*findings, *(row.finding for row in own)} - {*train}):
            raise InputError(f"{where}: {modality} class {absent[0]!r} has no train image: add some or drop it")
    return rows


def opened(chosen: Sequence[Row], open_one: Callable[[Row], Image.Image]) -> Iterator[Image.Image]:
    """The images of chosen rows, one at a time. Raises InputError for one that is broken, too large or over 8 bits."""
    for row in chosen:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # MAX_PIXELS has the last word
                image = open_one(row)
            if image.width * image.height > MAX_PIXELS:
                size = f"{image.width} x {image.height} pixels, more than {MAX_PIXELS}"
                raise InputError(f"{row.place} has {size}: make it smaller")
            if image.mode[0] in "IF":
                fault = f"more than 8 bits a channel (mode {image.mode})"
                raise InputError(f"{row.place} has {fault}: window it to 8 bits first")
            image.load()
        except InputError:
            raise
        except (UnidentifiedImageError, Image.DecompressionBombError) as error:
            raise InputError(f"{row.place} is no image that can be read ({error!r}): save it again, smaller") from error
        except (OSError, SyntaxError, ValueError) as error:
            raise InputError(f"{row.place} is damaged ({type(error).__name__}): save it again or drop it") from error
        yield image


def features() -> datasets.Features:
    """The columns of every dataset of this package."""
    import datasets

    texts = "caption modality specialty finding side lesion_size patient_id image_id split role".split()
    kinds = dict.fromkeys(texts, "string") | {"count": "int64", "grade": "int64", "identity_known": "bool"}
    values = {name: datasets.Value(kind) for name, kind in (kinds | {"factors": "string"}).items()}
    return datasets.Features({"image": datasets.Image()} | values)


def sample(row: Row, image: Image.Image | np.ndarray, *, role: str, size: int, seed: Sequence[int]) -> dict[str, Any]:
    """One record: the row with the centre square of its pixels, RGB (size, size).

    Where the source has no text of its own the caption is drawn by `seed`.
    """
    record = {key: value for key, value in asdict(row).items() if key not in ("place", "text")}
    picture = Image.fromarray(image) if isinstance(image, np.ndarray) else ImageOps.exif_transpose(image)
    return record | {
        "image": ImageOps.fit(picture.convert("RGB"), (size, size), method=Image.Resampling.LANCZOS),
        "caption": row.text or caption(row.modality, row.finding, record, rng=np.random.default_rng(seed)),
        "specialty": MODALITIES[row.modality].specialty if row.modality in MODALITIES else "",
        "role": role,
        "factors": "{}",
    }


def write(
    directory: Path, samples: Callable[..., Iterator[dict[str, Any]]], arguments: dict[str, Any], *, workers: int = 1
) -> None:
    """Write what `samples(**arguments)` yields as an Arrow dataset under `directory / "data"`, in small batches.

    With several workers the one list among the arguments is dealt to them in order.
    """
    import datasets

    draft = directory / "draft.tmp"
    shutil.rmtree(draft, ignore_errors=True)  # of a run that was killed
    datasets.disable_progress_bars()
    made = datasets.Dataset.from_generator(
        samples, features(), str(draft), gen_kwargs=arguments, writer_batch_size=200, num_proc=workers
    )
    made.save_to_disk(directory / "data")
    del made  # frees the memory map, or the draft could not go on every system
    shutil.rmtree(draft)


def hash_files(paths: Iterable[Path]) -> str:
    """SHA-256 over the names and bytes of files."""
    stamps = [(path, path.stat()) for path in paths]
    lines = [f"{path.name}\0{_hash_file(path, now.st_size, now.st_mtime_ns)}\n" for path, now in stamps]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


@cache
def _hash_file(path: Path, size: int, changed: int) -> str:
    """SHA-256 of a file's bytes, read once in a process while its size and time of change stay."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
