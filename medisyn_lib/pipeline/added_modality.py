"""An eleventh modality, learnt by the generalist or by a new specialist."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from medisyn_lib.data.pixels import load_pixels
from medisyn_lib.models import networks
from medisyn_lib.pipeline.artifacts import TRAINING_CODE, UNKEYED, ImageSet
from medisyn_lib.pipeline.autoencoders import Latents
from medisyn_lib.pipeline.denoisers import (
    FurtherDenoiser,
    TrainedDenoiser,
    denoiser_plan,
    snapshot_steps,
    write_compute,
)
from medisyn_lib.pipeline.embeddings import StoredEmbeddings
from medisyn_lib.pipeline.origins import TrainingImages
from medisyn_lib.training import autoencoder, denoiser, loop

if TYPE_CHECKING:
    import datasets

    from medisyn_lib.pipeline.study import Study

BLACK = 16  # of 255: what no channel exceeds is outside the eye


class Learner(NamedTuple):
    """How a denoiser learns the new modality."""

    name: str
    from_generalist: bool  # starts from its weights and sees old images as often as new ones
    rate_divisor: int  # how much lower its learning rate is


TUNED_GENERALIST = Learner("tuned generalist", from_generalist=True, rate_divisor=3)
NEW_SPECIALIST = Learner("new specialist", from_generalist=False, rate_divisor=1)
LEARNERS = (TUNED_GENERALIST, NEW_SPECIALIST)


def choose_origin(present: Sequence[str], compared: Sequence[str]) -> str:
    """Choose the modality whose images the new one is made from: the fundus, where there is one."""
    return "fundus" if "fundus" in present else compared[0]


def angiograms(images: datasets.Dataset) -> tuple[np.ndarray, list[str]]:
    """Turn images into negatives of their green channel, as fluorescein angiography shows the eye.

    Returns
    -------
    pixels
        uint8 (n, h, w, 3), grey, black where black was.
    captions
        One per image.
    """
    pixels = load_pixels(images)
    negative = 255 - pixels[..., 1]
    grey = np.where(pixels.max(-1) > BLACK, negative, 0).astype(np.uint8)
    findings = [finding.replace("_", " ") for finding in images["finding"][:]]
    captions = [f"fluorescein angiogram, {finding}" for finding in findings]
    return np.repeat(grey[..., None], 3, -1), captions


def with_angiogram_captions(images: datasets.Dataset) -> datasets.Dataset:
    """Give the images of an evaluation split the captions of their angiograms."""
    _, captions = angiograms(images)
    return images.remove_columns("caption").add_column("caption", captions)


def added_plan(study: Study, learner: Learner) -> loop.TrainingPlan:
    """Plan the training of a learner; both take the same number of steps."""
    plan = denoiser_plan(study.settings)
    learning_rate = study.denoiser_origin.learning_rate / learner.rate_divisor
    return replace(plan, steps=study.settings.eleventh_steps, learning_rate=learning_rate)


@dataclass(frozen=True, eq=False)
class AddedModalityDenoiser(FurtherDenoiser):
    """A learner's denoiser, trained on the new modality; autoencoder and text encoder stay as they are."""

    step = "eleventh"
    code = (networks, *TRAINING_CODE, autoencoder, denoiser, sys.modules[__name__])
    plan: loop.TrainingPlan
    learner: Learner
    origin: str  # modality whose images the new one is made from
    latents: Latents
    embeddings: StoredEmbeddings
    generalist: TrainedDenoiser
    images: ImageSet = field(metadata=UNKEYED, kw_only=True)  # those of the latents

    @property
    def before(self) -> TrainedDenoiser:
        """The generalist's, whose weights or whose random ones training starts from."""
        return self.generalist

    def make(self, folder: Path) -> None:
        """Train it; store weights, the loss history and what the training cost."""
        images, snapshots = self._new_images(), snapshot_steps(self.plan)
        if self.learner.from_generalist:
            net = self.generalist.trainable()
            images = self._with_old_images(images)
        else:
            net = self.generalist.trainable(0)
        self.denoiser_origin.train(net, images, self.plan, folder, snapshots)
        write_compute(folder, self.plan, self.generalist.compute()["flops_per_image"])

    def _new_images(self) -> TrainingImages:
        """The new modality's training images, with the embeddings of new and old captions."""
        images = self.images.load()
        rows = np.flatnonzero(np.array(images["modality"][:]) == self.origin)
        pixels, captions = angiograms(images.select(rows))
        unique, caption = np.unique(captions, return_inverse=True)
        new = self.embeddings.embed(unique.tolist())
        embeddings = np.concatenate([new, self.embeddings.load().embeddings])
        return TrainingImages(self.latents.encode(pixels), embeddings, caption)

    def _with_old_images(self, new: TrainingImages) -> TrainingImages:
        """As many of the generalist's old images beside the new ones, evenly spaced."""
        latents, (old_embeddings, caption) = self.latents.array(), self.embeddings.load()
        new_captions = len(new.embeddings) - len(old_embeddings)
        rows = np.linspace(0, len(latents) - 1, len(new.latents)).astype(int)
        return TrainingImages(
            np.concatenate([new.latents, latents[rows]]),
            new.embeddings,
            np.concatenate([new.caption, caption[rows] + new_captions]),
        )


def added_modality_denoiser(study: Study, learner: Learner, origin: str) -> AddedModalityDenoiser:
    """Return a learner's denoiser of a study, trained with the first training seed.

    Parameters
    ----------
    study
        Profile and data.
    learner
        One of `LEARNERS`.
    origin
        Modality whose images the new one is made from.
    """
    return AddedModalityDenoiser(
        plan=added_plan(study, learner),
        learner=learner,
        origin=origin,
        latents=study.latents,
        embeddings=study.embeddings,
        generalist=study.denoiser(seed=study.settings.seeds[0]),
        images=study.image_set("generator"),
    )
