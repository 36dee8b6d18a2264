"""How quality rises while the generalist is trained, beside the specialists at their own best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medisyn_lib.evaluation.arm_measures import WHOLE, Distances, Groups, deal_patients
from medisyn_lib.pipeline.arm_images import RealImages
from medisyn_lib.pipeline.arms import GENERALIST, SPECIALIST
from medisyn_lib.pipeline.comparison_images import real_arm, sampled_arm
from medisyn_lib.pipeline.denoisers import denoiser_plan, snapshot_steps
from medisyn_lib.pipeline.paired_samples import evaluation_split
from medisyn_lib.pipeline.study import Study
from medisyn_lib.profiles import Profile
from medisyn_lib.statistics.estimates import student
from medisyn_lib.statistics.jackknife import deal_groups, jackknife_of

if TYPE_CHECKING:
    import pandas as pd

    from medisyn_lib.evaluation.own_best import Chosen
    from medisyn_lib.evaluation.training_costs import SuiteCosts

SPECIALIST_COLUMN = -1  # of distances; the checkpoints come before
MOST_IMAGES = 100  # per checkpoint, modality and seed


@dataclass(frozen=True)
class QualityCurves:
    """Distances from real images of each checkpoint's images of the generalist and of a specialist's.

    Attributes
    ----------
    modalities
        Those with a specialist.
    seeds
        Training seeds.
    images
        Per checkpoint, modality and seed, at most.
    distances
        KID by modality and number of the seed, float64 (1 + groups, checkpoints + 1): of each checkpoint's
        images and, last, the specialist's at its own best; of all images, then, for the first seed, without
        each group of the modality's patients.
    together
        The same of the first seed by modality, without groups of patients that are left out of all modalities
        at once; empty for several training seeds, over which intervals are then.
    best_so_far
        By number of the seed, as of `own_best.Chosen`.
    """

    modalities: Sequence[str]
    seeds: int
    images: int
    distances: Mapping[tuple[str, int], np.ndarray]
    together: Mapping[str, np.ndarray]
    best_so_far: Mapping[int, tuple[int, ...]]

    def at_own_best(self, number: int) -> list[np.ndarray]:
        """Return a seed's distances by modality, (checkpoints + 1,), each checkpoint's those of the best one so far."""
        return [self.distances[name, number][0, self._columns(number)] for name in self.modalities]

    def together_at_own_best(self) -> np.ndarray:
        """Return `together` in this way: (1 + groups, modalities, checkpoints + 1)."""
        by_modality = [self.together[name][:, self._columns(0)] for name in self.modalities]
        return np.stack(by_modality, 1)

    def _columns(self, number: int) -> list[int]:
        return [*self.best_so_far[number], SPECIALIST_COLUMN]


def generalist_distances(
    study: Study, number: int, real: RealImages, groups: Groups = WHOLE
) -> Distances:
    """Return the part with the distances of a generalist's checkpoints from some real images.

    Parameters
    ----------
    study
        Profile and data.
    number
        Of the training seed.
    real
        Whose captions are taken.
    groups
        Of patients that are left out in turn.
    """
    seed, split, names, limit = (
        study.settings.seeds[number],
        real.split,
        real.modalities,
        real.limit,
    )
    *on_the_way, _ = snapshot_steps(denoiser_plan(study.settings))
    arms = [
        sampled_arm(
            study.generator(seed=seed, after=step), split, names, number, limit, sampled=limit
        )
        for step in on_the_way
    ]
    # All of the finished ones, as in notebook 02, so that the samples in the store serve both.
    arms.append(sampled_arm(study.generator(seed=seed), split, names, number, limit))
    return Distances(real, tuple(arms), groups)


def specialist_distances(
    study: Study, number: int, real: RealImages, name: str, step: int, groups: Groups = WHOLE
) -> Distances:
    """Return the part with the distances of a specialist's images after a step (see `generalist_distances`)."""
    special = study.generator(name, seed=study.settings.seeds[number], after=step)
    arm = sampled_arm(special, real.split, [name], number, real.limit)
    return Distances(real_arm(real.split, [name], real.limit), (arm,), groups.of([name]))


def groupings(study: Study, number: int, real: RealImages) -> list[Groups]:
    """Return how a seed's patients are left out: of each modality alone; of a single seed also of all at once."""
    if number:
        return [WHOLE]
    patients = {name: real.patients(name) for name in real.modalities}
    alone = deal_patients({0: patients})[0]
    return [alone] if len(study.settings.seeds) > 1 else [alone, _together(patients)]


def _together(patients: Mapping[str, np.ndarray]) -> Groups:
    """Groups of patients for all modalities at once; where their numbers of images differ, of images."""
    first, *others = patients.values()
    paired = all(len(one) == len(first) for one in others)
    dealt = {
        name: deal_groups(len(one), first if paired else None) for name, one in patients.items()
    }
    count = min(int(group.max()) + 1 for group in dealt.values())
    return Groups(dealt, dict.fromkeys(dealt, count))


def images_per_point(settings: Profile) -> int:
    """Return how many images per checkpoint, modality and seed the curves rest on."""
    return min(MOST_IMAGES, settings.quality_images)


def curves_split(study: Study, number: int, modalities: Sequence[str], limit: int) -> RealImages:
    """Return the real images of a training seed that curves are measured from."""
    return real_arm(evaluation_split(study, number), modalities, limit)


def measure_quality_curves(
    study: Study, modalities: Sequence[str], limit: int, chosen: Chosen
) -> QualityCurves:
    """Measure the generalist's checkpoints and the specialists at their own best.

    Parameters
    ----------
    study
        Profile and data.
    modalities
        Those with a specialist.
    limit
        Images per checkpoint, modality and seed, at most.
    chosen
        Whose checkpoints are the best.
    """
    seeds, alone, together = len(study.settings.seeds), {}, {}
    for number in range(seeds):
        real = curves_split(study, number, modalities, limit)
        for kind, groups in enumerate(groupings(study, number, real)):
            general = generalist_distances(study, number, real, groups)
            for name in modalities:
                step = chosen.specialists[name, number]
                special = specialist_distances(study, number, real, name, step, groups)
                both = np.concatenate([general.of(name), special.of(name)], 1)
                if kind:
                    together[name] = both
                else:
                    alone[name, number] = both
    return QualityCurves(modalities, seeds, limit, alone, together, chosen.best_so_far)


def curve_points(curves: QualityCurves, costs: SuiteCosts) -> pd.DataFrame:
    """Tabulate KID against training compute for the first training seed, with intervals by patient.

    Returns
    -------
    pandas.DataFrame
        A row per modality and model, of the generalist per checkpoint: modality, model, TFLOP,
        KID, low, high.
    """
    import pandas as pd

    rows = []
    for name in curves.modalities:
        values, variances, degrees = jackknife_of(curves.distances[name, 0])
        models = [(GENERALIST, flops) for flops in costs.checkpoints]
        models.append((SPECIALIST, float(np.mean(costs.specialists[name]))))
        for (model, flops), value, variance in zip(models, values, variances, strict=True):
            point = student(float(value), float(variance), degrees, curves.images)
            rows.append(
                (name, model, flops / 1e12, point.value, point.ci_low, point.ci_high),
            )
    return pd.DataFrame(rows, columns=["modality", "model", "TFLOP", "KID", "low", "high"])
