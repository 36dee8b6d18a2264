"""Fundus phantom: a right or left eye whose ICDR grade follows from its lesions, counted by quadrant.

Vessels and bleedings are absorbance over an orange choroid. Lesions are drawn larger than life (a
microaneurysm is about one pixel wide at 64 px, some ten times too large), so that the grade is readable
there. As the camera sees a right eye, its disc (nasal) is at image right.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

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
)
from medisyn_lib.phantoms.factors import SEED, SIDE, Range, Uniform, draw_factors
from medisyn_lib.phantoms.retinal_vessels import QUADRANTS, Placing, tangle, vessel_density

# In each table the order of the lines fixes the random stream.
PATIENT: dict[str, Range] = {
    "melanin": Uniform(0.0, 0.75),
    "redness": Uniform(-1.0, 1.0),
    "disc_x": Uniform(0.46, 0.66),
    "disc_y": Uniform(-0.08, 0.08),
    "disc_radius": Uniform(0.115, 0.155),
    "cup_ratio": Uniform(0.3, 0.65),
    "arcade_height": Uniform(0.5, 0.68),
    "vessel_width": Uniform(0.85, 1.2),
    "vessel_seed": SEED,
    "lesion_seed": SEED,
}
IMAGE: dict[str, Range] = {
    "field_radius": Uniform(0.95, 1.15),
    "shift_x": Uniform(-0.07, 0.07),
    "shift_y": Uniform(-0.06, 0.06),
    "tilt": Uniform(-0.1, 0.1),
    "exposure": Uniform(0.75, 1.12),
    "flash_x": Uniform(-0.35, 0.35),
    "flash_y": Uniform(-0.35, 0.35),
    "vignetting": Uniform(0.25, 0.6),
    "defocus": Uniform(0.002, 0.006),
}

GRADES = ("no_dr", "mild_npdr", "moderate_npdr", "severe_npdr", "pdr")
EXTENSIVE = 20  # haemorrhages per quadrant: more than this in all four is severe
# How many spots a quadrant has by ICDR grade: from the first number to below the second.
MICROANEURYSMS = ((0, 1), (2, 5), (1, 4), (1, 5), (1, 4))
HAEMORRHAGES = ((0, 1), (0, 1), (1, 5), (12, 20), (1, 8))
EXUDATES = ((0, 1), (0, 1), (1, 6), (0, 6), (0, 4))
COTTON_WOOL = ((0, 1), (0, 1), (0, 2), (0, 2), (0, 2))
SEVERE_PDR_FRACTION = 0.3  # of proliferative eyes that may show the signs of grade 3 as well

BLOOD = (0.28, 1.15, 1.15)  # absorbances (red, green, blue)
MELANIN = (0.55, 0.95, 1.30)
MACULA = (0.6, 1.0, 0.8)
EXUDATE_COLOUR = (0.98, 0.86, 0.42)
COTTON_WOOL_COLOUR = (0.95, 0.86, 0.70)
DISC_COLOUR = (1.0, 0.76, 0.45)
CUP_COLOUR = (1.0, 0.94, 0.75)
# Mean radius of a spot, of the half side.
SPOTS = {"microaneurysms": 0.034, "haemorrhages": 0.046, "exudates": 0.036, "cotton_wool": 0.085}


class _SevereSigns(NamedTuple):
    """Which of the three signs of severe retinopathy (the 4-2-1 rule) an eye shows."""

    haemorrhages: bool
    beading: bool
    irma: bool


class _Lesions(NamedTuple):
    """What a retina shows of its lesions, each (size, size)."""

    blood: Array  # density
    exudates: Array  # mask
    cotton_wool: Array  # mask


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
    """Grade an eye on the International Clinical Diabetic Retinopathy (ICDR) scale.

    Severe (3) is the 4-2-1 rule: more than 20 haemorrhages in each of 4 quadrants, venous beading in 2
    or more, or intraretinal microvascular abnormalities (IRMA) in 1 or more.

    Parameters
    ----------
    microaneurysms
        Their number in the whole retina.
    haemorrhages
        Their numbers in the four quadrants.
    beading_quadrants, irma_quadrants
        In how many quadrants there is venous beading, and IRMA.
    neovascularisation, preretinal_haemorrhage
        Whether there is any.
    exudates, cotton_wool
        Their numbers in the whole retina.

    Returns
    -------
    int
        0 (no apparent retinopathy) to 4 (proliferative).

    Raises
    ------
    InputError
        Unless `haemorrhages` are four counts, none negative.

    References
    ----------
    Wilkinson et al., Ophthalmology 110 (2003) 1677, table 3.
    """
    if len(haemorrhages) != 4 or min(haemorrhages) < 0:
        raise InputError(
            f"haemorrhages: {list(haemorrhages)} given; give four counts, one per quadrant, none negative"
        )
    if neovascularisation or preretinal_haemorrhage:
        return 4
    if min(haemorrhages) > EXTENSIVE or beading_quadrants >= 2 or irma_quadrants >= 1:
        return 3
    if sum(haemorrhages) or beading_quadrants or exudates or cotton_wool:
        return 2
    return 1 if microaneurysms else 0


def draw_patient(rng: Rng, finding: str) -> Factors:
    """Draw one eye and its lesions, counted by quadrant, such that the finding is its ICDR grade."""
    grade = GRADES.index(finding)
    counts = _lesion_counts(rng, grade)
    growth = int(rng.integers(1, 4)) if grade == 4 else 0  # bits, at least one
    new_vessels, bleeding = bool(growth & 1), bool(growth & 2)
    site = ""
    if new_vessels:
        site = ("disc", "elsewhere")[int(rng.random() > 0.6)]
    eye: Factors = {
        "side": SIDE.draw(rng),
        "grade": _grade_of(counts, new_vessels, bleeding),
        "neovascularisation_site": site,
    }
    eye |= draw_factors(rng, PATIENT)
    for name, numbers in counts.items():
        for quadrant, number in zip(QUADRANTS, numbers, strict=True):
            eye[f"{name}_{quadrant}"] = int(number)
    return eye | {"neovascularisation": new_vessels, "preretinal_haemorrhage": bleeding}


def _lesion_counts(rng: Rng, grade: int) -> dict[str, Array]:
    """Lesions of each kind in the four quadrants, in the order of `QUADRANTS`."""
    signs = _severe_signs(rng, grade)
    bleedings = (EXTENSIVE + 1, EXTENSIVE + 9) if signs.haemorrhages else HAEMORRHAGES[grade]
    order = rng.permutation(4)  # of the quadrants, the first to be beaded first
    counts = {
        "microaneurysms": rng.integers(*MICROANEURYSMS[grade], 4),
        "haemorrhages": rng.integers(*bleedings, 4),
        "exudates": rng.integers(*EXUDATES[grade], 4),
        "cotton_wool": rng.integers(*COTTON_WOOL[grade], 4),
    }
    beaded = int(rng.integers(2, 5)) if signs.beading else 0
    counts["beading"] = (order < beaded).astype(int)
    with_irma = int(rng.integers(1, 4)) if signs.irma else 0
    counts["irma"] = (order[::-1] < with_irma).astype(int)
    return counts


def _severe_signs(rng: Rng, grade: int) -> _SevereSigns:
    """At least one of the three signs in a severe eye, any of them in some proliferative ones."""
    bits = int(rng.integers(1, 8)) if grade == 3 else 0
    if grade == 4 and rng.random() < SEVERE_PDR_FRACTION:
        bits = int(rng.integers(8))
    return _SevereSigns(bool(bits & 1), bool(bits & 2), bool(bits & 4))


def _grade_of(counts: dict[str, Array], new_vessels: bool, bleeding: bool) -> int:
    """The ICDR grade of an eye with these lesions."""
    total = {name: sum(numbers.tolist()) for name, numbers in counts.items()}
    return icdr_grade(
        total["microaneurysms"],
        counts["haemorrhages"].tolist(),
        beading_quadrants=total["beading"],
        irma_quadrants=total["irma"],
        neovascularisation=new_vessels,
        preretinal_haemorrhage=bleeding,
        exudates=total["exudates"],
        cotton_wool=total["cotton_wool"],
    )


def draw_image(rng: Rng, patient: Factors, size: int) -> tuple[Array, Factors]:
    """Draw one photograph of the eye.

    Returns
    -------
    image : Array
        (size, size, 3) in about [0, 1].
    factors : Factors
        The factors of this exposure.
    """
    factors = draw_factors(rng, IMAGE)
    x, y = grid(size)
    u, v = (part.astype(np.float32) for part in _retinal(x, y, patient, factors))
    place: Placing = partial(_pictured, patient=patient, factors=factors)
    lesions = _lesions(patient, place, u, v)
    image = absorb(
        _choroid(u, v, patient),
        (vessel_density(patient, place, size), BLOOD),
        (_macula(u, v), MACULA),
        (lesions.blood, BLOOD),
    )
    image = _covered(image, lesions.exudates, EXUDATE_COLOUR)
    image = _covered(image, lesions.cotton_wool, COTTON_WOOL_COLOUR)
    image = image * _flash(u, v, factors)[:, :, None] * factors["exposure"]
    image = blur(image, factors["defocus"])
    field = ellipse(x, y, 0, 0, factors["field_radius"], factors["field_radius"])
    return (image + rng.normal(0, 0.008, image.shape)) * field[:, :, None] + 0.01, factors


def _retinal(x: Array, y: Array, patient: Factors, factors: Factors) -> tuple[Array, Array]:
    """Retinal coordinates of picture points: fovea at 0, nasal at positive u, field edge at 1."""
    cosine, sine = np.cos(factors["tilt"]), np.sin(factors["tilt"])
    x = x / factors["field_radius"] - factors["shift_x"]
    y = y / factors["field_radius"] - factors["shift_y"]
    return (x * cosine + y * sine) * _nasal_sign(patient), y * cosine - x * sine


def _pictured(u: Array, v: Array, patient: Factors, factors: Factors) -> tuple[Array, Array]:
    """Picture coordinates of retinal points: the inverse of `_retinal`."""
    cosine, sine = np.cos(factors["tilt"]), np.sin(factors["tilt"])
    u = u * _nasal_sign(patient)
    x = u * cosine - v * sine + factors["shift_x"]
    y = v * cosine + u * sine + factors["shift_y"]
    return x * factors["field_radius"], y * factors["field_radius"]


def _nasal_sign(patient: Factors) -> int:
    """Where the nose is in the picture: 1 at the right (of a right eye), -1 at the left."""
    return 1 if patient["side"] == "right" else -1


def _flash(u: Array, v: Array, factors: Factors) -> Array:
    """The camera's light over the retina."""
    off_centre = (u - factors["flash_x"]) ** 2 + (v - factors["flash_y"]) ** 2
    return np.clip(1.08 - factors["vignetting"] * off_centre, 0.15, 1.15)


