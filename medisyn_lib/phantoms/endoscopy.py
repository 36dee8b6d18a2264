"""Colonoscopy phantom: a look down a bent tube of wet mucosa, lit from the camera by inverse-square light.

Distance down the tube grows towards an off-centre, dark lumen. Left and right are those of the picture.
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
    turned,
)
from medisyn_lib.phantoms.factors import (
    ANGLE,
    LESION_SIZE,
    SEED,
    SIDE,
    Integers,
    Range,
    Uniform,
    draw_factors,
)

# In each table the order of the lines fixes the random stream.
POLYP_RADIUS = {"small": Uniform(0.20, 0.27), "large": Uniform(0.40, 0.54)}
POLYP: dict[str, Range] = {  # after its radius
    "polyp_x": Uniform(0.38, 0.56),  # negative on the left
    "polyp_y": Uniform(-0.35, 0.35),
    "polyp_redness": Uniform(-0.25, 0.35),
}
CALM: dict[str, Range] = {  # mucosa without colitis
    "redness": Uniform(0.35, 0.8),
    "yellowness": Uniform(0.0, 0.35),
    "fold_height": Uniform(0.45, 0.85),
    "fold_lobes": Integers(2, 4),
    "vessels": Uniform(0.15, 0.5),
    "wall_seed": SEED,
}
INFLAMED: dict[str, Range] = {
    "redness": Uniform(1.0, 1.35),
    "yellowness": Uniform(0.0, 0.35),
    "fold_height": Uniform(0.45, 0.85),  # flattened afterwards
    "fold_lobes": Integers(2, 4),
    "ulcers": Integers(6, 13),
    "wall_seed": SEED,
}
VIEW: dict[str, Range] = {
    "lumen_y": Uniform(-0.65, 0.65),
    "lumen_radius": Uniform(0.16, 0.36),
    "lumen_squash": Uniform(0.6, 1.0),
    "roll": ANGLE,
    "folds": Integers(3, 6),
    "exposure": Uniform(0.75, 1.15),
    "cut_corner": Uniform(1.42, 1.85),
    "frame_width": Uniform(0.88, 1.0),
}
FRAME: dict[str, Range] = {
    "highlights": Integers(8, 26),
    "defocus": Uniform(0.003, 0.008),
    "frame_seed": SEED,
}
NOTHING: Factors = {  # what stands for a polyp, vessels and ulcers that are not there
    "side": "",
    "lesion_size": "",
    "polyp_x": 0.0,
    "polyp_y": 0.0,
    "polyp_radius": 0.0,
    "polyp_redness": 0.0,
    "vessels": 0.0,
    "ulcers": 0,
}
INSET_FRACTION = 0.2  # of the frames

HAEMOGLOBIN = (0.20, 1.00, 1.05)  # absorbances (red, green, blue)
BILE = (0.05, 0.15, 0.9)
LAMP = (1.0, 0.86, 0.74)
ULCER_COLOUR = (0.98, 0.90, 0.62)
GLOSS_COLOUR = (1.0, 0.98, 0.95)
DISTANCE_TINT = (0.85, 1.15, 1.25)  # powers of the light: far light has crossed more mucosa


class _Tube(NamedTuple):
    """Polar coordinates about the lumen, each (size, size)."""

    radius: Array  # in radii of the lumen
    angle: Array
    warp: Array  # log of how much the wall bulges


class _Polyp(NamedTuple):
    """A dome on the wall, each (size, size)."""

    dome: Array  # mask
    shaded: Array  # brightness
    tone: Array  # density of blood
    shadow: Array  # how much light is left on the wall around


def draw_patient(rng: Rng, finding: str) -> Factors:
    """Draw the colon of one patient, and the polyp where there is one."""
    lesion_size, side = LESION_SIZE.draw(rng), SIDE.draw(rng)
    patient = dict(NOTHING)
    if finding == "polyp":
        patient |= {"side": side, "lesion_size": lesion_size}
        patient["polyp_radius"] = POLYP_RADIUS[lesion_size].draw(rng)
        patient |= draw_factors(rng, POLYP)
        patient["polyp_x"] *= 1 if side == "right" else -1
    patient |= draw_factors(rng, INFLAMED if finding == "colitis" else CALM)
    patient["fold_height"] *= 0.6 if finding == "colitis" else 1
    return patient


def draw_image(rng: Rng, patient: Factors, size: int) -> tuple[Array, Factors]:
    """Draw one frame of the patient's colon.

    Returns
    -------
    image : Array
        (size, size, 3) in about [0, 1].
    factors : Factors
        The factors of this frame.
    """
    factors = _draw_view(rng, patient)
    wall = np.random.default_rng([patient["wall_seed"], factors["frame_seed"]])
    x, y = grid(size)
    light, crest = _folds(wall, x, y, patient, factors)
    blood, ulcer = _mucosa(wall, patient, size)
    blood = np.clip(blood + 0.15 * crest, 0.05, None)
    if patient["polyp_radius"]:
        polyp = _polyp(x, y, patient)
        light = light * polyp.shadow
        light = light + polyp.dome * (polyp.shaded - light)
        blood = blood + polyp.dome * (polyp.tone - blood)
        ulcer = ulcer * (1 - polyp.dome)
    gloss = _highlights(wall, light, patient, factors)
    image = _lit(light, blood, ulcer, patient["yellowness"]) * factors["exposure"]
    image = image + gloss[:, :, None] * (np.array(GLOSS_COLOUR) - image)
    image = blur(image, factors["defocus"]) + rng.normal(0, 0.01, image.shape)
    return image * _video_window(x, y, factors)[:, :, None] + 0.01, factors


def _draw_view(rng: Rng, patient: Factors) -> Factors:
    """The factors of one frame. A polyp hides less of the lumen when seen from the other side."""
    away = -np.sign(patient["polyp_x"]) * 0.25
    factors: Factors = {"lumen_x": float(np.clip(rng.normal(away, 0.4), -0.95, 0.95))}
    factors |= draw_factors(rng, VIEW)
    factors["inset_box"] = bool(rng.random() < INSET_FRACTION)
    return factors | draw_factors(rng, FRAME)


def _lit(light: Array, blood: Array, ulcer: Array, yellowness: float) -> Array:
    """Colour (size, size, 3) of the wall under the lamp."""
    bile = np.full_like(blood, yellowness)
    image = absorb(LAMP, (blood, HAEMOGLOBIN), (bile, BILE))
    image = image + ulcer[:, :, None] * (np.array(ULCER_COLOUR) - image)
    return image * np.clip(light, 0, 1.25)[:, :, None] ** np.array(DISTANCE_TINT)


def _video_window(x: Array, y: Array, factors: Factors) -> Array:
    """Mask of the video frame: a rectangle with cut corners, sometimes with a black inset box."""
    a, b = np.abs(x) / factors["frame_width"], np.abs(y)
    edge = np.minimum(1 - a, (factors["cut_corner"] - a - b) * 0.7)
    window = np.clip(edge * len(x) / 2, 0, 1)
    return window * (1 - factors["inset_box"] * ((x < -0.35) & (y > 0.4)))


def _folds(rng: Rng, x: Array, y: Array, patient: Factors, factors: Factors) -> tuple[Array, Array]:
    """Brightness of the wall and its fold crests, each (size, size)."""
    size, number = len(x), factors["folds"]
    tube = _tube(rng, x, y, factors)
    # Distance down the tube, in tube radii times the focal length.
    depth = 1 / np.maximum(tube.radius * np.exp(tube.warp), 0.05)
    # Inverse square, and none from the lumen.
    light = (1.1 + 0.16 * smooth_noise(rng, size, 0.45)) / (1 + (2.1 * depth) ** 2)
    crest = np.zeros_like(light)
    span = 0.95 / (1.15 * factors["lumen_radius"])
    places = (np.arange(number) + rng.uniform(-0.25, 0.25, number)) / (number - 1)
    for ring in 1.15 * span**places:
        behind, extent = _fold(rng, tube, ring, patient["fold_lobes"])
        soft = 2.5 / (size * factors["lumen_radius"] * ring)
        shadow = np.clip(0.5 + behind / soft, 0, 1) * np.exp(-np.maximum(behind, 0) / 0.22)
        light = light * (1 - patient["fold_height"] * extent * shadow)
        ridge = extent * np.exp(-(((behind + 0.06) / 0.09) ** 2)) * (behind < 0.02)
        crest = np.maximum(crest, ridge)
    return light * (1 + 0.25 * patient["fold_height"] * crest), crest


def _tube(rng: Rng, x: Array, y: Array, factors: Factors) -> _Tube:
    """Where the wall's points lie about the lumen."""
    u, v = turned(x - factors["lumen_x"], y - factors["lumen_y"], factors["roll"])
    v = v / factors["lumen_squash"]
    radius = (np.hypot(u, v) / factors["lumen_radius"]).astype(np.float32)
    angle = np.arctan2(v, u).astype(np.float32)
    return _Tube(radius, angle, 0.10 * smooth_noise(rng, len(x), 0.3))


