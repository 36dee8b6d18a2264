"""Trained denoisers: the generalist, the specialists, and what their training cost."""

from __future__ import annotations

import json
import time
from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medisyn_lib.errors import InputError
from medisyn_lib.modalities import MODALITIES
from medisyn_lib.models import networks
from medisyn_lib.models.weights import load_weights
from medisyn_lib.pipeline.artifacts import TRAINING_CODE, UNKEYED, Artifact, ImageSet
from medisyn_lib.pipeline.autoencoders import Latents
from medisyn_lib.pipeline.embeddings import Embeddings
from medisyn_lib.profiles import Profile
from medisyn_lib.runtime import store
from medisyn_lib.runtime.device import seeded
from medisyn_lib.training import denoiser, flops, loop
from medisyn_lib.training.denoiser import denoiser_flops, train_denoiser

if TYPE_CHECKING:
    import pandas as pd
    from diffusers import UNet2DConditionModel


@dataclass(frozen=True)
class DenoiserShape:
    """What an untrained denoiser follows from, but its seed."""

    size: int  # pixels of an image side
    widths: tuple[int, ...]
    text_width: int

    def new(self, seed: int) -> UNet2DConditionModel:
        """Return a denoiser with random weights of this seed."""
        with seeded(seed):
            return networks.denoiser(self.size, self.widths, text_width=self.text_width)


class StoredDenoiser(Artifact):
    """A folder of a trained denoiser: `step-N.safetensors`, `history.csv`, `compute.json`."""

    @abstractmethod
    def untrained(self) -> UNet2DConditionModel:
        """Return the network as it was before any training."""

    def compute(self) -> dict[str, Any]:
        """Return what the training cost: steps, images, FLOPs an image and in all, seconds."""
        return json.loads((self.folder / "compute.json").read_text("utf-8"))

    def history(self) -> pd.DataFrame:
        """Return the training loss: `step` and `loss`, at about 200 steps."""
        import pandas as pd

        return pd.read_csv(self.folder / loop.HISTORY)

    def load(self, step: int | None = None) -> UNet2DConditionModel:
        """Return the denoiser after `step` steps, by default all of its plan; 0 is the untrained one."""
        net = self.untrained()
        if step is None:
            step = self.compute()["steps"]
        if step:
            load_weights(net, self.folder / f"step-{step}.safetensors", prefix="denoiser.")
        return net.eval()


@dataclass(frozen=True, eq=False)
class Denoiser(StoredDenoiser):
    """The generalist's denoiser, or with a `modality` a specialist's, trained from scratch."""

    step = "denoiser"
    code = (networks, *TRAINING_CODE, denoiser, flops)
    plan: loop.TrainingPlan
    shape: DenoiserShape
    modality: str | None
    latents: Latents
    embeddings: Embeddings
    images: ImageSet = field(metadata=UNKEYED, kw_only=True)  # those of the latents
    snapshots: tuple[int, ...] = field(kw_only=True)  # steps after which weights are stored

    def untrained(self) -> UNet2DConditionModel:
        """Return the network that generalist and specialists of a seed all start from."""
        return self.shape.new(self.plan.seed)

    def make(self, folder: Path) -> None:
        """Train it; store weights, the loss history and what the training cost."""
        latents, (embeddings, caption) = self.latents.array(), self.embeddings.load()
        if self.modality is not None:
            rows = self._rows_of_modality()
            latents, caption = latents[rows], caption[rows]
        net = self.untrained()
        flops_per_image = denoiser_flops(net, latents.shape[-1], self.shape.text_width)
        start = time.perf_counter()
        train_denoiser(net, latents, embeddings, caption, self.plan, folder, self.snapshots)
        seconds = time.perf_counter() - start  # of the last run, where it was interrupted
        write_compute(folder, self.plan, flops_per_image, seconds)

    def _rows_of_modality(self) -> np.ndarray:
        rows = np.flatnonzero(self.images.column("modality") == self.modality)
        if not len(rows):
            fault = "the data have no such images; leave it out"
            raise InputError(f"specialist for {self.modality!r}: {fault}")
        return rows


@dataclass(frozen=True, eq=False)
class UntrainedDenoiser(StoredDenoiser):
    """A denoiser with random weights: a control."""

    step = "untrained"
    code = (networks,)
    shape: DenoiserShape
    seed: int

    def untrained(self) -> UNet2DConditionModel:
        """Return the network."""
        return self.shape.new(self.seed)

    def make(self, folder: Path) -> None:
        """Store that nothing was trained."""
        nothing = {"steps": 0, "images": 0, "flops_per_image": 0.0, "flops": 0.0}
        store.write_atomic(folder / "compute.json", json.dumps(nothing))


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
    settings: Profile, modality: str | None = None, *, seed: int = 0, long: bool = False
) -> loop.TrainingPlan:
    """Return the generalist's plan, or a specialist's.

    A specialist has a tenth of the generalist's steps, and so sees its modality as often; a `long` one
    has all of them.
    """
    fraction = 1 if modality is None or long else len(MODALITIES)
    return loop.TrainingPlan(
        steps=max(1, settings.denoiser_steps // fraction),
        batch=settings.denoiser_batch,
        learning_rate=1.5e-3,
        seed=seed,
        ema_decay=0.999,
    )


def snapshot_steps(plan: loop.TrainingPlan) -> tuple[int, ...]:
    """Return the steps after which a training's weights are stored: every eighth of it."""
    return tuple(sorted({max(1, plan.steps * eighth // 8) for eighth in range(1, 9)}))


def flops_of(denoisers: Iterable[StoredDenoiser]) -> float:
    """Return the floating-point operations that training these denoisers took, together."""
    return sum(trained.compute()["flops"] for trained in denoisers)
