"""Denoisers overfitted to a few training images: models that copy on purpose."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medisyn_lib.models import networks
from medisyn_lib.pipeline.artifacts import TRAINING_CODE
from medisyn_lib.pipeline.autoencoders import Latents
from medisyn_lib.pipeline.denoisers import (
    StoredDenoiser,
    TrainedDenoiser,
    snapshot_steps,
    write_compute,
)
from medisyn_lib.pipeline.embeddings import StoredEmbeddings
from medisyn_lib.pipeline.origins import DenoiserOrigin, TrainingImages
from medisyn_lib.training import denoiser, loop

if TYPE_CHECKING:
    import datasets

    from medisyn_lib.pipeline.study import Study

OVERFITTED_IMAGES = 64
BATCH = 16


def overfitted_plan(study: Study) -> loop.TrainingPlan:
    """The plan of overfitting: the profile's steps, a high learning rate, no weight decay."""
    return loop.TrainingPlan(
        steps=study.settings.memorization.overfit_steps,
        batch=BATCH,
        learning_rate=study.denoiser_origin.overfitting_learning_rate,
        weight_decay=0.0,
    )


def overfitted_steps(study: Study) -> tuple[int, ...]:
    """The steps after which an overfitted denoiser's weights are kept, the last at the end."""
    return snapshot_steps(overfitted_plan(study))


def overfitted_rows(images: datasets.Dataset, n: int = OVERFITTED_IMAGES) -> np.ndarray:
    """Choose n images, one per patient and spread evenly over modalities and findings.

    Returns
    -------
    int64 (n,), rows in ascending order; one of every patient, if there are fewer
    """
    table = images.remove_columns("image").to_pandas().drop_duplicates("patient_id")
    turn = table.groupby(["modality", "finding"]).cumcount().sort_values(kind="stable")
    return np.sort(turn.index[:n].to_numpy())


@dataclass(frozen=True, eq=False)
class OverfittedDenoiser(StoredDenoiser):
    """The generalist's denoiser, trained on with some rows of the generator's images alone."""

    step = "overfitted"
    code = (networks, *TRAINING_CODE, denoiser)
    plan: loop.TrainingPlan
    rows: tuple[int, ...]
    base: TrainedDenoiser
    latents: Latents
    embeddings: StoredEmbeddings

    @property
    def denoiser_origin(self) -> DenoiserOrigin:
        """What the generalist started from."""
        return self.base.denoiser_origin

    @property
    def seed(self) -> int:
        """The generalist's."""
        return self.base.seed

    def make(self, folder: Path) -> None:
        """Train it on; store weights, the loss history and what the training cost."""
        net, rows = self.base.trainable(), list(self.rows)
        embeddings, caption = self.embeddings.load()
        few = TrainingImages(self.latents.array()[rows], embeddings, caption[rows])
        self.denoiser_origin.train(net, few, self.plan, folder, snapshot_steps(self.plan))
        write_compute(folder, self.plan, self.base.compute()["flops_per_image"])


def overfitted_denoiser(study: Study, rows: np.ndarray) -> OverfittedDenoiser:
    """Return the generalist's denoiser of a study, overfitted to some rows of the generator's images."""
    return OverfittedDenoiser(
        overfitted_plan(study),
        tuple(rows.tolist()),
        study.denoiser(),
        study.latents,
        study.embeddings,
    )
