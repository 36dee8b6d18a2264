"""Simulated graders of diabetic retinopathy over fundus phantoms, whose lesions are known. They are not physicians.

A grader errs in named modes: each changes which lesions are seen, and the ICDR rule makes the grade of these.
An error happens where a liability exceeds the mode's threshold. Graders share the part of it that belongs to
the image (how ambiguous it is), so that their errors are correlated as set; poor photographs add to it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from medisyn_lib.phantoms.fundus import EXTENSIVE, GRADES, QUADRANTS

MODES = (
    "missed microaneurysms",
    "artifacts taken for lesions",
    "misclassified haemorrhages",
    "other",
)
# By mode: a grader with a high criterion misses more and takes fewer artifacts for lesions.
CRITERION_EFFECT = np.array([1, -1, 0, 0])[:, None, None]
POOR = 0.4  # probits, for a standard deviation of poor quality
FEW = 0.5  # probits, for half as many microaneurysms
# Mean and standard deviation of what is drawn; a dark photograph is a poor one.
QUALITY = (("defocus", 0.004, 0.00115), ("exposure", 0.935, -0.107))
# Standard deviations of poor quality above which a grader of mean criterion will not grade.
UNGRADABLE = 1.9
COUNTED = ("microaneurysms", "haemorrhages", "exudates", "cotton_wool", "beading", "irma")
PANEL_SEEDS = 1000  # between the seeds of two panels that read the same images
Lesions = dict[str, np.ndarray]


@dataclass(frozen=True)
class Panel:
    """Graders of one kind.

    Attributes
    ----------
    name : str
        The kind.
    size : int
        The number of graders, r.
    rates : tuple of float
        Probability of each of `MODES` in an image of mean quality and lesion count.
    skill : float
        Mean skill in probits: it lowers the liability to every mode.
    spread : float
        Standard deviation among graders of skill and of criterion, in probits.
    correlation : float
        Tetrachoric correlation of two graders' errors of one mode, 0 to 1.
    """

    name: str
    size: int
    rates: tuple[float, ...] = (0.2, 0.08, 0.08, 0.1)
    skill: float = 0.0
    spread: float = 0.25
    correlation: float = 0.5


class PanelPair(NamedTuple):
    """The two kinds of graders that are compared."""

    ophthalmologists: Panel
    specialists: Panel

    def changed(self, **changes: Any) -> PanelPair:
        """Return both panels with these attributes changed."""
        return PanelPair(
            replace(self.ophthalmologists, **changes), replace(self.specialists, **changes)
        )


@dataclass(frozen=True)
class Readings:
    """What a panel saw.

    Attributes
    ----------
    lesions : dict
        The lesions that are there, as of `lesions_of`.
    names : list of str
        The graders' names, (r,).
    errors : ndarray
        Which mode of error each grader made in each image, bool (modes, n, r).
    grades : ndarray
        Grades 0 to 4, int (n, r); -1 where the grader called the image ungradable.
    """

    lesions: Lesions
    names: list[str]
    errors: np.ndarray
    grades: np.ndarray


class ReadingsPair(NamedTuple):
    """The same images read by both kinds of graders."""

    ophthalmologists: Readings
    specialists: Readings


def lesions_of(factors: Sequence[str]) -> Lesions:
    """Collect the lesions of fundus phantoms.

    Parameters
    ----------
    factors : sequence of str
        The data set's column `factors`: one JSON object per image.

    Returns
    -------
    dict
        Arrays (n,): counts of `COUNTED` lesions, whether haemorrhages are `extensive`, whether there is `growth`
        of vessels, and how `poor` the photograph is, in standard deviations.
    """
    images = [json.loads(text) for text in factors]
    quadrants = {}
    for name in COUNTED:
        columns = [f"{name}_{quadrant}" for quadrant in QUADRANTS]
        quadrants[name] = np.array([[image[column] for column in columns] for image in images])
    lesions = {name: counts.sum(1) for name, counts in quadrants.items()}
    lesions["extensive"] = quadrants["haemorrhages"].min(1) > EXTENSIVE
    lesions["growth"] = np.array(
        [image["neovascularisation"] or image["preretinal_haemorrhage"] for image in images]
    )
    poor = [sum((image[name] - mean) / sd for name, mean, sd in QUALITY) for image in images]
    lesions["poor"] = np.array(poor) / 2**0.5
    return lesions


def grade(lesions: Lesions, errors: np.ndarray | None = None) -> np.ndarray:
    """Grade the lesions that graders see by the International Clinical Diabetic Retinopathy rule.

    Missed: no microaneurysm is seen. Artifacts: one passes for a microaneurysm, in every second image for an
    exudate. Haemorrhages: dots are called haemorrhages where there is none, else extensive ones are not
    recognised. Other: vessel signs are overlooked, in every second image imagined where there is bleeding.

    Parameters
    ----------
    lesions : dict
        As of `lesions_of`.
    errors : ndarray, optional
        Errors of the graders, bool (modes, n, r).

    Returns
    -------
    ndarray
        Grades 0 to 4, int64 (n, r); without `errors` the true ones, (n,).
    """
    if errors is None:
        return grade(lesions, np.zeros((len(MODES), len(lesions["poor"]), 1), bool))[:, 0]
    missed, artifact, blood, other = errors
    there = {name: values[:, None] for name, values in lesions.items()}
    bleeding = there["haemorrhages"] > 0
    spots = there["microaneurysms"] + there["exudates"] + there["haemorrhages"]
    every_second = spots % 2 == 1

    dots = ((there["microaneurysms"] > 0) & ~missed) | artifact
    haemorrhages = bleeding | (dots & blood & ~artifact)
    exudates = (there["exudates"] + there["cotton_wool"] > 0) | (artifact & every_second)
    moderate = haemorrhages | exudates | (there["beading"] > 0)

    vessel_signs = ((there["beading"] > 1) | (there["irma"] > 0)) & ~other
    imagined = other & every_second & bleeding
    severe = (there["extensive"] & ~blood) | vessel_signs | imagined
    proliferative = there["growth"] & ~other

    grades = np.where(moderate, 2, dots.astype(np.int64))
    grades = np.where(severe, 3, grades)
    return np.where(proliferative, len(GRADES) - 1, grades)


def read(lesions: Lesions, panel: Panel, *, images: int, graders: int) -> Readings:
    """Let a panel grade images, each grader alone.

    Parameters
    ----------
    lesions : dict
        As of `lesions_of`.
    panel : Panel
        Who reads.
    images : int
        Seed of the images' ambiguity, which all panels share.
    graders : int
        Seed of the graders and of their own luck.
    """
    n = len(lesions["poor"])
    of_images = np.random.default_rng([images, 1])
    of_graders = np.random.default_rng([graders, 2])
    ambiguity = of_images.normal(size=(len(MODES), n, 1))
    skill, criterion = panel.spread * of_graders.normal(size=(2, panel.size))
    noise = of_graders.normal(size=(len(MODES), n, panel.size))
    quality_noise = 0.5 * of_graders.normal(size=(n, panel.size))

    liability = panel.correlation**0.5 * ambiguity + (1 - panel.correlation) ** 0.5 * noise
    liability += (
        POOR * lesions["poor"][:, None] - panel.skill - skill + CRITERION_EFFECT * criterion
    )
    liability[0] -= _ease_of_microaneurysms(lesions)[:, None]
    errors = liability > _thresholds(panel.rates)[:, None, None]

    doubt = lesions["poor"][:, None] + quality_noise - criterion
    grades = np.where(doubt > UNGRADABLE, -1, grade(lesions, errors))
    names = [f"{panel.name} {graders}-{number + 1}" for number in range(panel.size)]
    return Readings(lesions, names, errors, grades)


def read_pair(lesions: Lesions, panels: PanelPair, seed: int) -> ReadingsPair:
    """Let both kinds of graders read the same images; the luck of images and graders follows from one seed."""
    return ReadingsPair(
        read(lesions, panels.ophthalmologists, images=seed, graders=seed),
        read(lesions, panels.specialists, images=seed, graders=seed + PANEL_SEEDS),
    )


def _thresholds(rates: Sequence[float]) -> np.ndarray:
    """Liabilities (modes,) that a standard normal variable exceeds with the probabilities `rates`."""
    from scipy.stats import norm

    return norm.isf(np.array(rates))


def _ease_of_microaneurysms(lesions: Lesions) -> np.ndarray:
    """How much less microaneurysms are missed than where there are eight: probits (n,)."""
    return FEW * np.log2(np.maximum(lesions["microaneurysms"], 1) / 8)
