"""How well a classifier does: AUROC, balanced accuracy, calibration error; and the scores of every arm of a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from medisyn_lib.evaluation import agreement
from medisyn_lib.evaluation.utility.arms import Arm, Run
from medisyn_lib.evaluation.utility.tasks import Task
from medisyn_lib.statistics.crossed import crossed
from medisyn_lib.statistics.estimates import Estimate
from medisyn_lib.statistics.jackknife import means

if TYPE_CHECKING:
    import pandas as pd

BINS = 10  # of confidence, in the calibration error
MEASURES = ("AUROC", "balanced accuracy", "calibration error")


class TaskScores(NamedTuple):
    """How well the classifiers of a task do on its test images.

    Attributes
    ----------
    by_arm
        Scores by arm and measure, float64 (draws, 1 + patients): the first column is of all images, the
        others each without one patient.
    correct
        By arm whether the likeliest class is the true one, bool (draws, test images).
    """

    by_arm: Mapping[Arm, Mapping[str, np.ndarray]]
    correct: Mapping[Arm, np.ndarray]

    @property
    def test_images(self) -> int:
        """Number of test images."""
        return next(iter(self.correct.values())).shape[1]


def scores(
    probabilities: np.ndarray, true_classes: np.ndarray, patients: ArrayLike
) -> dict[str, np.ndarray]:
    """Score one classifier, over all images and without each patient.

    Parameters
    ----------
    probabilities
        Of each class in each image, (n, c), rows summing to 1.
    true_classes
        int (n,).
    patients
        Whose image each is, (n,), any labels of g patients.

    Returns
    -------
    scores
        By measure, float64 (1 + g,): `AUROC K` of each class K against the rest, their mean `AUROC`, the
        `balanced accuracy` (mean recall) and the `calibration error`.
    """
    classes = range(probabilities.shape[1])
    aurocs = {
        f"AUROC {k}": agreement.aucs(probabilities[:, k], true_classes == k, patients)
        for k in classes
    }
    correct = probabilities.argmax(1) == true_classes
    recalls = [means(correct, patients, true_classes == k) for k in classes]
    return {
        "AUROC": np.mean(list(aurocs.values()), 0),
        "balanced accuracy": np.mean(recalls, 0),
        "calibration error": calibration_errors(probabilities.max(1), correct, patients),
        **aurocs,
    }


def calibration_errors(
    confidence: np.ndarray, correct: np.ndarray, patients: ArrayLike
) -> np.ndarray:
    """Return the expected calibration error of the likeliest class, over all images and without each patient.

    Parameters
    ----------
    confidence
        Probability of the likeliest class, (n,).
    correct
        Whether it is the true one, bool (n,).
    patients
        Whose image each is, (n,), any labels of g patients.

    Returns
    -------
    errors
        float64 (1 + g,), in [0, 1].

    References
    ----------
    Guo et al., arXiv 1706.04599, equation 3, with ten bins.
    """
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    inside = bins[:, None] == np.arange(BINS)
    gaps = means((confidence - correct)[:, None] * inside, patients)
    return np.abs(gaps).sum(1)


def score_runs(task: Task, runs: Sequence[Run], probabilities: np.ndarray) -> TaskScores:
    """Score the classifiers of a task's runs from their probabilities (runs, test images, classes)."""
    true_classes = task.y[task.test]
    of_runs: dict[Arm, list[dict[str, np.ndarray]]] = {}
    correct: dict[Arm, list[np.ndarray]] = {}
    for run, predicted in zip(runs, probabilities, strict=True):
        of_runs.setdefault(run.arm, []).append(scores(predicted, true_classes, task.patients))
        correct.setdefault(run.arm, []).append(predicted.argmax(1) == true_classes)
    by_arm = {
        arm: {name: np.array([each[name] for each in found]) for name in found[0]}
        for arm, found in of_runs.items()
    }
    return TaskScores(by_arm, {arm: np.array(found) for arm, found in correct.items()})


def level(scored: TaskScores, arm: Arm, measure: str = "AUROC") -> Estimate:
    """Return a measure of one arm, its interval over draws and patients, crossed."""
    return crossed(scored.by_arm[arm][measure], scored.test_images)


def measures_table(scored: Mapping[str, TaskScores], n: int) -> pd.DataFrame:
    """Tabulate MEASURES of every arm at n real images, and of real images alone at their largest number."""
    import pandas as pd

    rows = []
    for task, of_task in scored.items():
        largest = max(arm.n for arm in of_task.by_arm)
        for arm in of_task.by_arm:
            if arm.n in (n, largest):
                values = [level(of_task, arm, measure).value for measure in MEASURES]
                rows.append((task, arm.kind, arm.n, arm.ratio, *values))
    return pd.DataFrame(rows, columns=["task", "arm", "n", "ratio", *MEASURES])
