"""Training the denoiser by flow matching, over latents and text embeddings computed once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional as F

from medisyn_lib.models import networks
from medisyn_lib.training import loop
from medisyn_lib.training.flops import count_flops

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel

CAPTION_DROPOUT = 0.1  # share of captions dropped for classifier-free guidance (Ho and Salimans, arXiv 2207.12598)


def flow_matching_pair(
    latents: torch.Tensor, noise: torch.Tensor, time: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mix latents with noise and give the velocity that a denoiser is to predict from the mixture.

    x_t = (1 - t) x_0 + t e, target e - x_0: Esser et al., arXiv 2403.03206, equations 13 and 19.

    Parameters
    ----------
    latents, noise : (n, c, h, w)
    time : (n,), in [0, 1], 1 being noise

    Returns
    -------
    Mixture and target, both (n, c, h, w)
    """
    t = time[:, None, None, None]
    return (1 - t) * latents + t * noise, noise - latents


class FlowMatching(torch.nn.Module):
    """The rectified-flow loss of a denoiser: the mean squared error of `flow_matching_pair`'s target."""

    captured = True  # see `training.fit`

    def __init__(self, denoiser: UNet2DConditionModel) -> None:
        super().__init__()
        self.denoiser = denoiser

    def forward(
        self, latents: torch.Tensor, noise: torch.Tensor, time: torch.Tensor, text: torch.Tensor
    ) -> torch.Tensor:
        """The loss of latents (n, 16, h, w) at flow times (n,) with text embeddings (n, tokens, width)."""
        mixed, target = flow_matching_pair(latents, noise, time)
        mixed = mixed.contiguous(memory_format=torch.channels_last)
        flow = self.denoiser(mixed, time * networks.TIMESTEPS, text, return_dict=False)[0]
        return F.mse_loss(flow.float(), target)


def train_denoiser(
    denoiser: UNet2DConditionModel, latents: np.ndarray, embeddings: np.ndarray, caption: np.ndarray,
    plan: loop.Plan, directory: Path, snapshots: tuple[int, ...] = (),
) -> None:  # fmt: skip
    """Trains `denoiser` in place.

    `latents` float (n, 16, h, w); `embeddings` float (m + 1, tokens, width), the last of no text;
    `caption` int (n,): which embedding belongs to each image. Both arrays may be memory-mapped.
    """
    empty = len(embeddings) - 1

    def batch_of(rows: np.ndarray, draws: loop.Draws) -> dict[str, torch.Tensor]:
        noise = draws.normal(*latents.shape[1:])
        time = torch.sigmoid(draws.normal())
        dropped = draws.uniform().numpy() < CAPTION_DROPOUT
        words = np.where(dropped, empty, caption[rows])
        kept, asked = (
            torch.from_numpy(latents[rows]).float(),
            torch.from_numpy(embeddings[words]).float(),
        )
        return {"latents": kept, "noise": noise, "time": time, "text": asked}

    loop.fit(
        FlowMatching(denoiser),
        batch_of,
        n=len(latents),
        plan=plan,
        directory=directory,
        snapshots=snapshots,
    )


def denoiser_flops(denoiser: UNet2DConditionModel, latent_side: int, text_width: int) -> float:
    """Floating-point operations of one image's forward and backward pass (`compute.operations`)."""
    latents = torch.zeros(1, networks.LATENT_CHANNELS, latent_side, latent_side)
    text = torch.zeros(1, networks.CONTEXT, text_width)
    loss = FlowMatching(denoiser)
    counted, _ = count_flops(lambda: loss(latents, latents, torch.zeros(1), text).backward())
    denoiser.zero_grad(set_to_none=True)
    return float(counted)
