"""Abdominal CT phantom: an axial slice.

Organs in Hounsfield units (HU); noise with the spectrum of ramp-filtered reconstruction (Riederer, Pelc
and Chesler 1978, Phys Med Biol 23:446); a soft-tissue display window.
"""

from typing import NamedTuple

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
)
from medisyn_lib.phantoms.factors import (
    LESION_SIZE,
    SEED,
    SIDE,
    UNIT,
    Integers,
    Range,
    Uniform,
    draw_factors,
)

# In each table the order of the lines fixes the random stream.
PATIENT: dict[str, Range] = {
    "body_width": Uniform(0.84, 0.97),
    "body_height": Uniform(0.66, 0.84),
    "fat_rim": Uniform(0.03, 0.15),
    "visceral_fat": Uniform(0.0, 0.12),
    "liver_size": Uniform(0.9, 1.12),
    "kidney_size": Uniform(0.16, 0.2),
    "spleen_size": Uniform(0.14, 0.23),
    "spine_size": Uniform(0.13, 0.17),
    "stomach_x": Uniform(0.12, 0.34),
    "stomach_gas": UNIT,
    "contrast_phase": Uniform(0.3, 1.0),
    "texture_seed": SEED,
}
LESION: dict[str, Range] = {  # drawn whatever the finding, so that it does not change the anatomy
    "side": SIDE,
    "lesion_size": LESION_SIZE,
    "count": Integers(2, 5),
    "spread": UNIT,
    "lesion_hu": Uniform(-15.0, 10.0),
    "lesion_seed": SEED,
}
IMAGE: dict[str, Range] = {
    "shift_x": Uniform(-0.05, 0.05),
    "shift_y": Uniform(-0.1, 0.06),
    "rotation": Uniform(-0.07, 0.07),
    "zoom": Uniform(0.9, 1.04),
    "noise_hu": Uniform(5.0, 18.0),
    "window_level": Uniform(30.0, 70.0),
    "window_width": Uniform(280.0, 400.0),
}

AIR, FAT, MUSCLE = -1000.0, -100.0, 55.0  # HU


class _Cavity(NamedTuple):
    """The space inside the abdominal wall: where its pixels are, how wide it is, what grain it has."""

    x: Array
    y: Array
    width: float  # half the cavity's, in half images
    height: float
    fine: Array  # textures, (size, size)
    coarse: Array


def draw_patient(rng: Rng, finding: str) -> Factors:
    """Draw the abdomen of one patient, and the lesions where there are any."""
    anatomy = draw_factors(rng, PATIENT)
    lesion = draw_factors(rng, LESION)
    nothing = {"side": "", "lesion_size": "", "count": 0}
    return anatomy | nothing | _finding(finding, lesion)


def _finding(finding: str, lesion: Factors) -> Factors:
    """What a finding adds to the anatomy."""
    shared = {name: lesion[name] for name in ("lesion_size", "lesion_seed", "lesion_hu")}
    if finding == "liver_lesion":
        smallest, span = {"small": (0.065, 0.015), "large": (0.125, 0.025)}[lesion["lesion_size"]]
        radius = smallest + span * lesion["spread"]
        return {"count": lesion["count"], "lesion_radius": radius, **shared}
    if finding == "renal_mass":
        smallest, span = {"small": (0.15, 0.02), "large": (0.25, 0.05)}[lesion["lesion_size"]]
        radius = smallest + span * lesion["spread"]
        return {"side": lesion["side"], "lesion_radius": radius, **shared}
    return {}


def draw_image(rng: Rng, patient: Factors, size: int) -> tuple[Array, Factors]:
    """Draw one slice: position, dose and display window vary.

    Returns
    -------
    image : Array
        (size, size) in [0, 1].
    factors : Factors
        The factors of this slice.
    """
    factors = draw_factors(rng, IMAGE)
    x, y = posed_grid(
        size, factors["shift_x"], factors["shift_y"], factors["rotation"], factors["zoom"]
    )
    seeded = np.random.default_rng(patient["texture_seed"])
    fine, coarse, bend_x, bend_y = (
        texture(seeded, x[0] * f, y[:, 0] * f) for f in (14, 6, 2.5, 2.5)
    )
    hu, inside = _wall(x + 0.012 * bend_x, y + 0.012 * bend_y, patient, fine)
    width = patient["body_width"] - patient["fat_rim"] - 0.11
    height = patient["body_height"] - patient["fat_rim"] - 0.1
    cavity = _Cavity(x + 0.03 * bend_x, y + 0.03 * bend_y, width, height, fine, coarse)
    paint(hu, inside, _viscera(cavity, patient))
    _paint_back(hu, cavity._replace(x=x, y=y), patient)
    _paint_table(hu, x, y, patient)
    hu = blur(hu, 0.006) + _reconstruction_noise(rng, size, factors["noise_hu"])
    return np.clip((hu - factors["window_level"]) / factors["window_width"] + 0.5, 0, 1), factors


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


