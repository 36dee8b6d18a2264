"""Brushes shared by the phantoms: coordinates, soft shapes, textures, blur."""

from __future__ import annotations

import numpy as np
from scipy import ndimage


def grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixel centres as (x, y), each (size, size) float32 in (-1, 1); y grows downwards."""
    axis = ((np.arange(size, dtype=np.float32) + 0.5) / size) * 2 - 1
    return np.broadcast_to(axis[None, :], (size, size)), np.broadcast_to(axis[:, None], (size, size))


def ellipse(
    x: np.ndarray, y: np.ndarray, cx: float, cy: float, rx: float, ry: float, angle: float = 0.0, soft: float = 0.0
) -> np.ndarray:
    """Soft mask in [0, 1] of an ellipse; `soft` is the edge width in the units of x and y (at least one pixel)."""
    c, s = np.cos(angle), np.sin(angle)
    u, v = (x - cx) * c + (y - cy) * s, -(x - cx) * s + (y - cy) * c
    radius = np.sqrt((u / rx) ** 2 + (v / ry) ** 2) + 1e-9
    width = max(soft, 2.0 / x.shape[0])
    return np.clip(0.5 - (radius - 1.0) * min(rx, ry) / width, 0.0, 1.0)


def smooth_noise(rng: np.random.Generator, size: int, scale: float) -> np.ndarray:
    """Zero-mean, unit-variance noise (size, size) with correlation length `scale`, as a share of the image side."""
    cells = max(2, min(size, round(1.0 / max(scale, 1.0 / size)) + 3))
    field = ndimage.zoom(rng.standard_normal((cells, cells)), size / cells, order=3, mode="nearest", grid_mode=True)
    return ((field - field.mean()) / (field.std() + 1e-9)).astype(np.float32)


def blur(image: np.ndarray, width: float) -> np.ndarray:
    """Gaussian blur with a standard deviation of `width`, as a share of the image side."""
    sigma = width * image.shape[0]
    return ndimage.gaussian_filter(image, (sigma, sigma) + (0,) * (image.ndim - 2))
