"""Trained denoisers: the generalist, the specialists, and what their training cost."""

from __future__ import annotations

import io
import json
import time
from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from medisyn_lib.errors import InputError
from medisyn_lib.modalities import MODALITIES
from medisyn_lib.models import networks
from medisyn_lib.models.weights import load_weights
from medisyn_lib.pipeline.artifacts import TRAINING_CODE, UNKEYED, Artifact, ImageSet
from medisyn_lib.pipeline.autoencoders import Latents
from medisyn_lib.pipeline.embeddings import StoredEmbeddings
from medisyn_lib.pipeline.origins import (
    DenoiserOrigin,
    DenoiserShape,
    FineTuning,
    TrainingImages,
)
from medisyn_lib.pipeline.parts import Part
from medisyn_lib.profiles import Profile
from medisyn_lib.runtime import store
from medisyn_lib.training import denoiser, flops, loop

if TYPE_CHECKING:
    import pandas as pd
    from diffusers import UNet2DConditionModel


class StoredDenoiser(Artifact):
    """A folder of a trained denoiser: `step-N.safetensors`, `history.csv`, `compute.json`."""

    @property
    @abstractmethod
    def denoiser_origin(self) -> DenoiserOrigin:
        """What its training started from."""

    def modules(self) -> tuple[ModuleType, ...]:
        """Return the modules whose code decides the outcome, those of its training included."""
        return (*self.code, *self.denoiser_origin.code)

    @property
    @abstractmethod
    def seed(self) -> int:
        """The seed of the weights that are random at first."""

    @cached_property
    def record(self) -> TrainingRecord:
        """What stays known of a finished training without its weights."""
        return TrainingRecord(self)

    def compute(self) -> dict[str, Any]:
        """Return what the training cost: steps, images, FLOPs an image and in all, seconds."""
        return self.record.value["compute"]

    def history(self) -> pd.DataFrame:
        """Return the training loss: `step` and `loss`, at about 200 steps."""
        import pandas as pd

        return pd.read_csv(io.StringIO(self.record.value["history"]))

    def trainable(self, step: int | None = None) -> UNet2DConditionModel:
        """Return the denoiser after `step` steps, to train on; 0 is the one that training started from.

        By default after all steps of its plan.
        """
        net = self.denoiser_origin.new(self.seed)
        if step is None:
            step = self.compute()["steps"]
        if step:
            file = self.folder / f"step-{step}.safetensors"
            load_weights(net, file, prefix="denoiser.", trained_alone=True)
        return net

    def load(self, step: int | None = None) -> UNet2DConditionModel:
        """Return the denoiser after `step` steps (as `trainable`) as plain diffusers knows it."""
        return self.denoiser_origin.finished(self.trainable(step)).eval()


@dataclass(frozen=True, eq=False)
class TrainingRecord(Part):
    """What a training cost, and its loss on the way."""

    step = "training_record"
    code = ()
    denoiser: StoredDenoiser

    def measure(self) -> dict[str, Any]:
        """Read both from the trained denoiser: `compute`, and `history` as CSV."""
        history = self.denoiser.folder / loop.HISTORY
        return {
            "compute": json.loads((self.denoiser.folder / "compute.json").read_text("utf-8")),
            "history": history.read_text("utf-8") if history.is_file() else "",
        }


@dataclass(frozen=True, eq=False)
class TrainedDenoiser(StoredDenoiser):
    """The generalist's denoiser, or with a `modality` a specialist's."""

    plan: loop.TrainingPlan
    modality: str | None
    latents: Latents
    embeddings: StoredEmbeddings
    images: ImageSet = field(metadata=UNKEYED, kw_only=True)  # those of the latents
    snapshots: tuple[int, ...] = field(kw_only=True)  # steps after which weights are stored

    @property
    def seed(self) -> int:
        """The training seed."""
        return self.plan.seed

    def training_images(self) -> TrainingImages:
        """Return the latents and text embeddings that it is trained on; a specialist's of its modality alone."""
        images = TrainingImages(self.latents.array(), *self.embeddings.load())
        if self.modality is None:
            return images
        rows = self._rows_of_modality()
        return images._replace(latents=images.latents[rows], caption=images.caption[rows])

    def make(self, folder: Path) -> None:
        """Train it; store weights, the loss history and what the training cost."""
        net = self.denoiser_origin.new(self.seed)
        train(self, net, self.training_images(), folder, self.snapshots)

    def _rows_of_modality(self) -> np.ndarray:
        rows = np.flatnonzero(self.images.column("modality") == self.modality)
        if not len(rows):
            fault = "the data have no such images; leave it out"
            raise InputError(f"specialist for {self.modality!r}: {fault}")
        return rows


@dataclass(frozen=True, eq=False)
class Denoiser(TrainedDenoiser):
    """One that is trained from scratch."""

    step = "denoiser"
    code = (networks, *TRAINING_CODE, denoiser, flops)
    shape: DenoiserShape

    @property
    def denoiser_origin(self) -> DenoiserOrigin:
        """Random weights."""
        return self.shape