def _viscera(cavity: _Cavity, patient: Factors) -> Array:
    """HU of what lies in the cavity, organ by organ on fat; later ones cover earlier ones."""
    hu = (FAT + 20 * cavity.fine).astype(np.float32)
    _paint_bowel(hu, cavity, patient)
    _paint_stomach(hu, cavity, patient)
    _paint_liver(hu, cavity, patient)
    _paint_spleen(hu, cavity, patient)
    if patient["finding"] == "liver_lesion":
        paint(hu, _liver_lesions(cavity, patient), patient["lesion_hu"])
    for sign in (-1.0, 1.0):
        _paint_kidney(hu, cavity, patient, sign)
    _paint_vessels(hu, cavity, patient)
    _paint_vertebra(hu, cavity, patient)
    return hu


def _paint_bowel(hu: Array, cavity: _Cavity, patient: Factors) -> None:
    """Paint enhancing loops between the fat, with gas in front."""
    x, y, fine, coarse = cavity.x, cavity.y, cavity.fine, cavity.coarse
    fat, phase = patient["visceral_fat"], patient["contrast_phase"]
    loops = np.clip(1.4 * coarse + 0.7 - 9 * fat - 2.5 * np.clip(y - 0.05, 0, 1), 0, 1)
    paint(hu, loops, 35 + 35 * phase * (fine > 0.2))
    paint(hu, np.clip(4 * coarse - 6.8, 0, 1) * (y < 0.05) * (x > -0.2), -800.0)


def _paint_stomach(hu: Array, cavity: _Cavity, patient: Factors) -> None:
    """Paint the wall, fluid and, in front, gas."""
    x, y, w, h = cavity.x, cavity.y, cavity.width, cavity.height
    cx, cy = patient["stomach_x"] * w / 0.7, -0.52 * h
    paint(hu, ellipse(x, y, cx, cy, 0.3 * w, 0.32 * h, -0.4), 60.0 + 30 * patient["contrast_phase"])
    paint(hu, ellipse(x, y, cx, cy, 0.26 * w, 0.27 * h, -0.4), 15.0)
    above_fluid = y < cy - 0.2 * h + 0.3 * h * patient["stomach_gas"]
    paint(hu, ellipse(x, y, cx, cy, 0.25 * w, 0.26 * h, -0.4) * above_fluid, -850.0)


def _paint_liver(hu: Array, cavity: _Cavity, patient: Factors) -> None:
    """Paint both lobes (the patient's right is at image left) with their veins."""
    x, y, w, h = cavity.x, cavity.y, cavity.width, cavity.height
    size, phase = patient["liver_size"], patient["contrast_phase"]
    right_lobe = ellipse(x, y, -0.46 * w, -0.12 * h, 0.52 * w * size, 0.78 * h, 0.25, 0.03)
    left_lobe = ellipse(x, y, -0.12 * w, -0.55 * h, 0.42 * w, 0.3 * h, 0.25, 0.03)
    near_hilum = np.clip(1 - np.hypot(x + 0.35, y + 0.15) / 0.5, 0, 1)
    veins = np.clip(1 - 5 * np.abs(cavity.coarse - 0.4), 0, 1) * near_hilum
    parenchyma = 58 + 55 * phase + 5 * cavity.fine
    paint(hu, np.maximum(right_lobe, left_lobe), parenchyma + (60 * phase - 12) * veins)


def _paint_spleen(hu: Array, cavity: _Cavity, patient: Factors) -> None:
    """Paint the spleen along the left flank."""
    cx, cy, length = 0.74 * cavity.width, 0.12 * cavity.height, 0.42 * cavity.height
    spleen = ellipse(cavity.x, cavity.y, cx, cy, patient["spleen_size"], length, -0.3, 0.03)
    paint(hu, spleen, 55 + 70 * patient["contrast_phase"])


def _liver_lesions(cavity: _Cavity, patient: Factors) -> Array:
    """Mask of `count` round lesions spread over the liver."""
    rng, number = np.random.default_rng(patient["lesion_seed"]), patient["count"]
    start = rng.uniform(0, 2 * np.pi)
    steps = 2 * np.pi * np.arange(number) / number
    turn = start + steps + rng.uniform(-0.3, 0.3, number)
    far = rng.uniform(0.85, 1.0, number) * (0.6 if number > 2 else 0.5)
    cx, cy = far * np.cos(turn) * 0.5 - 0.45, far * np.sin(turn) * 0.8 - 0.12
    radius = patient["lesion_radius"]
    lesions = [
        ellipse(cavity.x, cavity.y, a * cavity.width, b * cavity.height, radius, radius, 0, 0.04)
        for a, b in zip(cx, cy, strict=True)
    ]
    return np.max(lesions, axis=0)


