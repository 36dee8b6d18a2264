"""Where the training of a denoiser starts: random weights, or those of a base; and in which terms it goes on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
import torch

from medisyn_lib.models import networks
from medisyn_lib.models.bases import Base
from medisyn_lib.runtime.device import seeded
from medisyn_lib.training import adapters, denoiser, fine_tuning, loop
from medisyn_lib.training.adapters import RANK, add_adapters, fuse_adapters
from medisyn_lib.training.denoiser import FlowMatching, train_denoiser
from medisyn_lib.training.fine_tuning import DenoisingLoss, fine_tune
from medisyn_lib.training.flops import count_flops

if TYPE_CHECKING:
    from diffusers import DDPMScheduler, DPMSolverMultistepScheduler, UNet2DConditionModel


class TrainingImages(NamedTuple):
    """What a denoiser is trained on."""

    latents: np.ndarray  # float (n, channels, h, w)
    embeddings: np.ndarray  # float (m + 1, tokens, width), the last of the empty prompt
    caption: np.ndarray  # int (n,): which embedding belongs to each image


class DenoiserOrigin(ABC):
    """What all denoisers of a study start from."""

    code: ClassVar[tuple[ModuleType, ...]]  # that its networks and their training follow from
    learning_rate: float  # peak, of generalist and specialists
    overfitting_learning_rate: float  # of the control that is to copy

    @abstractmethod
    def new(self, seed: int) -> UNet2DConditionModel:
        """Return the network that training starts from."""

    @abstractmethod
    def random(self, seed: int) -> UNet2DConditionModel:
        """Return a network of the same architecture with random weights."""

    @abstractmethod
    def finished(self, net: UNet2DConditionModel) -> UNet2DConditionModel:
        """Return a trained network as plain diffusers knows it; `net` may be changed."""

    @abstractmethod
    def train(
        self,
        net: UNet2DConditionModel,
        images: TrainingImages,
        plan: loop.TrainingPlan,
        folder: Path,
        snapshots: tuple[int, ...],
    ) -> None:
        """Train a network of `new` in place; arguments as of `loop.fit`."""

    @abstractmethod
    def scheduler(self) -> DPMSolverMultistepScheduler:
        """Return the scheduler that the finished denoiser is sampled with."""

    @abstractmethod
    def outline(self) -> UNet2DConditionModel:
        """Return a network as `new` does, on the device `meta`: all shapes, no weights."""

    @abstractmethod
    def loss_of(self, net: UNet2DConditionModel, images: int = 1) -> torch.Tensor:
        """Return the training loss of some images, whose latents are zeros."""

    def operations(self, net: UNet2DConditionModel) -> tuple[int, dict[str, int]]:
        """Count one training image's operations (`training.flops.count_flops`); clears the gradients."""
        counted = count_flops(lambda: self.loss_of(net).backward())
        net.zero_grad(set_to_none=True)
        return counted


@dataclass(frozen=True)
class DenoiserShape(DenoiserOrigin):
    """A denoiser from scratch, which learns by flow matching: what its random weights follow from, but the seed."""

    size: int  # pixels of an image side
    widths: tuple[int, ...]
    text_width: int

    code = (networks, denoiser)
    learning_rate = 1.5e-3
    overfitting_learning_rate = 2e-3

    def new(self, seed: int) -> UNet2DConditionModel:
        """Return a denoiser with random weights of this seed."""
        with seeded(seed):
            return networks.denoiser(self.size, self.widths, text_width=self.text_width)

    def random(self, seed: int) -> UNet2DConditionModel:
        """Return the same: training starts from random weights."""
        return self.new(seed)

    def finished(self, net: UNet2DConditionModel) -> UNet2DConditionModel:
        """Return it as it is."""
        return net

    def train(
        self,
        net: UNet2DConditionModel,
        images: TrainingImages,
        plan: loop.TrainingPlan,
        folder: Path,
        snapshots: tuple[int, ...],
    ) -> None:
        """Train by flow matching (`training.denoiser`)."""
        train_denoiser(net, *images, plan, folder, snapshots)

    def scheduler(self) -> DPMSolverMultistepScheduler:
        """Return the scheduler of all generators from scratch."""
        return networks.scheduler()

    def outline(self) -> UNet2DConditionModel:
        """Return an untrained denoiser on the device `meta`."""
        with torch.device("meta"):
            return self.new(0)

    def loss_of(self, net: UNet2DConditionModel, images: int = 1) -> torch.Tensor:
        """Return the flow-matching loss of some images, whose latents are zeros."""
        side = self.size // networks.DOWNSCALE
        latents = torch.zeros(images, net.config.in_channels, side, side, device=net.device)
        text = torch.zeros(images, networks.CONTEXT, self.text_width, device=net.device)
        time = torch.zeros(images, device=net.device)
        return FlowMatching(net)(latents, latents, time, text)


