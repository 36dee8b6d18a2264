"""Images as numbers: opened one at a time, squared and resized, loaded as uint8 arrays."""

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

__all__ = [
    "blurred",
    "centre_square",
    "has_colour_marks",
    "load_pixels",
    "open_images",
    "stored_size",
]

# An image counts as grey with marks in colour where nearly all of its pixels are grey and few are coloured.
GREY_SPREAD = 12  # of 255, largest difference between the channels of a grey pixel
GREY_PERCENT = 90  # of the pixels, at least
COLOUR_SPREAD = 60  # of 255, least difference between the channels of a mark in colour
MARKED_FRACTION = 0.001  # of the pixels, at least


def load_pixels(
    dataset: datasets.Dataset, indices: Sequence[int] | np.ndarray | None = None
) -> np.ndarray:
    """Load the images of a dataset, or those at `indices`, as uint8 (n, size, size, 3)."""
    chosen = dataset if indices is None else dataset.select(np.asarray(indices).tolist())
    width, height = chosen[0]["image"].size if len(chosen) else (0, 0)
    pixels = np.empty((len(chosen), height, width, 3), np.uint8)
    for number, row in enumerate(chosen.select_columns("image")):
        pixels[number] = row["image"]
    return pixels


def blurred(pixels: np.ndarray, deviation: float = 1.0) -> np.ndarray:
    """Blur images, uint8 (n, h, w, 3), by a Gaussian with a standard deviation in pixels."""
    from scipy.ndimage import gaussian_filter

    smooth = gaussian_filter(pixels.astype(np.float64), (0, deviation, deviation, 0))
    return np.rint(smooth).astype(np.uint8)


def open_images(
    rows: Sequence[Row], open_one: Callable[[str], Image.Image]
) -> Iterator[Image.Image]:
    """Open the images of rows one at a time.

    Parameters
    ----------
    rows
        The rows; `place` of each says where its pixels are.
    open_one
        Opens the image at a place.

    Yields
    ------
    Image.Image
        The images in the order of the rows, decoded.

    Raises
    ------
    InputError
        For an image that is broken, too large or of more than 8 bits per channel.
    """
    for row in rows:
        yield _opened(row["place"], open_one)


def _opened(place: str, open_one: Callable[[str], Image.Image]) -> Image.Image:
    """One image, decoded; what Pillow raises becomes an InputError."""
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
        remedy = (
            "save it again, smaller. DICOM and NIfTI are not read: "
            "de-identify, convert to 8-bit PNG"
        )
        raise InputError(f"{place} is no image that can be read ({error!r}): {remedy}") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(
            f"{place} is damaged ({type(error).__name__}): save it again or drop it"
        ) from error
    require(
        image.mode[0] not in "IF",
        f"{place} has more than 8 bits per channel (mode {image.mode}): window it to 8 bits first",
    )
    return image


def centre_square(image: Image.Image | np.ndarray, side: int) -> Image.Image:
    """Return the centre square of an image, upright, as RGB (side, side), resampled with Lanczos."""
    if isinstance(image, np.ndarray):
        picture = Image.fromarray(image)
    else:
        picture = ImageOps.exif_transpose(image)
    return ImageOps.fit(picture.convert("RGB"), (side, side), Image.Resampling.LANCZOS)


def stored_size(image: Image.Image | np.ndarray) -> tuple[int, int]:
    """Return width and height of an image as it is stored, in pixels."""
    if isinstance(image, np.ndarray):
        return image.shape[1], image.shape[0]
    return image.size


def has_colour_marks(image: Image.Image | np.ndarray) -> bool:
    """Say whether a grey image bears marks in colour, as machines burn in calipers and writing.

    A thousandth of the pixels must have channels over 60 of 255 apart, and 90% at most 12. Marks in
    white are not found.
    """
    picture = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    spread = np.ptp(np.asarray(picture.convert("RGB")), axis=2)
    is_grey = np.percentile(spread, GREY_PERCENT) <= GREY_SPREAD
    return bool(is_grey and (spread > COLOUR_SPREAD).mean() > MARKED_FRACTION)
