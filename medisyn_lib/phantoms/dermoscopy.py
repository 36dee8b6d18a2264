"""Dermoscopy phantom: skin under a contact lens, its colours from melanin and haemoglobin absorbance.

A melanoma differs from a naevus by asymmetry, border and colours (black, blue-grey veil, pink regression).
"""

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

MELANIN = (0.55, 1.00, 1.35)
HAEMOGLOBIN = (0.10, 0.65, 0.45)
KERATIN = (0.20, 0.42, 0.95)
DEEP_MELANIN = (
    1.00,
    0.85,
    0.55,
)  # pigment deep in the skin looks blue-grey: short waves are scattered back first


def draw_patient(rng: Rng, finding: str) -> Factors:
    """The skin and the lesion of one patient."""
    size = ("small", "large")[int(rng.integers(2))]
    patient = uniform(rng, "dermoscopy", size) | uniform(rng, "dermoscopy", "patient")
    patient["roughness"] *= {"naevus": 0.05, "melanoma": 0.16, "seborrhoeic_keratosis": 0.09}[
        finding
    ]
    patient["skin_melanin"] = 1.2 * patient["skin_melanin"] ** 2.5  # most skin is light
    hairs = int(rng.integers(3, 14)) if rng.random() < 0.4 else 0
    return patient | {"lesion_size": size, "hairs": hairs, "lesion_seed": int(rng.integers(2**31))}


def draw_image(rng: Rng, patient: Factors, size: int) -> tuple[Array, Factors]:
    """One picture of the lesion, (size, size, 3) in [0, 1], and the factors of this picture."""
    factors = uniform(rng, "dermoscopy", "image")
    x, y = grid(size)
    x0, y0 = (x - factors["shift_x"]) / factors["zoom"], (y - factors["shift_y"]) / factors["zoom"]
    u, v = (part.astype(np.float32) for part in turned(x0, y0, factors["turn"]))
    skin = np.random.default_rng(factors["skin_seed"])
    mottle, lines = smooth_noise(skin, size, 0.3), smooth_noise(skin, size, 0.04)
    melanin = np.clip(0.06 + patient["skin_melanin"] * (1 + 0.12 * mottle + 0.08 * lines), 0, None)
    redness = np.clip(patient["skin_redness"] * (1 + 0.25 * smooth_noise(skin, size, 0.2)), 0, None)
    paint = {"naevus": _naevus, "melanoma": _melanoma, "seborrhoeic_keratosis": _keratosis}[
        patient["finding"]
    ]
    brown, deep, yellow, red, pale = paint(
        np.random.default_rng(patient["lesion_seed"]), patient, u, v
    )
    balance = factors["white_balance"]
    image = absorb(
        np.array([0.98 + balance, 0.94, 0.94 - balance]) * factors["exposure"],
        (melanin * (1 - pale) + brown, MELANIN),
        (deep, DEEP_MELANIN),
        (yellow, KERATIN),
        (redness + red, HAEMOGLOBIN),
    )
    image = image * (1 - 0.85 * _hairs(skin, patient["hairs"], size))[:, :, None]
    light = 1 - factors["vignetting"] * np.clip(x**2 + y**2 - 0.35, 0, 2)
    return blur(image * light[:, :, None], factors["defocus"]) + rng.normal(
        0, 0.008, image.shape
    ), factors


def _field(rng: Rng, u: Array, v: Array, scale: float) -> Array:
    """Random waves of a length near `scale`, about unit variance: a texture that moves with the lesion."""
    way = (
        (np.arange(6) + rng.uniform(0, 0.8, 6)) * np.pi / 6
    )  # spread over all directions: no stripes
    phase = rng.uniform(0, 2 * np.pi, 6)
    rate = 2 * np.pi / (scale * rng.uniform(0.7, 1.5, 6))
    a, b, phase = np.stack([rate * np.cos(way), rate * np.sin(way), phase]).astype(np.float32)[
        :, :, None, None
    ]
    return np.cos(u * a + v * b + phase).sum(0) / np.float32(np.sqrt(len(way) / 2))


def _depth(rng: Rng, patient: Factors, u: Array, v: Array, orders: tuple) -> Array:
    """Signed depth inside the lesion's outline (positive inside), in the units of the picture."""
    (a, b), stretch = turned(u, v, patient["axis"]), np.sqrt(patient["elongation"])
    a, b = a / stretch, b * stretch
    theta = np.arctan2(b, a)
    wave = sum(
        rng.uniform(0.5, 1.2) * np.cos(k * theta + rng.uniform(0, 2 * np.pi)) / k**0.35
        for k in orders
    )
    return patient["radius"] * (1 + patient["roughness"] * wave) - np.hypot(a, b)


