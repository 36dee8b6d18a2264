"""Simulated graders of diabetic retinopathy over fundus phantoms, whose lesions are known. They are not physicians.

A grader errs by named modes: each changes which lesions are seen, and the ICDR rule makes the grade of these.
An error happens where a liability passes the mode's threshold; graders share its part that is the image's own
(how ambiguous it is), so that errors are correlated as set, and poor photographs add to it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medisyn_lib.phantoms.fundus import EXTENSIVE, GRADES, QUADRANTS

MODES = (
    "missed microaneurysms",
    "artifacts taken for lesions",
    "misclassified haemorrhages",
    "other",
)
LENIENT = np.array([1, -1, 0, 0])[
    :, None, None
]  # a grader whose criterion is high overlooks more, imagines less
POOR, FEW = (
    0.4,
    0.5,
)  # probits: of a standard deviation of poor quality; of half as many microaneurysms
QUALITY = (
    ("defocus", 0.004, 0.00115),
    ("exposure", 0.935, -0.107),
)  # mean and spread of what is drawn; dark is poor
UNGRADABLE = (
    1.9  # standard deviations of poor quality above which a grader of mean criterion will not grade
)
COUNTED = ("microaneurysms", "haemorrhages", "exudates", "cotton_wool", "beading", "irma")
Lesions = dict[str, np.ndarray]


@dataclass(frozen=True)
class Panel:
    """Graders of one kind: chances of the modes in a mean image, mean skill in probits, its and the criterion's
    standard deviation among graders, and the (tetrachoric) correlation of two graders' errors of a mode.
    """

    name: str
    size: int
    rates: tuple[float, ...] = (0.2, 0.08, 0.08, 0.1)
    skill: float = 0.0
    spread: float = 0.25
    correlation: float = 0.5


@dataclass(frozen=True)
class Readings:
    """What graders saw: errors bool (modes, n, r), grades int (n, r), -1 where one called the image ungradable."""

    lesions: Lesions
    names: list[str]
    errors: np.ndarray
    grades: np.ndarray


def lesions_of(factors: Sequence[str]) -> Lesions:
    """Lesions of fundus phantoms, arrays (n,), from the JSON column `factors`; `poor` is how poor the photograph is."""
    rows = [json.loads(text) for text in factors]
    counts = {
        name: np.array([[row[f"{name}_{q}"] for q in QUADRANTS] for row in rows])
        for name in COUNTED
    }
    known = {name: count.sum(1) for name, count in counts.items()}
    known["extensive"] = counts["haemorrhages"].min(1) > EXTENSIVE
    known["growth"] = np.array(
        [row["neovascularisation"] or row["preretinal_haemorrhage"] for row in rows]
    )
    known["poor"] = (
        np.array([sum((row[name] - mean) / sd for name, mean, sd in QUALITY) for row in rows])
        / 2**0.5
    )
    return known


def grade(lesions: Lesions, errors: np.ndarray | None = None) -> np.ndarray:
    """ICDR grades int64 (n, r) of the lesions that graders see, errors bool (modes, n, r); true ones (n,) without.

    Missed: no microaneurysm is seen. Artifacts: one passes for a microaneurysm, in every second image for an
    exudate. Haemorrhages: dots are called haemorrhages where there is none, else extensive ones are not
    recognised. Other: vessel signs are overlooked, in every second image imagined where there is bleeding.
    """
    if errors is None:
        return grade(lesions, np.zeros((len(MODES), len(lesions["poor"]), 1), bool))[:, 0]
    missed, artifact, blood, other = errors
    see = {name: values[:, None] for name, values in lesions.items()}
    odd = (see["microaneurysms"] + see["exudates"] + see["haemorrhages"]) % 2 == 1
    dots = (see["microaneurysms"] > 0) & ~missed | artifact
    bled = (see["haemorrhages"] > 0) | (dots & blood & ~artifact)
    severe = (see["extensive"] & ~blood) | ((see["beading"] > 1) | (see["irma"] > 0)) & ~other
    severe |= other & odd & (see["haemorrhages"] > 0)
    soft = (see["exudates"] + see["cotton_wool"] > 0) | (artifact & odd)
    result = np.where(bled | soft | (see["beading"] > 0), 2, dots.astype(np.int64))
    return np.where(see["growth"] & ~other, len(GRADES) - 1, np.where(severe, 3, result))


def read(lesions: Lesions, panel: Panel, *, images: int, graders: int) -> Readings:
    """The panel's independent readings; seeds `images` (the ambiguity that all panels share) and `graders`."""
    from scipy.stats import norm

    n, shared, own = (
        len(lesions["poor"]),
        np.random.default_rng([images, 1]),
        np.random.default_rng([graders, 2]),
    )
    ambiguity = shared.normal(size=(len(MODES), n, 1))
    skill, criterion = panel.spread * own.normal(size=(2, panel.size))
    noise = own.normal(size=(len(MODES), n, panel.size))
    liability = panel.correlation**0.5 * ambiguity + (1 - panel.correlation) ** 0.5 * noise
    liability += POOR * lesions["poor"][:, None] - panel.skill - skill + LENIENT * criterion
    liability[0] -= FEW * np.log2(np.maximum(lesions["microaneurysms"], 1) / 8)[:, None]
    errors = liability > norm.isf(np.array(panel.rates))[:, None, None]
    grades = grade(lesions, errors)
    doubt = lesions["poor"][:, None] + 0.5 * own.normal(size=grades.shape) - criterion
    names = [f"{panel.name} {graders}-{number + 1}" for number in range(panel.size)]
    return Readings(lesions, names, errors, np.where(doubt > UNGRADABLE, -1, grades))
