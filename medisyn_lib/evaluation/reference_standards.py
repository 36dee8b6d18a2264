"""Reference standards made of graders' readings: majority, median, adjudication, and what each costs.

Krause et al. 2017 (arXiv 1710.01711) compare the majority of graders with adjudication; rounds are round-robin as in
Schaekermann et al. 2019 (TVST 8(6):40), with or without their rubric. The probabilities of persuasion are our own
assumption.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from medisyn_lib.errors import InputError
from medisyn_lib.evaluation import agreement, graders
from medisyn_lib.phantoms.fundus import GRADES

__all__ = [
    "CATEGORIES",
    "MAX_REVIEWS",
    "Reference",
    "adjudicate",
    "combine",
    "exact",
    "independent",
    "judged",
]

CATEGORIES = len(GRADES)
MAX_REVIEWS = 5  # of an image by one grader in adjudication (Schaekermann et al. 2019)
PERSUADED = 0.75  # probability that a grader accepts a colleague's right feature
MISLED = 0.15  # and a wrong one
NOTICED = 0.5  # that a discussion without rubric comes to a feature which graders see differently


@dataclass(frozen=True)
class Reference:
    """A reference standard of n images.

    Attributes
    ----------
    grades : ndarray
        Grades 0 to 4, int (n,); -1 where ungradable.
    readings : ndarray
        Readings by a grader that each grade cost, int (n,).
    makers : frozenset of str
        Names of the graders who made it.
    unresolved : ndarray
        Where no consensus was reached, bool (n,).
    """

    grades: np.ndarray
    readings: np.ndarray
    makers: frozenset[str]
    unresolved: np.ndarray


def combine(table: ArrayLike, rule: str = "majority") -> np.ndarray:
    """Combine graders' grades into one per image.

    Parameters
    ----------
    table : array_like
        Grades 0 to 4, (n, r); missing where -1 or NaN.
    rule : {"majority", "median"}
        The commonest grade, a tie being settled by the median; or the lower median.

    Returns
    -------
    ndarray
        Grades, int64 (n,); -1 where more than half of the graders gave none.
    """
    counts = (np.asarray(table, np.float64)[:, :, None] == np.arange(CATEGORIES)).sum(1)
    given = counts.sum(1)
    median = (counts.cumsum(1) < (given[:, None] + 1) // 2).sum(1)
    no_tie = (counts == counts.max(1, keepdims=True)).sum(1) == 1
    combined = np.where(no_tie & (rule == "majority"), counts.argmax(1), median)
    return np.where(given * 2 < max(np.shape(table)[1], 1), -1, combined)


def exact(truth: np.ndarray) -> Reference:
    """Make the reference of true grades (n,): free, and made by nobody."""
    return Reference(truth, 0 * truth, frozenset(), truth < 0)


def independent(readings: graders.Readings, rule: str = "majority") -> Reference:
    """Make the reference of a panel that does not discuss: "majority" or "median" of its grades."""
    n, r = readings.grades.shape
    makers = frozenset(readings.names)
    return Reference(
        combine(readings.grades, rule), np.full(n, r), makers, unresolved=np.zeros(n, bool)
    )


def adjudicate(readings: graders.Readings, *, seed: int, rubric: bool = True) -> Reference:
    """Adjudicate to full consensus: graders review an image in turn while their grades differ.

    After `MAX_REVIEWS` by each grader without consensus the median stands. An image is ungradable if most of the
    panel called it so.

    Parameters
    ----------
    readings : Readings
        What each grader saw alone.
    seed : int
        Seed of the discussions.
    rubric : bool
        Whether graders go through a rubric of features, so that no difference goes unnoticed.
    """
    rng = np.random.default_rng([seed, 3])
    errors = readings.errors.copy()
    gradable = combine(readings.grades) >= 0
    r = len(readings.names)
    cost = np.full(len(gradable), r)
    for turn in range(MAX_REVIEWS * r):
        discussed = gradable & _differ(graders.grade(readings.lesions, errors))
        _review(errors, turn % r, discussed, rubric, rng)
        cost += discussed
    grades = graders.grade(readings.lesions, errors)
    consensus = np.where(gradable, combine(grades, "median"), -1)
    makers = frozenset(readings.names)
    return Reference(consensus, cost, makers, unresolved=gradable & _differ(grades))


def judged(
    grades: np.ndarray, makers: frozenset[str], reference: Reference, clusters: ArrayLike
) -> np.ndarray:
    """Compare grades with a reference that their maker had no part in.

    Parameters
    ----------
    grades : ndarray
        Grades (n,) to be judged.
    makers : frozenset of str
        Names of the graders who gave them, or on whose grades the algorithm was tuned.
    reference : Reference
        What they are compared with.
    clusters : array_like
        The images' patients, (n,).

    Returns
    -------
    ndarray
        As `agreement.kappas`.

    Raises
    ------
    InputError
        If one of the makers helped to make the reference.
    """
    both = sorted(makers & reference.makers)
    if both:
        raise InputError(
            f"reference standard: {both[0]!r} helped to make it and cannot be judged by it; leave it out"
        )
    return agreement.kappas(grades, reference.grades, CATEGORIES, clusters)


def _differ(grades: np.ndarray) -> np.ndarray:
    """Where the grades (n, r) of an image are not all equal: bool (n,)."""
    return (grades != grades[:, :1]).any(1)


def _review(
    errors: np.ndarray, reviewer: int, discussed: np.ndarray, rubric: bool, rng: np.random.Generator
) -> None:
    """Let one grader review the images under discussion; `errors` (modes, n, r) change in place.

    The reviewer sees what the others saw. A feature that comes up convinces with probability PERSUADED where the
    reviewer was wrong and any other was right, and with MISLED where the reviewer was right and any other was wrong.
    """
    reviewers = errors[:, :, reviewer]
    others = np.delete(errors, reviewer, axis=2)
    comes_up = discussed & (rubric | (rng.random(reviewers.shape) < NOTICED))
    corrected = PERSUADED * ~others.all(2)
    misled = MISLED * others.any(2)
    probability = np.where(reviewers, corrected, misled)
    errors[:, :, reviewer] ^= comes_up & (rng.random(reviewers.shape) < probability)
