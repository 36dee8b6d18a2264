"""What every source has in common: the columns, dealing patients, checks, squaring images, writing Arrow.

A finite source gives its images as rows (all that is known of an image except its pixels, which `place` finds)
and opens the pixels of chosen rows later, one at a time, so that a set larger than memory works.
"""

import hashlib
import re
import shutil
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from medisyn_lib.errors import InputError
from medisyn_lib.modalities import MODALITIES, caption
from medisyn_lib.paths import resolve_out

SPLITS = ("train", "val", "test")
ROLES = ("first_stage", "generator", "evaluator", "calibration", "test")
SPLIT_OF_ROLE = dict(zip(ROLES, ("train", "train", "train", "val", "test"), strict=True))
GENERATOR_SHARE = 0.7  # of the train patients; the others belong to the evaluator
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")

Row = dict[str, Any]  # image_id, patient_id, identity_known, split, place and the keys of UNKNOWN
WORDS = {"modality": "image", "finding": "unlabelled", "side": "", "lesion_size": ""}
UNKNOWN: Row = {"text": "", **WORDS, "count": -1, "grade": -1}  # what stands for what a source does not know


def require(fine: object, fault: str) -> None:
    """Raise InputError with the fault, one line, where a check on the input does not hold."""
    if not fine:
        raise InputError(fault)


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
    """Raise InputError where a text is empty, holds control characters or begins as a formula; `where` names it."""
    require(text.strip(), f"{where} is empty: write one")
    require(text.lstrip()[0] not in "=+-@", f"{where} begins as a spreadsheet's formula does: begin with a letter")
    require(not CONTROL.search(text), f"{where} holds control characters: replace line breaks and tabs by blanks")


def source_folder(source: str) -> Path:
    """The folder that a source names. Raises InputError where there is none."""
    folder = resolve_out(place) if (place := source.partition(":")[2]) else None
    if folder is None or not folder.is_dir():
        raise InputError(f"data source {source!r}: no such folder: give one that holds the images")
    return folder


def check_rows(rows: list[Row], where: str, findings: Iterable[str] = ()) -> list[Row]:
    """The rows; raises InputError for a name that stands twice, a patient in two splits, a class without train images.

    `findings` are classes that must be there besides those of the rows. A class that is empty in val
    or test is no error: `check` reports it.
    """
    require(rows, f"{where} holds no image: add some")
    name, many = Counter(row["image_id"] for row in rows).most_common(1)[0]
    require(many == 1, f"{where}: the image {name!r} stands there twice: keep one of them")
    home: dict[str, str] = {}
    for row in rows:
        patient, split = row["patient_id"], row["split"]
        both = f"patient {patient!r} is in {home.setdefault(patient, split)} and in {split}"
        require(home[patient] == split, f"{where}: {both}: keep all images of a patient in one split")
    for modality in dict.fromkeys(row["modality"] for row in rows):
        own = [row for row in rows if row["modality"] == modality]
        train = [row["finding"] for row in own if row["split"] == "train"]
        require(len(train) > 1, f"{where}: {modality} needs at least 2 train images, got {len(train)}: add images")
        for finding in sorted({*findings, *(row["finding"] for row in own)}):
            require(finding in train, f"{where}: {modality} class {finding!r} has no train image: add some or drop it")
    return rows


def opened(chosen: Sequence[Row], open_one: Callable[[str], Image.Image]) -> Iterator[Image.Image]:
    """The images of chosen rows, one at a time. Raises InputError for one that is broken, too large or over 8 bits."""
    for place in (row["place"] for row in chosen):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", Image.DecompressionBombWarning)
                image = open_one(place)
            image.load()
        except (UnidentifiedImageError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            mend = "save it again, smaller. DICOM and NIfTI are not read: de-identify, convert to 8-bit PNG"
            raise InputError(f"{place} is no image that can be read ({error!r}): {mend}") from error
        except (OSError, SyntaxError, ValueError) as error:
            raise InputError(f"{place} is damaged ({type(error).__name__}): save it again or drop it") from error
        deep = image.mode[0] in "IF"
        require(not deep, f"{place} has more than 8 bits a channel (mode {image.mode}): window it to 8 bits first")
        yield image


def fit(image: Image.Image | np.ndarray, side: int) -> Image.Image:
    """The centre square of a picture, upright, in RGB of (side, side), resampled with Lanczos."""
    picture = Image.fromarray(image) if isinstance(image, np.ndarray) else ImageOps.exif_transpose(image)
    return ImageOps.fit(picture.convert("RGB"), (side, side), Image.Resampling.LANCZOS)


def seen(image: Image.Image | np.ndarray) -> tuple[tuple[int, int], bool]:
    """Width and height of an image as it is stored, and whether, grey for the rest, it bears marks in colour.

    So machines burn in calipers and writing; what is white is not found. A thousandth of the pixels must have channels
    over 60 of 255 apart, and 90% at most 12.
    """
    picture = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    spread = np.ptp(np.asarray(picture.convert("RGB")), axis=2)
    return picture.size, bool(np.percentile(spread, 90) <= 12 and (spread > 60).mean() > 0.001)


def sample(row: Row, image: Image.Image | np.ndarray, *, role: str, size: int, seed: Sequence[int]) -> dict[str, Any]:
    """One record: the row with the centre square of its pixels, RGB (size, size).

    Where the source has no text of its own the caption is drawn by `seed`.
    """
    return {key: value for key, value in row.items() if key not in ("place", "text")} | {
        "image": fit(image, size),
        "caption": row["text"] or caption(row["modality"], row["finding"], row, rng=np.random.default_rng(seed)),
        "specialty": MODALITIES[row["modality"]].specialty if row["modality"] in MODALITIES else "",
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
        samples, cache_dir=str(draft), gen_kwargs=arguments, writer_batch_size=200, num_proc=workers
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