def _fold(rng: Rng, tube: _Tube, ring: float, lobes: int) -> tuple[Array, Array]:
    """How far points lie behind a fold's edge, and how high the fold stands there, each (size, size)."""
    phase = rng.uniform(0, 2 * np.pi)
    wave = rng.uniform(0.08, 0.2) * np.cos(lobes * tube.angle + phase)
    edge = ring * (1 + wave + 0.7 * tube.warp)
    extent = np.clip(0.55 + 0.75 * np.cos(tube.angle - rng.uniform(0, 2 * np.pi)), 0, 1)
    return (edge - tube.radius) / ring, extent


def _mucosa(rng: Rng, patient: Factors, size: int) -> tuple[Array, Array]:
    """Density of blood in the mucosa, and the mask of ulcers, each (size, size)."""
    blood = patient["redness"] * (1 + 0.14 * smooth_noise(rng, size, 0.3))
    if patient["ulcers"]:
        coarse = 0.20 * smooth_noise(rng, size, 0.05)
        blood = blood * (1 + coarse + 0.12 * smooth_noise(rng, size, 0.1))
        return blood, _ulcers(rng, patient["ulcers"], size)
    for scale, strength in ((0.22, 0.7), (0.1, 0.5)):
        vessels = np.exp(-((smooth_noise(rng, size, scale) / 0.14) ** 2))
        blood = blood + patient["vessels"] * strength * vessels
    return blood, np.zeros((size, size), np.float32)


