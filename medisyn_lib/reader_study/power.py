"""How many pairs of images a reader study needs."""

from __future__ import annotations

import math

from medisyn_lib.evaluation.agreement import FEWEST_RATERS

# Assumptions of the power calculation.
CORRELATION = 0.1  # of two readers' answers to one pair, beyond chance
ACCURACY_SD = 0.03  # of readers' own accuracies, where readers are a sample
LARGEST_MARGIN = 0.4


def pairs_needed(
    margin: float, readers: int, *, power: float = 0.8, alpha: float = 0.05
) -> int | None:
    """Return the pairs for each reader that show a true 50% to lie within `margin` of 50%.

    Few readers are fixed; from five on they are a sample, with t quantiles.

    Parameters
    ----------
    margin : float
        Of equivalence, as a proportion of right answers.
    readers : int
        How many take part.
    power, alpha : float
        Of two one-sided tests.

    Returns
    -------
    int or None
        None where no number is enough.

    References
    ----------
    Schuirmann, J Pharmacokinet Biopharm 1987.
    """
    from scipy.stats import norm, t

    is_sample = readers >= FEWEST_RATERS
    law = t(readers - 1) if is_sample else norm()
    quantiles = law.ppf(1 - alpha) + law.ppf((1 + power) / 2)
    between_readers = ACCURACY_SD**2 / readers if is_sample else 0.0
    allowed = (margin / quantiles) ** 2 - between_readers  # variance of the mean over pairs
    if allowed <= 0:
        return None
    of_one_pair = 0.25 * (1 + (readers - 1) * CORRELATION) / readers
    return math.ceil(of_one_pair / allowed)


def power_table(margin: float, readers: int) -> str:
    """Return a Markdown table of the pairs for half the margin, the margin and twice it, by readers."""
    margins = (margin / 2, margin, min(2 * margin, LARGEST_MARGIN))
    heads = [f"pairs, margin {100 * one:g} points" for one in margins]
    lines = [["readers", *heads], ["---"] * (1 + len(margins))]
    for many in sorted({2, 4, 8, 16, readers}):
        cells = [str(pairs_needed(one, many) or "never") for one in margins]
        lines.append([str(many), *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
