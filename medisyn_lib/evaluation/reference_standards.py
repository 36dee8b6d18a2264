"""Reference standards out of graders' readings: what they cost, how right they are, what they make of an algorithm.

Krause et al. 2017 (arXiv 1710.01711) compare the majority of graders with adjudication; rounds are round-robin as in
Schaekermann et al. 2019 (TVST 8(6):40), with or without their rubric. The chances of persuasion are our assumption.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from medisyn_lib.data import sources
from medisyn_lib.errors import InputError
from medisyn_lib.evaluation import agreement, graders
from medisyn_lib.phantoms.fundus import GRADES
from medisyn_lib.statistics.estimates import Estimate, student

if TYPE_CHECKING:
    import pandas as pd

Q = len(GRADES)
# Of 193 discrepancies, by `graders.MODES`: the first from the abstract, the next two from a secondary source, the rest.
SHARES = np.array([0.36, 0.20, 0.16, 0.28])
DISCREPANT = 0.10  # of all images; our own choice, the paper's is not public to us
REVIEWS = 5  # of an image by a grader in adjudication, at most (Schaekermann et al. 2019)
PERSUADED, MISLED = 0.75, 0.15  # chance to accept a colleague's right feature, and a wrong one
NOTICED = (
    0.5  # chance that a talk without rubric comes to a feature that the graders see differently
)
MESSIDOR = {
    "image_id": "image",
    "adjudicated_dr_grade": "grade",
    "adjudicated_gradable": "gradable",
}
COLUMNS = ["image", "grader", "grade", "gradable"]
Panels = Sequence[graders.Panel]


@dataclass(frozen=True)
class Reference:
    """Grades (n,), -1 where ungradable, the readings (n,) they cost, who made them, where no consensus came."""

    grades: np.ndarray
    readings: np.ndarray
    makers: frozenset[str]
    open: np.ndarray


def combine(table: ArrayLike, rule: str = "majority") -> np.ndarray:
    """Majority (ties: median) or lower median of grades (n, r); -1 where missing, and where most are missing."""
    counts = (np.asarray(table, np.float64)[:, :, None] == np.arange(Q)).sum(1)
    given = counts.sum(1)
    median = (counts.cumsum(1) < (given[:, None] + 1) // 2).sum(1)
    clear = (counts == counts.max(1, keepdims=True)).sum(1) == 1
    chosen = np.where(clear & (rule == "majority"), counts.argmax(1), median)
    return np.where(given * 2 < max(np.shape(table)[1], 1), -1, chosen)


def independent(readings: graders.Readings, rule: str = "majority") -> Reference:
    """The reference of a panel that does not talk: "majority" or "median" of its grades."""
    n, r = readings.grades.shape
    return Reference(
        combine(readings.grades, rule), np.full(n, r), frozenset(readings.names), np.zeros(n, bool)
    )


def adjudicate(readings: graders.Readings, *, seed: int, rubric: bool = True) -> Reference:
    """Adjudication to full consensus: graders review an image in turn while their grades differ.

    The reviewer sees what the others saw. A feature that they see differently comes up (with the rubric always)
    and convinces with chance PERSUADED if the reviewer was wrong, MISLED if right. After REVIEWS each without
    consensus the median stands. An image is ungradable if most of the panel called it so.
    """
    rng, errors = np.random.default_rng([seed, 3]), readings.errors.copy()
    gradable, r = combine(readings.grades) >= 0, len(readings.names)
    cost = np.full(len(gradable), r)
    for turn in range(REVIEWS * r + 1):
        grades = graders.grade(readings.lesions, errors)
        apart = gradable & (grades != grades[:, :1]).any(1)
        split = apart & (turn < REVIEWS * r)  # after the last review they only look
        mine, others = errors[:, :, turn % r], np.delete(errors, turn % r, 2)
        raised = split & (rubric | (rng.random(mine.shape) < NOTICED))
        chance = np.where(mine, PERSUADED * ~others.all(2), MISLED * others.any(2))
        errors[:, :, turn % r] ^= raised & (rng.random(mine.shape) < chance)
        cost += split
    return Reference(
        np.where(gradable, combine(grades, "median"), -1), cost, frozenset(readings.names), apart
    )


def causes(panels: Sequence[graders.Readings], a: Reference, b: Reference) -> np.ndarray:
    """Which mode made two references differ, (n,), -1 where they agree: the commonest that alone changes the grade."""
    errors = np.concatenate([readings.errors for readings in panels], 2)
    alone = np.broadcast_to(
        np.eye(len(errors), dtype=bool)[:, None], (len(errors), errors.shape[1], len(errors))
    )
    lesions = panels[0].lesions
    held = errors.sum(2).T * (graders.grade(lesions, alone) != graders.grade(lesions)[:, None])
    cause = np.where(
        held.any(1), held.argmax(1), len(errors) - 1
    )  # where none does, "other", the last
    return np.where((a.grades != b.grades) & (a.grades >= 0) & (b.grades >= 0), cause, -1)


def discrepancies(lesions: graders.Lesions, panels: Panels, seeds: Sequence[int]) -> np.ndarray:
    """`causes` of the differences of the first panel's majority from the second's adjudication: (seeds, n)."""
    found = []
    for seed in seeds:
        read = [
            graders.read(lesions, p, images=seed, graders=seed + 1000 * k)
            for k, p in enumerate(panels)
        ]
        found.append(causes(read, independent(read[0]), adjudicate(read[1], seed=seed)))
    return np.array(found)


def calibrate(lesions: graders.Lesions, panels: Panels, seeds: Sequence[int] = range(16)) -> Panels:
    """The panels with those rates of errors at which `discrepancies` are DISCREPANT of all images, by mode SHARES."""
    rates = np.array(panels[0].rates)
    for _ in range(12):
        panels = [replace(panel, rates=tuple(rates.tolist())) for panel in panels]
        found = discrepancies(lesions, panels, seeds)
        share = (found[:, :, None] == np.arange(len(rates))).mean((0, 1))
        rates = np.clip(rates * (SHARES * DISCREPANT / np.maximum(share, 1e-3)) ** 0.4, 1e-3, 0.5)
    return panels


def tune(
    logits: np.ndarray, grades: np.ndarray
) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Logistic regression from a network's logits (n, c) to reference grades, and Youden's threshold of each cut-off.

    Returns a function of logits: chances of grade k or worse, k from 1 on, (n, q - 1), and grades (n,). Images
    without a grade are left out. Raises InputError where fewer than two grades are left.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_curve

    logits, grades = logits[grades >= 0], grades[grades >= 0]
    if len(np.unique(grades)) < 2:
        raise InputError(
            f"tuning set of {len(grades)} images: needs at least two grades; give it more images"
        )
    head = LogisticRegression(max_iter=500).fit(logits, grades)

    def worse(values: np.ndarray) -> np.ndarray:
        return np.stack(
            [head.predict_proba(values)[:, head.classes_ >= k].sum(1) for k in range(1, Q)], 1
        )

    cuts, chances = np.full(Q - 1, 0.5), worse(logits)
    for k in set(grades.tolist()) - {grades.min()}:
        off, on, at = roc_curve(grades >= k, chances[:, k - 1])
        cuts[k - 1] = at[(on - off).argmax()]

    def tuned(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = worse(values)
        return found, (found >= cuts).sum(1)

    return tuned


def judged(
    grades: np.ndarray, makers: frozenset[str], reference: Reference, clusters: ArrayLike
) -> np.ndarray:
    """`agreement.kappas` with a reference; raises InputError where a maker of these grades helped to make it."""
    if both := sorted(makers & reference.makers):
        raise InputError(
            f"reference standard: {both[0]!r} helped to make it and cannot be judged by it; leave it out"
        )
    return agreement.kappas(grades, reference.grades, Q, clusters)


def crossed(rows: ArrayLike, n: int) -> Estimate:
    """Mean over independent draws of rows (draws, 1 + g), as `agreement.kappas` gives them; none below five draws."""
    table = np.asarray(rows, np.float64)
    draws, g, variance = len(table), table.shape[1] - 1, None
    if draws >= agreement.FEWEST_RATERS and g > 1:
        # Of the mean over draws, plus its jackknife over clusters.
        variance = float(table[:, 0].var(ddof=1) / draws + (g - 1) * table[:, 1:].mean(0).var())
    return student(float(table[:, 0].mean()), variance, draws - 1, n)


def read_grades(where: str) -> pd.DataFrame:
    """Grades of a CSV file: image, grader, grade (0 to 4, NaN where ungradable), gradable (1 or 0; 1 where absent).

    The Messidor-2 adjudicated table is known by its columns. A finite data source such as "npz:DIR" gives its fundus
    images' grades, of grader "source". Raises InputError that names the file, line and mend.
    """
    import pandas as pd

    if where.partition(":")[0] in sources.FINITE:
        rows = [
            (r["image_id"], "source", float(r["grade"]), True)
            for r in sources.rows(where)
            if r["grade"] >= 0
        ]
        return pd.DataFrame(rows, columns=COLUMNS)
    try:
        table = pd.read_csv(where, dtype=str).rename(columns=MESSIDOR)
    except (OSError, ValueError) as error:
        raise InputError(
            f"grades {where}: cannot be read as CSV ({type(error).__name__}); give another"
        ) from error
    absent = {"gradable": "1"} | ({"grader": "adjudicated"} if "adjudicated_dme" in table else {})
    table = table.assign(**{name: value for name, value in absent.items() if name not in table})
    if lacking := [name for name in COLUMNS if name not in table]:
        raise InputError(f"grades {where}: no column {lacking[0]!r}; give {', '.join(COLUMNS)}")
    gradable, grades = table["gradable"] == "1", [str(grade) for grade in range(Q)]
    for wrong, what in (
        (table[COLUMNS[:2]].isna().any(axis=1), "an image or a grader without a name: give it one"),
        (~table["gradable"].isin(["0", "1"]), "gradable is neither 1 nor 0: give one of them"),
        (
            gradable & ~table["grade"].isin(grades),
            f"unknown grade: give {', '.join(grades)}, or gradable 0",
        ),
        (
            table.duplicated(COLUMNS[:2]),
            "the image was graded twice by this grader: keep one of the grades",
        ),
    ):
        for line in np.flatnonzero(wrong):
            who = ", ".join(f"{name} {table[name][line]}" for name in COLUMNS[:3])
            raise InputError(f"grades {where}, line {line + 2} ({who}): {what}")
    return table.assign(gradable=gradable, grade=table["grade"].where(gradable).astype(float))[
        COLUMNS
    ]
