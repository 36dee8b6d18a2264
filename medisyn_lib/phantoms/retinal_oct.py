"""Retinal OCT phantom: a B-scan through the macula.

Layer reflectivity between bent surfaces, signal decay with depth, speckle (Schmitt, Xiang and Yung 1999,
J Biomed Opt 4:95).
"""

from typing import NamedTuple

import numpy as np

from medisyn_lib.phantoms.drawing import (
    Array,
    Factors,
    Rng,
    ellipse,
    paint,
    posed_grid,
    speckle,
    texture,
)
from medisyn_lib.phantoms.factors import SEED, UNIT, Integers, Range, Uniform, draw_factors

# In each table the order of the lines fixes the random stream.
PATIENT: dict[str, Range] = {
    "thickness": Uniform(0.4, 0.52),
    "fovea_x": Uniform(-0.25, 0.25),
    "fovea_depth": Uniform(0.55, 0.85),
    "fovea_width": Uniform(0.16, 0.28),
    "curvature": Uniform(-0.05, 0.22),
    "nerve_fibre_slope": Uniform(-0.6, 0.6),
    "layer_contrast": Uniform(0.8, 1.2),
    "choroid_depth": Uniform(0.2, 0.5),
    "choroid_signal": Uniform(0.3, 0.6),
    "texture_seed": SEED,
}
LESION: dict[str, Range] = {  # drawn whatever the finding, so that it does not change the anatomy
    "count": Integers(3, 8),
    "lesion_seed": SEED,
    "across": Uniform(-0.2, 0.2),
    "spread": UNIT,
    "swelling": Uniform(0.25, 0.5),
}
IMAGE: dict[str, Range] = {
    "shift_x": Uniform(-0.08, 0.08),
    "shift_y": Uniform(-0.05, 0.3),
    "tilt": Uniform(-0.2, 0.2),
    "zoom": Uniform(0.92, 1.1),
    "signal": Uniform(0.7, 1.0),
    "noise_floor": Uniform(0.03, 0.12),
    "looks": Integers(2, 5),
    "gamma": Uniform(0.8, 1.15),
}


class _Layer(NamedTuple):
    """One layer of the retina."""

    name: str
    thickness: float  # fraction of the retina's
    reflectivity: float


# From the vitreous down, after the usual reading of a spectral-domain B-scan.
LAYERS = (
    _Layer("nerve fibres", 0.1, 0.75),
    _Layer("ganglion cells and inner plexiform", 0.24, 0.48),
    _Layer("inner nuclear", 0.11, 0.3),
    _Layer("outer plexiform", 0.09, 0.45),
    _Layer("outer nuclear", 0.22, 0.22),
    _Layer("inner and outer segments", 0.07, 0.72),
    _Layer("gap", 0.07, 0.4),
    _Layer("pigment epithelium", 0.1, 1.0),
)
FLUID, PIGMENT_EPITHELIUM = 0.06, 1.05  # reflectivities
EDGE = 0.025  # softness of a surface


class _Surfaces(NamedTuple):
    """The retina's shape per column, lengths in half images; heights are measured upwards."""

    base: Array  # depth of the unlifted pigment epithelium, (w,)
    lift: Array  # how far it is lifted, (w,)
    fluid: Array  # height of the fluid on it, (w,)
    thickness: Array  # of the layers, (8, w)


def draw_patient(rng: Rng, finding: str) -> Factors:
    """Draw the macula of one patient, and what the finding adds to it."""
    anatomy = draw_factors(rng, PATIENT)
    lesion = draw_factors(rng, LESION)
    nothing = {"side": "", "lesion_size": "", "count": 0}
    return anatomy | nothing | _finding(finding, lesion, anatomy["fovea_x"])


def _finding(finding: str, lesion: Factors, fovea_x: float) -> Factors:
    """What a finding adds to the anatomy; it lies beside the patient's own fovea."""
    if finding == "drusen":
        return {
            "count": lesion["count"],
            "lesion_seed": lesion["lesion_seed"],
            "drusen_height": 0.08 + 0.04 * lesion["spread"],
        }
    if finding == "dme":
        return {
            "lesion_seed": lesion["lesion_seed"],
            "swelling": lesion["swelling"],
            "lesion_x": fovea_x + lesion["across"],
        }
    if finding == "cnv":
        return {
            "lesion_seed": lesion["lesion_seed"],
            "lesion_x": fovea_x + lesion["across"],
            "lesion_width": 0.26 + 0.14 * lesion["spread"],
            "lesion_height": 0.15 + 0.1 * lesion["spread"],
            "fluid_height": 0.03 + 0.3 * lesion["swelling"],
        }
    return {}


def draw_image(rng: Rng, patient: Factors, size: int) -> tuple[Array, Factors]:
    """Draw one B-scan: height, tilt, zoom, signal strength and noise floor vary.

    Returns
    -------
    image : Array
        (size, size) in [0, 1].
    factors : Factors
        The factors of this scan.
    """
    factors = draw_factors(rng, IMAGE)
    x, y = posed_grid(size, factors["shift_x"], factors["shift_y"], 0.0, factors["zoom"])
    reflectivity = _reflectivity(x, y + factors["tilt"] * x, patient)
    amplitude = factors["signal"] * (1 - 0.25 * x**2) * reflectivity
    amplitude = np.maximum(amplitude, factors["noise_floor"])
    envelope = speckle(rng, amplitude, 0.008, 0.006, factors["looks"])
    return np.clip(0.85 * envelope, 0, 1) ** factors["gamma"], factors


