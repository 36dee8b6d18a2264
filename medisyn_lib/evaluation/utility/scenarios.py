"""The two scenarios, each trained and scored over all tasks: a released model, and no outside data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from medisyn_lib.evaluation.utility import arms, gains
from medisyn_lib.evaluation.utility.images import Images, TaskImages, sizes_by_task
from medisyn_lib.evaluation.utility.scores import TaskScores, score_runs
from medisyn_lib.evaluation.utility.synthetic_images import sample_own_generators
from medisyn_lib.evaluation.utility.tasks import make_task
from medisyn_lib.evaluation.utility.training import SETTINGS, train_classifiers
from medisyn_lib.statistics.estimates import Estimate

if TYPE_CHECKING:
    from medisyn_lib.pipeline.study import Study

RELEASED_MODEL = "released model"
NO_OUTSIDE_DATA = "no outside data"
MOST_OWN_GENERATORS = 5  # per task


@dataclass(frozen=True)
class Scenario:
    """The scores of every task in one scenario; none where it was not run."""

    name: str
    scores: Mapping[str, TaskScores]
    sizes: Mapping[str, Sequence[int]]  # of training sets, by task
    draws: int  # of the images, of what the rule compares
    trainings: int = 0

    @property
    def test_images(self) -> int:
        """Fewest test images of a task; 0 without tasks."""
        return min((scored.test_images for scored in self.scores.values()), default=0)


def run_released_model(
    study: Study, images: Mapping[str, TaskImages], synthetic: Mapping[str, Sequence[Images]]
) -> Scenario:
    """Train and score every arm with the images of generators that saw other patients.

    Parameters
    ----------
    study
        Whose numbers of draws and steps.
    images
        The real images of each task.
    synthetic
        The synthetic images of each task, one set per generator; draws take them in turn.
    """
    settings = study.settings.augmentation
    sizes = sizes_by_task(study, images)
    scored = {}
    trainings = 0
    for name, of_task in images.items():
        task = make_task(of_task, synthetic=synthetic[name])
        runs = arms.planned_runs(task, sizes[name], settings.draws)
        scored[name] = score_runs(task, runs, train_classifiers(task, runs, settings.steps))
        trainings += len(runs) * len(SETTINGS)
    decisive_draws = arms.DECISIVE_FACTOR * settings.draws
    return Scenario(RELEASED_MODEL, scored, sizes, decisive_draws, trainings)


def run_no_outside_data(study: Study, images: Mapping[str, TaskImages]) -> Scenario:
    """Train and score the arms of the smallest n with a generator of its own for each draw of n images.

    Not run, and without scores, where the profile gives these generators no steps.
    """
    settings = study.settings.augmentation
    sizes = sizes_by_task(study, images)
    if not settings.own_generator_steps:
        return Scenario(NO_OUTSIDE_DATA, {}, sizes, draws=0)
    count = min(settings.draws, MOST_OWN_GENERATORS)
    draws = range(arms.FIRST_DRAW, arms.FIRST_DRAW + count)
    scored = {}
    trainings = 0
    for name, of_task in images.items():
        synthetic = sample_own_generators(study, of_task.real, draws)
        task = make_task(of_task, synthetic=synthetic)
        runs = list(arms.all_runs(task, [settings.smallest_n], draws))
        scored[name] = score_runs(task, runs, train_classifiers(task, runs, settings.steps))
        trainings += len(runs) * len(SETTINGS)
    return Scenario(NO_OUTSIDE_DATA, scored, sizes, count, trainings)


def contrasts_by_task(scenario: Scenario) -> dict[str, dict[str, Estimate]]:
    """Return the contrasts of every task (see `gains.contrasts`)."""
    return {
        task: gains.contrasts(scored, scenario.sizes[task])
        for task, scored in scenario.scores.items()
    }
