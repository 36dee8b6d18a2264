"""Blood smear phantom: Giemsa-stained red cells around one white cell, drawn by optical density.

White cells fill more of the picture than in a usual field, so that the nucleus is readable at 64 px.
"""

import numpy as np

from medisyn_lib.phantoms.drawing import (
    RANGES,
    Array,
    Factors,
    Rng,
    absorb,
    blur,
    grid,
    smooth_noise,
    stamp,
    uniform,
)

DYES = RANGES["blood_smear"]["dyes"]
CELL_RADIUS = {"neutrophil": 0.40, "lymphocyte": 0.33, "eosinophil": 0.42, "monocyte": 0.50}


def draw_image(rng: Rng, patient: Factors, size: int) -> tuple[Array, Factors]:
    """One white cell of the patient among its red cells, (size, size, 3) in [0, 1], and the factors of this field."""
    factors = uniform(rng, "blood_smear", "cell")
    factors["lobes"] = int(rng.integers(3, 6)) if patient["finding"] == "neutrophil" else 0
    factors |= uniform(rng, "blood_smear", "field")
    detail = np.random.default_rng(factors["layout_seed"])
    radius = CELL_RADIUS[patient["finding"]] * patient["white_scale"] * factors["cell_scale"]
    strength, azure, warmth = (
        patient["stain_strength"],
        patient["azure_to_eosin"],
        patient["ground_warmth"],
    )
    body, nucleus, granules = _white_cell(detail, patient["finding"], factors, radius, size)
    red = _red_cells(detail, patient, factors, radius, size) * (1 - body)
    blue = {"neutrophil": 0.25, "lymphocyte": 1.15, "eosinophil": 0.15, "monocyte": 0.6}[
        patient["finding"]
    ]
    chromatin = 1 + 0.16 * smooth_noise(detail, size, 0.05)
    cytoplasm = (
        body * (1 - 0.8 * nucleus) * strength * (1 + 0.12 * smooth_noise(detail, size, 0.04))
    )
    ground = np.array([0.93 + 0.02 * warmth, 0.915, 0.90 - 0.04 * warmth]) * factors["exposure"]
    light = ground * (1 + 0.02 * smooth_noise(detail, size, 0.5))[:, :, None]
    image = absorb(
        light,
        (red * patient["red_density"] * strength, DYES["haemoglobin"]),
        (cytoplasm * blue * azure, DYES["blue_cytoplasm"]),
        (cytoplasm * (1.2 - blue), DYES["pink_cytoplasm"]),
        (granules * strength, DYES["granules"]),
        (nucleus * chromatin * strength * azure, DYES["nucleus"]),
    )
    return blur(image, factors["defocus"]) + rng.normal(0, 0.008, image.shape), factors


def _red_cells(
    rng: Rng, patient: Factors, factors: Factors, white_radius: float, size: int
) -> Array:
    """Density of biconcave red cells thrown like darts: they may touch and overlap a little."""
    radius, placed = patient["red_radius"], [(factors["cell_x"], factors["cell_y"], white_radius)]
    for a, b, scale in rng.uniform((-1.2, -1.2, 0.85), (1.2, 1.2, 1.15), (80, 3)).tolist():
        c = radius * scale
        if all(
            (a - x) ** 2 + (b - y) ** 2 > (0.5 * patient["red_spacing"] * (c + r)) ** 2
            for x, y, r in placed
        ):
            placed.append((a, b, c))
    x, y, r = np.array(placed[1:]).reshape(-1, 3).T
    squash = rng.uniform(0.82, 1.0, len(r))

    def biconcave(rho: Array) -> Array:
        return (0.8 + 0.35 * rho**2) * (1 - patient["pallor"] * np.exp(-((rho / 0.45) ** 2)))

    return stamp(
        size, x, y, r, r * squash, rng.uniform(0, np.pi, len(r)), profile=biconcave, join=np.add
    )


def _white_cell(
    rng: Rng, finding: str, factors: Factors, radius: float, size: int
) -> tuple[Array, Array, Array]:
    """Masks in [0, 1] of the cell body, its nucleus and its orange granules."""
    x, y = grid(size)
    cx, cy, turn = factors["cell_x"], factors["cell_y"], factors["cell_angle"]
    theta, distance = np.arctan2(y - cy, x - cx), np.hypot(x - cx, y - cy)
    ruffle = sum(
        rng.uniform(0, 0.035) * np.cos(k * theta + rng.uniform(0, 2 * np.pi)) for k in (2, 3, 4, 5)
    )
    body = np.clip(0.5 + (radius * (1 + ruffle) - distance) * size / 3, 0, 1)
    bridge = np.zeros(0)  # angles of the strand between lobes
    if finding == "neutrophil":
        angles = (
            turn
            + np.linspace(0, 1.25 * np.pi, factors["lobes"])
            + rng.uniform(-0.12, 0.12, factors["lobes"])
        )
        orbit, lobe, squash = (
            rng.uniform(0.46, 0.56, len(angles)),
            rng.uniform(0.29, 0.36, len(angles)),
            0.85,
        )
        bridge = np.linspace(angles[0], angles[-1], 40)
    elif finding == "lymphocyte":
        angles, orbit, lobe, squash = (
            np.array([turn]),
            np.array([0.08]),
            np.array([0.85]),
            rng.uniform(0.9, 1.0),
        )
    elif finding == "eosinophil":
        angles = turn + np.array([0.0, rng.uniform(2.2, 3.0)])
        orbit, lobe, squash = np.full(2, 0.5), rng.uniform(0.36, 0.42, 2), 0.8
    else:
        angles = turn + np.linspace(0, rng.uniform(1.1, 1.5) * np.pi, 24)
        orbit, lobe, squash = np.full(24, 0.42), np.linspace(0.40, 0.34, 24), 1.0
    lx, ly = cx + radius * orbit * np.cos(angles), cy + radius * orbit * np.sin(angles)
    nucleus = stamp(size, lx, ly, radius * lobe * squash, radius * lobe, angles)
    bx, by = cx + 0.5 * radius * np.cos(bridge), cy + 0.5 * radius * np.sin(bridge)
    nucleus = np.maximum(nucleus, stamp(size, bx, by, 0.07 * radius, 0.07 * radius))
    number = 110 if finding == "eosinophil" else 0
    spread, way = (
        radius * 0.93 * np.sqrt(rng.uniform(0, 1, number)),
        rng.uniform(0, 2 * np.pi, number),
    )
    grain = rng.uniform(0.05, 0.085, number) * radius
    granules = (
        stamp(size, cx + spread * np.cos(way), cy + spread * np.sin(way), grain, grain) * body
    )
    return body, nucleus, granules * (1 - 0.85 * nucleus)
