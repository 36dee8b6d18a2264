"""The two scenarios, each trained and scored over all tasks: a released model, and no outside data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from medisyn_lib.evaluation.utility import arms, gains
from medisyn_lib.evaluation.utility.arms import Run
from medisyn_lib.evaluation.utility.families import NETWORKS, REGRESSIONS, Family
from medisyn_lib.evaluation.utility.images import Images, TaskImages, sizes_by_task
from medisyn_lib.evaluation.utility.scores import TaskScores, score_runs
from medisyn_lib.evaluation.utility.synthetic_images import sample_own_generators
from medisyn_lib.evaluation.utility.tasks import Task, make_task
from medisyn_lib.evaluation.utility.training import SETTINGS
from medisyn_lib.statistics.estimates import Estimate

if TYPE_CHECKING:
    from medisyn_lib.pipeline.study import Study
    from medisyn_lib.profiles import AugmentationSettings

RELEASED_MODEL = "released model"
NO_OUTSIDE_DATA = "no outside data"
MOST_OWN_GENERATORS = 5  # per task


@dataclass(frozen=True)
class Scenario:
    """The scores of every task in one scenario, by one family of classifiers; none where it was not run."""

    name: str
    family: Family
    scores: Mapping[str, TaskScores]
    sizes: Mapping[str, Sequence[int]]  # of training sets, by task
    draws: int  # of the images, of what the rule compares
    trainings: int = 0

    @property
    def title(self) -> str:
        """Its name and family, as figures say them."""
        return f"{self.name}, {self.family.name}"

    @property
    def test_images(self) -> int:
        """Fewest test images of a task; 0 without tasks."""
        return min((scored.test_images for scored in self.scores.values()), default=0)


def run_released_model(
    study: Study,
    images: Mapping[str, TaskImages],
    synthetic: Mapping[str, Sequence[Images]],
    family: Family = REGRESSIONS,
) -> Scenario:
    """Train and score classifiers with the images of generators that saw other patients.

    Softmax regressions on every arm, networks on what the rule and the controls compare.

    Parameters
    ----------
    study
        Whose numbers of draws and steps.
    images
        The real images of each task.
    synthetic
        The synthetic images of each task, one set per generator; draws take them in turn.
    family
        Of classifiers.
    """
    settings = study.settings.augmentation
    sizes = sizes_by_task(study, images)
    scored, trainings = {}, 0
    for name, of_task in images.items():
        task = make_task(of_task, synthetic=synthetic[name], describe=family.describe)
        if family is NETWORKS:
            runs = arms.network_runs(task, sizes[name], settings.network_draws)
        else:
            runs = arms.planned_runs(task, sizes[name], settings.draws)
        scored[name] = _score(task, runs, family, settings)
        trainings += len(runs)
    draws = arms.DECISIVE_FACTOR * settings.draws
    if family is NETWORKS:
        return Scenario(RELEASED_MODEL, family, scored, sizes, settings.network_draws, trainings)
    return Scenario(RELEASED_MODEL, family, scored, sizes, draws, trainings * len(SETTINGS))


def run_no_outside_data(
    study: Study, images: Mapping[str, TaskImages], family: Family = REGRESSIONS
) -> Scenario:
    """Train and score the arms of the smallest n with a generator of its own for each draw of n images.

    Not run, and without scores, where the profile gives these generators no steps.
    """
    settings = study.settings.augmentation
    sizes = sizes_by_task(study, images)
    if not settings.own_generator_steps:
        return Scenario(NO_OUTSIDE_DATA, family, {}, sizes, draws=0)
    count = min(settings.draws, MOST_OWN_GENERATORS)
    draws = range(arms.FIRST_DRAW, arms.FIRST_DRAW + count)
    scored, trainings = {}, 0
    for name, of_task in images.items():
        synthetic = sample_own_generators(study, of_task.real, draws)
        task = make_task(of_task, synthetic=synthetic, describe=family.describe)
        if family is NETWORKS:
            runs = arms.network_runs(task, sizes[name], count)
        else:
            runs = list(arms.all_runs(task, [settings.smallest_n], draws))
        scored[name] = _score(task, runs, family, settings)
        trainings += len(runs) * (1 if family is NETWORKS else len(SETTINGS))
    return Scenario(NO_OUTSIDE_DATA, family, scored, sizes, count, trainings)


def _score(
    task: Task, runs: Sequence[Run], family: Family, settings: AugmentationSettings
) -> TaskScores:
    """The scores of a task's runs, trained for the family's number of steps."""
    steps = settings.network_steps if family is NETWORKS else settings.steps
    return score_runs(task, runs, family.train(task, runs, steps))


def contrasts_by_task(scenario: Scenario) -> dict[str, dict[str, Estimate]]:
    """Return the contrasts of every task (see `gains.contrasts`)."""
    return {
        task: gains.contrasts(scored, scenario.sizes[task])
        for task, scored in scenario.scores.items()
    }


def contrasts_of(
    pairs: Sequence[Sequence[Scenario]],
) -> dict[str, dict[str, dict[str, Estimate]]]:
    """Return `contrasts_by_task` of scenarios by their titles."""
    return {one.title: contrasts_by_task(one) for pair in pairs for one in pair}
