"""Brain MRI phantom: an axial T1-weighted slice.

Tissue signals under the bias of a receive coil; truncated k-space; the magnitude of complex noise,
which is Rician (Gudbjartsson and Patz 1995, Magn Reson Med 34:910).
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
    texture,
    turned,
)
from medisyn_lib.phantoms.factors import (
    ANGLE,
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
    "head_width": Uniform(0.62, 0.74),
    "head_length": Uniform(0.8, 0.92),
    "scalp_width": Uniform(0.03, 0.07),
    "skull_width": Uniform(0.04, 0.07),
    "ventricle_size": Uniform(0.6, 1.25),
    "slice_level": UNIT,
    "atrophy": Uniform(0.06, 0.2),
    "gyri": Uniform(9.0, 12.5),
    "grey_signal": Uniform(0.36, 0.46),
    "white_signal": Uniform(0.56, 0.68),
    "scalp_signal": Uniform(0.75, 1.0),
    "texture_seed": SEED,
}
LESION: dict[str, Range] = {  # drawn whatever the finding, so that it does not change the anatomy
    "side": SIDE,
    "lesion_size": LESION_SIZE,
    "count": Integers(2, 7),
    "spread": UNIT,
    "height": UNIT,
    "necrosis": UNIT,
    "glow": UNIT,
    "lesion_seed": SEED,
}
IMAGE: dict[str, Range] = {
    "shift_x": Uniform(-0.06, 0.06),
    "shift_y": Uniform(-0.05, 0.05),
    "rotation": Uniform(-0.15, 0.15),
    "zoom": Uniform(0.94, 1.05),
    "bias": Uniform(0.0, 0.22),
    "bias_angle": ANGLE,
    "k_space_share": Uniform(0.7, 1.0),
    "noise": Uniform(0.008, 0.035),
    "brightness": Uniform(0.85, 1.08),
}

FLUID_SIGNAL = 0.1
PLAQUE_X = (0.27, 0.34, 0.34, 0.29)  # distance from the midline of four places beside a ventricle


class _Textures(NamedTuple):
    """Smooth noise (size, size) that belongs to the patient."""

    folds: Array
    fine: Array
    bend: Array


def draw_patient(rng: Rng, finding: str) -> Factors:
    """Draw the head of one patient, and the lesions where there are any."""
    anatomy = draw_factors(rng, PATIENT)
    lesion = draw_factors(rng, LESION)
    nothing = {"side": "", "lesion_size": "", "count": 0}
    return anatomy | nothing | _finding(finding, lesion)


def _finding(finding: str, lesion: Factors) -> Factors:
    """What a finding adds to the anatomy."""
    if finding == "white_matter_lesions":
        return {
            "count": lesion["count"],
            "lesion_seed": lesion["lesion_seed"],
            "lesion_radius": 0.062 + 0.02 * lesion["spread"],
        }
    if finding == "tumour":
        smallest, span = {"small": (0.105, 0.025), "large": (0.21, 0.05)}[lesion["lesion_size"]]
        return {
            "side": lesion["side"],
            "lesion_size": lesion["lesion_size"],
            "lesion_radius": smallest + span * lesion["spread"],
            "lesion_y": -0.4 + 0.8 * lesion["height"],
            "necrosis": lesion["necrosis"],
            "enhancement": 0.78 + 0.17 * lesion["glow"],
        }
    return {}


def draw_image(rng: Rng, patient: Factors, size: int) -> tuple[Array, Factors]:
    """Draw one slice: position, coil bias, sampled k-space, noise and display level vary.

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
    fields = _Textures(*(texture(seeded, x[0] * f, y[:, 0] * f) for f in (5.0, 11.0, 3.0)))
    signal = _head(x + 0.015 * fields.bend, y, fields, patient)
    signal = signal * (1 + factors["bias"] * turned(x, y, factors["bias_angle"])[0])
    magnitude = _acquire(rng, signal, factors["k_space_share"], factors["noise"])
    return np.clip(magnitude * factors["brightness"], 0, 1), factors


def _head(x: Array, y: Array, fields: _Textures, patient: Factors) -> Array:
    """Noiseless signal: scalp fat, skull with its marrow, fluid, brain and finding."""
    width, length = patient["head_width"], patient["head_length"]
    scalp = patient["scalp_width"]
    skull = scalp + patient["skull_width"]
    egg = 1 - 0.09 * y / length  # the forehead is narrower than the back of the head
    radius = np.hypot(x * egg / width, y / length)

    def within(margin: float) -> Array:
        return np.clip((1 - margin / width - radius) * width * len(x) / 2 + 0.5, 0, 1)

    signal = np.zeros(x.shape, dtype=np.float32)
    paint(signal, within(0.0), patient["scalp_signal"] * (1 + 0.1 * fields.fine))
    paint(signal, within(scalp), 0.06 + 0.12 * np.clip(fields.folds, 0, 1))
    paint(signal, within(skull - 0.012), 0.12)
    brain = _brain(x, y, radius / (1 - (skull + 0.02) / width), fields, patient)
    if patient["finding"] == "tumour":
        _paint_tumour(brain, x, y, fields.folds, patient)
    elif patient["finding"] == "white_matter_lesions":
        _paint_plaques(brain, x, y, patient)
    paint(signal, within(skull + 0.02), brain)
    return signal


def _brain(x: Array, y: Array, reach: Array, fields: _Textures, patient: Factors) -> Array:
    """Signal inside the skull; `reach` is 0 in the middle and 1 at the surface."""
    grey, white = patient["grey_signal"], patient["white_signal"]
    cortex, sulci = _cortex(x, y, reach, fields, patient)
    signal = np.full(x.shape, white, dtype=np.float32) + 0.012 * fields.fine
    paint(signal, cortex, grey)
    paint(signal, _deep_nuclei(x, y, patient), 0.55 * grey + 0.45 * white)
    paint(signal, 0.85 * np.maximum(sulci, _midline(x, y)), FLUID_SIGNAL)
    paint(signal, _ventricles(x, y, patient), FLUID_SIGNAL)
    return signal


