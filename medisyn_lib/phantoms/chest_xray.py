"""Chest X-ray phantom: a frontal radiograph.

Thicknesses of soft tissue and bone along the beam, Beer-Lambert law, photon noise, film curve.
"""

import numpy as np

from medisyn_lib.phantoms.drawing import Array, Factors, Rng, blur, ellipse, posed_grid, texture
from medisyn_lib.phantoms.factors import (
    LESION_SIZE,
    SEED,
    SIDE,
    UNIT,
    Range,
    Uniform,
    draw_factors,
)

# In each table the order of the lines fixes the random stream.
PATIENT: dict[str, Range] = {
    "chest_width": Uniform(0.78, 1.0),
    "lung_length": Uniform(0.85, 1.1),
    "heart_size": Uniform(0.24, 0.31),
    "heart_tilt": Uniform(0.3, 0.75),
    "dome_height": Uniform(0.12, 0.26),
    "soft_tissue": Uniform(0.85, 1.3),
    "rib_spacing": Uniform(0.155, 0.2),
    "rib_slope": Uniform(0.15, 0.5),
    "bone_density": Uniform(0.7, 1.3),
    "vascularity": Uniform(0.5, 1.3),
    "spine_bend": Uniform(-0.06, 0.06),
    "texture_seed": SEED,
}
LESION: dict[str, Range] = {  # drawn whatever the finding, so that it does not change the anatomy
    "side": SIDE,
    "lesion_size": LESION_SIZE,
    "spread": UNIT,
    "height": UNIT,
    "depth": UNIT,
}
IMAGE: dict[str, Range] = {
    "shift_x": Uniform(-0.07, 0.07),
    "shift_y": Uniform(-0.1, 0.1),
    "rotation": Uniform(-0.05, 0.05),
    "zoom": Uniform(0.92, 1.12),
    "inspiration": Uniform(-0.05, 0.07),
    "photons": Uniform(5000.0, 40000.0),
    "film_gamma": Uniform(0.8, 1.3),
    "exposure": Uniform(-0.06, 0.06),
}

SOFT, BONE = 3.2, 1.1  # attenuation along the whole depth of a chest, and along a thick bone


def draw_patient(rng: Rng, finding: str) -> Factors:
    """Draw the chest of one patient, and what the finding adds to it."""
    anatomy = draw_factors(rng, PATIENT)
    lesion = draw_factors(rng, LESION)
    nothing = {"side": "", "lesion_size": ""}
    return anatomy | nothing | _finding(finding, lesion)


def _finding(finding: str, lesion: Factors) -> Factors:
    """What a finding adds to the anatomy or replaces in it."""
    if finding == "cardiomegaly":
        return {"heart_size": 0.42 + 0.1 * lesion["spread"]}
    if finding not in ("pneumonia", "pleural_effusion"):
        return {}
    smallest, span = {"small": (0.13, 0.03), "large": (0.26, 0.07)}[lesion["lesion_size"]]
    added = {
        "side": lesion["side"],
        "lesion_size": lesion["lesion_size"],
        "lesion_radius": smallest + span * lesion["spread"],
        "lesion_y": -0.3 + 0.5 * lesion["height"],
        "lesion_opacity": 0.65 + 0.3 * lesion["depth"],
    }
    if finding == "pleural_effusion":
        lowest, span = {"small": (0.14, 0.1), "large": (0.5, 0.25)}[lesion["lesion_size"]]
        added["fluid_level"] = lowest + span * lesion["spread"]
    return added


