"""What is in an image, measured without any network: spectrum, speckle, small lesions, thin lines.

A network that judges images can be pleased by a network that makes them. These measures look at pixels alone,
so they can say whether an autoencoder keeps what it is given: pairs of an image and its reconstruction.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

__all__ = [
    "BlobMatch",
    "Blobs",
    "brightness",
    "find_blobs",
    "line_contrast_kept",
    "local_contrast",
    "match_blobs",
    "power_spectrum",
    "spectrum_ratio",
]

LUMA = np.array([0.299, 0.587, 0.114])  # of red, green and blue (ITU-R BT.601)
NYQUIST = 0.5  # cycles per pixel
WINDOW = 7  # pixels a side, of local contrast
# A blob that is counted, and one that is seen at all: grey levels of 255 above or below its surround.
COUNTED_CONTRAST, SEEN_CONTRAST = 24.0, 12.0
BLOB_SCALES = (1.0, 1.5, 2.25)  # pixels: standard deviation of a Gaussian blob
PEAK_WINDOW = 5  # pixels a side within which one blob is counted
ROUNDNESS = 3.0  # at most: ratio of a spot's two curvatures
MATCH_RADIUS = 2.0  # pixels between the centres of one blob in two images
LINE_SCALE = 1.0  # pixels: standard deviation of a line's Gaussian profile
STRAIGHTNESS = 4.0  # at least: ratio of a line's two curvatures


@dataclass(frozen=True)
class Blobs:
    """Small spots of one image.

    Attributes
    ----------
    place : np.ndarray
        Row and column of each centre, int (n, 2).
    contrast : np.ndarray
        Grey levels above (positive) or below its surround, float (n,).
    """

    place: np.ndarray
    contrast: np.ndarray


@dataclass(frozen=True)
class BlobMatch:
    """How many blobs of real images are kept, and how many of their reconstructions are new.

    Attributes
    ----------
    real, kept : int
        Blobs that count in the real images; those seen at the same place in the reconstruction.
    decoded, invented : int
        Blobs that count in the reconstructions; those not seen at the same place in the real image.
    """

    real: int
    kept: int
    decoded: int
    invented: int


def brightness(pixels: np.ndarray) -> np.ndarray:
    """Return the luma of images uint8 (n, h, w, 3): float64 (n, h, w) in [0, 255]."""
    return np.asarray(pixels, np.float64) @ LUMA


def power_spectrum(pixels: np.ndarray, rings: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean power of images by spatial frequency, up to the Nyquist frequency.

    Each image's mean is taken off and its borders are faded out (Hann window).

    Parameters
    ----------
    pixels : np.ndarray
        Square, uint8 (n, h, h, 3), or float differences of such images.
    rings : int
        Of equal width, from 0 to 0.5 cycles per pixel.

    Returns
    -------
    frequency, power : np.ndarray
        Middle of each ring in cycles per pixel, float64 (rings,); power float64 (rings,).
    """
    images = brightness(pixels)
    side = images.shape[1]
    window = np.outer(np.hanning(side), np.hanning(side))
    centred = images - images.mean((1, 2), keepdims=True)
    power = (np.abs(np.fft.fft2(centred * window)) ** 2).mean(0)
    axis = np.fft.fftfreq(side)
    frequency = np.hypot(axis[:, None], axis[None, :])
    ring = np.floor(frequency / NYQUIST * rings).astype(int)
    means = [power[ring == number].mean() for number in range(rings)]
    return (np.arange(rings) + 0.5) / rings * NYQUIST, np.array(means)


def spectrum_ratio(*, real: np.ndarray, decoded: np.ndarray, up_to: float = NYQUIST / 2) -> float:
    """Return the farthest ratio, from 1, of decoded to real power in any ring up to a frequency.

    0.9 and 1.1 are within 10%; of ratios as far from 1 in logarithm either may be returned.

    Parameters
    ----------
    real, decoded : np.ndarray
        uint8 (n, h, h, 3).
    up_to : float
        Cycles per pixel.
    """
    frequency, power = power_spectrum(real)
    _, decoded_power = power_spectrum(decoded)
    ratios = (decoded_power / power)[frequency <= up_to]
    return float(ratios[np.abs(np.log(ratios)).argmax()])


def local_contrast(pixels: np.ndarray) -> np.ndarray:
    """Return each image's median coefficient of variation in windows of 7 pixels: float64 (n,).

    Fully developed speckle has one that depends on the number of looks alone; blur lowers it.
    Dark windows, of mean below a tenth of the image's largest, are left out.
    """
    values = []
    for image in brightness(pixels):
        mean = ndimage.uniform_filter(image, WINDOW)
        square = ndimage.uniform_filter(image**2, WINDOW)
        deviation = np.sqrt(np.maximum(square - mean**2, 0))
        lit = mean > max(mean.max() / 10, 1.0)
        values.append(np.median(deviation[lit] / mean[lit]) if lit.any() else 0.0)
    return np.array(values)


