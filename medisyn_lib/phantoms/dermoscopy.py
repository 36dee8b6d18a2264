"""Dermoscopy phantom: skin under a contact lens, its colours from melanin and haemoglobin absorbance.

A melanoma differs from a naevus by asymmetry, border and colours (black, blue-grey veil, pink regression).
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
from medisyn_lib.phantoms.factors import LESION_SIZE, SEED, Range, Uniform, draw_factors

RADIUS: dict[str, dict[str, Range]] = {  # by lesion size
    "small": {"radius": Uniform(0.24, 0.34)},
    "large": {"radius": Uniform(0.50, 0.68)},
}
# In each table the order of the lines fixes the random stream.
PATIENT: dict[str, Range] = {
    "elongation": Uniform(1.0, 1.35),
    "axis": Uniform(0.0, np.pi),
    "roughness": Uniform(0.7, 1.3),  # times that of the finding
    "skin_melanin": Uniform(0.0, 1.0),  # shaped by a power afterwards
    "skin_redness": Uniform(0.05, 0.55),
    "pigment": Uniform(0.75, 1.5),
    "warmth": Uniform(-0.25, 0.25),
}
IMAGE: dict[str, Range] = {
    "shift_x": Uniform(-0.16, 0.16),
    "shift_y": Uniform(-0.16, 0.16),
    "turn": Uniform(-0.5, 0.5),
    "zoom": Uniform(0.92, 1.08),
    "exposure": Uniform(0.85, 1.03),
    "white_balance": Uniform(-0.06, 0.06),
    "vignetting": Uniform(0.0, 0.3),
    "skin_seed": SEED,
    "defocus": Uniform(0.002, 0.007),
}
ROUGHNESS = {"naevus": 0.05, "melanoma": 0.16, "seborrhoeic_keratosis": 0.09}
HAIRY_FRACTION = 0.4  # of the patients

# Absorbances (red, green, blue). Pigment deep in the skin looks blue-grey: short waves are scattered back first.
MELANIN = (0.55, 1.00, 1.35)
HAEMOGLOBIN = (0.10, 0.65, 0.45)
KERATIN = (0.20, 0.42, 0.95)
DEEP_MELANIN = (1.00, 0.85, 0.55)


class _Lesion(NamedTuple):
    """Densities (size, size) that a lesion adds to the skin."""

    brown: Array  # melanin
    deep: Array  # melanin deep in the skin
    yellow: Array  # keratin
    red: Array  # haemoglobin
    pale: Array  # fraction of the skin's own melanin that is gone


def draw_patient(rng: Rng, finding: str) -> Factors:
    """Draw the skin and the lesion of one patient."""
    lesion_size = LESION_SIZE.draw(rng)
    patient = draw_factors(rng, RADIUS[lesion_size]) | draw_factors(rng, PATIENT)
    patient["roughness"] *= ROUGHNESS[finding]
    patient["skin_melanin"] = 1.2 * patient["skin_melanin"] ** 2.5  # most skin is light
    patient["lesion_size"] = lesion_size
    patient["hairs"] = int(rng.integers(3, 14)) if rng.random() < HAIRY_FRACTION else 0
    patient["lesion_seed"] = SEED.draw(rng)
    return patient


def draw_image(rng: Rng, patient: Factors, size: int) -> tuple[Array, Factors]:
    """Draw one picture of the lesion.

    Returns
    -------
    image : Array
        (size, size, 3) in about [0, 1].
    factors : Factors
        The factors of this picture.
    """
    factors = draw_factors(rng, IMAGE)
    x, y = grid(size)
    skin = np.random.default_rng(factors["skin_seed"])
    melanin, redness = _skin(skin, patient, size)
    lesion = _lesion(x, y, patient, factors)
    balance = factors["white_balance"]
    image = absorb(
        np.array([0.98 + balance, 0.94, 0.94 - balance]) * factors["exposure"],
        (melanin * (1 - lesion.pale) + lesion.brown, MELANIN),
        (lesion.deep, DEEP_MELANIN),
        (lesion.yellow, KERATIN),
        (redness + lesion.red, HAEMOGLOBIN),
    )
    image = image * (1 - 0.85 * _hairs(skin, patient["hairs"], size))[:, :, None]
    light = 1 - factors["vignetting"] * np.clip(x**2 + y**2 - 0.35, 0, 2)
    image = blur(image * light[:, :, None], factors["defocus"])
    return image + rng.normal(0, 0.008, image.shape), factors


def _skin(rng: Rng, patient: Factors, size: int) -> tuple[Array, Array]:
    """Densities of melanin and of haemoglobin in the skin around the lesion."""
    mottle, lines = smooth_noise(rng, size, 0.3), smooth_noise(rng, size, 0.04)
    grain = 1 + 0.12 * mottle + 0.08 * lines
    melanin = np.clip(0.06 + patient["skin_melanin"] * grain, 0, None)
    flush = 1 + 0.25 * smooth_noise(rng, size, 0.2)
    return melanin, np.clip(patient["skin_redness"] * flush, 0, None)


def _lesion(x: Array, y: Array, patient: Factors, factors: Factors) -> _Lesion:
    """The patient's lesion where this picture shows it."""
    x = (x - factors["shift_x"]) / factors["zoom"]
    y = (y - factors["shift_y"]) / factors["zoom"]
    u, v = (part.astype(np.float32) for part in turned(x, y, factors["turn"]))
    rng = np.random.default_rng(patient["lesion_seed"])
    return PAINTERS[patient["finding"]](rng, patient, u, v)