def _paint_kidney(hu: Array, cavity: _Cavity, patient: Factors, sign: float) -> None:
    """Paint one kidney in its fat; `sign` is 1 for the left one, at image right."""
    x, y = cavity.x, cavity.y
    size, fat, phase = patient["kidney_size"], patient["visceral_fat"], patient["contrast_phase"]
    cx, cy, tilt = sign * 0.47 * cavity.width, 0.5 * cavity.height - 0.04 * sign, sign * 0.5
    capsule = ellipse(x, y, cx, cy, size + 0.04 + fat / 2, 1.25 * size + 0.04, tilt)
    pelvis = ellipse(x, y, cx - 0.05 * sign, cy - 0.01, 0.4 * size, 0.6 * size, tilt)
    paint(hu, capsule, FAT)
    paint(hu, ellipse(x, y, cx, cy, size, 1.25 * size, tilt), 40 + 150 * phase + 8 * cavity.fine)
    paint(hu, pelvis, -40 + 90 * phase)
    sick_side = 1.0 if patient["side"] == "left" else -1.0
    if patient["finding"] == "renal_mass" and sign == sick_side:
        tone = patient["lesion_hu"] + 10 + 30 * phase + 18 * cavity.coarse
        paint(hu, _renal_mass(x, y, cx, cy, patient), tone)


def _renal_mass(x: Array, y: Array, kidney_x: float, kidney_y: float, patient: Factors) -> Array:
    """Mask of a lobular mass that grows out of a kidney, to the front or to the flank."""
    rng, radius = np.random.default_rng(patient["lesion_seed"]), patient["lesion_radius"]
    turn = float(rng.uniform(0.3, 1.3))
    cx = kidney_x + np.sign(kidney_x) * 0.12 * np.cos(turn)
    cy = kidney_y - (0.05 + 0.5 * radius) * np.sin(turn)
    lobe = ellipse(x, y, cx + 0.4 * radius, cy + 0.3 * radius, 0.7 * radius, 0.7 * radius, 0, 0.03)
    return np.maximum(lobe, ellipse(x, y, cx, cy, radius, 0.85 * radius, turn, 0.03))


def _paint_vessels(hu: Array, cavity: _Cavity, patient: Factors) -> None:
    """Paint vena cava and aorta, which takes up more contrast agent."""
    x, y, w, h = cavity.x, cavity.y, cavity.width, cavity.height
    phase = patient["contrast_phase"]
    paint(hu, ellipse(x, y, -0.19 * w, 0.36 * h, 0.075, 0.075), 45 + 90 * phase)
    paint(hu, ellipse(x, y, 0.1 * w, 0.31 * h, 0.07, 0.07), 45 + 180 * phase)


def _paint_vertebra(hu: Array, cavity: _Cavity, patient: Factors) -> None:
    """Paint the vertebral body: cortical bone round spongy bone."""
    x, y, cy, size = cavity.x, cavity.y, 0.62 * cavity.height, patient["spine_size"]
    paint(hu, ellipse(x, y, 0, cy, 1.05 * size, 0.85 * size), 400.0)
    paint(hu, ellipse(x, y, 0, cy, 0.85 * size, 0.66 * size), 190 + 40 * cavity.fine)


def _paint_back(hu: Array, cavity: _Cavity, patient: Factors) -> None:
    """Paint the muscles either side of the spine, the vertebral arch and the canal in it."""
    x, y, h, size = cavity.x, cavity.y, cavity.height, patient["spine_size"]
    for sign in (-1.0, 1.0):
        muscle = ellipse(x, y, sign * 1.55 * size, 0.98 * h, 1.1 * size, 0.75 * size, -0.4 * sign)
        paint(hu, muscle, MUSCLE + 15 * cavity.fine)
    paint(hu, ellipse(x, y, 0, 0.62 * h + size, 0.5 * size, 0.4 * size), 350.0)
    paint(hu, ellipse(x, y, 0, 0.62 * h + 0.95 * size, 0.3 * size, 0.22 * size), 25.0)


def _paint_table(hu: Array, x: Array, y: Array, patient: Factors) -> None:
    """Paint the curved table that the patient lies on."""
    below = y - patient["body_height"] - 0.05 + 0.12 * x**2
    paint(hu, np.exp(-((below / 0.02) ** 2)) * (np.abs(x) < 0.75), -60.0)


def _reconstruction_noise(rng: Rng, size: int, sigma: float) -> Array:
    """Noise (size, size) of deviation `sigma` whose spectrum is a ramp with a Gaussian roll-off."""
    ramp = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :])
    window = ramp * np.exp(-((ramp / 0.28) ** 2))
    spectrum = np.fft.rfft2(rng.standard_normal((size, size))) * window
    noise = np.fft.irfft2(spectrum, s=(size, size))
    return sigma * noise / noise.std()
