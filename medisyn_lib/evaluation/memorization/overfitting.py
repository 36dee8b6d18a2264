"""The positive control: models overfitted to few training images, judged against those alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from medisyn_lib.data.pixels import load_pixels
from medisyn_lib.evaluation.memorization.conformal import flag_copies, proportion_flagged
from medisyn_lib.evaluation.memorization.detectors import Detector, Matches, match
from medisyn_lib.evaluation.memorization.images import RealImages, sample_at_study_size
from medisyn_lib.evaluation.memorization.set_tests import SetTests, flag_and_test
from medisyn_lib.pipeline.denoisers import denoiser_plan, snapshot_steps
from medisyn_lib.pipeline.overfitted import (
    BATCH,
    OVERFITTED_IMAGES,
    OverfittedDenoiser,
    overfitted_denoiser,
    overfitted_generator,
    overfitted_rows,
    small_overfitted_denoiser,
)
from medisyn_lib.pipeline.paired_samples import evaluation_splits, sample_modalities
from medisyn_lib.pipeline.training_progress import shown_steps
from medisyn_lib.statistics.estimates import Estimate

if TYPE_CHECKING:
    from medisyn_lib.pipeline.judged import JudgedGenerator

FIRST_SEED = 9_000_000


@dataclass(frozen=True)
class Snapshot:
    """What an overfitted model generates after some optimiser steps.

    Attributes
    ----------
    step : optimiser steps on the few images
    pixels : uint8 (n, h, h, 3)
    matches : among the few images; rows are those of the whole index
    flagged : bool (n,)
    """

    step: int
    pixels: np.ndarray
    matches: Matches
    flagged: np.ndarray


@dataclass(frozen=True)
class Overfitted:
    """A model overfitted to few training images.

    Attributes
    ----------
    denoiser : its denoiser
    model : folder of the generator with that denoiser, at the end
    rows : int (n,), the images that it was overfitted to, among `copied_images` of the generator judged
    index_rows : int (n,), the same among those of the detectors' index
    calibration : float (m, l), ratios of the calibration images against these images alone
    snapshots : after half of its steps, but of a small model, and at the end
    """

    denoiser: OverfittedDenoiser
    model: str
    rows: np.ndarray
    index_rows: np.ndarray
    calibration: np.ndarray
    snapshots: tuple[Snapshot, ...]

    @property
    def last(self) -> Snapshot:
        """The snapshot at the end."""
        return self.snapshots[-1]


def copier(judged: JudgedGenerator, rows: np.ndarray) -> OverfittedDenoiser:
    """Return what is overfitted to some `copied_images`: the study's generalist if that is judged, else a small one."""
    if judged.is_trained_here:
        return overfitted_denoiser(judged.study, rows)
    return small_overfitted_denoiser(judged.study, judged.copied_images, rows)


def overfit(
    judged: JudgedGenerator,
    detectors: Sequence[Detector],
    real: RealImages,
    n: int = OVERFITTED_IMAGES,
) -> Overfitted:
    """Overfit a model to n training images and ask it for them.

    The model is the study's generalist where that is what is judged, else a small model from scratch, so that no
    generalist needs to be there. The calibration images set a threshold against these images alone.
    """
    study, images = judged.study, judged.copied_images.load()
    rows = overfitted_rows(images, n)
    row_of_id = {name: row for row, name in enumerate(real.training["image_id"][:])}
    index_rows = np.array([row_of_id[images["image_id"][int(row)]] for row in rows])
    calibration = match(detectors, load_pixels(real.calibration), index_rows).ratio
    denoiser = copier(judged, rows)
    n_prompts = min(len(rows), OVERFITTED_IMAGES)
    asked = rows[np.linspace(0, len(rows) - 1, n_prompts).astype(int)]
    captions = images.select(asked.tolist())["caption"][:]

    def sample(step: int) -> Snapshot:
        model = overfitted_generator(study, denoiser, after=step)
        pixels = sample_at_study_size(study, model, captions, FIRST_SEED)
        matches = match(detectors, pixels, index_rows)
        return Snapshot(step, pixels, matches, flag_copies(matches.ratio, calibration))

    # The report of an audit shows the end alone.
    stages = snapshot_steps(denoiser.plan)[-1 if judged.is_given else -2 :]
    snapshots = tuple(sample(step) for step in stages)
    model = str(overfitted_generator(study, denoiser).folder)
    return Overfitted(denoiser, model, rows, index_rows, calibration, snapshots)


def overfit_further_sizes(
    judged: JudgedGenerator, detectors: Sequence[Detector], real: RealImages
) -> list[Overfitted]:
    """Overfit to the larger sets that the profile names, if any; to none but where the study's generalist is judged."""
    sizes = judged.study.settings.memorization.further_overfit_sizes
    return [overfit(judged, detectors, real, n) for n in sizes] if judged.is_trained_here else []


def set_tests_of_overfitted(
    overfitted: Overfitted, detectors: Sequence[Detector], real: RealImages
) -> SetTests:
    """Test what the model generates at the end, as a set, against the held-out real images."""
    held_out = match(detectors, load_pixels(real.held_out), overfitted.index_rows)
    return flag_and_test(
        real=held_out.ratio,
        synthetic=overfitted.last.matches.ratio,
        calibration=overfitted.calibration,
    )


def flagged_during_training(
    judged: JudgedGenerator,
    detectors: Sequence[Detector],
    real: RealImages,
    calibration: np.ndarray,
) -> dict[float, np.ndarray]:
    """Flag what the study's generalist generates after an eighth, a quarter, a half and all of its training.

    Parameters
    ----------
    judged : where another generator than these was asked for, nothing is trained
    calibration : float (m, l), ratios of the calibration images

    Returns
    -------
    dict of passes over the study's training images to bool (n,)
    """
    if not judged.shows_training:
        return {}
    study = judged.study
    plan, trained_on = denoiser_plan(study.settings), len(study.images("generator"))
    split = evaluation_splits(study)[0]
    modalities = [name for name in study.settings.specialists if name in real.modalities]
    flagged = {}
    for step in shown_steps(study.settings):
        model = study.generator(after=step)
        images = sample_modalities(model, split, modalities, 0)
        pixels = np.concatenate([images[name] for name in modalities])
        ratio = match(detectors, pixels).ratio
        flagged[step * plan.batch / trained_on] = flag_copies(ratio, calibration)
    return flagged


class TrainingPoint(NamedTuple):
    """How much is flagged after so many passes over the training images of a group of models."""

    group: str
    passes: float
    flagged: Estimate


def copying_curve(
    generalist: Mapping[float, np.ndarray], overfitted: Iterable[Overfitted]
) -> list[TrainingPoint]:
    """Estimate the proportion flagged against passes over the training images.

    Parameters
    ----------
    generalist : passes over all images, and what is flagged, bool (n,)
    """
    points = [
        TrainingPoint("trained on all images", passes, proportion_flagged(flagged))
        for passes, flagged in generalist.items()
    ]
    for model in overfitted:
        n = len(model.rows)
        for snapshot in model.snapshots:
            passes = snapshot.step * BATCH / n
            flagged = proportion_flagged(snapshot.flagged)
            points.append(TrainingPoint(f"on {n} images alone", passes, flagged))
    return points
