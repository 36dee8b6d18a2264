"""Colonoscopy phantom: a look down a bent tube of wet mucosa, lit from the camera by inverse-square light.

Distance down the tube grows towards an off-centre, dark lumen. Left and right are those of the picture.
"""

import numpy as np

from medisyn_lib.phantoms.drawing import (
    Array,
    Factors,
    Rng,
    absorb,
    blur,
    grid,
    smooth_noise,
    stamp,
    turned,
    uniform,
)

HAEMOGLOBIN = (0.20, 1.00, 1.05)
LAMP = (1.0, 0.86, 0.74)


def draw_patient(rng: Rng, finding: str) -> Factors:
    """The colon of one patient, and the polyp's place and size where there is one."""
    size, side = ("small", "large")[int(rng.integers(2))], ("left", "right")[int(rng.integers(2))]
    patient: Factors = {
        "side": "",
        "lesion_size": "",
        "polyp_x": 0.0,
        "polyp_y": 0.0,
        "polyp_radius": 0.0,
    }
    patient |= {"polyp_redness": 0.0, "vessels": 0.0, "ulcers": 0}
    if finding == "polyp":
        patient |= {"side": side, "lesion_size": size, **uniform(rng, "endoscopy", f"{size}_polyp")}
        patient["polyp_x"] *= 1 if side == "right" else -1
    patient |= uniform(rng, "endoscopy", "inflamed" if finding == "colitis" else "calm")
    patient["fold_height"] *= 0.6 if finding == "colitis" else 1
    return patient


def draw_image(rng: Rng, patient: Factors, size: int) -> tuple[Array, Factors]:
    """One frame of the patient's colon, (size, size, 3) in [0, 1], and the factors of this frame."""
    away = (
        -np.sign(patient["polyp_x"]) * 0.25
    )  # a polyp hides less of the lumen from the other side
    factors: Factors = {"lumen_x": float(np.clip(rng.normal(away, 0.4), -0.95, 0.95))}
    factors |= uniform(rng, "endoscopy", "view")
    factors["inset_box"] = bool(rng.random() < 0.2)
    factors |= uniform(rng, "endoscopy", "frame")
    wall = np.random.default_rng([patient["wall_seed"], factors["frame_seed"]])
    x, y = grid(size)
    light, crest = _folds(wall, x, y, patient, factors)
    blood, ulcer = _mucosa(wall, patient, size)
    blood = np.clip(blood + 0.15 * crest, 0.05, None)
    if patient["polyp_radius"]:
        light, blood, dome = _polyp(x, y, light, blood, patient)
        ulcer = ulcer * (1 - dome)
    gloss = _highlights(wall, light, patient, factors, size)
    image = absorb(
        LAMP, (blood, HAEMOGLOBIN), (np.full_like(blood, patient["yellowness"]), (0.05, 0.15, 0.9))
    )
    image = image + ulcer[:, :, None] * (np.array([0.98, 0.90, 0.62]) - image)
    shade = np.clip(light, 0, 1.25)[:, :, None] ** np.array(
        [0.85, 1.15, 1.25]
    )  # far light has crossed more mucosa
    image = image * shade * factors["exposure"]
    image = image + gloss[:, :, None] * (np.array([1.0, 0.98, 0.95]) - image)
    image = blur(image, factors["defocus"]) + rng.normal(0, 0.01, image.shape)
    # The video frame: a rectangle with cut corners, sometimes with a black inset box.
    a, b = np.abs(x) / factors["frame_width"], np.abs(y)
    window = np.clip((np.minimum(1 - a, (factors["cut_corner"] - a - b) * 0.7)) * size / 2, 0, 1)
    window = window * (1 - factors["inset_box"] * ((x < -0.35) & (y > 0.4)))
    return image * window[:, :, None] + 0.01, factors


def _folds(rng: Rng, x: Array, y: Array, patient: Factors, factors: Factors) -> tuple[Array, Array]:
    """Brightness of the wall and its fold crests, each (size, size)."""
    size, (u, v) = len(x), turned(x - factors["lumen_x"], y - factors["lumen_y"], factors["roll"])
    v = v / factors["lumen_squash"]
    r, theta = (
        (np.hypot(u, v) / factors["lumen_radius"]).astype(np.float32),
        np.arctan2(v, u).astype(np.float32),
    )
    warp = 0.10 * smooth_noise(rng, size, 0.3)
    depth = 1 / np.maximum(
        r * np.exp(warp), 0.05
    )  # distance down the tube, in tube radii times the focal length
    # Inverse square, and none from the lumen.
    light = (1.1 + 0.16 * smooth_noise(rng, size, 0.45)) / (1 + (2.1 * depth) ** 2)
    crest = np.zeros_like(light)
    number, span = factors["folds"], 0.95 / (1.15 * factors["lumen_radius"])
    for ring in 1.15 * span ** (
        (np.arange(number) + rng.uniform(-0.25, 0.25, number)) / (number - 1)
    ):
        lobes, phase = patient["fold_lobes"], rng.uniform(0, 2 * np.pi)
        edge = ring * (1 + rng.uniform(0.08, 0.2) * np.cos(lobes * theta + phase) + 0.7 * warp)
        extent = np.clip(0.55 + 0.75 * np.cos(theta - rng.uniform(0, 2 * np.pi)), 0, 1)
        behind = (edge - r) / ring
        soft = 2.5 / (size * factors["lumen_radius"] * ring)
        shadow = np.clip(0.5 + behind / soft, 0, 1) * np.exp(-np.maximum(behind, 0) / 0.22)
        light = light * (1 - patient["fold_height"] * extent * shadow)
        crest = np.maximum(
            crest, extent * np.exp(-(((behind + 0.06) / 0.09) ** 2)) * (behind < 0.02)
        )
    return light * (1 + 0.25 * patient["fold_height"] * crest), crest


