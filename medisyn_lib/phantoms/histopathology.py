"""H&E phantom: haematoxylin and eosin densities mixed by Beer-Lambert over a white lamp."""

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
    uniform,
)

# Stain vectors of Ruifrok and Johnston 2001 (Anal Quant Cytol Histol 23:291), scaled to natural absorbance.
HAEMATOXYLIN = (1.50, 1.62, 0.66)
EOSIN = (0.12, 1.10, 0.38)


def draw_image(rng: Rng, patient: Factors, size: int) -> tuple[Array, Factors]:
    """One field of the patient's section, (size, size, 3) in [0, 1], and the factors of this field."""
    factors: Factors = {"glands": int(rng.integers(3, 7)) if patient["finding"] == "normal" else 0}
    factors["mitoses"] = int(rng.integers(1, 4)) if patient["finding"] == "tumour" else 0
    factors |= uniform(rng, "histopathology", "image")
    detail = np.random.default_rng(factors["layout_seed"])
    # Collagen: wavy fibres along the patient's direction.
    across = turned(*grid(size), patient["fibre_angle"])[1] * 11 + 1.3 * smooth_noise(
        detail, size, 0.2
    )
    grain = np.sin(across * 2.1) + 0.8 * smooth_noise(detail, size, 0.06)
    stroma = np.clip(0.5 + patient["fibre_contrast"] * grain, 0.12, 1.4)
    paint = {"normal": _glands, "tumour": _tumour, "inflammation": _infiltrate}[patient["finding"]]
    nuclei, (purple, pink), gaps = paint(detail, patient, factors, size)
    tissue = (1 - gaps) * (1 - 0.75 * nuclei)
    haematoxylin = nuclei + tissue * (purple + 0.05)
    eosin = tissue * (stroma * (1 - purple) * pink + 0.35 * purple) + 0.25 * nuclei
    tint = np.array(HAEMATOXYLIN) * (
        1,
        1 - patient["blueness"],
        1 - 2 * max(0.0, patient["blueness"]),
    )
    lamp = np.array([0.97, 0.96, 0.97]) * factors["lamp"]
    image = absorb(
        lamp, (haematoxylin * patient["haematoxylin"], tint), (eosin * patient["eosin"], EOSIN)
    )
    return blur(image, factors["defocus"]) + rng.normal(0, 0.01, image.shape), factors


def _scatter(rng: Rng, spacing: float, jitter: float = 0.33) -> tuple[Array, Array]:
    """Cell centres over the picture and a little beyond: a hexagonal lattice, turned and shaken."""
    count = int(np.ceil(1.6 / spacing))
    i, j = np.meshgrid(np.arange(-count, count + 1), np.arange(-count, count + 1))
    points = np.stack([i + 0.5 * (j % 2), j * 0.87], -1).reshape(-1, 2) * spacing
    points = points + rng.uniform(-jitter, jitter, points.shape) * spacing
    x, y = turned(points[:, 0], points[:, 1], -rng.uniform(0, np.pi))
    keep = (np.abs(x) < 1.1) & (np.abs(y) < 1.1)
    return x[keep], y[keep]


def _chromatin(radius: Array) -> Array:
    """A vesicular nucleus: paler inside its membrane."""
    return 0.6 + 0.45 * radius**2


def _ring(rng: Rng, gx: float, gy: float, radius: float, scale: float, size: int) -> tuple:
    """One gland: distance outside its rim (size, size), and x, y, angle of the nuclei along it (3, n)."""
    x, y = grid(size)
    waves, phase = rng.uniform(0, 0.09, (3, 1)), rng.uniform(0, 2 * np.pi, (3, 1))
    squash, turn = rng.uniform(0.75, 1.0), rng.uniform(0, np.pi)

    def rim(theta: Array) -> Array:
        orders = np.array([[2], [3], [5]])
        wave = np.sum(waves * np.cos(orders * theta.ravel() + phase), 0)
        return radius * (1 + wave.reshape(theta.shape))

    u, v = turned(x - gx, y - gy, turn)
    outside = np.hypot(u, v / squash) - rim(np.arctan2(v / squash, u))
    theta = np.arange(0, 2 * np.pi, 0.105 * scale / radius) + rng.uniform(0, 1)
    basal = rim(theta) - 0.075 * scale * rng.uniform(0.8, 1.3, len(theta))
    nx, ny = turned(basal * np.cos(theta), basal * np.sin(theta) * squash, -turn)
    return outside, np.stack([gx + nx, gy + ny, np.arctan2(ny, nx)])