def _field(rng: Rng, u: Array, v: Array, scale: float) -> Array:
    """Random waves of a length near `scale`, about unit variance: a texture that moves with the lesion."""
    number = 6
    # Spread over all directions: no stripes.
    direction = (np.arange(number) + rng.uniform(0, 0.8, number)) * np.pi / number
    phase = rng.uniform(0, 2 * np.pi, number)
    frequency = 2 * np.pi / (scale * rng.uniform(0.7, 1.5, number))
    waves = np.stack([frequency * np.cos(direction), frequency * np.sin(direction), phase])
    a, b, phase = waves.astype(np.float32)[:, :, None, None]
    return np.cos(u * a + v * b + phase).sum(0) / np.float32(np.sqrt(number / 2))


def _depth(rng: Rng, patient: Factors, u: Array, v: Array, orders: tuple[int, ...]) -> Array:
    """Signed depth inside the lesion's outline (positive inside), in half images."""
    a, b = turned(u, v, patient["axis"])
    stretch = np.sqrt(patient["elongation"])
    a, b = a / stretch, b * stretch
    theta = np.arctan2(b, a)
    wave = sum(
        rng.uniform(0.5, 1.2) * np.cos(k * theta + rng.uniform(0, 2 * np.pi)) / k**0.35
        for k in orders
    )
    return patient["radius"] * (1 + patient["roughness"] * wave) - np.hypot(a, b)


def _naevus(rng: Rng, patient: Factors, u: Array, v: Array) -> _Lesion:
    """A symmetric, even, smooth-bordered lesion with a fine network."""
    depth = _depth(rng, patient, u, v, (2, 3))
    mask = np.clip(0.5 + depth / rng.uniform(0.10, 0.2), 0, 1)
    core = rng.uniform(-0.15, 0.45) * np.clip(depth / patient["radius"], 0, 1)
    network = 0.10 * _field(rng, u, v, 0.11) + 0.07 * _field(rng, u, v, 0.3)
    brown = mask * patient["pigment"] * (0.72 + core + network)
    yellow = mask * (0.15 + patient["warmth"] / 2)
    return _Lesion(brown, deep=0 * mask, yellow=yellow, red=mask * 0.25, pale=0 * mask)