def _reflectivity(x: Array, y: Array, patient: Factors) -> Array:
    """Reflectivity (0 to about 1) of vitreous, retina, fluid, pigment epithelium and choroid."""
    rng = np.random.default_rng(patient["texture_seed"])
    columns, finding = x[0], patient["finding"]
    grain, vessels = (texture(rng, columns * a, y[:, 0] * b) for a, b in ((5.0, 5.0), (6.0, 9.0)))
    surfaces = _surfaces(columns, patient)
    floor = surfaces.base - surfaces.lift
    image, edges = _retina(y, floor, surfaces, grain, patient["layer_contrast"])
    if finding == "dme":
        _paint_cysts(image, x, y, edges, patient)
    below = np.clip((y - floor) / EDGE + 0.5, 0, 1)
    filling = 0.72 + 0.15 * grain if finding == "cnv" else 0.5
    fade = np.exp(-np.clip(y - surfaces.base, 0, None) / patient["choroid_depth"])
    choroid = patient["choroid_signal"] * fade * (1 + 0.4 * np.clip(vessels, -1.5, 1.5))
    return image * (1 - below) + np.where(y < surfaces.base, filling, choroid) * below


def _retina(
    y: Array, floor: Array, surfaces: _Surfaces, grain: Array, contrast: float
) -> tuple[Array, Array]:
    """Reflectivity of all that lies on the pigment epithelium, and the upper edge of each layer (9, w)."""
    thickness, fluid = surfaces.thickness, surfaces.fluid
    stretch = np.concatenate([thickness[:-1], fluid[None], thickness[-1:]])
    levels: list[Array | float] = [
        contrast * (layer.reflectivity - 0.4) + 0.4 + 0.05 * grain * (layer.reflectivity < 0.6)
        for layer in LAYERS[:-1]
    ]
    levels += [FLUID, PIGMENT_EPITHELIUM]
    top = floor - stretch.sum(axis=0)
    edges = top + np.concatenate([np.zeros((1, len(top))), np.cumsum(stretch, axis=0)[:-1]])
    image = np.full(y.shape, 0.04, dtype=np.float32)
    for edge, level in zip(edges, levels, strict=True):
        paint(image, np.clip((y - edge) / EDGE + 0.5, 0, 1), level)
    return image, edges


def _surfaces(columns: Array, patient: Factors) -> _Surfaces:
    """The retina's shape at the columns (w,), with what the finding does to it."""
    pit = patient["fovea_depth"] * np.exp(
        -(((columns - patient["fovea_x"]) / patient["fovea_width"]) ** 2)
    )
    parts = np.array([layer.thickness for layer in LAYERS])[:, None] * np.ones_like(columns)
    parts[:4] *= 1 - pit
    parts[0] *= np.clip(1 + patient["nerve_fibre_slope"] * columns, 0.3, 2)
    lift, fluid = np.zeros_like(columns), np.zeros_like(columns)
    if patient["finding"] == "dme":
        _swell(parts, columns, patient)
    elif patient["finding"] == "drusen":
        lift = _drusen(columns, patient)
    elif patient["finding"] == "cnv":
        lift, fluid = _membrane(columns, patient)
    thickness = patient["thickness"] * parts
    # The retina gives way before it bulges.
    thickness[:5] *= 1 - 0.75 * (lift + 0.5 * fluid) / thickness[:5].sum(axis=0)
    return _Surfaces(patient["curvature"] * columns**2, lift, fluid, thickness)


def _swell(parts: Array, columns: Array, patient: Factors) -> None:
    """Thicken the inner layers in place, as oedema does."""
    away = (columns - patient["lesion_x"]) / 0.45
    swell = patient["swelling"] * np.exp(-(away**2))
    parts[1:5] *= 1 + 1.6 * swell
    parts[2:5] += 0.1 * swell


def _drusen(columns: Array, patient: Factors) -> Array:
    """How far `count` drusen lift the pigment epithelium."""
    rng, number = np.random.default_rng(patient["lesion_seed"]), patient["count"]
    centres = (np.arange(number) + 0.5 + rng.uniform(-0.2, 0.2, number)) / number * 1.6 - 0.8
    height = rng.uniform(0.8, 1.25, number)
    width = rng.uniform(0.05, 0.075, number)
    bumps = np.exp(-(((columns[:, None] - centres) / width) ** 4)) * height
    return patient["drusen_height"] * bumps.max(axis=1)


def _membrane(columns: Array, patient: Factors) -> tuple[Array, Array]:
    """How far a neovascular membrane lifts the pigment epithelium, and the fluid on it."""
    rng = np.random.default_rng(patient["lesion_seed"])
    t = (columns - patient["lesion_x"]) / patient["lesion_width"]
    knots = np.interp(t, np.linspace(-1.2, 1.2, 9), rng.uniform(0.6, 1.2, 9))
    lift = patient["lesion_height"] * np.exp(-(np.abs(t) ** 3)) * knots
    return lift, patient["fluid_height"] * np.exp(-((t / 1.7) ** 4))


def _paint_cysts(image: Array, x: Array, y: Array, edges: Array, patient: Factors) -> None:
    """Paint dark fluid pockets in the swollen inner nuclear and outer plexiform to nuclear layers."""
    rng, columns = np.random.default_rng(patient["lesion_seed"]), x[0]
    for number, offset in enumerate(np.linspace(-0.38, 0.38, 5)):
        cx = patient["lesion_x"] + offset + float(rng.uniform(-0.04, 0.04))
        upper = float(np.interp(cx, columns, edges[1]))
        lower = float(np.interp(cx, columns, edges[5]))
        height = (0.34 - 0.3 * abs(offset)) * (lower - upper) * float(rng.uniform(0.8, 1.2))
        cy = upper + (0.58 if number % 2 else 0.5) * (lower - upper)
        width = float(rng.uniform(0.065, 0.1))
        paint(image, 0.92 * ellipse(x, y, cx, cy, width, height, 0.0, 0.03), 0.06)
