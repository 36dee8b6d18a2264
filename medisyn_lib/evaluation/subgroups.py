"""A measure by sex, age group, site, scanner and view: estimates side by side, and no verdict.

No rule was fixed for differences between subgroups, and with several columns some interval will miss its
neighbour by chance. The table says where to look.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from medisyn_lib.data.rows import SUBGROUPS
from medisyn_lib.statistics.estimates import Estimate
from medisyn_lib.statistics.intervals import cluster_interval, cluster_proportion

if TYPE_CHECKING:
    import datasets

__all__ = ["MIN_PATIENTS", "SubgroupEstimate", "Subgroups", "by_subgroup", "stated_columns"]

MIN_PATIENTS = 20  # of a group, as of a test split


@dataclass(frozen=True)
class SubgroupEstimate:
    """A measure in one group.

    Attributes
    ----------
    column
        What the group is one of, such as "sex".
    group
        Its name in the data; "unknown" where the data state none.
    patients
        In the group; where identity is unknown, as many as are stated.
    estimate
        Mean or proportion with a 95% interval by patient; with fewer than 20 patients its number of images
        alone.
    """

    column: str
    group: str
    patients: int
    estimate: Estimate

    def as_row(self) -> dict[str, str | int | float | None]:
        """Return it flat, as files hold it: the estimate's value, ci_low, ci_high and n beside the rest."""
        return {
            "column": self.column,
            "group": self.group,
            "patients": self.patients,
            "value": self.estimate.value,
            "ci_low": self.estimate.ci_low,
            "ci_high": self.estimate.ci_high,
            "n": self.estimate.n,
        }


class Subgroups(NamedTuple):
    """One measure by subgroup.

    Attributes
    ----------
    measure, unit
        What was measured, in words.
    stated
        The columns in which the data state something.
    rows
        Of those that can be compared (`by_subgroup`).
    """

    measure: str
    unit: str
    stated: Sequence[str]
    rows: Sequence[SubgroupEstimate]


def stated_columns(dataset: datasets.Dataset) -> dict[str, list[str]]:
    """Return the columns of a dataset that `by_subgroup` takes: groups in which at least one is stated."""
    columns = {name: list(dataset[name]) for name in SUBGROUPS if name in dataset.column_names}
    return {name: values for name, values in columns.items() if any(values)}


def by_subgroup(
    values: ArrayLike,
    patients: Sequence[str],
    groups: Mapping[str, Sequence[str]],
    *,
    proportion: bool,
) -> list[SubgroupEstimate]:
    """Estimate a measure in each group.

    Parameters
    ----------
    values
        Of each image, finite, (n,).
    patients
        The patient of each image, (n,).
    groups
        For each column the group of each image, (n,); "" where unknown.
    proportion
        Whether the values are 0 and 1: then Wilson's interval at the effective number of images, else
        Student's, both by patient.

    Returns
    -------
    list of SubgroupEstimate
        By column, the largest group first. A column in which fewer than two groups have 20 patients is left
        out: there is nothing to compare.

    Raises
    ------
    ValueError
        Where values, patients and groups differ in length.
    """
    numbers, owners = np.asarray(values, np.float64), np.asarray(patients)
    found: list[SubgroupEstimate] = []
    for column, names in groups.items():
        labels = np.asarray([name or "unknown" for name in names])
        if not len(numbers) == len(owners) == len(labels):
            raise ValueError(
                f"{len(numbers)} values, {len(owners)} patients, {len(labels)} of {column}: give as many of each"
            )
        of_column = [
            _estimated(
                column, str(name), numbers[labels == name], owners[labels == name], proportion
            )
            for name in np.unique(labels)
        ]
        comparable = [
            one for one in of_column if one.patients >= MIN_PATIENTS and one.group != "unknown"
        ]
        if len(comparable) > 1:
            found += sorted(of_column, key=lambda one: (-one.patients, one.group))
    return found


def _estimated(
    column: str, group: str, values: np.ndarray, patients: np.ndarray, proportion: bool
) -> SubgroupEstimate:
    number = len(np.unique(patients))
    if number < MIN_PATIENTS:
        return SubgroupEstimate(column, group, number, Estimate(None, None, None, len(values)))
    interval = cluster_proportion if proportion else cluster_interval
    return SubgroupEstimate(column, group, number, interval(values, patients))
