"""Histopathology phantom: an H&E-stained section.

Densities of haematoxylin and eosin, mixed by the Beer-Lambert law over a white lamp.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from medisyn_lib.phantoms.drawing import (
    Array,
    Factors,
    Rng,
    absorb,
    blur,
    grid,
    smooth_noise,
    stamp,
    turned,
)
from medisyn_lib.phantoms.factors import SEED, Range, Uniform, draw_factors

# In each table the order of the lines fixes the random stream.
PATIENT: dict[str, Range] = {
    "haematoxylin": Uniform(0.75, 1.3),
    "eosin": Uniform(0.6, 1.35),
    "blueness": Uniform(-0.15, 0.25),
    "cell_scale": Uniform(0.85, 1.25),
    "fibre_angle": Uniform(0.0, np.pi),
    "fibre_contrast": Uniform(0.1, 0.35),
    "crowding": Uniform(0.8, 1.2),
}
LESION: dict[str, Range] = {  # drawn whatever the finding, so that it does not change the anatomy
    "pleomorphism": Uniform(0.25, 0.5),
}
IMAGE: dict[str, Range] = {
    "oedema": Uniform(-1.9, -1.0),
    "lamp": Uniform(0.95, 1.0),
    "defocus": Uniform(0.003, 0.008),
    "layout_seed": SEED,
}
HEALTHY_PLEOMORPHISM = 0.08

# Stain vectors of Ruifrok and Johnston 2001 (Anal Quant Cytol Histol 23:291), scaled to natural absorbance.
HAEMATOXYLIN = (1.50, 1.62, 0.66)
EOSIN = (0.12, 1.10, 0.38)


class _Tissue(NamedTuple):
    """What a field shows, each (size, size) or one number for all of it."""

    nuclei: Array  # density of haematoxylin
    purple: Array  # density of haematoxylin in the cytoplasm
    pink: Array | float  # density of eosin, times that of the stroma
    gaps: Array  # mask of what holds no tissue


class _Gland(NamedTuple):
    """Where a gland lies and how large it is, in half images."""

    x: float
    y: float
    radius: float


def draw_patient(rng: Rng, finding: str) -> Factors:
    """Draw the section of one patient: its stain, its cells, and how they vary."""
    anatomy = draw_factors(rng, PATIENT)
    lesion = draw_factors(rng, LESION)
    if finding == "tumour":
        return anatomy | lesion
    return anatomy | {"pleomorphism": HEALTHY_PLEOMORPHISM}


def draw_image(rng: Rng, patient: Factors, size: int) -> tuple[Array, Factors]:
    """Draw one field of the patient's section.

    Returns
    -------
    image : Array
        (size, size, 3) in about [0, 1].
    factors : Factors
        The factors of this field.
    """
    finding = patient["finding"]
    factors: Factors = {"glands": int(rng.integers(3, 7)) if finding == "normal" else 0}
    factors["mitoses"] = int(rng.integers(1, 4)) if finding == "tumour" else 0
    factors |= draw_factors(rng, IMAGE)
    detail = np.random.default_rng(factors["layout_seed"])
    stroma = _stroma(detail, patient, size)
    tissue = PAINTERS[finding](detail, patient, factors, size)
    image = _stained(stroma, tissue, patient, factors["lamp"])
    return blur(image, factors["defocus"]) + rng.normal(0, 0.01, image.shape), factors


def _stroma(rng: Rng, patient: Factors, size: int) -> Array:
    """Density of collagen: wavy fibres along the patient's direction."""
    across = turned(*grid(size), patient["fibre_angle"])[1] * 11
    across = across + 1.3 * smooth_noise(rng, size, 0.2)
    grain = np.sin(across * 2.1) + 0.8 * smooth_noise(rng, size, 0.06)
    return np.clip(0.5 + patient["fibre_contrast"] * grain, 0.12, 1.4)