def _macula(u: Array, v: Array) -> Array:
    """Density of the macula's pigment, most of it at the fovea."""
    return 0.28 * np.exp(-((u**2 + v**2) / 0.07)) + 0.3 * np.exp(-((u**2 + v**2) / 0.008))


def _covered(image: Array, mask: Array, colour: tuple[float, float, float]) -> Array:
    """The image (size, size, 3) with a colour laid over it as far as the mask covers it."""
    return image + mask[:, :, None] * (np.array(colour) - image)


def _choroid(u: Array, v: Array, patient: Factors) -> Array:
    """Colour of the fundus behind the vessels, (size, size, 3): pigmented choroid, optic disc and cup."""
    rng, size = np.random.default_rng(patient["vessel_seed"] + 1), len(u)
    mottle = 0.12 * smooth_noise(rng, size, 0.25) + 0.1 * smooth_noise(rng, size, 0.06)
    melanin, tint = np.clip(patient["melanin"] * (1 + mottle), 0, 2), patient["redness"]
    image = absorb((0.95, 0.50 - 0.05 * tint, 0.24 + 0.07 * tint), (melanin, MELANIN))
    cx, cy, radius = patient["disc_x"], patient["disc_y"], patient["disc_radius"]
    glow = np.exp(-((u - cx) ** 2 + (v - cy) ** 2) / (2.2 * radius) ** 2)
    image = image * (1 + 0.22 * glow[:, :, None])
    cup = radius * patient["cup_ratio"]
    for reach, colour in ((radius, DISC_COLOUR), (cup, CUP_COLOUR)):
        mask = ellipse(u, v, cx, cy, 0.92 * reach, reach, soft=0.05)
        image = _covered(image, mask, colour)
    return image


