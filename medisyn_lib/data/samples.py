"""What every source has in common: the columns, dealing patients, squaring images, writing Arrow.

A finite source gives its images as `Row`s (all that is known of an image except its pixels) and
opens the pixels of chosen rows later, one at a time, so that a set larger than memory works.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import unicodedata
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medisyn_lib.errors import InputError
from medisyn_lib.modalities import MODALITIES, caption

if TYPE_CHECKING:
    import datasets
    from PIL import Image

SPLITS = ("train", "val", "test")
ROLES = ("first_stage", "generator", "evaluator", "calibration", "test")
SPLIT_OF_ROLE = dict(zip(ROLES, ("train", "train", "train", "val", "test"), strict=True))
GENERATOR_SHARE = 0.7  # of the train patients; the others belong to the evaluator
MAX_PIXELS = 89_478_485  # Pillow's own warning limit, an error here: a larger image is taken for a bomb


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


@dataclass(frozen=True)
class Choice:
    """Which images of a source are asked for, and how: the arguments of `load`, checked."""

    split: str
    role: str | None
    size: int
    per_modality: int | None
    modalities: tuple[str, ...] | None
    seed: int


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


def slug(name: str) -> str:
    """A class name as a key: lower case, anything but letters and digits turned into single underscores."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def icdr_grade(modality: str, finding: str) -> int:
    """The ICDR grade 0-4 that a finding of the fundus stands for, else -1."""
    keys = [entry.key for entry in MODALITIES["fundus"].findings]
    return keys.index(finding) if modality == "fundus" and finding in keys else -1


def check_text(text: str, where: str) -> None:
    """Raise InputError where a text is empty or holds control characters; `where` names it."""
    if not text.strip():
        raise InputError(f"{where} is empty: give every image one")
    if any(unicodedata.category(character) in ("Cc", "Zl", "Zp") for character in text):
        raise InputError(f"{where} holds control characters: replace line breaks and tabs by blanks")


def check_rows(rows: Sequence[Row], where: str) -> None:
    """Raise InputError for a name that stands twice, a patient in two splits, a class without train images.

    A class that is empty in val or test is no error: `check` reports it.
    """
    names: set[str] = set()
    home: dict[str, str] = {}
    for row in rows:
        if row.image_id in names:
            raise InputError(f"{where}: the image {row.image_id!r} stands there twice: keep one of them")
        names.add(row.image_id)
        if home.setdefault(row.patient_id, row.split) != row.split:
            raise InputError(
                f"{where}: patient {row.patient_id!r} is in {home[row.patient_id]} and in {row.split}: "
                "keep all images of a patient in one split"
            )
    for modality in dict.fromkeys(row.modality for row in rows):
        train = Counter(row.finding for row in rows if row.modality == modality and row.split == "train")
        if train.total() < 2:
            raise InputError(f"{where}: {modality} needs at least 2 train images, got {train.total()}: add images")
        for finding in dict.fromkeys(row.finding for row in rows if row.modality == modality):
            if finding not in train:
                raise InputError(f"{where}: class {finding!r} of {modality} has no train image: add some or drop it")


def open_image(path: Path) -> Image.Image:
    """Open an image file, refusing what is corrupt, too large or deeper than 8 bits. Pixels are read later."""
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(path)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InputError(f"{path} has more than {MAX_PIXELS} pixels: make it smaller") from error
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise InputError(f"{path} is no image that can be read ({type(error).__name__}): save it again") from error
    return check_image(image, str(path))


def check_image(image: Image.Image, where: str) -> Image.Image:
    """The image itself; raises InputError where it is too large or deeper than 8 bits."""
    if image.width * image.height > MAX_PIXELS:
        raise InputError(f"{where} has {image.width} x {image.height} pixels, more than {MAX_PIXELS}: make it smaller")
    if image.mode[0] in "IF":
        raise InputError(f"{where} has more than 8 bits a channel (mode {image.mode}): window it to 8 bits first")
    return image


def square(image: Image.Image | np.ndarray, size: int) -> Image.Image:
    """The centre square of an image as RGB of (size, size) pixels; untouched where it is that already."""
    from PIL import Image, ImageOps

    picture = Image.fromarray(image) if isinstance(image, np.ndarray) else ImageOps.exif_transpose(image)
    picture = picture.convert("RGB")
    if picture.size == (size, size):
        return picture
    return ImageOps.fit(picture, (size, size), method=Image.Resampling.LANCZOS)


def png(image: Image.Image) -> dict[str, Any]:
    """An image as the Arrow value of an image column: PNG bytes, packed for speed rather than size."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", compress_level=1)
    return {"bytes": buffer.getvalue(), "path": None}


def features() -> datasets.Features:
    """The columns of every dataset of this package."""
    import datasets

    text, whole = datasets.Value("string"), datasets.Value("int64")
    names = ("caption", "modality", "specialty", "finding", "side", "lesion_size", "patient_id", "image_id")
    return datasets.Features(
        {"image": datasets.Image()}
        | dict.fromkeys(names, text)
        | {"split": text, "role": text, "count": whole, "grade": whole}
        | {"identity_known": datasets.Value("bool"), "factors": text}
    )


def sample(row: Row, image: Image.Image | np.ndarray, *, role: str, size: int, seed: Sequence[int]) -> dict[str, Any]:
    """One record: the row with its pixels, and a caption drawn by `seed` where the source has no text of its own."""
    record = {key: value for key, value in asdict(row).items() if key not in ("place", "text")}
    words = row.text or caption(row.modality, row.finding, record, rng=np.random.default_rng(seed))
    known = MODALITIES.get(row.modality)
    specialty = known.specialty if known else ""
    return record | {
        "image": png(square(image, size)),
        "caption": words,
        "specialty": specialty,
        "role": role,
        "factors": "{}",
    }


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def write(
    directory: Path, samples: Callable[..., Iterator[dict[str, Any]]], arguments: dict[str, Any], *, workers: int = 1
) -> None:
    """Write what `samples(**arguments)` yields as an Arrow dataset under `directory / "data"`, in small batches.

    With several workers the one list among the arguments is dealt to them in order.
    """
    import datasets

    draft, noisy = directory / "draft", datasets.utils.is_progress_bar_enabled()
    shutil.rmtree(draft, ignore_errors=True)  # of a run that was killed
    datasets.disable_progress_bars()
    try:
        made = datasets.Dataset.from_generator(
            samples,
            features=features(),
            cache_dir=str(draft),
            gen_kwargs=arguments,
            num_proc=workers if workers > 1 else None,
            writer_batch_size=200,
        )
        made.save_to_disk(directory / "data")
    finally:
        if noisy:
            datasets.enable_progress_bars()
    del made  # frees the memory map, or the draft could not go on every system
    shutil.rmtree(draft)


def hash_files(paths: Iterable[Path]) -> str:
    """SHA-256 over the names and bytes of files."""
    total = hashlib.sha256()
    for path in paths:
        state = path.stat()
        total.update(f"{path.name}\0{_hash_file(path, state.st_size, state.st_mtime_ns)}\n".encode())
    return total.hexdigest()


_hashes: dict[tuple[Path, int, int], str] = {}


def _hash_file(path: Path, size: int, changed: int) -> str:
    """SHA-256 of a file's bytes, read once in a process while its size and time of change stay."""
    key = (path, size, changed)
    if key not in _hashes:
        with path.open("rb") as file:
            _hashes[key] = hashlib.file_digest(file, "sha256").hexdigest()
    return _hashes[key]
