"""Denoisers overfitted to a few training images: models that copy on purpose."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medisyn_lib.models import networks
from medisyn_lib.pipeline.artifacts import TRAINING_CODE, ImageSet
from medisyn_lib.pipeline.autoencoders import Latents, ShippedAutoencoder, shipped_sha256
from medisyn_lib.pipeline.caption_lengths import check_caption_lengths
from medisyn_lib.pipeline.denoisers import (
    FurtherDenoiser,
    TrainedDenoiser,
    UntrainedDenoiser,
    snapshot_steps,
    write_compute,
)
from medisyn_lib.pipeline.embeddings import (
    TEXT_LAYERS,
    TEXT_WIDTH,
    Embeddings,
    StoredEmbeddings,
)
from medisyn_lib.pipeline.generators import Generator, SamplingCall
from medisyn_lib.pipeline.origins import DenoiserOrigin, DenoiserShape, TrainingImages
from medisyn_lib.training import denoiser, loop

if TYPE_CHECKING:
    import datasets

    from medisyn_lib.pipeline.study import Study

OVERFITTED_IMAGES = 64
BATCH = 16
# Of the model that copies where the study's own generalist is not what is judged. Nothing else has to be trained for
# it: its autoencoder is the shipped one, and random weights tell 64 captions apart as well as learnt ones.
SMALL_WIDTHS = (32, 64, 96)
NO_TEXT_TRAINING = loop.TrainingPlan(steps=0, batch=128, learning_rate=2e-3)


def overfitted_plan(study: Study, origin: DenoiserOrigin | None = None) -> loop.TrainingPlan:
    """The plan of overfitting: the profile's steps, a high learning rate, no weight decay."""
    return loop.TrainingPlan(
        steps=study.settings.memorization.overfit_steps,
        batch=BATCH,
        learning_rate=(origin or study.denoiser_origin).overfitting_learning_rate,
        weight_decay=0.0,
    )


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
class OverfittedDenoiser(FurtherDenoiser):
    """A denoiser, the generalist's or an untrained one, trained on with some rows of the generator's images alone."""

    step = "overfitted"
    code = (networks, *TRAINING_CODE, denoiser)
    plan: loop.TrainingPlan
    rows: tuple[int, ...]
    base: TrainedDenoiser | UntrainedDenoiser
    latents: Latents
    embeddings: StoredEmbeddings

    @property
    def before(self) -> TrainedDenoiser | UntrainedDenoiser:
        """The generalist's or the untrained one."""
        return self.base

    def make(self, folder: Path) -> None:
        """Train it on; store weights, the loss history and what the training cost."""
        net, rows = self.base.trainable(), list(self.rows)
        embeddings, caption = self.embeddings.load()
        few = TrainingImages(self.latents.array()[rows], embeddings, caption[rows])
        flops_per_image, _ = self.denoiser_origin.operations(net)
        self.denoiser_origin.train(net, few, self.plan, folder, snapshot_steps(self.plan))
        write_compute(folder, self.plan, float(flops_per_image))


def overfitted_denoiser(study: Study, rows: np.ndarray) -> OverfittedDenoiser:
    """Return the generalist's denoiser of a study, overfitted to some rows of the generator's images."""
    return OverfittedDenoiser(
        overfitted_plan(study),
        tuple(rows.tolist()),
        study.denoiser(),
        study.latents,
        study.embeddings,
    )


def small_shape(study: Study) -> DenoiserShape:
    """Return the shape of a small denoiser that copies: a quarter of the generalist's weights in `quick`."""
    return DenoiserShape(study.settings.size, SMALL_WIDTHS, TEXT_WIDTH)


def small_overfitted_denoiser(
    study: Study, images: ImageSet, rows: np.ndarray
) -> OverfittedDenoiser:
    """Return a small denoiser that has seen nothing but some rows of these images.

    It copies as one does that starts from the generalist, and spares the training of autoencoder, text
    encoder and generalist, none of which an audit of another generator needs.

    Raises
    ------
    InputError
        As of `check_caption_lengths`.
    """
    check_caption_lengths(images)
    latents = Latents(ShippedAutoencoder(shipped_sha256()), images)
    shape = small_shape(study)
    return OverfittedDenoiser(
        overfitted_plan(study, shape),
        tuple(rows.tolist()),
        UntrainedDenoiser(shape, weights_seed=0),
        latents,
        Embeddings(NO_TEXT_TRAINING, TEXT_WIDTH, TEXT_LAYERS, latents, images=images),
    )


def overfitted_generator(
    study: Study, trained: OverfittedDenoiser, after: int | None = None
) -> Generator:
    """Return an overfitted denoiser as a pipeline folder, with the autoencoder and text encoder that it learnt from.

    Parameters
    ----------
    after : int or None
        Steps after which the denoiser is taken; None for all.
    """
    return Generator(
        autoencoder=trained.latents.autoencoder,
        embeddings=trained.embeddings,
        denoiser=trained,
        call=SamplingCall(study.settings.sampling_steps, study.settings.guidance),
        profile=study.profile,
        modality=None,
        seed=0,
        after=after,
        source=study.source,
    )
