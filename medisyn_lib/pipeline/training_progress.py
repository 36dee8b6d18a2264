"""What notebook 01 shows of training: the denoisers, and samples from weights saved on the way."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medisyn_lib.pipeline.denoisers import TrainedDenoiser, denoiser_plan, snapshot_steps
from medisyn_lib.pipeline.samples import sample_prompts
from medisyn_lib.pipeline.study import Study
from medisyn_lib.profiles import Profile

FIRST_SEED = 7
SHOWN = (1, 2, 4, 8)  # eighths of the training


def trained_denoisers(study: Study, modalities: Sequence[str]) -> dict[str, TrainedDenoiser]:
    """Train the generalist and the profile's specialists for these modalities: by name."""
    denoisers = {"generalist": study.denoiser()}
    for name in study.settings.specialists:
        if name in modalities:
            denoisers[f"specialist {name}"] = study.denoiser(name)
    return denoisers


def shown_steps(settings: Profile) -> list[int]:
    """Return the steps after which the generalist is shown: an eighth, a quarter, half and all of its training."""
    stored = snapshot_steps(denoiser_plan(settings))
    return sorted({stored[min(eighths, len(stored)) - 1] for eighths in SHOWN})


def snapshot_samples(study: Study, prompts: Sequence[str]) -> dict[int, np.ndarray]:
    """Sample the generalist untrained, and after an eighth, a quarter, half and all of its training; the same seeds.

    Returns
    -------
    dict
        Images, uint8 (prompts, h, w, 3), by optimiser step, from 0, the untrained one.
    """
    samples = {}
    for step in (0, *shown_steps(study.settings)):
        snapshot = study.generator(after=step)
        samples[step] = sample_prompts(snapshot, prompts, first_seed=FIRST_SEED)
    return samples