def _mucosa(rng: Rng, patient: Factors, size: int) -> tuple[Array, Array]:
    """Density of blood in the mucosa, and the mask of ulcers, each (size, size)."""
    blood = patient["redness"] * (1 + 0.14 * smooth_noise(rng, size, 0.3))
    if not patient["ulcers"]:
        for scale, share in ((0.22, 0.7), (0.1, 0.5)):
            blood = blood + patient["vessels"] * share * np.exp(
                -((smooth_noise(rng, size, scale) / 0.14) ** 2)
            )
        return blood, np.zeros((size, size), np.float32)
    blood = blood * (1 + 0.20 * smooth_noise(rng, size, 0.05) + 0.12 * smooth_noise(rng, size, 0.1))
    low, high = (-0.9, -0.9, 0.09, 0.45, 0), (0.9, 0.9, 0.2, 0.9, np.pi)
    x, y, rx, squash, turn = rng.uniform(low, high, (patient["ulcers"], 5)).T
    spots = stamp(
        size, x, y, rx * 1.3, rx * squash * 1.3, turn, profile=lambda radius: 1.15 - radius
    )
    return blood, 0.85 * np.clip((spots + 0.22 * smooth_noise(rng, size, 0.08) - 0.42) * 4, 0, 1)


def _polyp(
    x: Array, y: Array, light: Array, blood: Array, patient: Factors
) -> tuple[Array, Array, Array]:
    """Brightness and blood with a dome on the wall, and the dome's mask."""
    rng = np.random.default_rng(patient["wall_seed"])
    cx, cy, radius = patient["polyp_x"], patient["polyp_y"], patient["polyp_radius"]
    u, v = (x - cx) / radius, (y - cy) / (radius * rng.uniform(0.8, 1.05))
    way, rho = np.arctan2(v, u), np.hypot(u, v)
    bumps = sum(
        rng.uniform(0.01, 0.06) * np.cos(k * way + rng.uniform(0, 2 * np.pi)) for k in (2, 3, 5)
    )
    rho = rho * (1 + bumps)
    dome, height = (
        np.clip(0.5 + (1 - rho) * radius * len(x) / 3, 0, 1),
        np.sqrt(np.clip(1 - rho**2, 0, 1)),
    )
    lobule = sum(
        np.cos(a * u + b * v + p) for a, b, p in rng.uniform((-9, -9, 0), (9, 9, 6), (5, 3))
    )
    facing = (-cx * u - cy * v) * 0.30  # the lamp sits at the camera, in the middle of the frame
    shaded = 0.42 + 0.55 * height + facing + 0.03 * lobule * height
    light = light * (
        1 - 0.5 * np.exp(-((np.maximum(rho - 1, 0) / 0.2) ** 2)) * (1 - dome)
    )  # the shadow it casts
    tone = 0.55 + patient["polyp_redness"] + 0.05 * lobule
    return light + dome * (np.clip(shaded, 0.1, 1.1) - light), blood + dome * (tone - blood), dome


def _highlights(rng: Rng, light: Array, patient: Factors, factors: Factors, size: int) -> Array:
    """Mask of wet specular highlights: small, elongated, in clusters where the wall is near and bright."""
    number = factors["highlights"]
    centre = rng.uniform(-0.85, 0.85, (4, 2))[rng.integers(0, 4, number)] + rng.normal(
        0, 0.14, (number, 2)
    )
    rx, ry = rng.uniform(0.018, 0.055, number), rng.uniform(0.011, 0.022, number)
    turn = (
        np.arctan2(centre[:, 1] - factors["lumen_y"], centre[:, 0] - factors["lumen_x"]) + np.pi / 2
    )
    gloss = stamp(size, centre[:, 0], centre[:, 1], rx, ry, turn + rng.normal(0, 0.4, number))
    gloss = gloss * np.clip(2.2 * light - 0.7, 0, 1)
    if r := patient["polyp_radius"]:
        x, y = (0.85 * patient[axis] + rng.normal(0, 0.2 * r, 3) for axis in ("polyp_x", "polyp_y"))
        gloss = np.maximum(gloss, stamp(size, x, y, 0.16 * r, 0.09 * r, rng.uniform(0, np.pi, 3)))
    return 0.95 * gloss
