"""The trainings behind notebooks 02 and 03, one after the other, each with all that is measured of it alone.

A step is finished when the store or the checkout has its parts; then nothing of it is trained again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from medisyn_lib.data import check
from medisyn_lib.evaluation.added_modality import forgetting_distances, learning_distances
from medisyn_lib.evaluation.arm_measures import Groups
from medisyn_lib.evaluation.comparison import (
    BUDGETS,
    ArmComparison,
    grouped_patients,
    measured_arms,
)
from medisyn_lib.evaluation.judged_coverage import covered_parts
from medisyn_lib.evaluation.own_best import (
    choose_own_best,
    choosing_distances,
    long_choosing_distances,
    own_best_step,
)
from medisyn_lib.evaluation.planted_sharing import half_trained_distances
from medisyn_lib.evaluation.quality_curves import (
    curves_split,
    generalist_distances,
    groupings,
    images_per_point,
    specialist_distances,
)
from medisyn_lib.evaluation.serving import serving_costs
from medisyn_lib.evaluation.shown_images import shown_images
from medisyn_lib.pipeline.added_modality import (
    LEARNERS,
    Learner,
    added_modality_denoiser,
    choose_origin,
)
from medisyn_lib.pipeline.arms import (
    AUTOENCODED,
    BLURRED,
    GENERALIST,
    OTHER_PATIENTS,
    REAL,
    SECOND_SAMPLE,
    SPECIALIST,
    UNDERTRAINED,
    ArmKey,
    Arms,
)
from medisyn_lib.pipeline.comparison_images import (
    control_arms,
    long_checkpoints,
    long_specialist_arms,
    long_specialists,
    paired_arms,
)
from medisyn_lib.pipeline.paired_samples import evaluation_splits
from medisyn_lib.pipeline.parts import Part
from medisyn_lib.pipeline.study import Study
from medisyn_lib.pipeline.suite import compared_modalities

REAL_IMAGES = "real images"
# Which arms notebook 02 contrasts; the last with real images alone.
BY_BOTH_ENCODERS = tuple((GENERALIST, budget.specialists) for budget in BUDGETS)
BY_THE_FIRST = (
    (UNDERTRAINED, GENERALIST),
    (SECOND_SAMPLE, GENERALIST),
    (BLURRED, OTHER_PATIENTS),
    (OTHER_PATIENTS,),
)


@dataclass(frozen=True)
class Step:
    """One training and what is measured of it.

    Attributes
    ----------
    name : str
        Of the training, as `run_plan.Training.name`; or `REAL_IMAGES`, for which no denoiser is trained.
    seed : int
        Training seed.
    parts : callable
        Gives its parts in an order in which each follows from those before: which checkpoint is measured hangs on
        a choice that is a part itself.
    """

    name: str
    seed: int
    parts: Callable[[], Iterator[Part]]

    @property
    def is_finished(self) -> bool:
        """Whether nothing of it is left to do."""
        return all(part.is_stored for part in self.parts())  # stops at the first that is not

    def finished_parts(self) -> Iterator[Part]:
        """Return its parts up to the first that is missing."""
        for part in self.parts():
            if not part.is_stored:
                return
            yield part

    def finish(self) -> None:
        """Train and measure what is missing."""
        for part in self.parts():
            part.ensure()


@dataclass(frozen=True)
class _Plan:
    """A study's modalities and arms, which all steps share."""

    study: Study
    modalities: Sequence[str]
    present: Sequence[str]

    @property
    def limit(self) -> int:
        return images_per_point(self.study.settings)

    @cached_property
    def arms(self) -> Arms:
        """All arms; long specialists stand at their last checkpoint until their own best is chosen."""
        arms = paired_arms(self.study, self.modalities) | control_arms(self.study, self.modalities)
        *_, last, _ = long_checkpoints(self.study)
        for name in long_specialists(self.study, self.modalities):
            arms |= long_specialist_arms(self.study, name, last)
        return arms

    @cached_property
    def groups(self) -> dict[tuple[str, ...], dict[int, Groups]]:
        """Patients in groups, by the arms that are contrasted."""
        comparison = ArmComparison(self.modalities, self.arms)
        contrasted = [*BY_BOTH_ENCODERS, *BY_THE_FIRST]
        return {arms: grouped_patients(comparison, *arms) for arms in contrasted}

    def quality_parts(
        self, wanted: Callable[[ArmKey], bool], chosen: Arms | None = None
    ) -> Iterator[Part]:
        """What notebook 02 measures of some arms; `chosen` are long specialists at their own best."""
        arms = self.arms | (chosen or {})
        first = ArmComparison(self.modalities, arms)
        second = ArmComparison(self.modalities, arms, self.study.transformer_encoder())
        both = [(comparison, pair) for comparison in (first, second) for pair in BY_BOTH_ENCODERS]
        for comparison, pair in [*both, *((first, pair) for pair in BY_THE_FIRST)]:
            keys = (key for key in arms if key.arm in pair and wanted(key))
            yield from _distances(comparison, keys, self.groups[pair])
        yield from (part for key, part in measured_arms(arms).items() if wanted(key))
        for by_arm in (covered_parts(self.study, arms), shown_images(arms, self.modalities)):
            for arm, parts in by_arm.items():
                for part in parts:
                    if any(wanted(ArmKey(arm, name, 0)) for name in part.arm.modalities):
                        yield part

    def real_images(self) -> Iterator[Part]:
        """What is measured of real images alone."""
        real = (REAL, OTHER_PATIENTS, BLURRED, AUTOENCODED)
        return self.quality_parts(lambda key: key.arm in real)

    def generalist(self, number: int) -> Iterator[Part]:
        """What is measured of a seed's generalist."""
        study, seeds = self.study, self.study.settings.seeds
        yield study.denoiser(seed=seeds[number]).record
        yield choosing_distances(study, number, None, self.modalities)
        real = curves_split(study, number, self.modalities, self.limit)
        for groups in groupings(study, number, real):
            yield generalist_distances(study, number, real, groups)
        if number == min(1, len(seeds) - 1):
            yield half_trained_distances(study, self.modalities, self.limit)
        arms = (GENERALIST, UNDERTRAINED, SECOND_SAMPLE)
        yield from self.quality_parts(lambda key: key.arm in arms and key.split == number)
        if number == 0:
            yield serving_costs(study)

    def specialist(self, number: int, name: str) -> Iterator[Part]:
        """What is measured of a seed's specialist."""
        study = self.study
        yield study.denoiser(name, seed=study.settings.seeds[number]).record
        yield choosing_distances(study, number, name, self.modalities)
        best = own_best_step(study, number, name, self.modalities)
        real = curves_split(study, number, self.modalities, self.limit)
        for groups in groupings(study, number, real):
            yield specialist_distances(study, number, real, name, best, groups)
        yield from self.quality_parts(lambda key: key == ArmKey(SPECIALIST, name, number))

    def long_specialist(self, name: str) -> Iterator[Part]:
        """What is measured of a specialist that is trained as long as the generalist."""
        study = self.study
        yield study.denoiser(name, seed=study.settings.seeds[0], long=True).record
        yield long_choosing_distances(study, name)
        chosen = long_specialist_arms(study, name, choose_own_best(study, [name])[name])
        yield from self.quality_parts(lambda key: key in chosen, chosen)

    def learner(self, learner: Learner) -> Iterator[Part]:
        """What is measured of a model that learns an eleventh modality."""
        origin = choose_origin(self.present, self.modalities)
        yield added_modality_denoiser(self.study, learner, origin).record
        yield learning_distances(self.study, learner, origin, self.limit)
        if learner.from_generalist:
            yield forgetting_distances(self.study, origin, self.modalities, self.limit)


