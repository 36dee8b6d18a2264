"""Frontal chest radiograph: thicknesses of soft tissue and bone, Beer-Lambert, photon noise, film curve."""

import numpy as np

from medisyn_lib.phantoms.drawing import (
    Array,
    Factors,
    Rng,
    blur,
    ellipse,
    posed_grid,
    texture,
    uniform,
)

SOFT, BONE = 3.2, 1.1  # attenuation along the whole depth of a chest, and along a thick bone


def _lungs(x: Array, y: Array, patient: Factors, inspiration: float) -> tuple[Array, Array]:
    """Share of the depth that is air, and the height above the diaphragm, per pixel."""
    ax, w = np.abs(x), patient["chest_width"]
    u = (y + 0.1) / (0.72 * patient["lung_length"])
    centre = w * (0.43 + 0.06 * u)
    half = w * (0.36 + 0.06 * u) * np.sqrt(np.clip(1 - np.where(u < 0, u, 0.3 * u) ** 4, 0, 1))
    across = np.clip(1 - np.abs((ax - centre) / (half + 1e-3)) ** 3.5, 0, 1)
    base = 0.5 * patient["lung_length"] + inspiration - 0.05 * (x < 0)
    above = base + 1.4 * patient["dome_height"] * (6.0 * (ax / w - 0.42) ** 2 - 0.5) - y
    apex = np.clip((u + 1.02) / 0.12, 0, 1)
    return np.sqrt(across) * np.clip(above / 0.05, 0, 1) * apex, above


def _finding(x: Array, y: Array, above: Array, grain: Array, patient: Factors) -> Array:
    """Share of the air that a consolidation or an effusion replaces."""
    sign, radius = (1.0 if patient["side"] == "left" else -1.0), patient.get("lesion_radius", 0.1)
    if patient["finding"] == "pneumonia":
        spot = ((x - sign * 0.43 * patient["chest_width"]) / radius) ** 2 + (
            (y - patient["lesion_y"]) / radius
        ) ** 2
        return patient["lesion_opacity"] * np.clip(
            1.5 * np.exp(-0.6 * spot * (1 + 0.3 * np.tanh(grain))), 0, 1
        )
    if patient["finding"] == "pleural_effusion":
        rise = np.clip(sign * x / patient["chest_width"] - 0.35, 0, 1) ** 2
        depth = patient["fluid_level"] + 1.3 * rise + 0.02 * grain - above
        return 0.97 * np.clip(0.5 + depth / 0.2, 0, 1) * (sign * x > 0)
    return np.zeros_like(x)


def _bones(x: Array, y: Array, patient: Factors) -> Array:
    """Bone along the beam: ribs (back halves fall outwards, fainter front halves inwards), vertebrae, collar bones."""
    ax, width, gap, slope = (
        np.abs(x),
        patient["chest_width"],
        patient["rib_spacing"],
        patient["rib_slope"],
    )
    back = (y - slope * ax + 0.75 * (ax - 0.42) ** 2) / gap % 1.0 - 0.5
    front = (y + 1.1 * slope * ax + 0.9 * ax**2) / (1.25 * gap) % 1.0 - 0.5
    cortex = np.exp(-((np.abs(back) - 0.17) ** 2) / 0.006) + 0.7 * (np.abs(back) < 0.17)
    fade = np.clip(1.6 - 1.4 * ax, 0.3, 1.0) * np.clip((0.55 - y) / 0.3, 0.0, 1.0)
    ribs = (cortex + 0.6 * np.exp(-(front**2) / 0.02) * np.clip((ax - 0.22) / 0.2, 0, 1)) * fade
    inside = np.clip((1.02 * width - ax) / 0.05, 0, 1)
    vertebrae = (0.75 + 0.25 * np.cos(2 * np.pi * y / 0.15)) * np.clip((0.1 - ax) / 0.03, 0, 1)
    height = y + 0.6 + 0.18 * (ax - 0.15) - 0.1 * np.sin(5 * ax)
    collar = np.exp(-((height / 0.035) ** 2)) * ((ax > 0.09) & (ax < 0.85))
    return patient["bone_density"] * (0.2 * ribs * inside + 0.38 * vertebrae + 0.35 * collar)


def _body(x: Array, y: Array, patient: Factors) -> Array:
    """Depth of the trunk, lungs included: shoulders, neck, flanks."""
    ax = np.abs(x)
    shoulder = np.clip((y + 0.98 - 0.5 * np.clip(ax - 0.2, 0, 1) ** 1.5) / 0.06, 0, 1)
    flank = np.clip(
        (1.22 * patient["chest_width"] + 0.5 * np.clip(-0.35 - y, 0, 1) - ax) / 0.08, 0, 1
    )
    depth = 0.78 - 0.12 * ax + 0.1 * np.clip(y, -1, 1)
    return np.maximum(shoulder * flank, ax < 0.24) * patient["soft_tissue"] * depth


def _mediastinum(x: Array, y: Array, patient: Factors) -> Array:
    """Mask of heart, aortic knob and great vessels, where no lung is."""
    heart = patient["heart_size"]
    organ = ellipse(
        x, y, 0.45 * heart, 0.3, 1.12 * heart, 0.88 * heart, patient["heart_tilt"], 0.09
    )
    knob = 0.85 * ellipse(x, y, 0.09, -0.28, 0.12, 0.13, 0, 0.08)
    middle = np.clip((0.13 + 0.05 * y**2 - np.abs(x)) / 0.06 + 0.5, 0, 1)
    return np.maximum(np.maximum(organ, knob), middle)


def draw_image(rng: Rng, patient: Factors, size: int) -> tuple[Array, Factors]:
    """One exposure: position, breath, dose and film curve vary."""
    image = uniform(rng, "chest_xray", "image")
    x, y = posed_grid(size, image["shift_x"], image["shift_y"], image["rotation"], image["zoom"])
    seeded = np.random.default_rng(patient["texture_seed"])
    fine, coarse = (texture(seeded, x[0] * f, y[:, 0] * f) for f in (14, 5))
    x = x - patient["spine_bend"] * y * np.abs(y)
    air, above = _lungs(x, y, patient, image["inspiration"])
    air = air * (1 - _mediastinum(x, y, patient)) * (1 - _finding(x, y, above, coarse, patient))
    hilum = np.exp(-(((np.abs(x) - 0.2) / 0.22) ** 2) - ((y - 0.02) / 0.3) ** 2)
    vessels = patient["vascularity"] * (0.05 * fine * (0.25 + 1.5 * hilum) + 0.2 * hilum)
    body = _body(x, y, patient)
    soft = body * (1 + 0.03 * coarse - np.clip((0.78 - vessels) * air, 0, 1))
    soft = soft - 0.3 * np.exp(-((x / 0.045) ** 2)) * np.clip((-0.1 - y) / 0.1, 0, 1)  # windpipe
    path = blur(SOFT * soft + BONE * _bones(x, y, patient) * (body > 0), 0.004)
    film = -np.log((rng.poisson(image["photons"] * np.exp(-path)) + 1.0) / image["photons"])
    low, high = np.quantile(film[size // 8 : -size // 8], (0.02, 0.98))
    shown = np.clip((film - low) / (high - low) * 0.82 + 0.1 + image["exposure"], 0, 1)
    return shown ** image["film_gamma"], image
