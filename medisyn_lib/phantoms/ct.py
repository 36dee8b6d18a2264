"""Axial abdominal CT: organs in Hounsfield units, ramp-filtered reconstruction noise, soft-tissue window."""

import numpy as np

from medisyn_lib.phantoms.drawing import (
    Array,
    Factors,
    Rng,
    blur,
    ellipse,
    paint,
    posed_grid,
    texture,
    uniform,
)

AIR, FAT, MUSCLE = -1000.0, -100.0, 55.0  # Hounsfield units


def _wall(x: Array, y: Array, patient: Factors, fine: Array) -> tuple[Array, Array]:
    """Body outline in HU (skin, fat, muscle ring with ribs, fatty inside) and the mask of the inside."""
    w, h, fat = patient["body_width"], patient["body_height"], patient["fat_rim"]
    hu = np.full(x.shape, AIR, dtype=np.float32)
    paint(hu, ellipse(x, y, 0, 0, w, h), 10.0)
    paint(hu, ellipse(x, y, 0, 0, w - 0.025, h - 0.025), FAT + 8 * fine)
    paint(hu, ellipse(x, y, 0, 0.015, w - fat - 0.03, h - fat - 0.02), MUSCLE + 25 * fine)
    inside = ellipse(x, y, 0, -0.02, w - fat - 0.11, h - fat - 0.1)
    turn = np.arctan2(y / h, x / w)
    reach = np.hypot(x / (w - fat - 0.075), (y + 0.005) / (h - fat - 0.06))
    ribs = np.clip(np.cos(11 * turn) * 3 - 1.2, 0, 1) * np.exp(-(((reach - 1) / 0.035) ** 2))
    paint(hu, ribs * (np.abs(np.sin(turn)) < 0.93), 420.0)
    paint(hu, inside, FAT + 20 * fine)
    return hu, inside


def _viscera(x: Array, y: Array, patient: Factors, fine: Array, coarse: Array) -> Array:
    """HU of the organs in the cavity, drawn on fat: bowel, liver, spleen, stomach, kidneys, vessels, spine."""
    w, h = (
        patient["body_width"] - patient["fat_rim"] - 0.11,
        patient["body_height"] - patient["fat_rim"] - 0.1,
    )
    phase, kidney, fat = patient["contrast_phase"], patient["kidney_size"], patient["visceral_fat"]
    hu = (FAT + 20 * fine).astype(np.float32)
    loops = np.clip(1.4 * coarse + 0.7 - 9 * fat - 2.5 * np.clip(y - 0.05, 0, 1), 0, 1)
    paint(hu, loops, 35 + 35 * phase * (fine > 0.2))
    paint(hu, np.clip(4 * coarse - 6.8, 0, 1) * (y < 0.05) * (x > -0.2), -800.0)
    sx, top = patient["stomach_x"] * w / 0.7, -0.52 * h
    paint(hu, ellipse(x, y, sx, top, 0.3 * w, 0.32 * h, -0.4), 60.0 + 30 * phase)
    paint(hu, ellipse(x, y, sx, top, 0.26 * w, 0.27 * h, -0.4), 15.0)
    bubble = y < top - 0.2 * h + 0.3 * h * patient["stomach_gas"]
    paint(hu, ellipse(x, y, sx, top, 0.25 * w, 0.26 * h, -0.4) * bubble, -850.0)
    liver = ellipse(
        x, y, -0.46 * w, -0.12 * h, 0.52 * w * patient["liver_size"], 0.78 * h, 0.25, 0.03
    )
    liver = np.maximum(liver, ellipse(x, y, -0.12 * w, -0.55 * h, 0.42 * w, 0.3 * h, 0.25, 0.03))
    veins = np.clip(1 - 5 * np.abs(coarse - 0.4), 0, 1) * np.clip(
        1 - np.hypot(x + 0.35, y + 0.15) / 0.5, 0, 1
    )
    paint(hu, liver, 58 + 55 * phase + 5 * fine + (60 * phase - 12) * veins)
    paint(
        hu,
        ellipse(x, y, 0.74 * w, 0.12 * h, patient["spleen_size"], 0.42 * h, -0.3, 0.03),
        55 + 70 * phase,
    )
    if patient["finding"] == "liver_lesion":
        paint(hu, _liver_lesions(x, y, w, h, patient), patient["lesion_hu"])
    for sign in (-1.0, 1.0):
        kx, ky = sign * 0.47 * w, 0.5 * h - 0.04 * sign
        paint(
            hu,
            ellipse(x, y, kx, ky, kidney + 0.04 + fat / 2, 1.25 * kidney + 0.04, sign * 0.5),
            FAT,
        )
        paint(
            hu,
            ellipse(x, y, kx, ky, kidney, 1.25 * kidney, sign * 0.5),
            40 + 150 * phase + 8 * fine,
        )
        paint(
            hu,
            ellipse(x, y, kx - 0.05 * sign, ky - 0.01, 0.4 * kidney, 0.6 * kidney, sign * 0.5),
            -40 + 90 * phase,
        )
        if patient["finding"] == "renal_mass" and sign == (
            1.0 if patient["side"] == "left" else -1.0
        ):
            paint(
                hu,
                _renal_mass(x, y, kx, ky, patient),
                patient["lesion_hu"] + 10 + 30 * phase + 18 * coarse,
            )
    spine = patient["spine_size"]
    paint(hu, ellipse(x, y, -0.19 * w, 0.36 * h, 0.075, 0.075), 45 + 90 * phase)  # vena cava
    paint(hu, ellipse(x, y, 0.1 * w, 0.31 * h, 0.07, 0.07), 45 + 180 * phase)  # aorta
    paint(hu, ellipse(x, y, 0, 0.62 * h, 1.05 * spine, 0.85 * spine), 400.0)
    paint(hu, ellipse(x, y, 0, 0.62 * h, 0.85 * spine, 0.66 * spine), 190 + 40 * fine)
    return hu


