"""Mammography phantom: a compressed breast against the edge of the detector.

The detector sees what fat, gland and calcium leave of the beam (Beer-Lambert law), on a logarithmic scale.
"""

import numpy as np

from medisyn_lib.phantoms.drawing import (
    Array,
    Factors,
    Rng,
    blur,
    ellipse,
    grid,
    smooth_noise,
    stamp,
)
from medisyn_lib.phantoms.factors import (
    LESION_SIZE,
    SEED,
    SIDE,
    Integers,
    Range,
    Uniform,
    draw_factors,
)

# In each table the order of the lines fixes the random stream.
PATIENT: dict[str, Range] = {
    "reach": Uniform(1.0, 1.5),
    "density": Uniform(0.25, 0.6),
    "side": SIDE,
    "texture_seed": SEED,
}
LESION: dict[str, Range] = {  # drawn whatever the finding, so that it does not change the anatomy
    "lesion_x": Uniform(0.3, 0.6),  # of the breast's reach, from the chest wall
    "lesion_y": Uniform(-0.35, 0.35),
    "lesion_size": LESION_SIZE,
    "count": Integers(4, 9),
}
IMAGE: dict[str, Range] = {
    "shift_y": Uniform(-0.06, 0.06),
    "photons": Uniform(300.0, 900.0),
}

MASS_RADIUS = {"small": 0.13, "large": 0.24}
MASS, CALCIUM = 0.9, 1.6  # attenuation that each adds to the breast's
GRAIN = 0.035  # radius of a calcification
GOLDEN_ANGLE = 2.4  # between calcifications in turn: no two come to lie on one spot
FILM = 0.62  # signal per attenuation
NOISE = 0.25


def draw_patient(rng: Rng, finding: str) -> Factors:
    """Draw the breast of one patient, and what the finding adds to it."""
    anatomy = draw_factors(rng, PATIENT)
    lesion = draw_factors(rng, LESION)
    if finding != "mass":
        lesion["lesion_size"] = ""
    if finding != "calcifications":
        lesion["count"] = 0
    return anatomy | lesion


def draw_image(rng: Rng, patient: Factors, size: int) -> tuple[Array, Factors]:
    """Draw one exposure: position and dose vary.

    Returns
    -------
    image : Array
        (size, size) in [0, 1].
    factors : Factors
        The factors of this exposure.
    """
    factors = draw_factors(rng, IMAGE)
    x, y = grid(size)
    depth, y = _from_chest_wall(x, patient["side"]), y - factors["shift_y"]
    breast = ellipse(depth, y, 0.0, 0.0, patient["reach"], 0.85, soft=0.15)
    path = breast * (0.5 + _gland(depth, y, patient))
    if patient["finding"] == "mass":
        path = path + MASS * _mass(depth, y, patient)
    if patient["finding"] == "calcifications":
        path = path + CALCIUM * _calcifications(size, patient, factors["shift_y"])
    photons = factors["photons"] * np.exp(-path)
    noise = rng.normal(0, 1, path.shape) / np.sqrt(photons)
    film = FILM * path + NOISE * noise * (breast > 0.5)
    return blur(np.clip(film, 0, 1), 0.004), factors


def _from_chest_wall(x: Array, side: str) -> Array:
    """Distance of pixels from the edge at which the breast lies."""
    return x + 1 if side == "left" else 1 - x


def _gland(depth: Array, y: Array, patient: Factors) -> Array:
    """Attenuation of the streaky glandular tissue in the middle of the breast."""
    rng = np.random.default_rng(patient["texture_seed"])
    streaks = np.clip(smooth_noise(rng, len(y), 0.09) + 0.4, 0, 2)
    return patient["density"] * streaks * ellipse(depth, y, 0.35, 0.0, 0.6, 0.55, soft=0.3)


def _mass(depth: Array, y: Array, patient: Factors) -> Array:
    """Mask of the mass."""
    radius = MASS_RADIUS[patient["lesion_size"]]
    cx, cy = patient["lesion_x"] * patient["reach"], patient["lesion_y"]
    return ellipse(depth, y, cx, cy, radius, 0.85 * radius, soft=0.06)


def _calcifications(size: int, patient: Factors, shift_y: float) -> Array:
    """Mask of a cluster of grains, which wind outwards from its middle."""
    number = np.arange(patient["count"])
    turn = number * GOLDEN_ANGLE
    distance = 0.09 * np.sqrt(turn)
    depth = patient["lesion_x"] * patient["reach"] + distance * np.cos(turn)
    x = depth - 1 if patient["side"] == "left" else 1 - depth
    y = patient["lesion_y"] + distance * np.sin(turn) + shift_y
    return stamp(size, x, y, GRAIN, GRAIN)