def find_blobs(image: np.ndarray, least_contrast: float = COUNTED_CONTRAST) -> Blobs:
    """Find small bright and dark spots: extremes of the scale-normalised Laplacian of a Gaussian.

    A Gaussian spot of deviation s and height h answers h / 2 at scale s, so contrasts are twice the
    answer. Along an edge or a vessel the image bends one way only; what bends less than a third as
    much across is no spot.

    Parameters
    ----------
    image : np.ndarray
        Luma, float (h, w).
    least_contrast : float
        Grey levels of 255.

    References
    ----------
    Lindeberg, International Journal of Computer Vision 30(2), 1998, section 5; Lowe, the same
    60(2), 2004, section 4.1, for what is no spot.
    """
    contrast = np.stack([_spot_contrast(image, scale) for scale in BLOB_SCALES])
    strongest = np.take_along_axis(contrast, np.abs(contrast).argmax(0)[None], 0)[0]
    size = np.abs(strongest)
    peak = (size == ndimage.maximum_filter(size, PEAK_WINDOW)) & (size >= least_contrast)
    place = np.argwhere(peak)
    return Blobs(place, strongest[peak])


def _spot_contrast(image: np.ndarray, scale: float) -> np.ndarray:
    """Height of a Gaussian spot of this scale at each place, (h, w); 0 on edges and lines."""
    down = ndimage.gaussian_filter(image, scale, order=(2, 0))
    across = ndimage.gaussian_filter(image, scale, order=(0, 2))
    both = ndimage.gaussian_filter(image, scale, order=(1, 1))
    trace, determinant = down + across, down * across - both**2
    # With eigenvalues a and b = a / r: trace^2 / determinant = (r + 1)^2 / r.
    round_enough = determinant * (ROUNDNESS + 1) ** 2 > trace**2 * ROUNDNESS
    return np.where(round_enough, -2 * scale**2 * trace, 0.0)


def match_blobs(*, real: np.ndarray, decoded: np.ndarray) -> BlobMatch:
    """Count the blobs of images that their reconstructions keep, and those that they add.

    A blob counts from a contrast of 24 grey levels on and is seen from 12 on, so that one at the
    threshold is neither lost nor invented by a small change.

    Parameters
    ----------
    real, decoded : np.ndarray
        uint8 (n, h, w, 3); image i of both belongs together.
    """
    counts = np.zeros(4, int)
    for image, copy in zip(brightness(real), brightness(decoded), strict=True):
        wanted, found = find_blobs(image), find_blobs(copy)
        kept = _seen_in(wanted, find_blobs(copy, SEEN_CONTRAST))
        genuine = _seen_in(found, find_blobs(image, SEEN_CONTRAST))
        counts += (len(kept), kept.sum(), len(genuine), (~genuine).sum())
    return BlobMatch(*counts.tolist())


def _seen_in(wanted: Blobs, seen: Blobs) -> np.ndarray:
    """Which wanted blobs lie near one of the same sign, bool (n,)."""
    near = np.zeros(len(wanted.place), bool)
    for sign in (-1, 1):
        mine, others = np.sign(wanted.contrast) == sign, np.sign(seen.contrast) == sign
        if mine.any() and others.any():
            distance, _ = cKDTree(seen.place[others]).query(wanted.place[mine])
            near[mine] = distance <= MATCH_RADIUS
    return near


def line_contrast_kept(*, real: np.ndarray, decoded: np.ndarray) -> float:
    """Return how much of the contrast of thin lines is kept, as vessels are: 1 is all of it.

    The contrast of the reconstructions at the places of the images' lines, summed and divided by the
    images' own; a line of the other sign counts against it. Blur lowers it, a shift does as well.

    Parameters
    ----------
    real, decoded : np.ndarray
        uint8 (n, h, w, 3); image i of both belongs together.

    Returns
    -------
    float
        NaN if no image has a line.
    """
    wanted = found = 0.0
    for image, copy in zip(brightness(real), brightness(decoded), strict=True):
        contrast, straight = _line_contrast(image)
        line = straight & (np.abs(contrast) >= COUNTED_CONTRAST)
        sign = np.sign(contrast[line])
        wanted += float((sign * contrast[line]).sum())
        found += float((sign * _line_contrast(copy)[0][line]).sum())
    return found / wanted if wanted else float("nan")


def _line_contrast(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Height of a Gaussian line of LINE_SCALE at each place, and where the image bends one way only.

    A line of deviation s and height h bends by h / (sqrt(8) s^2) across after smoothing by s.
    """
    down = ndimage.gaussian_filter(image, LINE_SCALE, order=(2, 0))
    across = ndimage.gaussian_filter(image, LINE_SCALE, order=(0, 2))
    both = ndimage.gaussian_filter(image, LINE_SCALE, order=(1, 1))
    middle, spread = (down + across) / 2, np.hypot((down - across) / 2, both)
    bend = middle + np.where(middle < 0, -spread, spread)
    other = middle - np.where(middle < 0, -spread, spread)
    straight = np.abs(bend) >= STRAIGHTNESS * np.abs(other)
    return -np.sqrt(8) * LINE_SCALE**2 * bend, straight
