"""Breast ultrasound phantom: a B-mode sonogram.

Scatterers times echogenicity, blurred by the point-spread function; attenuation and its compensation;
log compression to the dynamic range.
"""

import numpy as np

from medisyn_lib.phantoms.drawing import Array, Factors, Rng, posed_grid, speckle, texture
from medisyn_lib.phantoms.factors import (
    LESION_SIZE,
    SEED,
    UNIT,
    Integers,
    Range,
    Uniform,
    draw_factors,
)

# In each table the order of the lines fixes the random stream.
PATIENT: dict[str, Range] = {
    "skin_depth": Uniform(0.06, 0.14),
    "fat_depth": Uniform(-0.8, -0.3),
    "gland_depth": Uniform(0.3, 0.75),
    "gland_echo": Uniform(-0.2, 0.5),
    "fat_echo": Uniform(-1.5, -0.8),
    "strand_contrast": Uniform(0.5, 1.1),
    "strand_slope": Uniform(-0.6, 0.6),
    "strand_scale": Uniform(3.5, 6.0),
    "undulation": Uniform(0.03, 0.1),
    "attenuation": Uniform(0.2, 0.9),
    "texture_seed": SEED,
}
LESION: dict[str, Range] = {  # drawn whatever the finding, so that it does not change the anatomy
    "lesion_size": LESION_SIZE,
    "lesion_seed": SEED,
    "spread": UNIT,
    "across": UNIT,
    "depth": UNIT,
    "trail": UNIT,
    "dark": UNIT,
}
IMAGE: dict[str, Range] = {
    "shift_x": Uniform(-0.18, 0.18),
    "shift_y": Uniform(-0.05, 0.05),
    "zoom": Uniform(0.9, 1.12),
    "gain": Uniform(-0.3, 0.35),
    "depth_compensation": Uniform(0.0, 0.5),
    "dynamic_range": Uniform(4.2, 5.4),
    "focus": Uniform(-0.4, 0.4),
    "looks": Integers(2, 4),
}

# A mass's border is a sum of waves around it: their numbers, and how rough each kind of mass is.
BORDER_WAVES = np.array([2, 3, 5, 8, 11])
BENIGN_ROUGHNESS = np.array([0.03, 0.02, 0, 0, 0])
MALIGNANT_ROUGHNESS = np.array([0.06, 0.1, 0.11, 0.1, 0.07])


def draw_patient(rng: Rng, finding: str) -> Factors:
    """Draw the breast of one patient, and the mass where there is one."""
    anatomy = draw_factors(rng, PATIENT)
    lesion = draw_factors(rng, LESION)
    nothing = {"side": "", "lesion_size": ""}
    return anatomy | nothing | ({} if finding == "normal" else _mass_factors(lesion))


def _mass_factors(lesion: Factors) -> Factors:
    """What a mass, benign or malignant, adds to the anatomy."""
    smallest, span = {"small": (0.19, 0.05), "large": (0.38, 0.1)}[lesion["lesion_size"]]
    return {
        "lesion_size": lesion["lesion_size"],
        "lesion_seed": lesion["lesion_seed"],
        "lesion_radius": smallest + span * lesion["spread"],
        "lesion_x": -0.35 + 0.7 * lesion["across"],
        "lesion_y": -0.35 + 0.4 * lesion["depth"],
        "lesion_echo": -2.1 - 0.8 * lesion["dark"],
        "tail": 0.7 + 0.5 * lesion["trail"],  # of the shadow or glow below
    }


def draw_image(rng: Rng, patient: Factors, size: int) -> tuple[Array, Factors]:
    """Draw one frame: probe position, pressure, gain, depth compensation and dynamic range vary.

    Returns
    -------
    image : Array
        (size, size) in [0, 1].
    factors : Factors
        The factors of this frame.
    """
    factors = draw_factors(rng, IMAGE)
    zoom, focus = factors["zoom"], factors["focus"]
    x, y = posed_grid(size, factors["shift_x"], factors["shift_y"], 0.0, zoom)
    y = y + (1 / zoom - 1) + factors["shift_y"] / zoom  # the probe stays at the top edge
    echo = _tissue(x, y, patient)
    if patient["finding"] != "normal":
        echo = _with_mass(x, y, echo, patient)
    beam_width = 0.012 * (1 + 0.5 * abs(focus))
    envelope = speckle(rng, np.exp(echo), beam_width, 0.006, factors["looks"])
    loss = (patient["attenuation"] - factors["depth_compensation"]) * 0.8 * (y + 1)
    beam = 0.25 * np.exp(-(((y - focus) / 0.5) ** 2))
    shown = np.log(envelope + 0.02) - loss + beam + factors["gain"]
    return np.clip(shown / factors["dynamic_range"] + 0.5, 0, 1), factors


