"""Axial T1-weighted brain MRI: tissue signals, coil bias, truncated k-space with complex (so Rician) noise."""

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
    uniform,
)


def _brain(x: Array, y: Array, reach: Array, fields: list[Array], patient: Factors) -> Array:
    """Signal inside the skull: folded cortex round white matter, deep grey nuclei, ventricles."""
    folds, fine, ax = fields[0], fields[1], np.abs(x)
    grey, white, csf = patient["grey_signal"], patient["white_signal"], 0.1
    turn = np.arctan2(y, x)
    # Sulci run inwards from the surface, wavering: zero crossings along the angle, bent by noise.
    ridge = np.abs(np.sin(patient["gyri"] * turn + 1.3 * folds + 0.7 * fine))
    rim = np.clip((reach - 0.5) / 0.5, 0, 1)
    signal = np.full(x.shape, white, dtype=np.float32) + 0.012 * fine
    depth = np.clip((reach - 0.66 - 0.09 * folds) / 0.12, 0, 1)  # how far in each fold reaches
    cortex = np.clip((reach - 0.9) / 0.06 + 0.5, 0, 1) + np.clip((0.8 - ridge) / 0.4, 0, 1) * depth
    paint(signal, np.clip(cortex, 0, 1), grey)
    sulci = np.clip((patient["atrophy"] + 0.3 * rim - ridge) / 0.25, 0, 1) * np.clip(
        depth * 1.5 - 0.5, 0, 1
    )
    midline = np.clip(1.2 - ax / 0.022, 0, 1) * np.clip((np.abs(y + 0.02) - 0.3) / 0.08, 0, 1)
    deep = 1.0 - patient["slice_level"]
    nuclei = ellipse(ax, y, 0.15, 0.1, 0.1, 0.15, 0.35, 0.04) + ellipse(
        ax, y, 0.24, -0.1, 0.08, 0.2, -0.3, 0.04
    )
    paint(signal, np.clip(nuclei * deep * 1.6, 0, 1), 0.55 * grey + 0.45 * white)
    paint(signal, 0.85 * np.maximum(np.clip(sulci, 0, 1), midline), csf)
    v = patient["ventricle_size"]
    horn = ellipse(
        ax, y, 0.08 * v + 0.02, -0.2 + 0.02 * deep, 0.045 * v, 0.16 * v, 0.32 * deep + 0.15, 0.02
    )
    back = ellipse(
        ax,
        y,
        0.1 * v + 0.09 * deep,
        0.16 + 0.14 * deep,
        0.05 * v,
        0.17 * v,
        -0.48 * deep - 0.1,
        0.02,
    )
    third = 0.8 * ellipse(x, y, 0, 0.05, 0.02, 0.1, 0, 0.03) * (deep > 0.4)
    body = ellipse(ax, y, 0.08 * v + 0.01, 0.0, 0.045 * v, 0.2, -0.05, 0.02) * (deep < 0.5)
    paint(signal, np.maximum(np.maximum(horn, back), np.maximum(third, body)), csf)
    return signal


def _lesions(signal: Array, x: Array, y: Array, coarse: Array, patient: Factors) -> None:
    """Paint the finding: an enhancing mass in a dark swelling, or dark plaques beside the ventricles."""
    if patient["finding"] == "tumour":
        radius, cy, cx = (
            patient["lesion_radius"],
            patient["lesion_y"],
            0.31 if patient["side"] == "left" else -0.31,
        )
        away = np.hypot(x - cx, y - cy) / radius * (1 + 0.13 * coarse)
        paint(signal, 0.7 * np.clip(2.6 - 1.4 * away, 0, 1), 0.27)
        paint(
            signal,
            np.clip((1 - away) / 0.2 + 0.5, 0, 1),
            patient["enhancement"] * (1 + 0.07 * coarse),
        )
        paint(signal, np.clip((0.6 * patient["necrosis"] - away) / 0.25, 0, 1), 0.25)
    elif patient["finding"] == "white_matter_lesions":
        rng, n, r = (
            np.random.default_rng(patient["lesion_seed"]),
            patient["count"],
            patient["lesion_radius"],
        )
        places = rng.permutation(8)[
            :n
        ]  # eight places round the ventricles, so that lesions do not merge
        for place, (jx, jy) in zip(places, rng.uniform(-0.02, 0.02, (n, 2)), strict=True):
            cx, cy = (
                (-1.0 if place % 2 else 1.0) * (0.27, 0.34, 0.34, 0.29)[place // 2],
                -0.38 + 0.26 * (place // 2),
            )
            paint(signal, ellipse(x, y, cx + jx, cy + jy, r, 1.3 * r, jx * 20, 0.04), 0.2)


def _head(x: Array, y: Array, fields: list[Array], patient: Factors) -> Array:
    """Noiseless signal: scalp fat, skull with its marrow, fluid, brain and finding."""
    w, h = patient["head_width"], patient["head_length"]
    egg = 1 - 0.09 * y / h  # the forehead is narrower than the back of the head
    radius = np.hypot(x * egg / w, y / h)

    def within(margin: float) -> Array:
        return np.clip((1 - margin / w - radius) * w * len(x) / 2 + 0.5, 0, 1)

    scalp, skull = patient["scalp_width"], patient["scalp_width"] + patient["skull_width"]
    signal = np.zeros(x.shape, dtype=np.float32)
    paint(signal, within(0.0), patient["scalp_signal"] * (1 + 0.1 * fields[1]))
    paint(signal, within(scalp), 0.06 + 0.12 * np.clip(fields[0], 0, 1))
    paint(signal, within(skull - 0.012), 0.12)
    brain = _brain(x, y, radius / (1 - (skull + 0.02) / w), fields, patient)
    _lesions(brain, x, y, fields[0], patient)
    paint(signal, within(skull + 0.02), brain)
    return signal


def _acquire(rng: Rng, signal: Array, k_space_share: float, noise: float) -> Array:
    """Magnitude image from the inner share of k-space: Gibbs ringing, and Rician noise of that sigma."""
    frequency = np.abs(np.fft.fftfreq(len(signal))) * 2
    kept = np.clip((k_space_share - frequency) / 0.06 + 0.5, 0, 1)
    filtered = np.fft.ifft2(np.fft.fft2(signal) * kept[:, None] * kept[None, :])
    real, imaginary = rng.standard_normal((2, *signal.shape)) * noise
    return np.abs(filtered + real + 1j * imaginary)


def draw_image(rng: Rng, patient: Factors, size: int) -> tuple[Array, Factors]:
    """One slice: position, coil bias, sampled share of k-space, noise and display level vary."""
    image = uniform(rng, "brain_mri", "image")
    x, y = posed_grid(size, image["shift_x"], image["shift_y"], image["rotation"], image["zoom"])
    seeded = np.random.default_rng(patient["texture_seed"])
    fields = [texture(seeded, x[0] * f, y[:, 0] * f) for f in (5.0, 11.0, 3.0)]
    signal = _head(x + 0.015 * fields[2], y, fields, patient)
    signal = signal * (1 + image["bias"] * turned(x, y, image["bias_angle"])[0])
    picture = _acquire(rng, signal, image["k_space_share"], image["noise"])
    return np.clip(picture * image["brightness"], 0, 1), image
