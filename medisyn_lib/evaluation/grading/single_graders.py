"""How far single graders agree, with one another and with reference standards they had no part in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from medisyn_lib.evaluation import agreement, reference_standards
from medisyn_lib.evaluation.graders import Readings, ReadingsPair
from medisyn_lib.evaluation.grading.simulation import (
    ADJUDICATED,
    MAJORITY,
    Eyes,
    readings_by_kind,
)
from medisyn_lib.evaluation.reference_standards import CATEGORIES, Reference
from medisyn_lib.statistics.estimates import Estimate

if TYPE_CHECKING:
    import pandas as pd

    from medisyn_lib.evaluation.grading.tuning import Predictions
    from medisyn_lib.evaluation.grading.tuning_study import JudgedAlgorithm

CUTOFFS = {1: "mild or worse", 2: "moderate or worse", 3: "severe or worse"}
ROC_POINTS = 40
ALGORITHM_CURVE = "algorithm, every threshold"
ALGORITHM_POINT = "algorithm, its own threshold"


class TwoIntervals(NamedTuple):
    """One value with its interval over images (these graders) and over graders (these images)."""

    over_images: Estimate
    over_graders: Estimate


def over_graders(values: Sequence[float | None] | np.ndarray) -> Estimate:
    """Average one value per grader, (r,), with the jackknife interval over graders."""
    of_graders = np.asarray(values, np.float64)
    without = [np.delete(of_graders, k).mean() for k in range(len(of_graders))]
    return agreement.interval([of_graders.mean(), *without], len(of_graders))


def fleiss_kappa(readings: Readings, test: Eyes) -> Estimate:
    """Estimate Fleiss' kappa of one kind of graders, with the interval over images, by patient."""
    return agreement.over_items(agreement.fleiss_kappas, readings.grades, CATEGORIES, test.patients)


def with_references(
    readings: ReadingsPair, references: Mapping[str, Reference], test: Eyes
) -> pd.DataFrame:
    """Tabulate every grader's kappa with every reference: columns label (grader), group (reference), estimate."""
    import pandas as pd

    rows = []
    for kind, panel in readings_by_kind(readings).items():
        for column, name in enumerate(panel.names):
            for against, reference in references.items():
                kappas = reference_standards.judged(
                    panel.grades[:, column], frozenset([name]), reference, test.patients
                )
                estimate = agreement.interval(kappas, test.n)
                rows.append((f"{kind} {column + 1}", against, estimate))
    return pd.DataFrame(rows, columns=["label", "group", "estimate"])


def algorithms_with_references(
    algorithms: Mapping[str, JudgedAlgorithm], references: Mapping[str, Reference], test: Eyes
) -> pd.DataFrame:
    """Tabulate the kappa of algorithms, named by what they were tuned on, as `with_references` does."""
    import pandas as pd

    rows = []
    for tuned_on, algorithm in algorithms.items():
        grades = algorithm.predictions.grades
        for against, reference in references.items():
            kappas = reference_standards.judged(grades, algorithm.makers, reference, test.patients)
            estimate = agreement.interval(kappas, test.n)
            rows.append((f"algorithm, tuned on {tuned_on}", against, estimate))
    return pd.DataFrame(rows, columns=["label", "group", "estimate"])


def within_kinds(readings: ReadingsPair, test: Eyes) -> pd.DataFrame:
    """Tabulate agreement within each kind of graders.

    Kappa with the truth is the mean of the graders; Fleiss' kappa and Gwet's AC2 compare them with one another.

    Returns
    -------
    DataFrame
        Columns graders (the kind), statistic, over images, over graders: the last two hold estimates.
    """
    import pandas as pd

    rows = []
    for kind, panel in readings_by_kind(readings).items():
        for name, found in _agreement(panel, test).items():
            rows.append((kind, name, found.over_images, found.over_graders))
    return pd.DataFrame(rows, columns=["graders", "statistic", "over images", "over graders"])