@dataclass(frozen=True, eq=False)
class FineTunedDenoiser(TrainedDenoiser):
    """One that is trained further from a base's."""

    step = "fine_tuned"
    code = (*TRAINING_CODE, flops)
    fine_tuning: FineTuning

    @property
    def denoiser_origin(self) -> DenoiserOrigin:
        """The base's denoiser."""
        return self.fine_tuning


class FurtherDenoiser(StoredDenoiser):
    """One whose training starts from another denoiser."""

    @property
    @abstractmethod
    def before(self) -> StoredDenoiser:
        """The other denoiser."""

    @property
    def denoiser_origin(self) -> DenoiserOrigin:
        """What the other denoiser started from."""
        return self.before.denoiser_origin

    @property
    def seed(self) -> int:
        """The other denoiser's."""
        return self.before.seed


@dataclass(frozen=True, eq=False)
class ContinuedDenoiser(FurtherDenoiser):
    """One that goes on, on the images of `first`, from its finished weights and along a schedule of its own."""

    step = "continued"
    code = (networks, *TRAINING_CODE, denoiser, flops)
    plan: loop.TrainingPlan
    first: TrainedDenoiser

    @property
    def before(self) -> TrainedDenoiser:
        """The first training's."""
        return self.first

    def make(self, folder: Path) -> None:
        """Train it on; store weights, the loss history and what going on cost."""
        train(self, self.first.trainable(), self.first.training_images(), folder)


@dataclass(frozen=True, eq=False)
class UntrainedDenoiser(StoredDenoiser):
    """A denoiser with random weights: a control. There is nothing in it to train on."""

    step = "untrained"
    code = (networks,)
    like: DenoiserOrigin
    weights_seed: int

    @property
    def denoiser_origin(self) -> DenoiserOrigin:
        """What trained ones start from."""
        return self.like

    @property
    def seed(self) -> int:
        """The seed of its weights."""
        return self.weights_seed

    def load(self, step: int | None = None) -> UNet2DConditionModel:
        """Return the network."""
        return self.like.random(self.weights_seed).eval()

    def make(self, folder: Path) -> None:
        """Store that nothing was trained."""
        nothing = {"steps": 0, "images": 0, "flops_per_image": 0.0, "flops": 0.0}
        store.write_atomic(folder / "compute.json", json.dumps(nothing))


def trained_denoiser(origin: DenoiserOrigin, **fields: Any) -> TrainedDenoiser:
    """Return the denoiser that a training from `origin` leads to; `fields` are those of `TrainedDenoiser`."""
    if isinstance(origin, FineTuning):
        return FineTunedDenoiser(fine_tuning=origin, **fields)
    if isinstance(origin, DenoiserShape):
        return Denoiser(shape=origin, **fields)
    raise TypeError(f"no training starts from {type(origin).__name__}")


def train(
    trained: TrainedDenoiser | ContinuedDenoiser,
    net: UNet2DConditionModel,
    images: TrainingImages,
    folder: Path,
    snapshots: tuple[int, ...] = (),
) -> None:
    """Train `net` in place by a denoiser's plan; store the last weights, those of `snapshots`, history and cost."""
    origin, plan = trained.denoiser_origin, trained.plan
    flops_per_image, _ = origin.operations(net)
    start = time.perf_counter()
    if plan.compiled:
        torch.compiler.reset()  # after eight networks in one process the next would not be compiled
    origin.train(net, images, plan, folder, snapshots or (plan.steps,))
    seconds = time.perf_counter() - start  # of the last run, where it was interrupted
    write_compute(folder, plan, float(flops_per_image), seconds)


def write_compute(
    folder: Path, plan: loop.TrainingPlan, flops_per_image: float, seconds: float | None = None
) -> None:
    """Write `compute.json`, what training by a plan cost, into a folder."""
    images = plan.steps * plan.batch
    cost: dict[str, Any] = {"steps": plan.steps, "images": images}
    cost |= {"flops_per_image": flops_per_image, "flops": flops_per_image * images}
    if seconds is not None:
        cost["seconds"] = seconds
    store.write_atomic(folder / "compute.json", json.dumps(cost))


def denoiser_plan(
    settings: Profile,
    modality: str | None = None,
    *,
    seed: int = 0,
    long: bool = False,
    learning_rate: float = DenoiserShape.learning_rate,
) -> loop.TrainingPlan:
    """Return the generalist's plan, or a specialist's.

    A specialist has a tenth of the generalist's steps, and so sees its modality as often; a `long` one
    has all of them.
    """
    fraction = 1 if modality is None or long else len(MODALITIES)
    return loop.TrainingPlan(
        steps=max(1, settings.denoiser_steps // fraction),
        batch=settings.denoiser_batch,
        learning_rate=learning_rate,
        seed=seed,
        ema_decay=0.999,
    )


def snapshot_steps(plan: loop.TrainingPlan) -> tuple[int, ...]:
    """Return the steps after which a training's weights are stored: every eighth of it."""
    return tuple(sorted({max(1, plan.steps * eighth // 8) for eighth in range(1, 9)}))


def flops_of(denoisers: Iterable[StoredDenoiser]) -> float:
    """Return the floating-point operations that training these denoisers took, together."""
    return sum(trained.compute()["flops"] for trained in denoisers)
