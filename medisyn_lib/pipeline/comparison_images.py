"""The arms of the comparison of generalist and specialists, by modality and split: whose images each compares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from medisyn_lib.pipeline.arm_images import (
    ArmImages,
    AutoencodedImages,
    BlurredImages,
    GivenGenerator,
    RealImages,
    SampledImages,
)
from medisyn_lib.pipeline.arms import (
    AUTOENCODED,
    BLURRED,
    GENERALIST,
    LONG_SPECIALIST,
    OTHER_PATIENTS,
    OWN_BEST,
    REAL,
    SECOND_SAMPLE,
    SPECIALIST,
    UNDERTRAINED,
    ArmKey,
    Arms,
)
from medisyn_lib.pipeline.denoisers import denoiser_plan, snapshot_steps
from medisyn_lib.pipeline.judged import TRAINED, judged_generator
from medisyn_lib.pipeline.paired_samples import EvaluationSplit, evaluation_split
from medisyn_lib.sampling.pipeline import model_fingerprint

if TYPE_CHECKING:
    from medisyn_lib.pipeline.generators import Generator
    from medisyn_lib.pipeline.study import Study

# Split numbers of their own, so that no claim shares their sampling seeds.
CHOOSING_SPLIT = 8
SECOND_SPLIT = 7


def real_arm(
    split: EvaluationSplit, modalities: Sequence[str], limit: int | None = None
) -> RealImages:
    """Return the real images of a split."""
    return RealImages(split, tuple(modalities), limit)


def sampled_arm(
    generator: Generator | GivenGenerator,
    split: EvaluationSplit,
    modalities: Sequence[str],
    noise: int,
    limit: int | None = None,
    *,
    sampled: int | None = None,
) -> SampledImages:
    """Return a generator's images of a split's captions (`SampledImages`)."""
    return SampledImages(split, tuple(modalities), limit, generator, noise, sampled)


def seed_arms(study: Study, number: int, modalities: Sequence[str], generator: str = "") -> Arms:
    """Return real images, generalist's and specialists' of a training seed, by its number.

    Parameters
    ----------
    study
        Profile and data.
    number
        Of the training seed, and of the evaluation split.
    modalities
        Those with a specialist.
    generator
        Folder or hub id of a model to take the generalist's place; empty or `trained` for the one
        trained here.
    """
    split, seed = evaluation_split(study, number), study.settings.seeds[number]
    general: Generator | GivenGenerator = study.generator(seed=seed)
    if generator not in ("", TRAINED):
        model = judged_generator(study, generator).model
        general = GivenGenerator(model_fingerprint(model), model=model)
    real = real_arm(split, modalities)
    by_generalist = sampled_arm(general, split, modalities, number)
    arms: Arms = {}
    for name in modalities:
        special = study.generator(name, seed=seed)
        arms[ArmKey(REAL, name, number)] = real
        arms[ArmKey(GENERALIST, name, number)] = by_generalist
        arms[ArmKey(SPECIALIST, name, number)] = sampled_arm(special, split, [name], number)
    return arms


def paired_arms(study: Study, modalities: Sequence[str], generator: str = "") -> Arms:
    """Return the arms of all training seeds (`seed_arms`): generalist and specialists sample with the same seeds."""
    arms: Arms = {}
    for number in range(len(study.settings.seeds)):
        arms |= seed_arms(study, number, modalities, generator)
    return arms


def control_arms(study: Study, modalities: Sequence[str]) -> Arms:
    """Return the controls and floors, for the first training seed.

    These are the generalist after an eighth of its steps, the finished one from other noise, other
    patients' real images, those blurred by a Gaussian of one pixel, and the split's real images through the
    autoencoder.
    """
    first, names = study.settings.seeds[0], tuple(modalities)
    split, others = evaluation_split(study, 0), evaluation_split(study, 0, "calibration")
    eighth, *_ = snapshot_steps(denoiser_plan(study.settings))
    by_arm: dict[str, ArmImages] = {
        UNDERTRAINED: sampled_arm(study.generator(seed=first, after=eighth), split, names, 0),
        SECOND_SAMPLE: sampled_arm(study.generator(seed=first), split, names, SECOND_SPLIT),
        OTHER_PATIENTS: real_arm(others, names),
        BLURRED: BlurredImages(others, names, None),
        AUTOENCODED: AutoencodedImages(split, names, None, study.autoencoder),
    }
    return {ArmKey(arm, name, 0): images for arm, images in by_arm.items() for name in names}


def long_specialists(study: Study, modalities: Sequence[str]) -> list[str]:
    """Return the modalities whose specialist of the first seed is also trained as long as the generalist."""
    return [name for name in study.settings.long_specialists if name in modalities]


def long_specialist_at(study: Study, modality: str, checkpoint: str) -> Generator:
    """Return a long specialist after a step of its training, or the specialist of `EQUAL_EXPOSURE`."""
    first = study.settings.seeds[0]
    if checkpoint == EQUAL_EXPOSURE:
        return study.generator(modality, seed=first)
    long = study.denoiser(modality, seed=first, long=True)
    return study.generator(modality, seed=first, after=int(checkpoint), denoiser=long)


def long_checkpoints(study: Study) -> list[str]:
    """Return what a long specialist's own best checkpoint is chosen from."""
    return [*map(str, snapshot_steps(denoiser_plan(study.settings))), EQUAL_EXPOSURE]


EQUAL_EXPOSURE = (
    "equal exposure"  # the specialist of a tenth of the steps, as a checkpoint of a long one
)


def long_specialist_arms(study: Study, modality: str, own_best: str) -> Arms:
    """Return a long specialist, finished and at its own best checkpoint."""
    *_, finished, _ = long_checkpoints(study)
    split = evaluation_split(study, 0)
    return {
        ArmKey(arm, modality, 0): sampled_arm(
            long_specialist_at(study, modality, checkpoint), split, [modality], 0
        )
        for arm, checkpoint in ((LONG_SPECIALIST, finished), (OWN_BEST, own_best))
    }