def _cortex(
    x: Array, y: Array, reach: Array, fields: _Textures, patient: Factors
) -> tuple[Array, Array]:
    """Masks of the folded cortex and of the fluid in its sulci.

    Sulci run inwards from the surface, wavering: zero crossings along the angle, bent by noise.
    """
    folds, angle = fields.folds, np.arctan2(y, x)
    ridge = np.abs(np.sin(patient["gyri"] * angle + 1.3 * folds + 0.7 * fields.fine))
    depth = np.clip((reach - 0.66 - 0.09 * folds) / 0.12, 0, 1)  # how far in each fold reaches
    surface = np.clip((reach - 0.9) / 0.06 + 0.5, 0, 1)
    cortex = surface + np.clip((0.8 - ridge) / 0.4, 0, 1) * depth
    rim = np.clip((reach - 0.5) / 0.5, 0, 1)
    opening = np.clip((patient["atrophy"] + 0.3 * rim - ridge) / 0.25, 0, 1)
    sulci = opening * np.clip(depth * 1.5 - 0.5, 0, 1)
    return np.clip(cortex, 0, 1), np.clip(sulci, 0, 1)


def _midline(x: Array, y: Array) -> Array:
    """Mask of the fissure between the hemispheres, at the front and at the back."""
    return np.clip(1.2 - np.abs(x) / 0.022, 0, 1) * np.clip((np.abs(y + 0.02) - 0.3) / 0.08, 0, 1)


def _deep_nuclei(x: Array, y: Array, patient: Factors) -> Array:
    """Mask of thalamus and lentiform nucleus, fainter the higher the slice."""
    ax, deep = np.abs(x), 1.0 - patient["slice_level"]
    thalamus = ellipse(ax, y, 0.15, 0.1, 0.1, 0.15, 0.35, 0.04)
    lentiform = ellipse(ax, y, 0.24, -0.1, 0.08, 0.2, -0.3, 0.04)
    return np.clip((thalamus + lentiform) * deep * 1.6, 0, 1)


def _ventricles(x: Array, y: Array, patient: Factors) -> Array:
    """Mask of the ventricles: lateral ones by their horns or, in high slices, by their bodies."""
    ax, v, deep = np.abs(x), patient["ventricle_size"], 1.0 - patient["slice_level"]
    front_y, back_x, back_y = -0.2 + 0.02 * deep, 0.1 * v + 0.09 * deep, 0.16 + 0.14 * deep
    front = ellipse(ax, y, 0.08 * v + 0.02, front_y, 0.045 * v, 0.16 * v, 0.32 * deep + 0.15, 0.02)
    back = ellipse(ax, y, back_x, back_y, 0.05 * v, 0.17 * v, -0.48 * deep - 0.1, 0.02)
    third = 0.8 * ellipse(x, y, 0, 0.05, 0.02, 0.1, 0, 0.03) * (deep > 0.4)
    body = ellipse(ax, y, 0.08 * v + 0.01, 0.0, 0.045 * v, 0.2, -0.05, 0.02) * (deep < 0.5)
    return np.maximum(np.maximum(front, back), np.maximum(third, body))


def _paint_tumour(signal: Array, x: Array, y: Array, coarse: Array, patient: Factors) -> None:
    """Paint an enhancing mass with a dark core in a dark swelling."""
    cx = 0.31 if patient["side"] == "left" else -0.31  # the patient's left is at image right
    distance = np.hypot(x - cx, y - patient["lesion_y"])
    away = distance / patient["lesion_radius"] * (1 + 0.13 * coarse)
    mass = np.clip((1 - away) / 0.2 + 0.5, 0, 1)
    paint(signal, 0.7 * np.clip(2.6 - 1.4 * away, 0, 1), 0.27)
    paint(signal, mass, patient["enhancement"] * (1 + 0.07 * coarse))
    paint(signal, np.clip((0.6 * patient["necrosis"] - away) / 0.25, 0, 1), 0.25)


def _paint_plaques(signal: Array, x: Array, y: Array, patient: Factors) -> None:
    """Paint dark plaques on some of eight places round the ventricles, so that none merge."""
    rng = np.random.default_rng(patient["lesion_seed"])
    number, radius = patient["count"], patient["lesion_radius"]
    places = rng.permutation(8)[:number]
    for place, (jitter_x, jitter_y) in zip(
        places, rng.uniform(-0.02, 0.02, (number, 2)), strict=True
    ):
        side = -1.0 if place % 2 else 1.0
        cx = side * PLAQUE_X[place // 2]
        cy = -0.38 + 0.26 * (place // 2)
        plaque = ellipse(
            x, y, cx + jitter_x, cy + jitter_y, radius, 1.3 * radius, jitter_x * 20, 0.04
        )
        paint(signal, plaque, 0.2)


def _acquire(rng: Rng, signal: Array, k_space_fraction: float, noise: float) -> Array:
    """Magnitude image from the inner part of k-space: Gibbs ringing, and Rician noise of that sigma."""
    frequency = np.abs(np.fft.fftfreq(len(signal))) * 2
    window = np.clip((k_space_fraction - frequency) / 0.06 + 0.5, 0, 1)
    filtered = np.fft.ifft2(np.fft.fft2(signal) * window[:, None] * window[None, :])
    real, imaginary = rng.standard_normal((2, *signal.shape)) * noise
    return np.abs(filtered + real + 1j * imaginary)