def _stained(stroma: Array, tissue: _Tissue, patient: Factors, lamp: float) -> Array:
    """The light (size, size, 3) that passes the stained section."""
    nuclei, purple = tissue.nuclei, tissue.purple
    cytoplasm = (1 - tissue.gaps) * (1 - 0.75 * nuclei)
    haematoxylin = nuclei + cytoplasm * (purple + 0.05)
    eosin = cytoplasm * (stroma * (1 - purple) * tissue.pink + 0.35 * purple) + 0.25 * nuclei
    blueness = patient["blueness"]
    tint = np.array(HAEMATOXYLIN) * (1, 1 - blueness, 1 - 2 * max(0.0, blueness))
    return absorb(
        np.array([0.97, 0.96, 0.97]) * lamp,
        (haematoxylin * patient["haematoxylin"], tint),
        (eosin * patient["eosin"], EOSIN),
    )


def _scatter(rng: Rng, spacing: float, jitter: float = 0.33) -> tuple[Array, Array]:
    """Cell centres over the picture and a little beyond: a hexagonal lattice, turned and shaken."""
    count = int(np.ceil(1.6 / spacing))
    i, j = np.meshgrid(np.arange(-count, count + 1), np.arange(-count, count + 1))
    points = np.stack([i + 0.5 * (j % 2), j * 0.87], -1).reshape(-1, 2) * spacing
    points = points + rng.uniform(-jitter, jitter, points.shape) * spacing
    x, y = turned(points[:, 0], points[:, 1], -rng.uniform(0, np.pi))
    keep = (np.abs(x) < 1.1) & (np.abs(y) < 1.1)
    return x[keep], y[keep]


def _vesicular(radius: Array) -> Array:
    """Density across a vesicular nucleus, which is paler inside its membrane."""
    return 0.6 + 0.45 * radius**2


def _glands(rng: Rng, patient: Factors, factors: Factors, size: int) -> _Tissue:
    """Normal tissue: glands with white lumina in a stroma of spindle cells."""
    scale = patient["cell_scale"]
    glands = _placed_glands(rng, factors["glands"], scale)
    rings = [_ring(rng, gland, scale, size) for gland in glands]
    outside = np.min([distance for distance, _ in rings], 0)
    x, y, turn = np.concatenate([nuclei for _, nuclei in rings], 1)
    shade = rng.uniform(0.8, 1.1, len(x))
    epithelium = stamp(size, x, y, 0.062 * scale, 0.042 * scale, turn, shade, _vesicular)
    x, y = _scatter(rng, 0.34 * scale)
    along = patient["fibre_angle"] + rng.normal(0, 0.3, len(x))
    spindle = stamp(size, x, y, 0.07 * scale, 0.022 * scale, along, 0.8)
    sharpness = size / 2.5
    inside = np.clip(0.5 - outside * sharpness, 0, 1)
    lumen = np.clip(0.5 - (outside + 0.235 * scale) * sharpness, 0, 1)
    cleft = np.clip(1 - np.abs(outside - 0.015) * sharpness, 0, 1) * 0.35
    return _Tissue(
        nuclei=np.maximum(epithelium, spindle * (1 - inside)),
        purple=0.22 * inside,
        pink=1 - 0.45 * inside,
        gaps=np.maximum(lumen, cleft),
    )


def _placed_glands(rng: Rng, number: int, scale: float) -> list[_Gland]:
    """Up to `number` glands thrown like darts, none touching another."""
    placed: list[_Gland] = []
    for x, y, extent in rng.uniform((-1.05, -1.05, 0.34), (1.05, 1.05, 0.55), (60, 3)).tolist():
        radius = extent * scale
        apart = all(np.hypot(x - g.x, y - g.y) > 1.02 * (radius + g.radius) for g in placed)
        if apart and len(placed) < number:
            placed.append(_Gland(x, y, radius))
    return placed