def _lesions(patient: Factors, place: Placing, u: Array, v: Array) -> _Lesions:
    """The eye's lesions on a grid of retinal u, v (size, size)."""
    rng, size = np.random.default_rng(patient["lesion_seed"]), len(u)
    spots = {name: _spots(rng, name, patient, place, size) for name in SPOTS}
    blood = [0.95 * spots["microaneurysms"], 1.25 * spots["haemorrhages"]]
    for quadrant in QUADRANTS:
        if patient[f"irma_{quadrant}"]:
            centre = _strewn(rng, quadrant, 1)
            blood.append(0.95 * tangle(rng, centre, 0.16, 4, place, size))
    if patient["neovascularisation"]:
        elsewhere = _strewn(rng, QUADRANTS[int(rng.integers(4))], 1)
        disc = np.reshape((patient["disc_x"], patient["disc_y"]), (2, 1))
        centre = disc if patient["neovascularisation_site"] == "disc" else elsewhere
        blood.append(0.9 * tangle(rng, centre, 0.30, 9, place, size))
    if patient["preretinal_haemorrhage"]:
        blood.append(1.9 * _boat(rng, u, v))
    cotton_wool = 0.8 * blur(np.minimum(spots["cotton_wool"], 1), 0.012)
    return _Lesions(np.max(blood, 0), np.minimum(spots["exudates"], 1), cotton_wool)