@dataclass(frozen=True)
class FineTuning(DenoiserOrigin):
    """The denoiser of a base, trained further by adapters or whole, in its scheduler's own terms."""

    base: Base
    size: int  # pixels of an image side

    code = (denoiser, fine_tuning, adapters)

    @property
    def learning_rate(self) -> float:  # type: ignore[override]
        """The peak learning rate: as of diffusers' examples."""
        return 1e-5 if self.base.whole else 1e-4

    @property
    def overfitting_learning_rate(self) -> float:  # type: ignore[override]
        """That of the control which is to copy."""
        return 3 * self.learning_rate

    def key(self) -> dict[str, Any]:
        """Return what the training starts from, whatever the base's folder is called."""
        rank = None if self.base.whole else RANK
        return {**self.base.key(), "rank": rank, "size": self.size}

    def new(self, seed: int) -> UNet2DConditionModel:
        """Return the base's denoiser; adapters have random weights of this seed, and do nothing yet."""
        from diffusers import UNet2DConditionModel

        net = UNet2DConditionModel.from_pretrained(
            self.base.folder,
            subfolder="unet",
            use_safetensors=True,
            variant=self.base.variant("unet"),
        ).float()
        return self._sized(net) if self.base.whole else add_adapters(self._sized(net), seed)

    def random(self, seed: int) -> UNet2DConditionModel:
        """Return a denoiser like the base's with random weights: one that has seen nothing."""
        from diffusers import UNet2DConditionModel

        with seeded(seed):
            return self._sized(UNet2DConditionModel.from_config(self.base.config("unet")))

    def _sized(self, net: UNet2DConditionModel) -> UNet2DConditionModel:
        """Have a denoiser's pipeline sample at the size that it is trained at."""
        net.register_to_config(sample_size=self._latent_side, _name_or_path="")
        return net

    @property
    def _latent_side(self) -> int:
        return self.size // self.base.downscale

    def finished(self, net: UNet2DConditionModel) -> UNet2DConditionModel:
        """Return it with the adapters added to the weights beside them."""
        return net if self.base.whole else fuse_adapters(net)

    def train(
        self,
        net: UNet2DConditionModel,
        images: TrainingImages,
        plan: loop.TrainingPlan,
        folder: Path,
        snapshots: tuple[int, ...],
    ) -> None:
        """Train by what the base's scheduler predicts (`training.fine_tuning`)."""
        fine_tune(net, self.noise_scheduler(), *images, plan, folder, snapshots)

    def noise_scheduler(self) -> DDPMScheduler:
        """Return the scheduler that adds noise in training."""
        from diffusers import DDPMScheduler

        return DDPMScheduler.from_config(self.base.config("scheduler"))

    def scheduler(self) -> DPMSolverMultistepScheduler:
        """Return the solver of second order over the base's own noise levels."""
        from diffusers import DPMSolverMultistepScheduler

        return DPMSolverMultistepScheduler.from_config(self.base.config("scheduler"))

    def outline(self) -> UNet2DConditionModel:
        """Return a denoiser like the base's, with its adapters if there are any, on the device `meta`."""
        with torch.device("meta"):
            net = self.random(0)
            return net if self.base.whole else add_adapters(net, 0)

    def loss_of(self, net: UNet2DConditionModel, images: int = 1) -> torch.Tensor:
        """Return the fine-tuning loss of some images, whose latents are zeros."""
        side = self._latent_side
        latents = torch.zeros(images, net.config.in_channels, side, side, device=net.device)
        width, tokens = net.config.cross_attention_dim, self.base.shape.tokens
        text = torch.zeros(images, tokens, width, device=net.device)
        time = torch.zeros(images, dtype=torch.int64, device=net.device)
        with net.device:  # the scheduler keeps its noise levels where it is made
            loss = DenoisingLoss(net, self.noise_scheduler())
        return loss(latents, latents, time, text)
