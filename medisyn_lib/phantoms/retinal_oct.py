"""Macular OCT B-scan: layer reflectivity between bent surfaces, signal decay with depth, speckle."""

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
    uniform,
)

# Layers from the vitreous down: share of the retina's thickness, reflectivity. Source: the usual reading of a
# spectral-domain B-scan (NFL, GCL+IPL, INL, OPL, ONL, inner/outer segments, gap, RPE).
LAYERS = (
    (0.1, 0.75),
    (0.24, 0.48),
    (0.11, 0.3),
    (0.09, 0.45),
    (0.22, 0.22),
    (0.07, 0.72),
    (0.07, 0.4),
    (0.1, 1.0),
)


def _surfaces(u: Array, patient: Factors) -> tuple[Array, Array, Array, Array]:
    """Per column: unlifted and lifted pigment epithelium (RPE), subretinal fluid, and the 8 layers' thickness."""
    kind, rng = patient["finding"], np.random.default_rng(patient.get("lesion_seed", 0))
    pit = patient["fovea_depth"] * np.exp(
        -(((u - patient["fovea_x"]) / patient["fovea_width"]) ** 2)
    )
    share = np.array([s for s, _ in LAYERS])[:, None] * np.ones_like(u)
    share[:4] *= 1 - pit
    share[0] *= np.clip(1 + patient["nerve_fibre_slope"] * u, 0.3, 2)
    base, lift, fluid = patient["curvature"] * u**2, np.zeros_like(u), np.zeros_like(u)
    if kind == "dme":
        swell = patient["swelling"] * np.exp(-(((u - patient["lesion_x"]) / 0.45) ** 2))
        share[1:5] *= 1 + 1.6 * swell
        share[2:5] += 0.1 * swell
    elif kind == "drusen":
        n = patient["count"]
        centres = (np.arange(n) + 0.5 + rng.uniform(-0.2, 0.2, n)) / n * 1.6 - 0.8
        tall, wide = rng.uniform(0.8, 1.25, n), rng.uniform(0.05, 0.075, n)
        bumps = np.exp(-(((u[:, None] - centres) / wide) ** 4)) * tall
        lift = patient["drusen_height"] * bumps.max(axis=1)
    elif kind == "cnv":
        t = (u - patient["lesion_x"]) / patient["lesion_width"]
        knots = np.interp(t, np.linspace(-1.2, 1.2, 9), rng.uniform(0.6, 1.2, 9))
        lift = patient["lesion_height"] * np.exp(-(np.abs(t) ** 3)) * knots
        fluid = patient["fluid_height"] * np.exp(-((t / 1.7) ** 4))
    thick = patient["thickness"] * share
    thick[:5] *= 1 - 0.75 * (lift + 0.5 * fluid) / thick[:5].sum(
        axis=0
    )  # the retina gives way before it bulges
    return base, lift, fluid, thick


def _reflectivity(x: Array, y: Array, patient: Factors) -> Array:
    """Reflectivity (0 to about 1) of vitreous, retina, fluid, RPE and choroid."""
    rng = np.random.default_rng(patient["texture_seed"])
    grain, vessels = (texture(rng, x[0] * a, y[:, 0] * b) for a, b in ((5.0, 5.0), (6.0, 9.0)))
    base, lift, fluid, thick = _surfaces(x[0], patient)
    soft, floor, gain = 0.025, base - lift, patient["layer_contrast"]
    image = np.full(y.shape, 0.04, dtype=np.float32)
    stretch = np.concatenate([thick[:-1], fluid[None], thick[-1:]])
    levels = [gain * (r - 0.4) + 0.4 + 0.05 * grain * (r < 0.6) for _, r in LAYERS[:-1]] + [
        0.06,
        1.05,
    ]
    top = floor - stretch.sum(axis=0)
    edges = top + np.concatenate([np.zeros((1, len(top))), np.cumsum(stretch, axis=0)[:-1]])
    for edge, level in zip(edges, levels, strict=True):
        image += np.clip((y - edge) / soft + 0.5, 0, 1) * (level - image)
    if patient["finding"] == "dme":
        _cysts(image, x, y, edges, patient)
    below = np.clip((y - floor) / soft + 0.5, 0, 1)
    filling = 0.5 if patient["finding"] != "cnv" else 0.72 + 0.15 * grain
    fade = np.exp(-np.clip(y - base, 0, None) / patient["choroid_depth"])
    choroid = patient["choroid_signal"] * fade * (1 + 0.4 * np.clip(vessels, -1.5, 1.5))
    return image * (1 - below) + np.where(y < base, filling, choroid) * below


def _cysts(image: Array, x: Array, y: Array, edges: Array, patient: Factors) -> None:
    """Dark fluid pockets in the swollen inner nuclear and outer plexiform to nuclear layers."""
    rng, columns = np.random.default_rng(patient["lesion_seed"]), x[0]
    for k, offset in enumerate(np.linspace(-0.38, 0.38, 5)):
        cx = patient["lesion_x"] + offset + float(rng.uniform(-0.04, 0.04))
        upper, lower = (float(np.interp(cx, columns, edges[e])) for e in (1, 5))
        tall = (0.34 - 0.3 * abs(offset)) * (lower - upper) * float(rng.uniform(0.8, 1.2))
        cy = upper + (0.58 if k % 2 else 0.5) * (lower - upper)
        paint(
            image,
            0.92 * ellipse(x, y, cx, cy, float(rng.uniform(0.065, 0.1)), tall, 0.0, 0.03),
            0.06,
        )


def draw_image(rng: Rng, patient: Factors, size: int) -> tuple[Array, Factors]:
    """One B-scan: height, tilt, zoom, signal strength and noise floor vary."""
    image = uniform(rng, "retinal_oct", "image")
    x, y = posed_grid(size, image["shift_x"], image["shift_y"], 0.0, image["zoom"])
    reflectivity = _reflectivity(x, y + image["tilt"] * x, patient)
    amplitude = np.maximum(image["signal"] * (1 - 0.25 * x**2) * reflectivity, image["noise_floor"])
    envelope = speckle(rng, amplitude, 0.008, 0.006, image["looks"])
    return np.clip(0.85 * envelope, 0, 1) ** image["gamma"], image
