"""Fundus phantom: a right or left eye whose ICDR grade follows from its lesions, counted by quadrant.

Vessels and bleedings are absorbance over an orange choroid. Lesions are drawn larger than life (a microaneurysm
is about one pixel wide at 64 px, some ten times too large), so that the grade is readable there. As the camera
sees a right eye, its disc (nasal) is at image right.
"""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from medisyn_lib.errors import InputError
from medisyn_lib.phantoms.drawing import (
    Array,
    Factors,
    Rng,
    absorb,
    blur,
    ellipse,
    grid,
    smooth_noise,
    stamp,
    uniform,
)

QUADRANTS = ("superior_temporal", "superior_nasal", "inferior_temporal", "inferior_nasal")
Vessels = tuple[Array, Array, Array]  # u, v, width, a row a vessel
Placing = Callable[[Array, Array], tuple[Array, Array]]  # retinal points to picture points
GRADES = ("no_dr", "mild_npdr", "moderate_npdr", "severe_npdr", "pdr")
SUMMED = (
    "microaneurysms",
    "beading",
    "irma",
    "exudates",
    "cotton_wool",
)  # lesions graded over the whole retina
EXTENSIVE = 20  # haemorrhages a quadrant: more than this in all four is severe

BLOOD = (0.28, 1.15, 1.15)
MELANIN = (0.55, 0.95, 1.30)
# Mean radius, of the half side.
SPOTS = {"microaneurysms": 0.034, "haemorrhages": 0.046, "exudates": 0.036, "cotton_wool": 0.085}


def icdr_grade(
    microaneurysms: int,
    haemorrhages: Sequence[int],
    beading_quadrants: int = 0,
    irma_quadrants: int = 0,
    neovascularisation: bool = False,
    preretinal_haemorrhage: bool = False,
    exudates: int = 0,
    cotton_wool: int = 0,
) -> int:
    """Grade 0-4 of the International Clinical Diabetic Retinopathy scale (Wilkinson et al. 2003, table 3).

    `haemorrhages` are the counts in the four quadrants. Severe (3) is the 4-2-1 rule: more than 20
    haemorrhages in each of 4 quadrants, venous beading in 2 or more, or IRMA in 1 or more. Raises
    InputError unless there are four counts, none negative.
    """
    if len(haemorrhages) != 4 or min(haemorrhages) < 0:
        raise InputError(
            f"haemorrhages: {list(haemorrhages)} given; give four counts, one a quadrant, none negative"
        )
    if neovascularisation or preretinal_haemorrhage:
        return 4
    if min(haemorrhages) > EXTENSIVE or beading_quadrants >= 2 or irma_quadrants >= 1:
        return 3
    if sum(haemorrhages) or beading_quadrants or exudates or cotton_wool:
        return 2
    return 1 if microaneurysms else 0


def draw_patient(rng: Rng, finding: str) -> Factors:
    """Anatomy of one eye and its lesions, counted by quadrant, such that the finding is its ICDR grade."""
    grade = GRADES.index(finding)
    signs = (
        int(rng.integers(1, 8)) if grade == 3 else 0
    )  # which of the three severe signs: bits, at least one
    if grade == 4 and rng.random() < 0.3:
        signs = int(rng.integers(8))
    low, high = ((0, 1), (0, 1), (1, 5), (12, 20), (1, 8))[grade]
    if signs & 1:
        low, high = EXTENSIVE + 1, EXTENSIVE + 9
    worst = rng.permutation(4)
    counts = {"microaneurysms": rng.integers(*((0, 1), (2, 5), (1, 4), (1, 5), (1, 4))[grade], 4)}
    counts["haemorrhages"] = rng.integers(low, high, 4)
    counts["exudates"] = rng.integers(*((0, 1), (0, 1), (1, 6), (0, 6), (0, 4))[grade], 4)
    counts["cotton_wool"] = rng.integers(*((0, 1), (0, 1), (0, 2), (0, 2), (0, 2))[grade], 4)
    counts["beading"] = (worst < (int(rng.integers(2, 5)) if signs & 2 else 0)).astype(int)
    counts["irma"] = (worst[::-1] < (int(rng.integers(1, 4)) if signs & 4 else 0)).astype(int)
    kind = int(rng.integers(1, 4)) if grade == 4 else 0
    site = ("disc", "elsewhere")[int(rng.random() > 0.6)] if kind & 1 else ""
    growth = {"neovascularisation": bool(kind & 1), "preretinal_haemorrhage": bool(kind & 2)}
    dots, beading, irma, *soft = (sum(counts[name].tolist()) for name in SUMMED)
    seen = icdr_grade(dots, counts["haemorrhages"].tolist(), beading, irma, *growth.values(), *soft)
    anatomy = {
        "side": ("left", "right")[int(rng.integers(2))],
        "grade": seen,
        "neovascularisation_site": site,
    }
    lesions = {
        f"{k}_{q}": int(n) for k, v in counts.items() for q, n in zip(QUADRANTS, v, strict=True)
    }
    return anatomy | uniform(rng, "fundus", "patient") | lesions | growth