def _spots(rng: Rng, name: str, patient: Factors, place: Placing, size: int) -> Array:
    """All round lesions of one kind, (size, size)."""
    macular = name == "exudates"
    quadrants = [_strewn(rng, q, patient[f"{name}_{q}"], macular) for q in QUADRANTS]
    u, v = np.concatenate(quadrants, 1)
    x, y = place(u, v)
    radius = SPOTS[name] * rng.uniform(0.8, 1.25, len(x))
    squash = rng.uniform(0.7, 1.0, len(x))
    turn = rng.uniform(0, np.pi, len(x))
    height = rng.uniform(0.85, 1.1, len(x))
    return stamp(size, x, y, radius, radius * squash, turn, height)


def _strewn(rng: Rng, quadrant: str, number: int, macular: bool = False) -> Array:
    """Retinal u, v (2, number) in a quadrant about the fovea; `macular` ones keep close to it."""
    angle = rng.uniform(0.12, np.pi / 2 - 0.12, number)
    if macular:
        distance = rng.uniform(0.16, 0.45, number)
    else:
        distance = np.sqrt(rng.uniform(0.06, 0.66, number))
    across = 1 if quadrant.endswith("nasal") else -1
    down = 1 if quadrant.startswith("inferior") else -1
    return np.stack([across * distance * np.cos(angle), down * distance * np.sin(angle)])


def _boat(rng: Rng, u: Array, v: Array) -> Array:
    """Mask of blood that has settled before the retina: a boat with a level top."""
    cu, cv = rng.uniform(-0.4, 0.3), rng.choice([-0.35, 0.4])
    width = rng.uniform(0.24, 0.36)
    pool = ellipse(u, v, cu, cv, width, 0.75 * width, soft=0.05)
    return pool * np.clip(0.5 + (v - cv) * len(u) / 3, 0, 1)
