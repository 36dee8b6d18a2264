"""Learning curves, and how many real images synthetic ones are worth, read from the curve of real images alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from medisyn_lib.evaluation.utility import arms
from medisyn_lib.evaluation.utility.arms import Arm
from medisyn_lib.evaluation.utility.gains import gain, largest_real_arm
from medisyn_lib.evaluation.utility.scores import TaskScores, level
from medisyn_lib.statistics.estimates import Estimate

if TYPE_CHECKING:
    import pandas as pd

# The curves that are drawn, and the synthetic images per real one of each.
CURVES = {
    arms.REAL: 0,
    arms.REAL_AUGMENTED: 0,
    arms.MIXED_AUGMENTED: 1,
    arms.SYNTHETIC_THEN_REAL: 1,
    arms.SYNTHETIC: 1,
}
COMPARED_WITH_REAL = (arms.SYNTHETIC, arms.MIXED, arms.SYNTHETIC_THEN_REAL)  # not augmented either


def learning_curves(scored: Mapping[str, TaskScores]) -> pd.DataFrame:
    """Tabulate AUROC and its interval by task, kind of training set and number of real images, of CURVES."""
    import pandas as pd

    kinds = list(CURVES)
    rows = []
    for task, of_task in scored.items():
        drawn = [arm for arm in of_task.by_arm if CURVES.get(arm.kind) == arm.ratio]
        for arm in sorted(drawn, key=lambda arm: kinds.index(arm.kind)):
            auroc = level(of_task, arm)
            rows.append((task, arm.kind, arm.n, auroc.value, auroc.ci_low, auroc.ci_high))
    table = pd.DataFrame(rows, columns=["task", "kind", "n", "auroc", "low", "high"])
    return table.astype({"auroc": float, "low": float, "high": float})


def equivalent_real_images(
    sizes: Sequence[int], curve: Sequence[float | None], value: float | None
) -> float:
    """Return how many real images reach a value on their learning curve.

    The curve is made monotone by isotonic regression (Barlow et al., Statistical Inference under Order
    Restrictions, 1972), and is linear in log n between its points. Of a flat stretch the fewest count.

    Parameters
    ----------
    sizes
        Numbers of real images, ascending.
    curve
        What each of them reaches, of the same length.
    value
        What is to be reached.

    Returns
    -------
    n
        0 below the first point of the curve, infinite above the last, NaN without a value.
    """
    from sklearn.isotonic import isotonic_regression

    rising = isotonic_regression(np.array(curve, np.float64))
    if value is None:
        return np.nan
    if value < rising[0]:
        return 0.0
    if value > rising[-1]:
        return np.inf
    fewest = np.unique(rising, return_index=True)[1]
    log_sizes = np.log(np.asarray(sizes, np.float64))
    return float(np.exp(np.interp(value, rising[fewest], log_sizes[fewest])))


def equivalents_table(scored: Mapping[str, TaskScores], n: int) -> pd.DataFrame:
    """Tabulate how many real images each arm of n real images is worth, with the interval of its gain."""
    import pandas as pd

    rows = []
    for task, of_task in scored.items():
        sizes = sorted(arm.n for arm in of_task.by_arm if arm.kind == arms.REAL)
        curve = [level(of_task, Arm(arms.REAL, size, 0)).value for size in sizes]
        everything = largest_real_arm(of_task).n
        for arm in of_task.by_arm:
            if arm.n == n and arm.kind in COMPARED_WITH_REAL:
                found = gain(of_task, arm, Arm(arms.REAL, n, 0))
                reached = _shifted(curve[sizes.index(n)], found)
                worth = [equivalent_real_images(sizes, curve, value) for value in reached]
                rows.append((task, arm.kind, n, arm.ratio, *np.round(worth), everything))
    columns = ["task", "arm", "n", "ratio", "worth", "from", "to", "n + N"]
    return pd.DataFrame(rows, columns=columns)


def _shifted(value: float | None, gain: Estimate) -> list[float | None]:
    """A value with a gain added, then with the limits of the gain's interval; None where there is none."""
    edges = (gain.value, gain.ci_low, gain.ci_high)
    return [None if edge is None or value is None else value + edge for edge in edges]
