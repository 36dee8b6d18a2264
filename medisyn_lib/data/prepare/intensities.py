"""From measured values to 8 bits: a window for CT, percentiles for all else, rounded once, at the very end."""

from typing import NamedTuple

import numpy as np
from PIL import Image

from medisyn_lib.errors import InputError

__all__ = [
    "PERCENTILES",
    "WINDOWS",
    "Window",
    "limits",
    "parse_window",
    "percentile_window",
    "square_pixels",
    "to_bytes",
]


class Window(NamedTuple):
    """The range of values that becomes 0 to 255."""

    centre: float
    width: float  # over 0


WINDOWS = {  # Hounsfield units, as radiologists commonly set them
    "soft_tissue": Window(40, 400),
    "lung": Window(-600, 1500),
    "brain": Window(40, 80),
    "bone": Window(400, 1800),
}
PERCENTILES = (1.0, 99.0)  # of an image's or a volume's values: they become 0 and 255
SAME_SPACING = 0.01  # pixels count as square where their sides differ by less than this fraction


def parse_window(text: str) -> Window:
    """Read `soft_tissue`, another name of `WINDOWS`, or `CENTRE,WIDTH`. Raises InputError for other words."""
    if text in WINDOWS:
        return WINDOWS[text]
    try:
        centre, width = (float(number) for number in text.split(","))
    except ValueError:
        centre, width = np.nan, np.nan
    if not (np.isfinite(centre) and np.isfinite(width) and width > 0):
        choice = ", ".join(WINDOWS)
        raise InputError(
            f"--window {text!r} is unknown: choose {choice}, or give CENTRE,WIDTH in numbers"
        )
    return Window(centre, width)


def percentile_window(values: np.ndarray) -> Window | None:
    """Return the window from the 1st to the 99th percentile of values, or None where they do not vary.

    Values that are not finite do not count. Where both percentiles are equal, as in a volume that is nearly
    all background, smallest and largest value take their place.
    """
    finite = values[np.isfinite(values)]
    if not finite.size:
        return None
    low, high = np.percentile(finite, PERCENTILES)
    if not high > low:
        low, high = finite.min(), finite.max()
    if not high > low:
        return None
    return Window(float(low + high) / 2, float(high - low))


def limits(window: Window) -> tuple[float, float]:
    """Return the values that become 0 and 255."""
    return window.centre - window.width / 2, window.centre + window.width / 2


def to_bytes(values: np.ndarray, window: Window) -> np.ndarray:
    """Scale values to uint8 by a window; what lies outside is clipped, what is not finite is 0.

    Parameters
    ----------
    values
        Any numbers, of any shape.
    window
        Its lower limit becomes 0, its upper limit 255.

    References
    ----------
    DICOM PS3.3, C.11.2.1.3.2: the function LINEAR_EXACT.
    """
    low, _ = limits(window)
    scaled = (np.asarray(values, np.float64) - low) / window.width * 255
    return np.rint(np.clip(np.nan_to_num(scaled, nan=0.0), 0, 255)).astype(np.uint8)


def square_pixels(values: np.ndarray, row_spacing: float, column_spacing: float) -> np.ndarray:
    """Resample a slice so that its pixels are square, at the finer of its two spacings.

    Parameters
    ----------
    values
        Numbers (h, w).
    row_spacing, column_spacing
        Between the centres of neighbouring rows and columns, in the same unit. Without two positive numbers
        the slice stays as it is.

    Returns
    -------
    np.ndarray
        The same values where the pixels are square already, else float32, resampled with Lanczos.
    """
    if not (row_spacing > 0 and column_spacing > 0):
        return values
    if abs(row_spacing / column_spacing - 1) < SAME_SPACING:
        return values
    finest = min(row_spacing, column_spacing)
    height, width = values.shape
    size = (round(width * column_spacing / finest), round(height * row_spacing / finest))
    picture = Image.fromarray(np.nan_to_num(values).astype(np.float32))
    return np.asarray(picture.resize(size, Image.Resampling.LANCZOS))
