"""Blood smear phantom: Giemsa-stained red cells around one white cell, drawn by optical density.

White cells fill more of the picture than in a usual field, so that the nucleus is readable at 64 px.
The dyes' densities mix by the Beer-Lambert law over a lit ground.
"""

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
)
from medisyn_lib.phantoms.factors import ANGLE, SEED, Range, Uniform, draw_factors

# In each table the order of the lines fixes the random stream.
PATIENT: dict[str, Range] = {
    "stain_strength": Uniform(0.75, 1.25),
    "azure_to_eosin": Uniform(0.8, 1.2),
    "ground_warmth": Uniform(-1.0, 1.0),
    "red_radius": Uniform(0.23, 0.31),
    "red_density": Uniform(0.55, 1.1),
    "pallor": Uniform(0.35, 0.85),
    "red_spacing": Uniform(1.35, 2.1),
    "white_scale": Uniform(0.9, 1.12),
}
CELL: dict[str, Range] = {
    "cell_x": Uniform(-0.25, 0.25),
    "cell_y": Uniform(-0.25, 0.25),
    "cell_angle": ANGLE,
    "cell_scale": Uniform(0.93, 1.07),
}
FIELD: dict[str, Range] = {
    "exposure": Uniform(0.92, 1.02),
    "defocus": Uniform(0.004, 0.011),
    "layout_seed": SEED,
}

# Absorbances (red, green, blue) of the dyes as bound in each part of the cells.
NUCLEUS = (0.85, 1.55, 0.36)
BLUE_CYTOPLASM = (0.55, 0.36, 0.10)
PINK_CYTOPLASM = (0.16, 0.34, 0.14)
GRANULES = (0.10, 0.85, 0.95)
HAEMOGLOBIN = (0.20, 0.48, 0.44)

CELL_RADIUS = {"neutrophil": 0.40, "lymphocyte": 0.33, "eosinophil": 0.42, "monocyte": 0.50}
BLUENESS = {"neutrophil": 0.25, "lymphocyte": 1.15, "eosinophil": 0.15, "monocyte": 0.6}
RED_CELL_TRIES = 80
EOSINOPHIL_GRANULES = 110


class _WhiteCell(NamedTuple):
    """Masks (size, size) in [0, 1] of a white cell's parts."""

    body: Array
    nucleus: Array
    granules: Array


class _Lobes(NamedTuple):
    """The soft ellipses that make a nucleus; lengths are fractions of the cell's radius."""

    angles: Array  # where the lobes lie, seen from the cell's centre
    orbit: Array  # how far from it
    radius: Array
    squash: float  # radial over tangential radius
    bridge: Array  # angles of the strand between lobes


def draw_patient(rng: Rng, finding: str) -> Factors:
    """Draw the stain and the red cells of one patient; no finding changes them."""
    return draw_factors(rng, PATIENT)


def draw_image(rng: Rng, patient: Factors, size: int) -> tuple[Array, Factors]:
    """Draw one white cell of the patient among its red cells.

    Returns
    -------
    image : Array
        (size, size, 3) in about [0, 1].
    factors : Factors
        The factors of this field.
    """
    factors = draw_factors(rng, CELL)
    factors["lobes"] = int(rng.integers(3, 6)) if patient["finding"] == "neutrophil" else 0
    factors |= draw_factors(rng, FIELD)
    detail = np.random.default_rng(factors["layout_seed"])
    radius = CELL_RADIUS[patient["finding"]] * patient["white_scale"] * factors["cell_scale"]
    white = _white_cell(detail, patient["finding"], factors, radius, size)
    red = _red_cells(detail, patient, factors, radius, size) * (1 - white.body)
    image = _stained(detail, patient, factors, white, red)
    return blur(image, factors["defocus"]) + rng.normal(0, 0.008, image.shape), factors


def _stained(rng: Rng, patient: Factors, factors: Factors, white: _WhiteCell, red: Array) -> Array:
    """The light (size, size, 3) that passes the stained cells; `red` is the density of red cells."""
    size = len(red)
    strength, azure = patient["stain_strength"], patient["azure_to_eosin"]
    blueness, warmth = BLUENESS[patient["finding"]], patient["ground_warmth"]
    chromatin = 1 + 0.16 * smooth_noise(rng, size, 0.05)
    mottle = 1 + 0.12 * smooth_noise(rng, size, 0.04)
    cytoplasm = white.body * (1 - 0.8 * white.nucleus) * strength * mottle
    ground = np.array([0.93 + 0.02 * warmth, 0.915, 0.90 - 0.04 * warmth]) * factors["exposure"]
    light = ground * (1 + 0.02 * smooth_noise(rng, size, 0.5))[:, :, None]
    return absorb(
        light,
        (red * patient["red_density"] * strength, HAEMOGLOBIN),
        (cytoplasm * blueness * azure, BLUE_CYTOPLASM),
        (cytoplasm * (1.2 - blueness), PINK_CYTOPLASM),
        (white.granules * strength, GRANULES),
        (white.nucleus * chromatin * strength * azure, NUCLEUS),
    )