def _glands(rng: Rng, patient: Factors, factors: Factors, size: int) -> tuple:
    """Nuclei, (purple, pink) cytoplasm and white gaps of normal glandular tissue."""
    scale = patient["cell_scale"]
    placed: list[tuple[float, float, float]] = []
    for gx, gy, share in rng.uniform((-1.05, -1.05, 0.34), (1.05, 1.05, 0.55), (60, 3)).tolist():
        radius = share * scale
        apart = all(np.hypot(gx - a, gy - b) > 1.02 * (radius + r) for a, b, r in placed)
        if apart and len(placed) < factors["glands"]:
            placed.append((gx, gy, radius))
    rings = [_ring(rng, *gland, scale, size) for gland in placed]
    outside = np.min([ring[0] for ring in rings], 0)
    nx, ny, way = np.concatenate([ring[1] for ring in rings], 1)
    nuclei = stamp(
        size, nx, ny, 0.062 * scale, 0.042 * scale, way, rng.uniform(0.8, 1.1, len(nx)), _chromatin
    )
    sx, sy = _scatter(rng, 0.34 * scale)
    along = patient["fibre_angle"] + rng.normal(0, 0.3, len(sx))
    spindle = stamp(size, sx, sy, 0.07 * scale, 0.022 * scale, along, 0.8)
    edge = size / 2.5
    inside = np.clip(0.5 - outside * edge, 0, 1)
    lumen = np.clip(0.5 - (outside + 0.235 * scale) * edge, 0, 1)
    cleft = np.clip(1 - np.abs(outside - 0.015) * edge, 0, 1) * 0.35
    return (
        np.maximum(nuclei, spindle * (1 - inside)),
        (0.22 * inside, 1 - 0.45 * inside),
        np.maximum(lumen, cleft),
    )


def _tumour(rng: Rng, patient: Factors, factors: Factors, size: int) -> tuple:
    """Nuclei, (purple, pink) cytoplasm and white gaps of a carcinoma."""
    scale, vary = patient["cell_scale"], patient["pleomorphism"]
    nest = smooth_noise(rng, size, 0.3)
    x, y = _scatter(rng, 0.205 * scale / patient["crowding"])
    radius = 0.082 * scale * np.exp(rng.normal(0, 0.6 * vary, len(x)))
    shade = np.clip(rng.normal(0.95, 0.6 * vary, len(x)), 0.5, 1.5)
    squash, turn = rng.uniform(0.62, 1.0, len(x)), rng.uniform(0, np.pi, len(x))
    septum = np.clip((nest - 1.25) * 3, 0, 1)
    nuclei = stamp(size, x, y, radius, radius * squash, turn, shade, _chromatin) * (
        1 - 0.85 * septum
    )
    mx, my, mt = rng.uniform((-0.8, -0.8, 0), (0.8, 0.8, np.pi), (factors["mitoses"], 3)).T
    mitoses = stamp(size, mx, my, 0.115 * scale, 0.05 * scale, mt, 1.9)
    halo = stamp(size, mx, my, 0.17 * scale, 0.15 * scale, mt)
    nuclei = np.maximum(nuclei * (1 - halo), mitoses)
    purple = (0.17 + 0.05 * smooth_noise(rng, size, 0.08)) * (1 - septum)
    return nuclei, (purple, 0.8 + 0.2 * septum), 0.5 * np.clip(-(nest + 1.9) * 3, 0, 1)


def _infiltrate(rng: Rng, patient: Factors, factors: Factors, size: int) -> tuple:
    """Nuclei, (purple, pink) cytoplasm and white gaps of inflamed, oedematous stroma."""
    scale = patient["cell_scale"]
    x, y = _scatter(rng, 0.145 * scale / patient["crowding"], 0.5)
    clusters = rng.uniform(-1, 1, (4, 2))
    near = np.min(np.hypot(x[:, None] - clusters[:, 0], y[:, None] - clusters[:, 1]), 1)
    keep = rng.uniform(0, 1, len(x)) < np.clip(1.15 - 0.9 * near, 0.35, 0.95)
    x, y = x[keep], y[keep]
    radius = 0.043 * scale * rng.uniform(0.9, 1.12, len(x))
    nuclei = stamp(size, x, y, radius, radius, 0.0, rng.uniform(1.15, 1.5, len(x)))
    gaps = np.clip((factors["oedema"] - smooth_noise(rng, size, 0.09)) * 2.5, 0, 1) * (
        1 - np.minimum(nuclei, 1)
    )
    return nuclei, (np.float32(0.06) * np.ones_like(gaps), 0.85), gaps
