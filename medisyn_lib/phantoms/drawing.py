"""What the phantoms share: how factors are drawn, and brushes (coordinates, soft shapes, textures, blur)."""

import tomllib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import ndimage

Factors = dict[str, Any]  # plain numbers and words by name
Rng = np.random.Generator
Array = np.ndarray
WORDS = {"side": ("left", "right"), "lesion_size": ("small", "large")}
RANGES = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))


def uniform(rng: Rng, modality: str, table: str) -> Factors:
    """A number for each line of a table of `drawing.toml`, in its order; none where there is no such table."""
    return {
        name: int(rng.integers(low, high))
        if isinstance(low, int)
        else float(rng.uniform(low, high))
        for name, (low, high) in RANGES[modality].get(table, {}).items()
    }


def tabled_patient(rng: Rng, modality: str, finding: str) -> Factors:
    """A patient as `drawing.toml` says: anatomy, and what the finding adds (`side` is the patient's)."""
    patient = uniform(rng, modality, "patient") | RANGES[modality].get("without", {})
    chance = uniform(rng, modality, "chances")
    chance |= {name: words[chance[name]] for name, words in WORDS.items() if name in chance}
    for name, row in RANGES[modality].get(finding, {}).items():
        rule = row[chance["lesion_size"]] if isinstance(row, dict) else row
        if isinstance(rule, str):
            patient[name] = chance[rule]
        else:
            base, slope, by = rule
            patient[name] = patient.get(base, base) + slope * chance[by]
    return patient


def grid(size: int) -> tuple[Array, Array]:
    """Pixel centres as (x, y), each (size, size) float32 in (-1, 1); y grows downwards."""
    axis = ((np.arange(size, dtype=np.float32) + 0.5) / size) * 2 - 1
    return np.broadcast_to(axis[None, :], (size, size)), np.broadcast_to(
        axis[:, None], (size, size)
    )


def turned(x: Array, y: Array, angle: ArrayLike) -> tuple[Array, Array]:
    """Coordinates in a frame that is turned by `angle` radians, clockwise as y grows downwards."""
    c, s = np.cos(angle), np.sin(angle)
    return x * c + y * s, y * c - x * s


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
    """Soft mask in [0, 1] of an ellipse; `soft` is the edge width in the units of x and y (at least one pixel)."""
    u, v = turned(x - cx, y - cy, angle)
    radius = np.sqrt((u / rx) ** 2 + (v / ry) ** 2) + 1e-9
    width = max(soft, 2.0 / x.shape[0])
    return np.clip(0.5 - (radius - 1.0) * min(rx, ry) / width, 0.0, 1.0)


@lru_cache(maxsize=128)
def _zoom_weights(cells: int, size: int) -> Array:
    """Cubic spline zoom along one axis as a matrix (size, cells), kept: noise is then two small products."""
    return ndimage.zoom(np.eye(cells), (size / cells, 1), order=3, mode="nearest", grid_mode=True)


def smooth_noise(rng: Rng, size: int, scale: float) -> Array:
    """Zero-mean, unit-variance noise (size, size) with correlation length `scale`, as a share of the image side."""
    cells = max(2, min(size, round(1.0 / max(scale, 1.0 / size)) + 3))
    weights = _zoom_weights(cells, size)
    field = weights @ rng.standard_normal((cells, cells)) @ weights.T
    return ((field - field.mean()) / (field.std() + 1e-9)).astype(np.float32)