def _naevus(rng: Rng, patient: Factors, u: Array, v: Array) -> tuple:
    """Densities (brown, deep, yellow, red, pale) of a symmetric, even, smooth-bordered lesion."""
    depth = _depth(rng, patient, u, v, (2, 3))
    mask = np.clip(0.5 + depth / rng.uniform(0.10, 0.2), 0, 1)
    core = rng.uniform(-0.15, 0.45) * np.clip(depth / patient["radius"], 0, 1)
    network = 0.10 * _field(rng, u, v, 0.11) + 0.07 * _field(rng, u, v, 0.3)
    brown = mask * patient["pigment"] * (0.72 + core + network)
    return brown, 0 * mask, mask * (0.15 + patient["warmth"] / 2), mask * 0.25, 0 * mask


def _melanoma(rng: Rng, patient: Factors, u: Array, v: Array) -> tuple:
    """Densities (brown, deep, yellow, red, pale) of an asymmetric lesion of several colours."""
    ragged = 0.20 * patient["radius"] * _field(rng, u, v, 0.45 * patient["radius"] + 0.1)
    depth = _depth(rng, patient, u, v, (1, 2, 3, 5)) + ragged * 0.55
    mask = np.clip(0.5 + depth / 0.06, 0, 1)
    way, r = rng.uniform(0, 2 * np.pi), patient["radius"]

    def patch(angle: float, reach: float, width: float) -> Array:
        a, b = u - reach * r * np.cos(angle), v - reach * r * np.sin(angle)
        return mask * np.exp(-(((a**2 + b**2) / (width * r) ** 2) ** 1.5))

    black = patch(way, rng.uniform(0.35, 0.6), rng.uniform(0.45, 0.65))
    veil = patch(way + rng.uniform(1.6, 2.6), rng.uniform(0.2, 0.5), rng.uniform(0.4, 0.6))
    regress = patch(way + rng.uniform(3.4, 4.6), rng.uniform(0.5, 0.7), rng.uniform(0.3, 0.5))
    mottle = np.clip(1.0 + 0.35 * _field(rng, u, v, 0.2), 0.3, 2)
    brown = mask * patient["pigment"] * mottle * (1 - 0.75 * veil) * (1 - 0.85 * regress)
    brown = brown + 1.2 * black * patient["pigment"]
    return brown, 1.1 * veil + 0.8 * black, 0 * mask, 0.35 * mask + 0.7 * regress, 0.6 * regress


def _keratosis(rng: Rng, patient: Factors, u: Array, v: Array) -> tuple:
    """Densities (brown, deep, yellow, red, pale) of a waxy, sharply bordered lesion with pale and dark dots."""
    depth = _depth(rng, patient, u, v, (2, 3, 4, 7))
    mask = np.clip(0.5 + depth / 0.035, 0, 1)
    ridges, rim = np.abs(_field(rng, u, v, 0.16)), np.exp(-((depth / 0.06) ** 2)) * mask
    wax = mask * (0.75 + 0.22 * ridges + 0.3 * rim)
    number = 8 + int(40 * patient["radius"] ** 2)
    reach = 0.85 * patient["radius"] * np.sqrt(rng.uniform(0, 1, 2 * number))
    way = rng.uniform(0, 2 * np.pi, 2 * number)
    spread = 0.042 * rng.uniform(0.8, 1.25, 2 * number)
    dot = np.stack([reach * np.cos(way), reach * np.sin(way), 1 / spread**2]).astype(np.float32)
    a, b, w = dot[:, :, None, None]
    dots = np.exp(-((u - a) ** 2 + (v - b) ** 2) * w)
    milia, comedo = dots[:number].max(0) * mask, dots[number:].max(0) * mask
    brown = (0.42 * wax * patient["pigment"] + 1.3 * comedo) * (1 - 0.75 * milia)
    yellow = (1.0 + patient["warmth"]) * wax * (1 - 0.6 * milia)
    return brown, 0 * mask, yellow, 0.12 * mask * (1 - milia), 0.5 * milia


def _hairs(rng: Rng, number: int, size: int) -> Array:
    """Mask in [0, 1] of curved dark hairs that lie in roughly one direction."""
    s = np.linspace(-1, 1, size + 16)
    lean, bend = (
        rng.uniform(0, np.pi) + rng.normal(0, 0.45, (number, 1)),
        rng.normal(0, 0.18, (number, 1)),
    )
    along, off = s * rng.uniform(0.5, 1.4, (number, 1)), rng.uniform(-1, 1, (2, number, 1))
    across = bend * s**2
    x = off[0] + along * np.cos(lean) - across * np.sin(lean)
    y = off[1] + along * np.sin(lean) + across * np.cos(lean)
    return stamp(size, x.ravel(), y.ravel(), 0.011, 0.011)
