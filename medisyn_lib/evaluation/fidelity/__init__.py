"""Distances and overlaps of real and synthetic features: one measure a file.

`real` and `synthetic` are FeatureSets or float64 (n, d), n >= 2 and equal unless `unequal`;
InputError names what is not.
"""

from medisyn_lib.evaluation.fidelity.frechet import frechet_distance
from medisyn_lib.evaluation.fidelity.intervals import block_measures, measures
from medisyn_lib.evaluation.fidelity.kernel import kernel_distance
from medisyn_lib.evaluation.fidelity.prdc import OVERLAPS

__all__ = [
    "OVERLAPS",
    "block_measures",
    "frechet_distance",
    "kernel_distance",
    "measures",
]