def blur(image: Array, width: float) -> Array:
    """Gaussian blur with a standard deviation of `width`, as a share of the image side."""
    sigma = width * image.shape[0]
    return ndimage.gaussian_filter(image, (sigma, sigma) + (0,) * (image.ndim - 2))


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
    """Many soft ellipses at once, (size, size) float32: each is drawn in its own small patch.

    Centres and radii are n numbers each, in the units of `grid`. `profile` maps the radius (0 at the
    centre, 1 at the rim) to a height; `join` says how overlaps combine (np.maximum or np.add).
    """
    arrays = np.broadcast_arrays(
        *(np.atleast_1d(np.asarray(a, np.float32)) for a in (cx, cy, rx, ry, angle, value))
    )
    cx, cy, rx, ry, angle, value = (np.reshape(a, (-1, 1, 1)) for a in arrays)
    out = np.zeros(size * size, np.float32)
    px, py, rx, ry = (
        ((cx + 1) * size - 1) / 2,
        ((cy + 1) * size - 1) / 2,
        rx * size / 2,
        ry * size / 2,
    )
    half = int(np.ceil(max(rx.max(initial=0), ry.max(initial=0)) + 1))
    offsets = np.arange(-half, half + 1, dtype=np.float32)
    column, row = np.rint(px) + offsets, np.rint(py) + offsets[:, None]
    u, v = turned(column - px, row - py, angle)
    radius = np.sqrt((u / rx) ** 2 + (v / ry) ** 2)
    ink = value * np.clip(0.5 + (1 - radius) * np.minimum(rx, ry), 0, 1)
    if profile is not None:
        ink = ink * profile(radius)
    inside = (column >= 0) & (column < size) & (row >= 0) & (row < size) & (ink > 0)
    join.at(out, (row * size + column)[inside].astype(int), ink[inside])
    return out.reshape(size, size)


def absorb(light: ArrayLike, *layers: tuple[Array, ArrayLike]) -> Array:
    """Light (3,) or (size, size, 3) after layers of (density (size, size), absorbance (3,)), by Beer-Lambert."""
    total = sum(
        density[:, :, None] * np.asarray(absorbance, np.float32) for density, absorbance in layers
    )
    return np.asarray(light, np.float32) * np.exp(-total)


def posed_grid(
    size: int, dx: float, dy: float, angle: float = 0.0, zoom: float = 1.0
) -> tuple[Array, Array]:
    """`grid` seen in the frame of an object moved by (dx, dy), turned by `angle` radians, `zoom` times as large."""
    x, y = grid(size)
    c, s = float(np.cos(angle)) / zoom, float(np.sin(angle)) / zoom
    return (x - dx) * c + (y - dy) * s, (y - dy) * c - (x - dx) * s


def paint(image: Array, mask: Array, value: float | Array) -> None:
    """Lay `value` over `image` in place, where and as far as `mask` (0 to 1) covers it."""
    image += mask * (value - image)


def texture(rng: Rng, u: Array, v: Array, period: int = 32) -> Array:
    """Smooth noise of unit variance, (len(v), len(u)), at coordinates in cells of about one correlation length.

    The field belongs to `rng`, not to the pixels: moved or scaled coordinates show the same texture
    moved or scaled. Cubic B-splines on a periodic lattice of normal numbers.
    """

    def weights(t: Array) -> Array:
        knots = np.arange(period, dtype=np.float32)
        near = 2 - np.abs((t[:, None] - knots + period / 2) % period - period / 2)
        outer, inner = np.maximum(near, 0), np.maximum(near - 1, 0)
        return outer * outer * outer / 6 - inner * inner * inner * (2 / 3)

    field = weights(v) @ rng.standard_normal((period, period), dtype=np.float32) @ weights(u).T
    return (field / 0.479).astype(
        np.float32
    )  # 0.479 = the mean over t of the sum of squared weights


def speckle(rng: Rng, amplitude: Array, across: float, along: float, looks: int = 1) -> Array:
    """Envelope of random scatterers of local `amplitude` (h, w) blurred by a Gaussian point-spread function.

    `across` and `along` (the beam, downwards) are its standard deviations as shares of the side, and at
    least 0.45 pixel; `looks` independent envelopes are averaged. The mean is `amplitude`, roughly.
    """
    widths = [max(0.45, w * amplitude.shape[0]) for w in (along, across)]
    scatterers = rng.standard_normal(
        (looks, 2, *amplitude.shape), dtype=np.float32
    ) * amplitude.astype(np.float32)
    field = ndimage.gaussian_filter(scatterers, (0, 0, *widths), truncate=3.0)
    power = np.sqrt((field**2).sum(axis=1)).mean(axis=0)
    # The blur leaves 1 / (4 pi s t) of the power; the Rayleigh mean is sqrt(pi / 2).
    return power * float(np.sqrt(8.0 * widths[0] * widths[1]))