def _ulcers(rng: Rng, number: int, size: int) -> Array:
    """Mask of ragged ulcers."""
    low, high = (-0.9, -0.9, 0.09, 0.45, 0), (0.9, 0.9, 0.2, 0.9, np.pi)
    x, y, rx, squash, turn = rng.uniform(low, high, (number, 5)).T

    def crater(radius: Array) -> Array:
        return 1.15 - radius

    spots = stamp(size, x, y, rx * 1.3, rx * squash * 1.3, turn, profile=crater)
    ragged = spots + 0.22 * smooth_noise(rng, size, 0.08)
    return 0.85 * np.clip((ragged - 0.42) * 4, 0, 1)


def _polyp(x: Array, y: Array, patient: Factors) -> _Polyp:
    """The patient's polyp; its shape is the same in every frame."""
    rng = np.random.default_rng(patient["wall_seed"])
    cx, cy, radius = patient["polyp_x"], patient["polyp_y"], patient["polyp_radius"]
    u, v = (x - cx) / radius, (y - cy) / (radius * rng.uniform(0.8, 1.05))
    angle, rho = np.arctan2(v, u), np.hypot(u, v)
    bumps = sum(
        rng.uniform(0.01, 0.06) * np.cos(k * angle + rng.uniform(0, 2 * np.pi)) for k in (2, 3, 5)
    )
    rho = rho * (1 + bumps)
    dome = np.clip(0.5 + (1 - rho) * radius * len(x) / 3, 0, 1)
    height = np.sqrt(np.clip(1 - rho**2, 0, 1))
    waves = rng.uniform((-9, -9, 0), (9, 9, 6), (5, 3))
    lobule = sum(np.cos(a * u + b * v + phase) for a, b, phase in waves)
    facing = (-cx * u - cy * v) * 0.30  # the lamp sits at the camera, in the middle of the frame
    shaded = 0.42 + 0.55 * height + facing + 0.03 * lobule * height
    shadow = 1 - 0.5 * np.exp(-((np.maximum(rho - 1, 0) / 0.2) ** 2)) * (1 - dome)
    tone = 0.55 + patient["polyp_redness"] + 0.05 * lobule
    return _Polyp(dome, np.clip(shaded, 0.1, 1.1), tone, shadow)


def _highlights(rng: Rng, light: Array, patient: Factors, factors: Factors) -> Array:
    """Mask of wet specular highlights: small, elongated, in clusters where the wall is near and bright."""
    size, number = len(light), factors["highlights"]
    clusters = rng.uniform(-0.85, 0.85, (4, 2))
    centre = clusters[rng.integers(0, 4, number)] + rng.normal(0, 0.14, (number, 2))
    rx, ry = rng.uniform(0.018, 0.055, number), rng.uniform(0.011, 0.022, number)
    dx, dy = centre[:, 0] - factors["lumen_x"], centre[:, 1] - factors["lumen_y"]
    turn = np.arctan2(dy, dx) + np.pi / 2
    gloss = stamp(size, centre[:, 0], centre[:, 1], rx, ry, turn + rng.normal(0, 0.4, number))
    gloss = gloss * np.clip(2.2 * light - 0.7, 0, 1)
    radius = patient["polyp_radius"]
    if radius:
        x = 0.85 * patient["polyp_x"] + rng.normal(0, 0.2 * radius, 3)
        y = 0.85 * patient["polyp_y"] + rng.normal(0, 0.2 * radius, 3)
        turn = rng.uniform(0, np.pi, 3)
        gloss = np.maximum(gloss, stamp(size, x, y, 0.16 * radius, 0.09 * radius, turn))
    return 0.95 * gloss