def _liver_lesions(x: Array, y: Array, w: float, h: float, patient: Factors) -> Array:
    """Mask of `count` round lesions spread over the liver."""
    rng, n = np.random.default_rng(patient["lesion_seed"]), patient["count"]
    turn = rng.uniform(0, 2 * np.pi) + 2 * np.pi * np.arange(n) / n + rng.uniform(-0.3, 0.3, n)
    far = rng.uniform(0.85, 1.0, n) * (0.6 if n > 2 else 0.5)
    r, cx, cy = (
        patient["lesion_radius"],
        far * np.cos(turn) * 0.5 - 0.45,
        far * np.sin(turn) * 0.8 - 0.12,
    )
    return np.max(
        [ellipse(x, y, a * w, b * h, r, r, 0, 0.04) for a, b in zip(cx, cy, strict=True)], axis=0
    )


def _renal_mass(x: Array, y: Array, kx: float, ky: float, patient: Factors) -> Array:
    """Mask of a lobular mass that grows out of a kidney, to the front or to the flank."""
    rng, radius = np.random.default_rng(patient["lesion_seed"]), patient["lesion_radius"]
    turn = float(rng.uniform(0.3, 1.3))
    cx, cy = kx + np.sign(kx) * 0.12 * np.cos(turn), ky - (0.05 + 0.5 * radius) * np.sin(turn)
    lobe = ellipse(x, y, cx + 0.4 * radius, cy + 0.3 * radius, 0.7 * radius, 0.7 * radius, 0, 0.03)
    return np.maximum(lobe, ellipse(x, y, cx, cy, radius, 0.85 * radius, turn, 0.03))


def draw_image(rng: Rng, patient: Factors, size: int) -> tuple[Array, Factors]:
    """One slice: position, dose and display window vary."""
    image = uniform(rng, "ct", "image")
    x, y = posed_grid(size, image["shift_x"], image["shift_y"], image["rotation"], image["zoom"])
    seeded = np.random.default_rng(patient["texture_seed"])
    fine, coarse, bend_x, bend_y = (
        texture(seeded, x[0] * f, y[:, 0] * f) for f in (14, 6, 2.5, 2.5)
    )
    hu, inside = _wall(x + 0.012 * bend_x, y + 0.012 * bend_y, patient, fine)
    paint(hu, inside, _viscera(x + 0.03 * bend_x, y + 0.03 * bend_y, patient, fine, coarse))
    h, spine = patient["body_height"] - patient["fat_rim"] - 0.1, patient["spine_size"]
    for sign in (-1.0, 1.0):
        back = ellipse(x, y, sign * 1.55 * spine, 0.98 * h, 1.1 * spine, 0.75 * spine, -0.4 * sign)
        paint(hu, back, MUSCLE + 15 * fine)
    paint(hu, ellipse(x, y, 0, 0.62 * h + spine, 0.5 * spine, 0.4 * spine), 350.0)
    paint(hu, ellipse(x, y, 0, 0.62 * h + 0.95 * spine, 0.3 * spine, 0.22 * spine), 25.0)
    table = np.exp(-(((y - patient["body_height"] - 0.05 + 0.12 * x**2) / 0.02) ** 2)) * (
        np.abs(x) < 0.75
    )
    paint(hu, table, -60.0)
    ramp = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :])
    ramp = ramp * np.exp(-((ramp / 0.28) ** 2))
    noise = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((size, size))) * ramp, s=(size, size))
    hu = blur(hu, 0.006) + image["noise_hu"] * noise / noise.std()
    return np.clip((hu - image["window_level"]) / image["window_width"] + 0.5, 0, 1), image
