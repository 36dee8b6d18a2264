"""Images as numbers: opened one at a time, squared and resized, read back as uint8 arrays."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from medisyn_lib.data.rows import Row, require
from medisyn_lib.errors import InputError

if TYPE_CHECKING:
    import datasets


def load_pixels(
    dataset: datasets.Dataset, indices: Sequence[int] | np.ndarray | None = None
) -> np.ndarray:
    """The images of a dataset, or of some of its rows, as uint8 (n, size, size, 3)."""
    chosen = dataset if indices is None else dataset.select(np.asarray(indices).tolist())
    first = chosen[0]["image"].size if len(chosen) else (0, 0)
    result = np.empty((len(chosen), first[1], first[0], 3), np.uint8)
    for number, row in enumerate(chosen.select_columns("image")):
        result[number] = row["image"]
    return result


def open_images(
    chosen: Sequence[Row], open_one: Callable[[str], Image.Image]
) -> Iterator[Image.Image]:
    """The images of chosen rows, one at a time. Raises InputError for one that is broken, too large or over 8 bits."""
    for place in (row["place"] for row in chosen):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", Image.DecompressionBombWarning)
                image = open_one(place)
            image.load()
        except (
            UnidentifiedImageError,
            Image.DecompressionBombError,
            Image.DecompressionBombWarning,
        ) as error:
            mend = "save it again, smaller. DICOM and NIfTI are not read: de-identify, convert to 8-bit PNG"
            raise InputError(f"{place} is no image that can be read ({error!r}): {mend}") from error
        except (OSError, SyntaxError, ValueError) as error:
            raise InputError(
                f"{place} is damaged ({type(error).__name__}): save it again or drop it"
            ) from error
        deep = image.mode[0] in "IF"
        require(
            not deep,
            f"{place} has more than 8 bits a channel (mode {image.mode}): window it to 8 bits first",
        )
        yield image


def centre_square(image: Image.Image | np.ndarray, side: int) -> Image.Image:
    """The centre square of a picture, upright, in RGB of (side, side), resampled with Lanczos."""
    picture = (
        Image.fromarray(image) if isinstance(image, np.ndarray) else ImageOps.exif_transpose(image)
    )
    return ImageOps.fit(picture.convert("RGB"), (side, side), Image.Resampling.LANCZOS)


def size_and_marks(image: Image.Image | np.ndarray) -> tuple[tuple[int, int], bool]:
    """Width and height of an image as it is stored, and whether, grey for the rest, it bears marks in colour.

    So machines burn in calipers and writing; what is white is not found. A thousandth of the pixels must have channels
    over 60 of 255 apart, and 90% at most 12.
    """
    picture = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    spread = np.ptp(np.asarray(picture.convert("RGB")), axis=2)
    return picture.size, bool(np.percentile(spread, 90) <= 12 and (spread > 60).mean() > 0.001)
