"""A simulated study of grading: three sets of eyes, two kinds of graders, and the references made of their grades."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from medisyn_lib.data import sources
from medisyn_lib.evaluation import graders, reference_standards
from medisyn_lib.evaluation.graders import Lesions, PanelPair, Readings, ReadingsPair
from medisyn_lib.evaluation.reference_standards import CATEGORIES, Reference

if TYPE_CHECKING:
    import datasets
    import pandas as pd

    from medisyn_lib.pipeline.study import Study

ROLES = ("evaluator", "calibration", "test")  # train the network, tune it, test it

# Three graders of each kind; that specialists err less by 0.6 probits is our own choice.
PANELS = PanelPair(
    graders.Panel("ophthalmologist", 3, correlation=0.5),
    graders.Panel("specialist", 3, correlation=0.5, skill=0.6),
)

# References, as figures and tables name them.
TRUTH = "the truth"
MAJORITY = "majority of ophthalmologists"
SPECIALIST_MAJORITY = "majority of specialists"
ADJUDICATED = "adjudicated by specialists"

CORRELATIONS = (0.0, 0.25, 0.5, 0.75, 0.95)  # of graders' errors: those tried
RULE_CORRELATION = 0.5

# Seeds of the graders begin at a number that was fixed before the first run; each use has its own range.
FIRST_SEED = 20261125
FITTING = 0  # of the rates of errors
DISCREPANCIES = 100
SWEEP = 200  # over the correlation of errors
TUNING = 300
SYNTHETIC = 400


@dataclass(frozen=True)
class Eyes:
    """One set of n eyes, whose lesions and therefore grades are known.

    Attributes
    ----------
    lesions : dict
        As of `graders.lesions_of`.
    patients : ndarray
        Patient of each image, (n,).
    """

    lesions: Lesions
    patients: np.ndarray

    @cached_property
    def truth(self) -> np.ndarray:
        """True grades 0 to 4, int64 (n,)."""
        return graders.grade(self.lesions)

    @property
    def n(self) -> int:
        """Number of images."""
        return len(self.patients)


@dataclass(frozen=True)
class GradingSimulation:
    """Eyes for each purpose, of patients who never meet, and the graders who read them."""

    training: Eyes  # of the grading network
    tuning: Eyes  # of its thresholds
    test: Eyes
    panels: PanelPair


def load_images(study: Study) -> dict[str, datasets.Dataset]:
    """Load the fundus phantoms of a study's size for each role, those of a patient in one role alone.

    They are phantoms whatever the study's data source is: the simulation needs to know their lesions.
    """
    return {
        role: sources.load(
            "phantom",
            role=role,
            size=study.settings.size,
            per_modality=study.settings.grading.images,
            modalities=["fundus"],
            seed=study.settings.phantom_seed,
        )
        for role in ROLES
    }


def eyes_of(images: datasets.Dataset) -> Eyes:
    """Take the known lesions and the patients of fundus phantoms from their data set."""
    return Eyes(graders.lesions_of(images["factors"][:]), np.array(images["patient_id"][:]))


def count_grades(simulation: GradingSimulation) -> pd.DataFrame:
    """Count the images of each true grade in each set."""
    import pandas as pd

    sets = {"training": simulation.training, "tuning": simulation.tuning, "test": simulation.test}
    counts = {name: np.bincount(eyes.truth, minlength=CATEGORIES) for name, eyes in sets.items()}
    return pd.DataFrame(counts).rename_axis("grade")


def error_rates(simulation: GradingSimulation) -> pd.Series:
    """List the probability of each mode of error in an image of mean quality and lesion count."""
    import pandas as pd

    return pd.Series(simulation.panels.ophthalmologists.rates, graders.MODES)


def grader_seeds(purpose: int, draws: int) -> range:
    """Return the seeds of as many draws of graders, for one of the purposes above."""
    return range(FIRST_SEED + purpose, FIRST_SEED + purpose + draws)


def single_graders(simulation: GradingSimulation, size: int = 5) -> ReadingsPair:
    """Let graders of both kinds read the test images who help to make no reference."""
    panels = simulation.panels.changed(size=size)
    lesions, first = simulation.test.lesions, FIRST_SEED
    return ReadingsPair(
        graders.read(lesions, panels.ophthalmologists, images=first, graders=first + 1),
        graders.read(lesions, panels.specialists, images=first, graders=first + 2),
    )


def reference_makers(simulation: GradingSimulation) -> ReadingsPair:
    """Let the graders read the test images whose grades make the references there."""
    return graders.read_pair(simulation.test.lesions, simulation.panels, FIRST_SEED)


def make_references(simulation: GradingSimulation) -> Mapping[str, Reference]:
    """Make the references of the test images: the truth, a majority, an adjudication."""
    makers = reference_makers(simulation)
    return {
        TRUTH: reference_standards.exact(simulation.test.truth),
        MAJORITY: reference_standards.independent(makers.ophthalmologists),
        ADJUDICATED: reference_standards.adjudicate(makers.specialists, seed=FIRST_SEED),
    }


def cheap_grades(simulation: GradingSimulation) -> np.ndarray:
    """Grade each training image once, three ophthalmologists taking turns: int64 (n,), -1 where ungradable."""
    seed = FIRST_SEED + 3
    panel = simulation.panels.ophthalmologists
    readings = graders.read(simulation.training.lesions, panel, images=seed, graders=seed)
    images = np.arange(simulation.training.n)
    return readings.grades[images, images % panel.size]


def readings_by_kind(readings: ReadingsPair) -> Mapping[str, Readings]:
    """Name the readings of each kind of graders as tables and figures do."""
    return {"ophthalmologist": readings.ophthalmologists, "specialist": readings.specialists}