def _distances(
    comparison: ArmComparison, keys: Iterable[ArmKey], groups: Mapping[int, Groups]
) -> Iterator[Part]:
    """The distances of arms in a contrast, each once."""
    seen = set()
    for key in keys:
        images = comparison.arms[key]
        if key.split in groups and id(images) not in seen:
            seen.add(id(images))
            yield comparison.part(key, groups[key.split])


def study_steps(study: Study) -> list[Step]:
    """List the steps in the order in which they are best made: what others follow from first, then seed by seed."""
    settings = study.settings
    reasons = check.testable(evaluation_splits(study)[0])
    plan = _Plan(study, compared_modalities(settings.specialists, reasons), list(reasons))
    first = settings.seeds[0]
    steps = [Step(REAL_IMAGES, first, plan.real_images)]
    for number, seed in enumerate(settings.seeds):
        steps.append(Step(f"generalist, seed {seed}", seed, _later(plan.generalist, number)))
        if number == 0:
            for learner in LEARNERS:
                name = f"eleventh modality, {learner.name}"
                steps.append(Step(name, seed, _later(plan.learner, learner)))
        for name in plan.modalities:
            of_name = f"specialist {name}, seed {seed}"
            steps.append(Step(of_name, seed, _later(plan.specialist, number, name)))
    for name in long_specialists(study, plan.modalities):
        steps.append(Step(f"long specialist {name}", first, _later(plan.long_specialist, name)))
    return steps


def _later(
    parts: Callable[..., Iterator[Part]], *arguments: object
) -> Callable[[], Iterator[Part]]:
    return lambda: parts(*arguments)
