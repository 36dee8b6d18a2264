"""Images as numbers: opened one at a time, squared and resized, loaded as uint8 arrays."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from medisyn_lib.data.rows import Row, require
from medisyn_lib.errors import InputError

if TYPE_CHECKING:
    import datasets

__all__ = [
    "as_rgb",
    "blurred",
    "centre_square",
    "centre_squares",
    "file_format",
    "has_colour_marks",
    "is_blank",
    "is_transparent",
    "load_pixels",
    "open_images",
    "stored_size",
]

# An image counts as grey with marks in colour where nearly all of its pixels are grey and few are coloured.
GREY_SPREAD = 12  # of 255, largest difference between the channels of a grey pixel
GREY_PERCENT = 90  # of the pixels, at least
COLOUR_SPREAD = 60  # of 255, least difference between the channels of a mark in colour
MARKED_FRACTION = 0.001  # of the pixels, at least
BLANK_SPREAD = 2  # of 255, largest difference within a channel of an image that shows nothing
UPRIGHT = {  # how an image is turned upright, by its orientation in EXIF
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


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
        The images in the order of the rows, decoded and upright.

    Raises
    ------
    InputError
        For an image that is broken, too large, of several frames or of more than 8 bits per channel, or whose
        EXIF is damaged.
    """
    for row in rows:
        yield _opened(row["place"], open_one)


def _opened(place: str, open_one: Callable[[str], Image.Image]) -> Image.Image:
    """One image, decoded; what Pillow raises becomes an InputError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = open_one(place)
        frames = getattr(image, "n_frames", 1)
        is_deep = _is_deep(image)  # asked first, as Pillow drops the low bits of colours silently
        image.load()
    except (
        UnidentifiedImageError,
        Image.DecompressionBombError,
        Image.DecompressionBombWarning,
    ) as error:
        remedy = (
            "save it again, smaller. DICOM and NIfTI are not read here: "
            "convert them with `medisyn data prepare`"
        )
        raise InputError(f"{place} is no image that can be read ({error!r}): {remedy}") from error
    except Exception as error:  # decoders raise whatever damaged bytes lead them into
        raise InputError(
            f"{place} is damaged ({type(error).__name__}): save it again or drop it"
        ) from error
    require(
        frames == 1 or image.format == "MPO",  # a photograph with its own preview
        f"{place} holds {frames} frames: save those that you mean as images of their own",
    )
    require(
        not is_deep and image.mode[0] not in "IF",
        f"{place} has more than 8 bits per channel (mode {image.mode}): window it to 8 bits first",
    )
    return _upright(image, place)


def _is_deep(image: Image.Image) -> bool:
    """Whether an image that is not decoded yet has more than 8 bits per channel in its file."""
    parts = getattr(image, "tile", ())  # codec, extents, offset, arguments of the codec
    bits = getattr(image, "tag_v2", {}).get(ExifTags.Base.BitsPerSample, 8)  # of a TIFF
    largest = [part[3][1] for part in parts if part[0] == "ppm"]  # value of a PNM
    return bool(
        np.max(bits) > 8
        or max(largest, default=0) > 255
        or any(";16" in str(part[3]) for part in parts)
    )


def _upright(image: Image.Image, place: str) -> Image.Image:
    """An image turned as its EXIF says."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", UserWarning
            )  # Pillow's, of tags that do not matter here
            way = UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception as error:  # Pillow reads it as TIFF, and raises whatever that meets
        raise InputError(
            f"{place} has damaged EXIF, so which side is up is not known: "
            "save it again without EXIF"
        ) from error
    if way is None:
        return image
    turned = image.transpose(way)
    turned.format = image.format
    return turned


def as_rgb(image: Image.Image | np.ndarray) -> Image.Image:
    """Return an image as RGB; where it is transparent, black shows through."""
    picture = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    layers = picture.convert("RGBA")
    ground = Image.new("RGB", layers.size)
    ground.paste(layers.convert("RGB"), mask=layers.getchannel("A"))
    return ground


def centre_square(image: Image.Image | np.ndarray, side: int) -> Image.Image:
    """Return the centre square of an image as RGB (side, side), resampled with Lanczos.

    Every image comes to its size by this function, real or synthetic, whichever way it came.
    """
    return ImageOps.fit(as_rgb(image), (side, side), Image.Resampling.LANCZOS)


def centre_squares(pixels: np.ndarray, side: int) -> np.ndarray:
    """Return the `centre_square` of each image, uint8 (n, side, side, 3), of uint8 (n, h, w, 3).

    Images that have this size come back as they are, memory-mapped where they were.
    """
    if pixels.shape[1:3] == (side, side):
        return pixels
    return np.stack([np.asarray(centre_square(np.asarray(image), side)) for image in pixels])


def is_blank(pixels: np.ndarray) -> np.ndarray:
    """Say which of the images uint8 (n, h, w, 3) are of one colour and show nothing, bool (n,).

    So are images that a safety checker has blanked. Within a channel they differ by at most 2 of 255.
    """
    return np.array([_is_of_one_colour(image) for image in pixels], bool)


def _is_of_one_colour(image: np.ndarray) -> bool:
    """Whether the pixels (h, w, 3) hardly differ; some of them settle it for most images."""
    parts = (image[::8, ::8], image)
    return all(np.ptp(part, axis=(0, 1)).max() <= BLANK_SPREAD for part in parts)


def is_transparent(image: Image.Image | np.ndarray) -> bool:
    """Say whether any part of an image is not opaque."""
    if isinstance(image, np.ndarray) or not image.has_transparency_data:
        return False
    lowest = np.asarray(image.convert("RGBA").getchannel("A")).min()
    return bool(lowest < 255)


def file_format(image: Image.Image | np.ndarray) -> str:
    """Return the format of the file that an image was opened from, such as PNG; "array" where it is none."""
    return getattr(image, "format", None) or "array"


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
    if not isinstance(image, np.ndarray) and image.mode in ("1", "L", "LA"):
        return False
    spread = np.ptp(np.asarray(as_rgb(image)), axis=2)
    if not (spread > COLOUR_SPREAD).mean() > MARKED_FRACTION:
        return False
    return bool(np.percentile(spread, GREY_PERCENT) <= GREY_SPREAD)