def _ring(rng: Rng, gland: _Gland, scale: float, size: int) -> tuple[Array, Array]:
    """Distance outside a gland's rim (size, size), and x, y, angle of the nuclei along it (3, n)."""
    x, y = grid(size)
    waves, phase = rng.uniform(0, 0.09, (3, 1)), rng.uniform(0, 2 * np.pi, (3, 1))
    squash, turn = rng.uniform(0.75, 1.0), rng.uniform(0, np.pi)
    orders = np.array([[2], [3], [5]])

    def rim(theta: Array) -> Array:
        wave = np.sum(waves * np.cos(orders * theta.ravel() + phase), 0)
        return gland.radius * (1 + wave.reshape(theta.shape))

    u, v = turned(x - gland.x, y - gland.y, turn)
    outside = np.hypot(u, v / squash) - rim(np.arctan2(v / squash, u))
    theta = np.arange(0, 2 * np.pi, 0.105 * scale / gland.radius) + rng.uniform(0, 1)
    basal = rim(theta) - 0.075 * scale * rng.uniform(0.8, 1.3, len(theta))
    dx, dy = turned(basal * np.cos(theta), basal * np.sin(theta) * squash, -turn)
    return outside, np.stack([gland.x + dx, gland.y + dy, np.arctan2(dy, dx)])


def _tumour(rng: Rng, patient: Factors, factors: Factors, size: int) -> _Tissue:
    """A carcinoma: crowded, varied nuclei, mitoses, septa between nests."""
    scale, vary = patient["cell_scale"], patient["pleomorphism"]
    nest = smooth_noise(rng, size, 0.3)
    x, y = _scatter(rng, 0.205 * scale / patient["crowding"])
    radius = 0.082 * scale * np.exp(rng.normal(0, 0.6 * vary, len(x)))
    shade = np.clip(rng.normal(0.95, 0.6 * vary, len(x)), 0.5, 1.5)
    squash, turn = rng.uniform(0.62, 1.0, len(x)), rng.uniform(0, np.pi, len(x))
    septum = np.clip((nest - 1.25) * 3, 0, 1)
    nuclei = stamp(size, x, y, radius, radius * squash, turn, shade, _vesicular)
    nuclei = nuclei * (1 - 0.85 * septum)
    low, high = (-0.8, -0.8, 0), (0.8, 0.8, np.pi)
    x, y, turn = rng.uniform(low, high, (factors["mitoses"], 3)).T
    mitoses = stamp(size, x, y, 0.115 * scale, 0.05 * scale, turn, 1.9)
    halo = stamp(size, x, y, 0.17 * scale, 0.15 * scale, turn)
    purple = (0.17 + 0.05 * smooth_noise(rng, size, 0.08)) * (1 - septum)
    return _Tissue(
        nuclei=np.maximum(nuclei * (1 - halo), mitoses),
        purple=purple,
        pink=0.8 + 0.2 * septum,
        gaps=0.5 * np.clip(-(nest + 1.9) * 3, 0, 1),
    )


def _infiltrate(rng: Rng, patient: Factors, factors: Factors, size: int) -> _Tissue:
    """Inflamed, oedematous stroma: lymphocytes in clusters."""
    scale = patient["cell_scale"]
    x, y = _scatter(rng, 0.145 * scale / patient["crowding"], 0.5)
    clusters = rng.uniform(-1, 1, (4, 2))
    near = np.min(np.hypot(x[:, None] - clusters[:, 0], y[:, None] - clusters[:, 1]), 1)
    keep = rng.uniform(0, 1, len(x)) < np.clip(1.15 - 0.9 * near, 0.35, 0.95)
    x, y = x[keep], y[keep]
    radius = 0.043 * scale * rng.uniform(0.9, 1.12, len(x))
    nuclei = stamp(size, x, y, radius, radius, 0.0, rng.uniform(1.15, 1.5, len(x)))
    oedema = np.clip((factors["oedema"] - smooth_noise(rng, size, 0.09)) * 2.5, 0, 1)
    gaps = oedema * (1 - np.minimum(nuclei, 1))
    return _Tissue(nuclei, np.float32(0.06) * np.ones_like(gaps), 0.85, gaps)


PAINTERS: dict[str, Callable[[Rng, Factors, Factors, int], _Tissue]] = {
    "normal": _glands,
    "tumour": _tumour,
    "inflammation": _infiltrate,
}