def draw_image(rng: Rng, patient: Factors, size: int) -> tuple[Array, Factors]:
    """Draw one exposure: position, breath, dose and film curve vary.

    Returns
    -------
    image : Array
        (size, size) in [0, 1].
    factors : Factors
        The factors of this exposure.
    """
    factors = draw_factors(rng, IMAGE)
    x, y = posed_grid(
        size, factors["shift_x"], factors["shift_y"], factors["rotation"], factors["zoom"]
    )
    path = _attenuation(x, y, patient, factors["inspiration"])
    photons = factors["photons"]
    counts = rng.poisson(photons * np.exp(-path))
    film = -np.log((counts + 1.0) / photons)
    low, high = np.quantile(film[size // 8 : -size // 8], (0.02, 0.98))
    shown = np.clip((film - low) / (high - low) * 0.82 + 0.1 + factors["exposure"], 0, 1)
    return shown ** factors["film_gamma"], factors


def _attenuation(x: Array, y: Array, patient: Factors, inspiration: float) -> Array:
    """Attenuation along the beam of each pixel, natural logarithm."""
    seeded = np.random.default_rng(patient["texture_seed"])
    fine, coarse = (texture(seeded, x[0] * f, y[:, 0] * f) for f in (14, 5))
    x = x - patient["spine_bend"] * y * np.abs(y)
    air, above = _lungs(x, y, patient, inspiration)
    air = air * (1 - _mediastinum(x, y, patient)) * (1 - _opacity(x, y, above, coarse, patient))
    hilum = np.exp(-(((np.abs(x) - 0.2) / 0.22) ** 2) - ((y - 0.02) / 0.3) ** 2)
    vessels = patient["vascularity"] * (0.05 * fine * (0.25 + 1.5 * hilum) + 0.2 * hilum)
    windpipe = np.exp(-((x / 0.045) ** 2)) * 0.3
    body = _body(x, y, patient)
    soft = body * (1 + 0.03 * coarse - np.clip((0.78 - vessels) * air, 0, 1))
    soft = soft - windpipe * np.clip((-0.1 - y) / 0.1, 0, 1)
    return blur(SOFT * soft + BONE * _bones(x, y, patient) * (body > 0), 0.004)


def _lungs(x: Array, y: Array, patient: Factors, inspiration: float) -> tuple[Array, Array]:
    """Fraction of the depth that is air, and the height above the diaphragm, per pixel."""
    ax, width = np.abs(x), patient["chest_width"]
    u = (y + 0.1) / (0.72 * patient["lung_length"])  # -1 at the apex
    centre = width * (0.43 + 0.06 * u)
    dome = np.sqrt(np.clip(1 - np.where(u < 0, u, 0.3 * u) ** 4, 0, 1))
    half = width * (0.36 + 0.06 * u) * dome
    across = np.clip(1 - np.abs((ax - centre) / (half + 1e-3)) ** 3.5, 0, 1)
    base = 0.5 * patient["lung_length"] + inspiration - 0.05 * (x < 0)
    above = base + 1.4 * patient["dome_height"] * (6.0 * (ax / width - 0.42) ** 2 - 0.5) - y
    apex = np.clip((u + 1.02) / 0.12, 0, 1)
    return np.sqrt(across) * np.clip(above / 0.05, 0, 1) * apex, above


def _opacity(x: Array, y: Array, above: Array, grain: Array, patient: Factors) -> Array:
    """Fraction of the air that a consolidation or an effusion replaces."""
    sign = 1.0 if patient["side"] == "left" else -1.0  # the patient's left is at image right
    if patient["finding"] == "pneumonia":
        return _consolidation(x, y, sign, grain, patient)
    if patient["finding"] == "pleural_effusion":
        return _effusion(x, sign, above, grain, patient)
    return np.zeros_like(x)


def _consolidation(x: Array, y: Array, sign: float, grain: Array, patient: Factors) -> Array:
    """A ragged patch in the middle of one lung."""
    radius = patient["lesion_radius"]
    across = (x - sign * 0.43 * patient["chest_width"]) / radius
    down = (y - patient["lesion_y"]) / radius
    spot = across**2 + down**2
    patch = 1.5 * np.exp(-0.6 * spot * (1 + 0.3 * np.tanh(grain)))
    return patient["lesion_opacity"] * np.clip(patch, 0, 1)


def _effusion(x: Array, sign: float, above: Array, grain: Array, patient: Factors) -> Array:
    """Fluid over one diaphragm that rises towards the flank."""
    rise = np.clip(sign * x / patient["chest_width"] - 0.35, 0, 1) ** 2
    depth = patient["fluid_level"] + 1.3 * rise + 0.02 * grain - above
    return 0.97 * np.clip(0.5 + depth / 0.2, 0, 1) * (sign * x > 0)


def _mediastinum(x: Array, y: Array, patient: Factors) -> Array:
    """Mask of heart, aortic knob and great vessels, where no lung is."""
    size, tilt = patient["heart_size"], patient["heart_tilt"]
    heart = ellipse(x, y, 0.45 * size, 0.3, 1.12 * size, 0.88 * size, tilt, 0.09)
    knob = 0.85 * ellipse(x, y, 0.09, -0.28, 0.12, 0.13, 0, 0.08)
    middle = np.clip((0.13 + 0.05 * y**2 - np.abs(x)) / 0.06 + 0.5, 0, 1)
    return np.maximum(np.maximum(heart, knob), middle)


def _body(x: Array, y: Array, patient: Factors) -> Array:
    """Depth of the trunk, lungs included: shoulders, neck, flanks."""
    ax = np.abs(x)
    shoulder = np.clip((y + 0.98 - 0.5 * np.clip(ax - 0.2, 0, 1) ** 1.5) / 0.06, 0, 1)
    armpit = 0.5 * np.clip(-0.35 - y, 0, 1)
    flank = np.clip((1.22 * patient["chest_width"] + armpit - ax) / 0.08, 0, 1)
    neck = ax < 0.24
    depth = 0.78 - 0.12 * ax + 0.1 * np.clip(y, -1, 1)
    return np.maximum(shoulder * flank, neck) * patient["soft_tissue"] * depth


def _bones(x: Array, y: Array, patient: Factors) -> Array:
    """Bone along the beam: ribs, vertebrae, collar bones."""
    ax = np.abs(x)
    inside = np.clip((1.02 * patient["chest_width"] - ax) / 0.05, 0, 1)
    vertebrae = (0.75 + 0.25 * np.cos(2 * np.pi * y / 0.15)) * np.clip((0.1 - ax) / 0.03, 0, 1)
    height = y + 0.6 + 0.18 * (ax - 0.15) - 0.1 * np.sin(5 * ax)
    collar = np.exp(-((height / 0.035) ** 2)) * ((ax > 0.09) & (ax < 0.85))
    ribs = 0.2 * _ribs(ax, y, patient) * inside
    return patient["bone_density"] * (ribs + 0.38 * vertebrae + 0.35 * collar)


def _ribs(ax: Array, y: Array, patient: Factors) -> Array:
    """Ribs at a distance `ax` from the midline: back halves fall outwards, fainter front ones inwards."""
    gap, slope = patient["rib_spacing"], patient["rib_slope"]
    back = (y - slope * ax + 0.75 * (ax - 0.42) ** 2) / gap % 1.0 - 0.5
    front = (y + 1.1 * slope * ax + 0.9 * ax**2) / (1.25 * gap) % 1.0 - 0.5
    cortex = np.exp(-((np.abs(back) - 0.17) ** 2) / 0.006) + 0.7 * (np.abs(back) < 0.17)
    fade = np.clip(1.6 - 1.4 * ax, 0.3, 1.0) * np.clip((0.55 - y) / 0.3, 0.0, 1.0)
    inner = 0.6 * np.exp(-(front**2) / 0.02) * np.clip((ax - 0.22) / 0.2, 0, 1)
    return (cortex + inner) * fade
