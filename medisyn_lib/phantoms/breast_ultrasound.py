"""B-mode breast sonogram: scatterers times echogenicity, point-spread function, attenuation, log compression."""

import numpy as np

from medisyn_lib.phantoms.drawing import Array, Factors, Rng, posed_grid, speckle, texture, uniform


def _tissue(x: Array, y: Array, patient: Factors) -> Array:
    """Log echogenicity of skin, fat with septa, fibroglandular strands, deep fat, muscle with its fascia."""
    rng, f = np.random.default_rng(patient["texture_seed"]), patient["strand_scale"]
    u, v = x[0], y[:, 0]
    wave, lobes, blotch = (
        texture(rng, u * a, v * b) for a, b in ((1.5, 0.6), (3.0, 5.0), (2.5, 3.0))
    )
    strands, threads = (texture(rng, u * f * a, v * f * b) for a, b in ((0.5, 2.0), (0.8, 4.0)))
    rise = (0.5 * patient["strand_slope"] * x + 0.12 * wave) * len(v) / 2
    rows = np.clip(np.arange(len(v))[:, None] + np.rint(rise).astype(int), 0, len(v) - 1)
    strands, threads = (np.take_along_axis(field, rows, axis=0) for field in (strands, threads))
    y = y + patient["undulation"] * wave + 0.3 * patient["strand_slope"] * x
    fat_end, gland_end = (
        patient["fat_depth"] + 0.12 * blotch,
        patient["gland_depth"] + 0.05 * blotch,
    )
    gland = np.clip((y - fat_end) / 0.06 + 0.5, 0, 1)
    deep = np.clip((y - gland_end) / 0.06 + 0.5, 0, 1)
    septa = np.exp(-((lobes / 0.16) ** 2))
    fat = patient["fat_echo"] + 1.3 * septa + 0.2 * threads
    weave = 0.5 * strands + 0.3 * threads - 0.3 + 0.9 * np.exp(-((threads / 0.35) ** 2))
    fibre = patient["gland_echo"] + patient["strand_contrast"] * weave
    muscle = -1.2 + 0.5 * threads + 1.6 * np.exp(-(((y - gland_end - 0.05) / 0.03) ** 2))
    echo = fat * (1 - gland) + fibre * gland * (1 - deep) + muscle * deep
    skin = np.clip((patient["skin_depth"] - 1 - y) / 0.03 + 0.5, 0, 1)
    return echo * (1 - skin) + 1.2 * skin


def _mass(x: Array, y: Array, echo: Array, patient: Factors) -> Array:
    """Log echogenicity with the mass in it, its rim and its shadow or glow."""
    rng, malignant = (
        np.random.default_rng(patient["lesion_seed"]),
        patient["finding"] == "malignant",
    )
    r = patient["lesion_radius"]
    dx, dy = x - patient["lesion_x"], y - patient["lesion_y"]
    rx, ry = (0.78 * r, 1.0 * r) if malignant else (1.1 * r, 0.66 * r)
    turn, k, phase = (
        np.arctan2(dy / ry, dx / rx),
        np.array([2, 3, 5, 8, 11]),
        rng.uniform(0, 2 * np.pi, 5),
    )
    rough = np.array([0.06, 0.1, 0.11, 0.1, 0.07]) if malignant else np.array([0.03, 0.02, 0, 0, 0])
    border = 1 + (
        rough[:, None, None] * np.cos(k[:, None, None] * turn + phase[:, None, None])
    ).sum(axis=0)
    away = np.hypot(dx / rx, dy / ry) / border
    inside = np.clip((1 - away) / (0.3 if malignant else 0.16) + 0.5, 0, 1)
    width = rx * border * (1 - 0.08 * np.clip(dy, 0, 2))
    below = (
        np.clip(dy / ry, 0, 1)
        * np.clip((0.9 - np.abs(dx) / width) / 0.7 + 0.5, 0, 1)
        * (1 - inside)
    )
    rim = np.exp(-(((away - 1.15) / 0.15) ** 2)) * (0.5 if malignant else 0.25)
    glow = np.exp(-np.clip(dy - ry, 0, 2) / 0.6) * 1.2
    trail = -2.0 * patient["tail"] if malignant else patient["tail"] * glow
    return (echo + rim + trail * below) * (1 - inside) + inside * (
        patient["lesion_echo"] + 0.2 * echo
    )


def draw_image(rng: Rng, patient: Factors, size: int) -> tuple[Array, Factors]:
    """One frame: probe position, pressure, gain, depth compensation and dynamic range vary."""
    image = uniform(rng, "breast_ultrasound", "image")
    x, y = posed_grid(size, image["shift_x"], image["shift_y"], 0.0, image["zoom"])
    y = (
        y + (1 / image["zoom"] - 1) + image["shift_y"] / image["zoom"]
    )  # the probe stays at the top edge
    echo = _tissue(x, y, patient)
    if patient["finding"] != "normal":
        echo = _mass(x, y, echo, patient)
    envelope = speckle(
        rng, np.exp(echo), 0.012 * (1 + 0.5 * abs(image["focus"])), 0.006, image["looks"]
    )
    loss = (patient["attenuation"] - image["depth_compensation"]) * 0.8 * (y + 1)
    beam = 0.25 * np.exp(-(((y - image["focus"]) / 0.5) ** 2))
    shown = np.log(envelope + 0.02) - loss + beam + image["gain"]
    return np.clip(shown / image["dynamic_range"] + 0.5, 0, 1), image