def draw_image(rng: Rng, patient: Factors, size: int) -> tuple[Array, Factors]:
    """One photograph of the eye, (size, size, 3) in [0, 1], and the factors of this exposure."""
    factors = uniform(rng, "fundus", "image")
    x, y = grid(size)
    u, v = (part.astype(np.float32) for part in _retina(x, y, patient, factors))
    place: Placing = partial(_picture, patient=patient, factors=factors)
    blood, bright, white = _lesions(patient, place, u, v)
    macula = 0.28 * np.exp(-((u**2 + v**2) / 0.07)) + 0.3 * np.exp(-((u**2 + v**2) / 0.008))
    vessels = _vessels(patient, place, size)
    image = absorb(
        _choroid(u, v, patient), (vessels, BLOOD), (macula, (0.6, 1.0, 0.8)), (blood, BLOOD)
    )
    for mask, colour in ((bright, (0.98, 0.86, 0.42)), (white, (0.95, 0.86, 0.70))):
        image = image + mask[:, :, None] * (np.array(colour) - image)
    light = 1.08 - factors["vignetting"] * (
        (u - factors["flash_x"]) ** 2 + (v - factors["flash_y"]) ** 2
    )
    image = blur(
        image * np.clip(light, 0.15, 1.15)[:, :, None] * factors["exposure"], factors["defocus"]
    )
    field = ellipse(x, y, 0, 0, factors["field_radius"], factors["field_radius"])
    return (image + rng.normal(0, 0.008, image.shape)) * field[:, :, None] + 0.01, factors


def _retina(x: Array, y: Array, patient: Factors, factors: Factors) -> tuple:
    """Retinal coordinates of picture points: fovea at 0, nasal at positive u, field edge at 1."""
    c, s = np.cos(factors["tilt"]), np.sin(factors["tilt"])
    x, y = (
        x / factors["field_radius"] - factors["shift_x"],
        y / factors["field_radius"] - factors["shift_y"],
    )
    return (x * c + y * s) * (1 if patient["side"] == "right" else -1), y * c - x * s


def _picture(u: Array, v: Array, patient: Factors, factors: Factors) -> tuple:
    """Picture coordinates of retinal points: the inverse of `_retina`."""
    c, s = np.cos(factors["tilt"]), np.sin(factors["tilt"])
    u = u * (1 if patient["side"] == "right" else -1)
    x, y = u * c - v * s + factors["shift_x"], v * c + u * s + factors["shift_y"]
    return x * factors["field_radius"], y * factors["field_radius"]


def _choroid(u: Array, v: Array, patient: Factors) -> Array:
    """Colour of the fundus behind the vessels, (size, size, 3): pigmented choroid, optic disc and cup."""
    texture, size = np.random.default_rng(patient["vessel_seed"] + 1), len(u)
    mottle = 0.12 * smooth_noise(texture, size, 0.25) + 0.1 * smooth_noise(texture, size, 0.06)
    melanin, tint = np.clip(patient["melanin"] * (1 + mottle), 0, 2), patient["redness"]
    image = absorb((0.95, 0.50 - 0.05 * tint, 0.24 + 0.07 * tint), (melanin, MELANIN))
    dx, dy, radius = patient["disc_x"], patient["disc_y"], patient["disc_radius"]
    glow = np.exp(-((u - dx) ** 2 + (v - dy) ** 2) / (2.2 * radius) ** 2)[:, :, None]
    image = image * (1 + 0.22 * glow)
    for reach, colour in (
        (radius, (1.0, 0.76, 0.45)),
        (radius * patient["cup_ratio"], (1.0, 0.94, 0.75)),
    ):
        mask = ellipse(u, v, dx, dy, 0.92 * reach, reach, soft=0.05)[:, :, None]
        image = image + mask * (np.array(colour) - image)
    return image


