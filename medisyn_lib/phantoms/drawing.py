"""Brushes that the phantoms share: coordinates, soft shapes, textures, blur and absorption.

A picture runs from -1 to 1 along both axes; y grows downwards.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import ndimage

__all__ = [
    "Array",
    "Factors",
    "Rng",
    "absorb",
    "blur",
    "ellipse",
    "grid",
    "paint",
    "posed_grid",
    "smooth_noise",
    "speckle",
    "stamp",
    "texture",
    "turned",
]

Factors = dict[str, Any]  # plain numbers and words by name
Rng = np.random.Generator
Array = np.ndarray

# Mean over positions of the sum of squared weights of `texture`: its standard deviation before scaling.
TEXTURE_DEVIATION = 0.479


def grid(size: int) -> tuple[Array, Array]:
    """Return the pixel centres as (x, y), each (size, size) float32 in (-1, 1)."""
    axis = ((np.arange(size, dtype=np.float32) + 0.5) / size) * 2 - 1
    x = np.broadcast_to(axis[None, :], (size, size))
    y = np.broadcast_to(axis[:, None], (size, size))
    return x, y


def turned(x: Array, y: Array, angle: ArrayLike) -> tuple[Array, Array]:
    """Return coordinates in a frame turned by `angle` radians, clockwise as y grows downwards."""
    cosine, sine = np.cos(angle), np.sin(angle)
    return x * cosine + y * sine, y * cosine - x * sine


def posed_grid(
    size: int, dx: float, dy: float, angle: float = 0.0, zoom: float = 1.0
) -> tuple[Array, Array]:
    """Return `grid` in the frame of an object that was moved, turned and enlarged.

    Parameters
    ----------
    size
        Image side in pixels.
    dx, dy
        Where the object's centre lies, in half images.
    angle
        How far the object is turned, in radians.
    zoom
        How many times as large the object is.

    Returns
    -------
    tuple of Array
        x and y, each (size, size) float32.
    """
    x, y = grid(size)
    cosine, sine = float(np.cos(angle)) / zoom, float(np.sin(angle)) / zoom
    return (x - dx) * cosine + (y - dy) * sine, (y - dy) * cosine - (x - dx) * sine


def ellipse(
    x: Array,
    y: Array,
    cx: float,
    cy: float,
    rx: float,
    ry: float,
    angle: float = 0,
    soft: float = 0,
) -> Array:
    """Return the soft mask of an ellipse.

    Parameters
    ----------
    x, y
        Coordinates of the pixels, (h, w).
    cx, cy
        Centre, in the units of x and y.
    rx, ry
        Radii, in the units of x and y.
    angle
        How far the ellipse is turned, in radians.
    soft
        Width of the edge in the units of x and y; at least one pixel.

    Returns
    -------
    Array
        (h, w) in [0, 1].
    """
    u, v = turned(x - cx, y - cy, angle)
    radius = np.sqrt((u / rx) ** 2 + (v / ry) ** 2) + 1e-9
    width = max(soft, 2.0 / x.shape[0])
    return np.clip(0.5 - (radius - 1.0) * min(rx, ry) / width, 0.0, 1.0)


def paint(image: Array, mask: Array, value: float | Array) -> None:
    """Lay `value` over `image` in place, as far as `mask` (0 to 1) covers it."""
    image += mask * (value - image)


def stamp(
    size: int,
    cx: ArrayLike,
    cy: ArrayLike,
    rx: ArrayLike,
    ry: ArrayLike,
    angle: ArrayLike = 0.0,
    value: ArrayLike = 1.0,
    profile: Callable[[Array], Array] | None = None,
    join: np.ufunc = np.maximum,
) -> Array:
    """Draw many soft ellipses at once, each in its own small patch.

    Parameters
    ----------
    size
        Image side in pixels.
    cx, cy, rx, ry
        Centres and radii, n numbers each or one for all, in the units of `grid`.
    angle
        How far each ellipse is turned, in radians.
    value
        Height of each ellipse.
    profile
        Maps the radius (0 at the centre, 1 at the rim) to a factor of the height.
    join
        How overlaps combine: np.maximum or np.add.

    Returns
    -------
    Array
        (size, size) float32.
    """
    numbers = [np.atleast_1d(np.asarray(a, np.float32)) for a in (cx, cy, rx, ry, angle, value)]
    ellipses = (np.reshape(a, (-1, 1, 1)) for a in np.broadcast_arrays(*numbers))
    x, y, half_width, half_height, turn, height = ellipses
    centre_column = ((x + 1) * size - 1) / 2  # from here on in pixels
    centre_row = ((y + 1) * size - 1) / 2
    half_width, half_height = half_width * size / 2, half_height * size / 2
    reach = int(np.ceil(max(half_width.max(initial=0), half_height.max(initial=0)) + 1))
    offsets = np.arange(-reach, reach + 1, dtype=np.float32)
    column = np.rint(centre_column) + offsets
    row = np.rint(centre_row) + offsets[:, None]
    u, v = turned(column - centre_column, row - centre_row, turn)
    radius = np.sqrt((u / half_width) ** 2 + (v / half_height) ** 2)
    ink = height * np.clip(0.5 + (1 - radius) * np.minimum(half_width, half_height), 0, 1)
    if profile is not None:
        ink = ink * profile(radius)
    inside = (column >= 0) & (column < size) & (row >= 0) & (row < size) & (ink > 0)
    image = np.zeros(size * size, np.float32)
    join.at(image, (row * size + column)[inside].astype(int), ink[inside])
    return image.reshape(size, size)


def absorb(light: ArrayLike, *layers: tuple[Array, ArrayLike]) -> Array:
    """Return the light that absorbing layers let through, by the Beer-Lambert law.

    Parameters
    ----------
    light
        Incoming red, green and blue, (3,) or (size, size, 3).
    *layers
        Pairs of density (size, size) and absorbance (3,), natural logarithm.

    Returns
    -------
    Array
        (size, size, 3) float32.
    """
    total = sum(
        density[:, :, None] * np.asarray(absorbance, np.float32) for density, absorbance in layers
    )
    return np.asarray(light, np.float32) * np.exp(-total)


def blur(image: Array, width: float) -> Array:
    """Blur (h, w) or (h, w, c) by a Gaussian of standard deviation `width`, a fraction of the side."""
    sigma = width * image.shape[0]
    return ndimage.gaussian_filter(image, (sigma, sigma) + (0,) * (image.ndim - 2))


@lru_cache(maxsize=128)
def _zoom_weights(cells: int, size: int) -> Array:
    """Cubic spline zoom along one axis as a matrix (size, cells); noise is then two small products."""
    return ndimage.zoom(np.eye(cells), (size / cells, 1), order=3, mode="nearest", grid_mode=True)


def smooth_noise(rng: Rng, size: int, scale: float) -> Array:
    """Draw smooth noise that fills the picture.

    Parameters
    ----------
    rng
        Source of the noise.
    size
        Image side in pixels.
    scale
        Correlation length as a fraction of the image side.

    Returns
    -------
    Array
        (size, size) float32 of mean zero and unit variance.
    """
    cells = max(2, min(size, round(1.0 / max(scale, 1.0 / size)) + 3))
    weights = _zoom_weights(cells, size)
    field = weights @ rng.standard_normal((cells, cells)) @ weights.T
    return ((field - field.mean()) / (field.std() + 1e-9)).astype(np.float32)


def _spline_weights(t: Array, period: int) -> Array:
    """Cubic B-spline weights (len(t), period) of the knots of a periodic lattice at positions t."""
    knots = np.arange(period, dtype=np.float32)
    near = 2 - np.abs((t[:, None] - knots + period / 2) % period - period / 2)
    outer, inner = np.maximum(near, 0), np.maximum(near - 1, 0)
    return outer * outer * outer / 6 - inner * inner * inner * (2 / 3)


def texture(rng: Rng, u: Array, v: Array, period: int = 32) -> Array:
    """Draw smooth noise that belongs to an object, not to the pixels.

    Moved or scaled coordinates show the same texture moved or scaled. The field is a sum of cubic
    B-splines on a periodic lattice of normal numbers.

    Parameters
    ----------
    rng
        Source of the lattice.
    u, v
        Coordinates of columns (w,) and rows (h,), in cells of about one correlation length.
    period
        Cells after which the texture repeats.

    Returns
    -------
    Array
        (h, w) float32 of mean zero and unit variance.
    """
    down, across = _spline_weights(v, period), _spline_weights(u, period)
    field = down @ rng.standard_normal((period, period), dtype=np.float32) @ across.T
    return (field / TEXTURE_DEVIATION).astype(np.float32)


def speckle(rng: Rng, amplitude: Array, across: float, along: float, looks: int = 1) -> Array:
    """Draw the envelope of random scatterers that a Gaussian point-spread function blurs.

    Parameters
    ----------
    rng
        Source of the scatterers.
    amplitude
        Local amplitude of the scatterers, (h, w).
    across, along
        Standard deviations of the point-spread function across the beam and along it (downwards), as
        fractions of the image side; at least 0.45 pixel.
    looks
        How many independent envelopes are averaged.

    Returns
    -------
    Array
        (h, w) float32 whose mean is `amplitude`, roughly.

    References
    ----------
    Wagner, Smith, Sandrik and Lopez, Statistics of speckle in ultrasound B-scans, IEEE Trans. Sonics
    Ultrason. 30 (1983): fully developed speckle has a Rayleigh envelope.
    """
    widths = [max(0.45, width * amplitude.shape[0]) for width in (along, across)]
    noise = rng.standard_normal((looks, 2, *amplitude.shape), dtype=np.float32)
    scatterers = noise * amplitude.astype(np.float32)
    field = ndimage.gaussian_filter(scatterers, (0, 0, *widths), truncate=3.0)
    envelope = np.sqrt((field**2).sum(axis=1)).mean(axis=0)
    # The blur leaves 1 / (4 pi s t) of the power; the Rayleigh mean is sqrt(pi / 2).
    return envelope * float(np.sqrt(8.0 * widths[0] * widths[1]))