def _tissue(x: Array, y: Array, patient: Factors) -> Array:
    """Log echogenicity of skin, fat, fibroglandular tissue and the muscle below."""
    rng, scale = np.random.default_rng(patient["texture_seed"]), patient["strand_scale"]
    u, v = x[0], y[:, 0]
    wave, lobes, blotch = (
        texture(rng, u * a, v * b) for a, b in ((1.5, 0.6), (3.0, 5.0), (2.5, 3.0))
    )
    strands, threads = (
        texture(rng, u * scale * a, v * scale * b) for a, b in ((0.5, 2.0), (0.8, 4.0))
    )
    strands, threads = _sheared(x, wave, strands, threads, patient["strand_slope"])
    y = y + patient["undulation"] * wave + 0.3 * patient["strand_slope"] * x
    fat_end = patient["fat_depth"] + 0.12 * blotch
    gland_end = patient["gland_depth"] + 0.05 * blotch
    gland = np.clip((y - fat_end) / 0.06 + 0.5, 0, 1)
    deep = np.clip((y - gland_end) / 0.06 + 0.5, 0, 1)
    septa = np.exp(-((lobes / 0.16) ** 2))
    fat = patient["fat_echo"] + 1.3 * septa + 0.2 * threads
    weave = 0.5 * strands + 0.3 * threads - 0.3 + 0.9 * np.exp(-((threads / 0.35) ** 2))
    fibre = patient["gland_echo"] + patient["strand_contrast"] * weave
    fascia = np.exp(-(((y - gland_end - 0.05) / 0.03) ** 2))
    muscle = -1.2 + 0.5 * threads + 1.6 * fascia
    echo = fat * (1 - gland) + fibre * gland * (1 - deep) + muscle * deep
    skin = np.clip((patient["skin_depth"] - 1 - y) / 0.03 + 0.5, 0, 1)
    return echo * (1 - skin) + 1.2 * skin


def _sheared(
    x: Array, wave: Array, strands: Array, threads: Array, slope: float
) -> tuple[Array, Array]:
    """Strands and threads moved up or down by whole pixels, so that they run aslant and waver."""
    height = len(x)
    rise = (0.5 * slope * x + 0.12 * wave) * height / 2
    row = np.clip(np.arange(height)[:, None] + np.rint(rise).astype(int), 0, height - 1)
    return np.take_along_axis(strands, row, axis=0), np.take_along_axis(threads, row, axis=0)


def _with_mass(x: Array, y: Array, echo: Array, patient: Factors) -> Array:
    """Log echogenicity with the mass in it, its rim and its shadow or glow."""
    malignant, radius = patient["finding"] == "malignant", patient["lesion_radius"]
    dx, dy = x - patient["lesion_x"], y - patient["lesion_y"]
    # A malignant mass is taller than wide.
    rx, ry = (0.78 * radius, 1.0 * radius) if malignant else (1.1 * radius, 0.66 * radius)
    border = _border(np.arctan2(dy / ry, dx / rx), malignant, patient["lesion_seed"])
    away = np.hypot(dx / rx, dy / ry) / border
    inside = np.clip((1 - away) / (0.3 if malignant else 0.16) + 0.5, 0, 1)
    width = rx * border * (1 - 0.08 * np.clip(dy, 0, 2))
    column = np.clip((0.9 - np.abs(dx) / width) / 0.7 + 0.5, 0, 1)
    below = np.clip(dy / ry, 0, 1) * column * (1 - inside)
    rim = np.exp(-(((away - 1.15) / 0.15) ** 2)) * (0.5 if malignant else 0.25)
    glow = np.exp(-np.clip(dy - ry, 0, 2) / 0.6) * 1.2
    trail = -2.0 * patient["tail"] if malignant else patient["tail"] * glow
    outer = (echo + rim + trail * below) * (1 - inside)
    return outer + inside * (patient["lesion_echo"] + 0.2 * echo)


def _border(turn: Array, malignant: bool, seed: int) -> Array:
    """Radius of the border, about 1, in the direction `turn` (h, w)."""
    roughness = MALIGNANT_ROUGHNESS if malignant else BENIGN_ROUGHNESS
    phase = np.random.default_rng(seed).uniform(0, 2 * np.pi, 5)
    waves = np.cos(BORDER_WAVES[:, None, None] * turn + phase[:, None, None])
    return 1 + (roughness[:, None, None] * waves).sum(axis=0)