def _red_cells(
    rng: Rng, patient: Factors, factors: Factors, white_radius: float, size: int
) -> Array:
    """Density of biconcave red cells thrown like darts: they may touch and overlap a little."""
    placed = [(factors["cell_x"], factors["cell_y"], white_radius)]
    darts = rng.uniform((-1.2, -1.2, 0.85), (1.2, 1.2, 1.15), (RED_CELL_TRIES, 3)).tolist()
    for x, y, scale in darts:
        radius = patient["red_radius"] * scale
        if _is_clear(x, y, radius, placed, patient["red_spacing"]):
            placed.append((x, y, radius))
    xs, ys, radii = np.array(placed[1:]).reshape(-1, 3).T
    squash = rng.uniform(0.82, 1.0, len(radii))
    turn = rng.uniform(0, np.pi, len(radii))

    def biconcave(rho: Array) -> Array:
        return (0.8 + 0.35 * rho**2) * (1 - patient["pallor"] * np.exp(-((rho / 0.45) ** 2)))

    return stamp(size, xs, ys, radii, radii * squash, turn, profile=biconcave, join=np.add)


def _is_clear(
    x: float, y: float, radius: float, placed: list[tuple[float, float, float]], spacing: float
) -> bool:
    """Whether a cell keeps `spacing` (1: half overlapping, 2: touching) to all that are placed."""
    return all(
        (x - px) ** 2 + (y - py) ** 2 > (0.5 * spacing * (radius + pr)) ** 2
        for px, py, pr in placed
    )


def _white_cell(rng: Rng, finding: str, factors: Factors, radius: float, size: int) -> _WhiteCell:
    """The cell in the middle, with what its kind is known by: nucleus and granules."""
    cx, cy = factors["cell_x"], factors["cell_y"]
    body = _body(rng, factors, radius, size)
    lobes = _lobes(rng, finding, factors)
    x = cx + radius * lobes.orbit * np.cos(lobes.angles)
    y = cy + radius * lobes.orbit * np.sin(lobes.angles)
    wide = radius * lobes.radius
    nucleus = stamp(size, x, y, wide * lobes.squash, wide, lobes.angles)
    bridge_x = cx + 0.5 * radius * np.cos(lobes.bridge)
    bridge_y = cy + 0.5 * radius * np.sin(lobes.bridge)
    bridge = stamp(size, bridge_x, bridge_y, 0.07 * radius, 0.07 * radius)
    nucleus = np.maximum(nucleus, bridge)
    number = EOSINOPHIL_GRANULES if finding == "eosinophil" else 0
    granules = _granules(rng, number, factors, radius, size) * body
    return _WhiteCell(body, nucleus, granules * (1 - 0.85 * nucleus))


def _body(rng: Rng, factors: Factors, radius: float, size: int) -> Array:
    """Mask of the cell within its ruffled border."""
    x, y = grid(size)
    theta = np.arctan2(y - factors["cell_y"], x - factors["cell_x"])
    distance = np.hypot(x - factors["cell_x"], y - factors["cell_y"])
    ruffle = sum(
        rng.uniform(0, 0.035) * np.cos(k * theta + rng.uniform(0, 2 * np.pi)) for k in (2, 3, 4, 5)
    )
    return np.clip(0.5 + (radius * (1 + ruffle) - distance) * size / 3, 0, 1)


def _lobes(rng: Rng, finding: str, factors: Factors) -> _Lobes:
    """The shape of the nucleus: segmented, round, in two lobes or like a kidney."""
    turn, no_bridge = factors["cell_angle"], np.zeros(0)
    if finding == "neutrophil":
        number: int = factors["lobes"]
        places = np.linspace(0, 1.25 * np.pi, number)
        angles = turn + places + rng.uniform(-0.12, 0.12, number)
        orbit = rng.uniform(0.46, 0.56, number)
        radius = rng.uniform(0.29, 0.36, number)
        return _Lobes(angles, orbit, radius, 0.85, np.linspace(angles[0], angles[-1], 40))
    if finding == "lymphocyte":
        squash = rng.uniform(0.9, 1.0)
        return _Lobes(np.array([turn]), np.array([0.08]), np.array([0.85]), squash, no_bridge)
    if finding == "eosinophil":
        angles = turn + np.array([0.0, rng.uniform(2.2, 3.0)])
        return _Lobes(angles, np.full(2, 0.5), rng.uniform(0.36, 0.42, 2), 0.8, no_bridge)
    angles = turn + np.linspace(0, rng.uniform(1.1, 1.5) * np.pi, 24)
    return _Lobes(angles, np.full(24, 0.42), np.linspace(0.40, 0.34, 24), 1.0, no_bridge)


def _granules(rng: Rng, number: int, factors: Factors, radius: float, size: int) -> Array:
    """Mask of granules strewn evenly over the cell."""
    distance = radius * 0.93 * np.sqrt(rng.uniform(0, 1, number))
    angle = rng.uniform(0, 2 * np.pi, number)
    grain = rng.uniform(0.05, 0.085, number) * radius
    x = factors["cell_x"] + distance * np.cos(angle)
    y = factors["cell_y"] + distance * np.sin(angle)
    return stamp(size, x, y, grain, grain)
