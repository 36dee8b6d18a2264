"""Precision, recall, density, coverage: do the sets lie where the other lies?

A row's ball is open and reaches to its k-th nearest neighbour in its own set. Precision and recall
are of Kynkaanniemi et al. (arXiv 1904.06991, section 2), density and coverage of Naeem et al. (arXiv
2002.09797, equations 4 and 5); strictly nearer counts, as in the package prdc.
"""

from __future__ import annotations

from medisyn_lib.evaluation.fidelity.blocks import Comparison

OVERLAPS = ("precision", "recall", "density", "coverage")


def precision(comparison: Comparison) -> float:
    """Return the fraction of synthetic rows that lie in the ball of some real row, in [0, 1].

    1/m sum_j 1[exists i: y_j in ball(x_i)]: are synthetic images realistic?
    """
    return float(comparison.across.synthetic_in_a_real_ball.double().mean())


def recall(comparison: Comparison) -> float:
    """Return the fraction of real rows that lie in the ball of some synthetic row, in [0, 1].

    1/n sum_i 1[exists j: x_i in ball(y_j)]: are real images reached?
    """
    return float(comparison.across.real_in_a_synthetic_ball.double().mean())


def density(comparison: Comparison) -> float:
    """Return the mean number of real balls around a synthetic row over k; may exceed 1.

    1/(k m) sum_i sum_j 1[y_j in ball(x_i)]: do synthetic images lie where real ones are dense?
    """
    counts = comparison.across.synthetic_per_real_ball
    n, m = len(counts), len(comparison.across.synthetic_in_a_real_ball)
    return float((counts * n / m / comparison.k).mean())


def coverage(comparison: Comparison) -> float:
    """Return the fraction of real rows whose ball holds some synthetic row, in [0, 1].

    1/n sum_i 1[exists j: y_j in ball(x_i)]: are all real images matched?
    """
    return float((comparison.across.synthetic_per_real_ball > 0).double().mean())
