"""A network's logits turned into grades: a logistic regression and thresholds, tuned on reference grades.

All that is tuned is measured against the truth of the test images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from medisyn_lib.errors import InputError
from medisyn_lib.evaluation import agreement
from medisyn_lib.evaluation.reference_standards import CATEGORIES, Reference

if TYPE_CHECKING:
    from medisyn_lib.evaluation.grading.simulation import Eyes
    from medisyn_lib.pipeline.grading_network import Logits


class Predictions(NamedTuple):
    """What a tuned algorithm says of n images.

    Attributes
    ----------
    probabilities : ndarray
        Of grade k or worse, k from 1 on, (n, categories - 1).
    grades : ndarray
        Grades 0 to 4, int (n,).
    """

    probabilities: np.ndarray
    grades: np.ndarray


@dataclass(frozen=True)
class TunedAlgorithm:
    """A logistic regression over logits, and the threshold of each cut-off, (categories - 1,)."""

    regression: Any
    thresholds: np.ndarray

    def predict(self, logits: np.ndarray) -> Predictions:
        """Grade the images of these logits, (n, c)."""
        probabilities = _probabilities_of_worse(self.regression, logits)
        return Predictions(probabilities, (probabilities >= self.thresholds).sum(1))


def tune(logits: np.ndarray, grades: np.ndarray) -> TunedAlgorithm:
    """Fit a logistic regression from logits to reference grades, and Youden's threshold of each cut-off.

    Parameters
    ----------
    logits : ndarray
        A network's logits, (n, c).
    grades : ndarray
        Reference grades, int (n,); images without one (-1) are left out.

    Raises
    ------
    InputError
        If fewer than two grades occur.

    References
    ----------
    Youden, Cancer 1950: the threshold with the largest sensitivity + specificity - 1.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_curve

    graded = grades >= 0
    logits, grades = logits[graded], grades[graded]
    if len(np.unique(grades)) < 2:
        raise InputError(
            f"tuning set of {len(grades)} images: needs at least two grades; give it more images"
        )
    regression = LogisticRegression(max_iter=500).fit(logits, grades)
    probabilities = _probabilities_of_worse(regression, logits)
    thresholds = np.full(CATEGORIES - 1, 0.5)
    for cut in set(grades.tolist()) - {grades.min()}:
        false_positive, sensitivity, at = roc_curve(grades >= cut, probabilities[:, cut - 1])
        thresholds[cut - 1] = at[(sensitivity - false_positive).argmax()]
    return TunedAlgorithm(regression, thresholds)


def random_order(n: int, seed: int) -> np.ndarray:
    """Order in which n images enter a tuning set: a permutation, int64 (n,)."""
    return np.random.default_rng([seed, 7]).permutation(n)


def tuning_set(reference: Reference, budget: int, seed: int) -> np.ndarray:
    """Choose images, in random order, as many as a number of readings pays for: int64 (k,)."""
    order = random_order(len(reference.grades), seed)
    return order[reference.readings[order].cumsum() <= budget]


def tune_on_reference(
    network: Logits, reference: Reference, budget: int, seed: int
) -> TunedAlgorithm:
    """Tune a network on the images that a number of readings pays for, graded by a reference."""
    images = tuning_set(reference, budget, seed)
    return tune(network.tuning[images], reference.grades[images])


def tune_on_labels(
    networks: Sequence[Logits], labels: np.ndarray, images: int, seed: int, test: Eyes
) -> np.ndarray:
    """Tune a network on labels given for free, and compare it with the truth.

    Parameters
    ----------
    networks : sequence of Logits
        One per training seed; the draw's seed chooses among them.
    labels : ndarray
        A grade of each tuning image, int (n,).
    images : int
        How many images the tuning set has.
    seed : int
        Seed of the draw, as of `tuning_set`.
    test : Eyes
        The test images.

    Returns
    -------
    ndarray
        `agreement.kappas` with the truth, (1 + patients,).
    """
    chosen = random_order(len(labels), seed)[:images]
    network = networks[seed % len(networks)]
    algorithm = tune(network.tuning[chosen], labels[chosen])
    grades = algorithm.predict(network.test).grades
    return agreement.kappas(grades, test.truth, CATEGORIES, test.patients)


def _probabilities_of_worse(regression: Any, logits: np.ndarray) -> np.ndarray:
    """Probabilities of grade k or worse, k from 1 on, (n, categories - 1)."""
    by_class = regression.predict_proba(logits)
    columns = [by_class[:, regression.classes_ >= k].sum(1) for k in range(1, CATEGORIES)]
    return np.stack(columns, 1)
