"""Extraction of training images: an attacker who knows their captions asks for them several times.

Carlini et al., Extracting training data from diffusion models, arXiv 2301.13188.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from medisyn_lib.evaluation.memorization.conformal import flag_copies, proportion_flagged
from medisyn_lib.evaluation.memorization.detectors import Detector, match
from medisyn_lib.evaluation.memorization.images import sample_at_study_size
from medisyn_lib.statistics.estimates import Estimate

if TYPE_CHECKING:
    from medisyn_lib.pipeline.judged import JudgedGenerator

SEEDS = 2  # images per caption
FIRST_SEED, SEEDS_APART = 8_000_000, 1000
COPIES_PER_CAPTION = 20  # one caption for so many planted copies of a distortion, at least two


def attempt_extraction(
    generator: JudgedGenerator, detectors: Sequence[Detector], calibration: np.ndarray
) -> Estimate:
    """Estimate the proportion flagged among images of training captions.

    Parameters
    ----------
    calibration : float (m, l), ratios of the calibration images
    """
    study, images = generator.study, generator.training_images.load()
    n = max(2, study.settings.memorization.planted_copies // COPIES_PER_CAPTION)
    rows = np.rint(np.linspace(0, len(images) - 1, n)).astype(int).tolist()
    captions = images.select(rows)["caption"][:]
    seeds = [FIRST_SEED + SEEDS_APART * turn for turn in range(SEEDS)]
    samples = [sample_at_study_size(study, generator.model, captions, seed) for seed in seeds]
    ratio = match(detectors, np.concatenate(samples)).ratio
    return proportion_flagged(flag_copies(ratio, calibration))