def _melanoma(rng: Rng, patient: Factors, u: Array, v: Array) -> _Lesion:
    """An asymmetric, ragged lesion of several colours."""
    radius, pigment = patient["radius"], patient["pigment"]
    ragged = 0.20 * radius * _field(rng, u, v, 0.45 * radius + 0.1)
    depth = _depth(rng, patient, u, v, (1, 2, 3, 5)) + ragged * 0.55
    mask = np.clip(0.5 + depth / 0.06, 0, 1)
    direction = rng.uniform(0, 2 * np.pi)

    def patch(angle: float, reach: float, width: float) -> Array:
        a, b = u - reach * radius * np.cos(angle), v - reach * radius * np.sin(angle)
        return mask * np.exp(-(((a**2 + b**2) / (width * radius) ** 2) ** 1.5))

    black = patch(direction, rng.uniform(0.35, 0.6), rng.uniform(0.45, 0.65))
    veil = patch(direction + rng.uniform(1.6, 2.6), rng.uniform(0.2, 0.5), rng.uniform(0.4, 0.6))
    regression = patch(
        direction + rng.uniform(3.4, 4.6), rng.uniform(0.5, 0.7), rng.uniform(0.3, 0.5)
    )
    mottle = np.clip(1.0 + 0.35 * _field(rng, u, v, 0.2), 0.3, 2)
    brown = mask * pigment * mottle * (1 - 0.75 * veil) * (1 - 0.85 * regression)
    return _Lesion(
        brown=brown + 1.2 * black * pigment,
        deep=1.1 * veil + 0.8 * black,
        yellow=0 * mask,
        red=0.35 * mask + 0.7 * regression,
        pale=0.6 * regression,
    )


def _keratosis(rng: Rng, patient: Factors, u: Array, v: Array) -> _Lesion:
    """A waxy, sharply bordered lesion with pale and dark dots."""
    depth = _depth(rng, patient, u, v, (2, 3, 4, 7))
    mask = np.clip(0.5 + depth / 0.035, 0, 1)
    ridges = np.abs(_field(rng, u, v, 0.16))
    rim = np.exp(-((depth / 0.06) ** 2)) * mask
    wax = mask * (0.75 + 0.22 * ridges + 0.3 * rim)
    milia, comedo = (dots * mask for dots in _dots(rng, patient["radius"], u, v))
    brown = (0.42 * wax * patient["pigment"] + 1.3 * comedo) * (1 - 0.75 * milia)
    return _Lesion(
        brown=brown,
        deep=0 * mask,
        yellow=(1.0 + patient["warmth"]) * wax * (1 - 0.6 * milia),
        red=0.12 * mask * (1 - milia),
        pale=0.5 * milia,
    )


def _dots(rng: Rng, radius: float, u: Array, v: Array) -> tuple[Array, Array]:
    """Masks of pale milia and of as many dark comedo-like openings over a lesion."""
    number = 8 + int(40 * radius**2)  # of each kind
    reach = 0.85 * radius * np.sqrt(rng.uniform(0, 1, 2 * number))
    angle = rng.uniform(0, 2 * np.pi, 2 * number)
    spread = 0.042 * rng.uniform(0.8, 1.25, 2 * number)
    centres = np.stack([reach * np.cos(angle), reach * np.sin(angle), 1 / spread**2])
    a, b, weight = centres.astype(np.float32)[:, :, None, None]
    dots = np.exp(-((u - a) ** 2 + (v - b) ** 2) * weight)
    return dots[:number].max(0), dots[number:].max(0)


def _hairs(rng: Rng, number: int, size: int) -> Array:
    """Mask in [0, 1] of curved dark hairs that lie in roughly one direction."""
    s = np.linspace(-1, 1, size + 16)
    lean = rng.uniform(0, np.pi) + rng.normal(0, 0.45, (number, 1))
    bend = rng.normal(0, 0.18, (number, 1))
    along = s * rng.uniform(0.5, 1.4, (number, 1))
    offset = rng.uniform(-1, 1, (2, number, 1))
    across = bend * s**2
    x = offset[0] + along * np.cos(lean) - across * np.sin(lean)
    y = offset[1] + along * np.sin(lean) + across * np.cos(lean)
    return stamp(size, x.ravel(), y.ravel(), 0.011, 0.011)


PAINTERS: dict[str, Callable[[Rng, Factors, Array, Array], _Lesion]] = {
    "naevus": _naevus,
    "melanoma": _melanoma,
    "seborrhoeic_keratosis": _keratosis,
}
