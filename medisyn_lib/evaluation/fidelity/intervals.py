"""All measures of two sets at once, and with 95% intervals."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from medisyn_lib.evaluation.fidelity.blocks import compare
from medisyn_lib.evaluation.fidelity.features import Features, encoder_of
from medisyn_lib.evaluation.fidelity.frechet import frechet_distance
from medisyn_lib.evaluation.fidelity.kernel import mmd_variance, unbiased_mmd
from medisyn_lib.evaluation.fidelity.prdc import OVERLAPS, coverage, density, precision, recall
from medisyn_lib.statistics.estimates import Estimate, student
from medisyn_lib.statistics.jackknife import delete_group

# Rows, at the least, that `measures` compares with one another: its time is linear in n.
SUBSET = 1000
STATISTICS = ("FD", "KID", "KID_variance", *OVERLAPS)


def block_measures(
    *,
    real: Features,
    synthetic: Features,
    k: int = 5,
    dtype: str = "float64",
    unequal: bool = False,
) -> dict[str, float]:
    """Return KID, its variance and the overlaps, from one pass over all pairs of rows.

    Parameters
    ----------
    real, synthetic, k, dtype, unequal
        As of `compare`; k = 0 leaves the overlaps out.

    Returns
    -------
    dict of str to float
        KID, KID_variance, precision, recall, density, coverage.

    Raises
    ------
    InputError
        As of `compare`.
    """
    comparison = compare(real=real, synthetic=synthetic, k=k, dtype=dtype, unequal=unequal)
    values = {"KID": unbiased_mmd(comparison), "KID_variance": mmd_variance(comparison)}
    if k:
        for overlap in (precision, recall, density, coverage):
            values[overlap.__name__] = overlap(comparison)
    return values


def measures(
    *,
    real: Features,
    synthetic: Features,
    k: int = 5,
    clusters: ArrayLike | None = None,
    groups: int = 20,
    unequal: bool = False,
) -> dict[str, Estimate]:
    """Return FD, KID and the overlaps with 95% intervals; no interval where nothing varies.

    Intervals are of the delete-group jackknife, by patient where `clusters` is given; else KID has
    its U-statistic's variance. From 2,000 rows on KID and overlaps are means over disjoint random
    subsets, of 1,000 to 2,000 rows of the smaller set: so overlaps do not drift with n.

    Parameters
    ----------
    real, synthetic : FeatureSet or np.ndarray
        (n, d) each.
    k : int
        Nearest neighbours of the overlaps, at least 1.
    clusters : array, optional
        The patient of row i of both sets, (n,).
    groups : int
        Of the jackknife; 0 for no intervals but that of KID.
    unequal : bool
        Whether the sets may differ in number.

    Returns
    -------
    dict of str to Estimate
        By name, such as FD_efflite0; of plain arrays without an encoder.

    Raises
    ------
    InputError
        As of `compare`.

    References
    ----------
    Subsets: Zaremba et al., arXiv 1307.1954 (B-tests).
    """
    n = min(len(real), len(synthetic))
    subsets = max(n // SUBSET, 1)
    subset_of = [
        np.random.default_rng(1).permutation(len(features)) % subsets
        for features in (real, synthetic)
    ]
    arrays: list[Any] = [real, synthetic, *subset_of]  # all have a length and take a mask
    statistics = partial(_statistics, subsets=subsets, k=k, unequal=unequal)
    values, variances, degrees = delete_group(statistics, arrays, clusters, groups)
    value = dict(zip(STATISTICS, values.tolist(), strict=True))
    variance = dict(zip(STATISTICS, variances.tolist(), strict=True))
    degrees_of_freedom = dict.fromkeys(STATISTICS, degrees)
    if clusters is None:
        variance["KID"] = value["KID_variance"] / subsets
        degrees_of_freedom["KID"] = n - 1
    suffix = f"_{encoder_of(real)}" if encoder_of(real) else ""
    return {
        name + suffix: student(value[name], variance[name], degrees_of_freedom[name], n)
        for name in ("FD", "KID", *OVERLAPS)
    }


def _statistics(
    real: Features,
    synthetic: Features,
    subset_of_real: np.ndarray,
    subset_of_synthetic: np.ndarray,
    *,
    subsets: int,
    k: int,
    unequal: bool,
) -> list[float]:
    """STATISTICS of two sets: FD of all rows, the others' means over subsets."""
    distance = frechet_distance(real=real, synthetic=synthetic, unequal=unequal)
    by_subset = []
    for subset in range(subsets):
        values = block_measures(
            real=real[subset_of_real == subset],
            synthetic=synthetic[subset_of_synthetic == subset],
            k=k,
            unequal=unequal,
        )
        by_subset.append(list(values.values()))
    return [distance, *np.mean(by_subset, 0)]