def operating_points(readings: ReadingsPair, test: Eyes) -> pd.DataFrame:
    """Tabulate sensitivity and specificity of all readings of each kind of graders, at three cut-offs.

    Returns
    -------
    DataFrame
        Columns graders (the kind), cut-off, what, over images, over graders: the last two hold estimates.
    """
    import pandas as pd

    rows = []
    for kind, panel in readings_by_kind(readings).items():
        for cutoff, words in CUTOFFS.items():
            for what, found in _sensitivity_and_specificity(panel, test, cutoff).items():
                rows.append((kind, words, what, found.over_images, found.over_graders))
    columns = ["graders", "cut-off", "what", "over images", "over graders"]
    return pd.DataFrame(rows, columns=columns)


def roc_table(
    algorithm: Predictions, readings: ReadingsPair, references: Mapping[str, Reference], test: Eyes
) -> pd.DataFrame:
    """Tabulate the ROC curve of an algorithm, "mild or worse", and the point of each grader, by two references.

    Returns
    -------
    DataFrame
        Columns panel (the reference), group, loose (a point, not a curve), sensitivity, specificity: estimates.
    """
    import pandas as pd

    score = algorithm.probabilities[:, 0]
    points = {ALGORITHM_POINT: [algorithm.grades]}
    for kind, panel in readings_by_kind(readings).items():
        points[kind] = list(panel.grades.T)
    rows = []
    for against in (MAJORITY, ADJUDICATED):
        reference = references[against].grades
        mild_or_worse = np.minimum(reference, 1)
        for threshold in np.quantile(score, np.linspace(0.02, 0.98, ROC_POINTS)):
            above = (score >= threshold).astype(float)
            point = agreement.operating_point(above, mild_or_worse, 1, test.patients)
            rows.append((against, ALGORITHM_CURVE, False, *point))
        for name, graded in points.items():
            for grades in graded:
                point = agreement.operating_point(grades, reference, 1, test.patients)
                rows.append((against, name, True, *point))
    return pd.DataFrame(rows, columns=["panel", "group", "loose", "sensitivity", "specificity"])


def _agreement(panel: Readings, test: Eyes) -> dict[str, TwoIntervals]:
    """Three statistics of one kind of graders."""
    kappas = np.array(
        [
            agreement.kappas(column, test.truth, CATEGORIES, test.patients)
            for column in panel.grades.T
        ]
    )
    with_truth = agreement.interval(kappas.mean(0), test.n)
    found = {"kappa with the truth": TwoIntervals(with_truth, over_graders(kappas[:, 0]))}
    statistics = {"Fleiss' kappa": agreement.fleiss_kappas, "Gwet's AC2": agreement.gwet_ac2s}
    for name, statistic in statistics.items():
        found[name] = TwoIntervals(
            agreement.over_items(statistic, panel.grades, CATEGORIES, test.patients),
            agreement.over_raters(statistic, panel.grades, CATEGORIES),
        )
    return found


def _sensitivity_and_specificity(
    panel: Readings, test: Eyes, cutoff: int
) -> dict[str, TwoIntervals]:
    """Both rates of one kind of graders: of all readings by patient, and the mean of the graders'."""
    graders = panel.grades.shape[1]
    pooled = agreement.operating_point(
        panel.grades.T.ravel(),
        np.tile(test.truth, graders),
        cutoff,
        np.tile(test.patients, graders),
    )
    each = [
        agreement.operating_point(column, test.truth, cutoff, test.patients)
        for column in panel.grades.T
    ]
    sensitivities = [point.sensitivity.value for point in each]
    specificities = [point.specificity.value for point in each]
    return {
        "sensitivity": TwoIntervals(pooled.sensitivity, over_graders(sensitivities)),
        "specificity": TwoIntervals(pooled.specificity, over_graders(specificities)),
    }
