"""Tables of the algorithms tuned at equal cost: sizes of tuning sets, levels and gains by cost and by correlation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medisyn_lib.evaluation.grading import break_even
from medisyn_lib.evaluation.grading.reference_quality import SAME_THREE, THREE_OPHTHALMOLOGISTS
from medisyn_lib.evaluation.grading.simulation import (
    ADJUDICATED,
    CORRELATIONS,
    MAJORITY,
    RULE_CORRELATION,
    SPECIALIST_MAJORITY,
)
from medisyn_lib.evaluation.grading.tuning_study import Condition, TuningRuns

if TYPE_CHECKING:
    import pandas as pd

KAPPA = "kappa with the truth"
AUC = "AUC, mild or worse"
GAIN = "gain in kappa"


def size_table(runs: TuningRuns) -> pd.DataFrame:
    """Tabulate the size of the tuning sets of the first draw, by their cost in readings."""
    import pandas as pd

    sizes = {}
    for budget in runs.budgets:
        first = runs.draws[Condition(RULE_CORRELATION, budget)][0]
        sizes[budget] = {name: first[name].images for name in (MAJORITY, ADJUDICATED)}
    return pd.DataFrame(sizes)


def cost_table(runs: TuningRuns) -> pd.DataFrame:
    """Tabulate kappa, AUC and gain by cost: columns panel, group (reference), x (images), estimate."""
    import pandas as pd

    levels, gains = [], []
    for budget in runs.budgets:
        condition = Condition(RULE_CORRELATION, budget)
        for name in (MAJORITY, SPECIALIST_MAJORITY, ADJUDICATED):
            size = runs.images(condition, name)
            levels.append((KAPPA, name, size, runs.kappa(condition, name)))
            levels.append((AUC, name, size, runs.auc(condition, name)))
            if name != MAJORITY:
                gains.append((GAIN, name, size, runs.kappa_gain(condition, of=name)))
    return pd.DataFrame(levels + gains, columns=["panel", "group", "x", "estimate"])


def gain_by_cost(runs: TuningRuns) -> pd.DataFrame:
    """Tabulate what adjudication gains an algorithm, by cost in readings: panel, group, x, estimate."""
    import pandas as pd

    rows = []
    for budget in runs.budgets:
        estimate = runs.kappa_gain(Condition(RULE_CORRELATION, budget))
        rows.append(("algorithm", "cost in readings", budget, estimate))
    return pd.DataFrame(rows, columns=["panel", "group", "x", "estimate"])


def gain_by_correlation(runs: TuningRuns) -> pd.DataFrame:
    """Tabulate what adjudication gains an algorithm, by the correlation of errors: x, group, estimate."""
    import pandas as pd

    rows = []
    for correlation in CORRELATIONS:
        condition = Condition(correlation, runs.rule.budget)
        over_same = runs.kappa_gain(condition, over=SPECIALIST_MAJORITY)
        rows.append((correlation, SAME_THREE, over_same))
        rows.append((correlation, THREE_OPHTHALMOLOGISTS, runs.kappa_gain(condition)))
    return pd.DataFrame(rows, columns=["x", "group", "estimate"])


def break_even_table(by_correlation: pd.DataFrame, runs: TuningRuns) -> pd.DataFrame:
    """Tabulate where gains break even: by the correlation of errors, and the algorithm's by cost.

    `by_correlation` has the columns of `gain_by_correlation` and a column panel.
    """
    import pandas as pd

    return break_even.break_even_table(pd.concat([by_correlation, gain_by_cost(runs)]))
