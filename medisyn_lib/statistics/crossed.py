"""Means over crossed designs: independent draws of one thing, all measured on the same clusters of another."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from medisyn_lib.statistics.estimates import Estimate, student

FEWEST_DRAWS = 5  # that an interval over draws needs


def crossed(rows: ArrayLike, n: int) -> Estimate:
    """Average over draws, with an interval over draws and clusters both.

    The variance is that of the mean over draws plus its jackknife variance over clusters, which counts the
    interaction twice: intervals are cautious.

    Parameters
    ----------
    rows : array_like
        A statistic in each draw, (draws, 1 + g): over all items, then without each of g clusters.
    n : int
        Number of items, to be reported.

    Returns
    -------
    Estimate
        Without an interval below five draws or two clusters.
    """
    table = np.asarray(rows, np.float64)
    draws = len(table)
    g = table.shape[1] - 1
    variance = None
    if draws >= FEWEST_DRAWS and g > 1:
        over_draws = table[:, 0].var(ddof=1) / draws
        over_clusters = (g - 1) * table[:, 1:].mean(0).var()
        variance = float(over_draws + over_clusters)
    return student(float(table[:, 0].mean()), variance, draws - 1, n)
