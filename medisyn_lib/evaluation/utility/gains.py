"""How much one arm does better than another: the contrasts of a task, and their mean over tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from medisyn_lib.evaluation.subgroups import Subgroups, by_subgroup, stated_columns
from medisyn_lib.evaluation.utility import arms
from medisyn_lib.evaluation.utility.arms import Arm
from medisyn_lib.evaluation.utility.images import TaskImages, held_out_table
from medisyn_lib.evaluation.utility.scores import TaskScores, level
from medisyn_lib.statistics.crossed import crossed
from medisyn_lib.statistics.estimates import Estimate, student

if TYPE_CHECKING:
    import datasets
    import pandas as pd

    from medisyn_lib.pipeline.study import Study

PRIMARY = "mixed 1:1"
MORE_REAL = "more real data"
SHUFFLED = "shuffled classes 1:1"
SYNTHETIC_ALONE = "synthetic alone, as many"
REAL_AND_SEEN = "real, n + N"
CONTRASTS = (PRIMARY, MORE_REAL, SHUFFLED, SYNTHETIC_ALONE, REAL_AND_SEEN)


def gain(scored: TaskScores, arm: Arm, over: Arm, measure: str = "AUROC") -> Estimate:
    """Return how much higher a measure is in one arm than in another, over the draws that both have.

    Differences are paired by draw of the real images and by test patient; the interval is crossed.
    """
    values = scored.by_arm[arm][measure]
    baseline = scored.by_arm[over][measure]
    draws = min(len(values), len(baseline))
    return crossed(values[:draws] - baseline[:draws], scored.test_images)


def largest_real_arm(scored: TaskScores) -> Arm:
    """Return the arm of all n + N real images, those that the generator saw included."""
    sizes = [arm.n for arm in scored.by_arm if arm.kind == arms.REAL]
    return Arm(arms.REAL, max(sizes, default=0), 0)


def contrasts(scored: TaskScores, sizes: Sequence[int]) -> dict[str, Estimate]:
    """Compare with the smallest number of real images, augmented, what the rule and the controls speak of.

    Parameters
    ----------
    scored
        The scores of a task.
    sizes
        The task's numbers of real images. More real data are the largest of them where that arm was
        trained, else all n + N.

    Returns
    -------
    gains
        The gain in AUROC of each of CONTRASTS whose arm was trained.
    """
    smallest, largest = sizes[0], sizes[-1]
    everything = largest_real_arm(scored)
    more_real = arms.baseline_arm(largest)
    if more_real not in scored.by_arm:
        more_real = everything
    compared = {
        PRIMARY: arms.primary_arm(smallest),
        MORE_REAL: more_real,
        SHUFFLED: arms.shuffled_arm(smallest),
        SYNTHETIC_ALONE: arms.synthetic_arm(smallest),
        REAL_AND_SEEN: everything,
    }
    baseline = arms.baseline_arm(smallest)
    return {
        name: gain(scored, arm, baseline) for name, arm in compared.items() if arm in scored.by_arm
    }


def mean_over_tasks(estimates: Sequence[Estimate], draws: int) -> Estimate:
    """Average estimates over tasks, with Student's interval; draws of one task say nothing of another's.

    Parameters
    ----------
    estimates
        One per task, each resting on `draws` draws.
    draws
        Number of draws; the interval has `draws - 1` degrees of freedom.

    Returns
    -------
    mean
        Without an interval where one of the estimates has none, without a value where there are none.
    """
    from scipy.stats import t

    n = sum(estimate.n for estimate in estimates)
    if not estimates:
        return Estimate(None, None, None, n)
    mean = float(np.mean(np.array([estimate.value for estimate in estimates], np.float64)))
    low = np.array([estimate.ci_low for estimate in estimates], np.float64)
    high = np.array([estimate.ci_high for estimate in estimates], np.float64)
    if np.isnan(low).any():
        return Estimate(mean, None, None, n)
    errors = (high - low) / 2 / t.ppf(0.975, draws - 1)
    variance = float((errors**2).sum() / len(estimates) ** 2)
    return student(mean, variance, draws - 1, n)


def gains_by_ratio(scored: Mapping[str, TaskScores]) -> pd.DataFrame:
    """Tabulate what synthetic images add to n real ones, both augmented, by n and ratio."""
    import pandas as pd

    rows = []
    for task, of_task in scored.items():
        for arm in of_task.by_arm:
            if arm.kind == arms.MIXED_AUGMENTED:
                found = gain(of_task, arm, arms.baseline_arm(arm.n))
                rows.append((task, arm.n, arm.ratio, found.value, found.ci_low, found.ci_high))
    return pd.DataFrame(rows, columns=["task", "n", "ratio", "gain", "low", "high"])


def gains_by_class(
    scored: Mapping[str, TaskScores], images: Mapping[str, TaskImages], n: int
) -> pd.DataFrame:
    """Tabulate the primary contrast class by class, the rarest of a task first: AUROC against the rest."""
    import pandas as pd

    rows = []
    primary, baseline = arms.primary_arm(n), arms.baseline_arm(n)
    for task, of_task in scored.items():
        classes, counts = np.unique(images[task].real.finding, return_counts=True)
        for k in np.argsort(counts, kind="stable"):
            measure = f"AUROC {k}"
            alone = level(of_task, baseline, measure)
            found = gain(of_task, primary, baseline, measure)
            proportion = counts[k] / counts.sum()
            interval = (found.value, found.ci_low, found.ci_high)
            rows.append((task, classes[k], proportion, alone.value, *interval))
    columns = ["task", "class", "proportion of real", "AUROC real", "gain", "from", "to"]
    return pd.DataFrame(rows, columns=columns)


def gains_by_subgroup(scored: Mapping[str, TaskScores], study: Study) -> Subgroups:
    """Return the primary contrast at the smallest n by sex, age group, ... of the test patients."""
    tables = {task: held_out_table(study, task) for task in scored}
    return gains_in_tables(scored, tables, study.settings.augmentation.smallest_n)


def gains_in_tables(
    scored: Mapping[str, TaskScores], tables: Mapping[str, datasets.Dataset], n: int
) -> Subgroups:
    """Estimate by subgroup how many more test images are classified correctly with synthetic images than without.

    The area under the ROC curve needs all classes in every group; the proportion of correct ones does not.
    Intervals are by patient, over all tasks, with the mean over the draws that both arms have.

    Parameters
    ----------
    scored
        The scores of each task.
    tables
        The test images of each task.
    n
        Number of real images.
    """
    values: list[float] = []
    patients: list[str] = []
    stated = {task: stated_columns(table) for task, table in tables.items()}
    names = list(dict.fromkeys(name for columns in stated.values() for name in columns))
    groups: dict[str, list[str]] = {name: [] for name in names}
    for task, of_task in scored.items():
        mixed, real = (of_task.correct[arm(n)] for arm in (arms.primary_arm, arms.baseline_arm))
        draws = min(len(mixed), len(real))
        values += (mixed[:draws].mean(0) - real[:draws].mean(0)).tolist()
        patients += tables[task]["patient_id"][:]
        for name in names:
            groups[name] += stated[task].get(name, [""] * len(tables[task]))
    rows = by_subgroup(values, patients, groups, proportion=False)
    return Subgroups("correctly classified, mixed 1:1 less real", "gain in accuracy", names, rows)
