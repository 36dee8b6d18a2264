"""How near synthetic images come to real ones: the one summary that studies and benchmarks here quote.

KID and coverage (k = 5) of each modality alone, by features of one encoder, then their means over
modalities and the worst modality's coverage. Pooled over modalities, distances are a fraction of that:
the spread between modalities then hides what is wrong within each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from medisyn_lib.evaluation.fidelity.blocks import compare
from medisyn_lib.evaluation.fidelity.features import Features
from medisyn_lib.evaluation.fidelity.kernel import unbiased_mmd
from medisyn_lib.evaluation.fidelity.prdc import coverage

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["NEIGHBOURS", "Nearness", "nearness", "nearness_by_modality"]

NEIGHBOURS = 5  # of coverage


class Nearness(NamedTuple):
    """Means over modalities.

    Attributes
    ----------
    kid : float
        Kernel distance; 0 is equal in distribution.
    coverage : float
        Proportion of real images near a synthetic one, in [0, 1].
    worst_coverage : float
        Of the modality that is covered least.
    """

    kid: float
    coverage: float
    worst_coverage: float


def nearness_by_modality(
    *, real: Features, synthetic: Features, modality: np.ndarray
) -> pd.DataFrame:
    """Compare each modality alone.

    Parameters
    ----------
    real, synthetic : FeatureSet or np.ndarray
        (n, d) each.
    modality : np.ndarray
        Of row i of both, str (n,); more than 5 rows of each.

    Returns
    -------
    pd.DataFrame
        By modality, in order of appearance: `n`, `KID`, `coverage`.
    """
    import pandas as pd

    rows = {}
    for name in dict.fromkeys(np.asarray(modality).tolist()):
        chosen = np.asarray(modality) == name
        compared = compare(real=real[chosen], synthetic=synthetic[chosen], k=NEIGHBOURS)
        rows[name] = {
            "n": int(chosen.sum()),
            "KID": unbiased_mmd(compared),
            "coverage": coverage(compared),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def nearness(*, real: Features, synthetic: Features, modality: np.ndarray) -> Nearness:
    """Return the means over modalities; arguments as of `nearness_by_modality`."""
    table = nearness_by_modality(real=real, synthetic=synthetic, modality=modality)
    return Nearness(
        float(table["KID"].mean()),
        float(table["coverage"].mean()),
        float(table["coverage"].min()),
    )
