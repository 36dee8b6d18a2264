"""Mammogram phantom: a compressed breast against the edge of the detector, its glands, a mass or calcifications.

Beer-Lambert: the detector sees what fat, gland and calcium leave of the beam, on a logarithmic scale.
"""

import numpy as np

from medisyn_lib.phantoms.drawing import (
    Array,
    Factors,
    Rng,
    blur,
    ellipse,
    grid,
    smooth_noise,
    stamp,
)


def draw_patient(rng: Rng, finding: str) -> Factors:
    """The breast of one patient, and where something was found in it."""
    patient = {"reach": float(rng.uniform(1.0, 1.5)), "density": float(rng.uniform(0.25, 0.6))}
    patient |= {
        "side": ("left", "right")[int(rng.integers(2))],
        "texture_seed": int(rng.integers(2**31)),
    }
    patient |= {
        "lesion_x": float(rng.uniform(0.3, 0.6)),
        "lesion_y": float(rng.uniform(-0.35, 0.35)),
    }
    size, count = ("small", "large")[int(rng.integers(2))], int(rng.integers(4, 9))
    return patient | {
        "lesion_size": size if finding == "mass" else "",
        "count": count * (finding == "calcifications"),
    }


def draw_image(rng: Rng, patient: Factors, size: int) -> tuple[Array, Factors]:
    """One exposure, (size, size) in [0, 1], and its factors."""
    factors = {"shift_y": float(rng.uniform(-0.06, 0.06)), "photons": float(rng.uniform(300, 900))}
    x, y = grid(size)
    depth, y = (
        (x + 1 if patient["side"] == "left" else 1 - x),
        y - factors["shift_y"],
    )  # from the chest wall
    breast = ellipse(depth, y, 0.0, 0.0, patient["reach"], 0.85, soft=0.15)
    gland = np.clip(
        smooth_noise(np.random.default_rng(patient["texture_seed"]), size, 0.09) + 0.4, 0, 2
    )
    thick = breast * (
        0.5 + patient["density"] * gland * ellipse(depth, y, 0.35, 0.0, 0.6, 0.55, soft=0.3)
    )
    where = patient["lesion_x"] * patient["reach"], patient["lesion_y"]
    if patient["finding"] == "mass":
        radius = {"small": 0.13, "large": 0.24}[patient["lesion_size"]]
        thick = thick + 0.9 * ellipse(depth, y, *where, radius, 0.85 * radius, soft=0.06)
    if patient["finding"] == "calcifications":
        turn = np.arange(patient["count"]) * 2.4  # the golden angle: never two on one spot
        across, down = (
            where[0] + 0.09 * np.sqrt(turn) * np.cos(turn),
            where[1] + 0.09 * np.sqrt(turn) * np.sin(turn),
        )
        column = across - 1 if patient["side"] == "left" else 1 - across
        thick = thick + 1.6 * stamp(size, column, down + factors["shift_y"], 0.035, 0.035)
    noise = rng.normal(0, 1, thick.shape) * np.exp(thick / 2) / np.sqrt(factors["photons"])
    return blur(np.clip(0.62 * thick + 0.25 * noise * (breast > 0.5), 0, 1), 0.004), factors