def _trunks(rng: Rng, patient: Factors, size: int) -> Vessels:
    """Four arteries, then four veins, from the disc to each quadrant in the order of `QUADRANTS`."""
    s = np.linspace(0, 1, 12 + 5 * size // 8)
    rows = []
    for vein in (0, 1):
        for up, nasal in ((-1, 0), (-1, 1), (1, 0), (1, 1)):
            wobble = sum(
                rng.normal(0, 0.014) * np.sin(np.pi * k * s + rng.uniform(0, 6)) for k in (2, 3, 5)
            ) * (s > 0)
            high = patient["arcade_height"] * rng.uniform(0.88, 1.1) * (1 - 0.1 * vein)
            if nasal:
                u, v = (
                    0.55 * s * rng.uniform(0.7, 1.1),
                    up * (0.15 * s + rng.uniform(0.25, 0.6) * s**1.6),
                )
            else:
                u = 0.05 * np.sin(np.pi * s) - rng.uniform(1.1, 1.4) * s**1.9
                v = up * high * np.sin(np.minimum(s, 1) * rng.uniform(1.7, 2.2))
            width = patient["vessel_width"] * (0.027 if vein else 0.019) * (1 - 0.55 * s)
            rows.append((patient["disc_x"] + u, patient["disc_y"] + v + wobble, width))
    u, v, width = np.moveaxis(np.array(rows), 1, 0)
    return u, v, width


def _sprout(rng: Rng, parents: Vessels, each: int, length: float, size: int) -> Vessels:
    """Branches of vessels: `each` of about `length` from every parent."""
    u, v, width = parents
    rows = np.repeat(np.arange(len(u)), each)
    at = (rng.uniform(0.15, 0.95, len(rows)) * (u.shape[1] - 1)).astype(int)
    heading = np.arctan2(v[rows, at + 1] - v[rows, at], u[rows, at + 1] - u[rows, at])
    heading = heading + rng.choice([-1, 1], len(rows)) * rng.uniform(0.45, 1.0, len(rows))
    s = np.linspace(0, 1, 4 + int(0.5 * length * size))
    bend = rng.normal(0, 0.6, (len(rows), 1)) * s + 0.25 * np.sin(
        9 * s + rng.uniform(0, 6, (len(rows), 1))
    )
    step = length * rng.uniform(0.6, 1.3, (len(rows), 1)) / len(s)
    new_u = u[rows, at, None] + np.cumsum(np.cos(heading[:, None] + bend) * step, 1)
    new_v = v[rows, at, None] + np.cumsum(np.sin(heading[:, None] + bend) * step, 1)
    return new_u, new_v, 0.68 * width[rows, at, None] * (1 - 0.45 * s)


def _vessels(patient: Factors, place: Placing, size: int) -> Array:
    """Density of blood in the vessel tree: thick dark veins, thin brighter arteries, none at the fovea."""
    rng = np.random.default_rng(patient["vessel_seed"])
    trunks = _trunks(rng, patient, size)
    branches = _sprout(rng, trunks, 4, 0.45, size)
    density = np.zeros((size, size), np.float32)
    for u, v, width in (trunks, branches, _sprout(rng, branches, 2, 0.22, size)):
        vein = np.broadcast_to(np.arange(len(u))[:, None] >= len(u) // 2, u.shape)
        keep = (u**2 + v**2 > 0.035) & (u**2 + v**2 < 1.3)
        x, y = place(u[keep], v[keep])
        thick = 0.78 * width[keep]
        shade = np.where(vein[keep], 0.8, 0.5) * np.minimum(1, 0.35 + thick * size / 2.5)
        density = np.maximum(density, stamp(size, x, y, thick, thick, 0.0, shade))
    beaded = [4 + row for row, quadrant in enumerate(QUADRANTS) if patient[f"beading_{quadrant}"]]
    along = (np.linspace(0.12, 0.85, 9) * (trunks[0].shape[1] - 1)).astype(int)
    x, y = place(trunks[0][beaded][:, along], trunks[1][beaded][:, along])
    return np.maximum(density, stamp(size, x.ravel(), y.ravel(), 0.042, 0.042, 0.0, 0.95))


def _lesions(patient: Factors, place: Placing, u: Array, v: Array) -> tuple[Array, Array, Array]:
    """Density of shed blood, and masks of hard exudates and of cotton-wool spots, on a grid of retinal u, v."""
    rng, size = np.random.default_rng(patient["lesion_seed"]), len(u)
    layers = {}
    for name, radius in SPOTS.items():
        spots = [
            _strew(rng, quadrant, patient[f"{name}_{quadrant}"], name == "exudates")
            for quadrant in QUADRANTS
        ]
        x, y = place(*np.concatenate(spots, 1))
        r, squash = radius * rng.uniform(0.8, 1.25, len(x)), rng.uniform(0.7, 1.0, len(x))
        layers[name] = stamp(
            size, x, y, r, r * squash, rng.uniform(0, np.pi, len(x)), rng.uniform(0.85, 1.1, len(x))
        )
    blood = [0.95 * layers["microaneurysms"], 1.25 * layers["haemorrhages"]]
    for quadrant in QUADRANTS:
        if patient[f"irma_{quadrant}"]:
            blood.append(0.95 * _tangle(rng, _strew(rng, quadrant, 1), 0.16, 4, place, size))
    if patient["neovascularisation"]:
        disc, elsewhere = (
            (patient["disc_x"], patient["disc_y"]),
            _strew(rng, QUADRANTS[int(rng.integers(4))], 1),
        )
        where = (
            np.reshape(disc, (2, 1)) if patient["neovascularisation_site"] == "disc" else elsewhere
        )
        blood.append(0.9 * _tangle(rng, where, 0.30, 9, place, size))
    if patient["preretinal_haemorrhage"]:  # settled blood: a boat with a level top
        cu, cv, width = rng.uniform(-0.4, 0.3), rng.choice([-0.35, 0.4]), rng.uniform(0.24, 0.36)
        boat = ellipse(u, v, cu, cv, width, 0.75 * width, soft=0.05)
        blood.append(1.9 * boat * np.clip(0.5 + (v - cv) * size / 3, 0, 1))
    cotton_wool = 0.8 * blur(np.minimum(layers["cotton_wool"], 1), 0.012)
    return np.max(blood, 0), np.minimum(layers["exudates"], 1), cotton_wool


def _strew(rng: Rng, quadrant: str, number: int, macular: bool = False) -> Array:
    """Retinal u, v (2, number) in a quadrant about the fovea; `macular` ones keep close to it."""
    way = rng.uniform(0.12, np.pi / 2 - 0.12, number)
    reach = rng.uniform(0.16, 0.45, number) if macular else np.sqrt(rng.uniform(0.06, 0.66, number))
    across, down = (
        1 if quadrant.endswith("nasal") else -1,
        1 if quadrant.startswith("inferior") else -1,
    )
    return np.stack([across * reach * np.cos(way), down * reach * np.sin(way)])


def _tangle(rng: Rng, centre: Array, reach: float, fronds: int, place: Placing, size: int) -> Array:
    """A tuft of fine tortuous vessels around a retinal point (2, 1)."""
    s = np.linspace(0, 1, 40)
    wriggle = rng.uniform(0.5, 1.1) * np.sin(11 * s + rng.uniform(0, 6, (fronds, 1)))
    way, length = (
        rng.uniform(0, 2 * np.pi, (fronds, 1)) + wriggle,
        reach * rng.uniform(0.6, 1.1, (fronds, 1)),
    )
    x, y = place(centre[0] + length * s * np.cos(way), centre[1] + length * s * np.sin(way))
    return stamp(size, x.ravel(), y.ravel(), 0.017, 0.017)
