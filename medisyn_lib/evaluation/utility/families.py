"""The two families of classifiers: what an image is to each, and what trains it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from medisyn_lib.evaluation.utility.arms import Run
from medisyn_lib.evaluation.utility.networks import train_networks
from medisyn_lib.evaluation.utility.tasks import Describe, Task, frozen_features, images_themselves
from medisyn_lib.evaluation.utility.training import train_classifiers


class Family(NamedTuple):
    """Classifiers of one kind.

    Attributes
    ----------
    name
        As figures name it; in measures' names spaces are underscores.
    describe
        From images uint8 (n, h, w, 3) to what the classifiers see of them.
    train
        From a task, runs and a number of steps to probabilities float32 (runs, test images, classes).
    """

    name: str
    describe: Describe
    train: Callable[[Task, Sequence[Run], int], np.ndarray]


REGRESSIONS = Family("softmax regressions", frozen_features, train_classifiers)
NETWORKS = Family("small networks", images_themselves, train_networks)
FAMILIES = (REGRESSIONS, NETWORKS)
