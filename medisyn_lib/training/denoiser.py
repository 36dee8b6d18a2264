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

__all__ = [
    "CAPTION_DROPOUT",
    "FlowMatching",
    "denoiser_flops",
    "drop_captions",
    "noisy_latents",
    "target_velocity",
    "train_denoiser",
]

# Fraction of captions dropped for classifier-free guidance (Ho and Salimans, arXiv 2207.12598).
CAPTION_DROPOUT = 0.1


def noisy_latents(latents: torch.Tensor, noise: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
    """Return the latents on their straight path to noise: x_t = (1 - t) x_0 + t e.

    Parameters
    ----------
    latents, noise : torch.Tensor
        float (n, c, h, w).
    time : torch.Tensor
        Flow times, float (n,) in [0, 1]; 0 leaves the latents, 1 the noise.

    References
    ----------
    Esser et al., arXiv 2403.03206, equation 13 (rectified flow).
    """
    t = time[:, None, None, None]
    return (1 - t) * latents + t * noise


def target_velocity(latents: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """Return what the denoiser learns: the velocity of that path, dx_t / dt = e - x_0."""
    return noise - latents


class FlowMatching(torch.nn.Module):
    """The rectified-flow loss of a denoiser.

    References
    ----------
    Esser et al., arXiv 2403.03206, equations 13 and 19.
    """

    use_cuda_graph = True  # see `loop.fit`

    def __init__(self, denoiser: UNet2DConditionModel) -> None:
        super().__init__()
        self.denoiser = denoiser

    def forward(
        self, latents: torch.Tensor, noise: torch.Tensor, time: torch.Tensor, text: torch.Tensor
    ) -> torch.Tensor:
        """Return the mean squared error of the predicted velocity.

        Parameters
        ----------
        latents, noise : torch.Tensor
            float (n, c, h, w).
        time : torch.Tensor
            Flow times, float (n,) in [0, 1].
        text : torch.Tensor
            Text embeddings, float (n, tokens, width).
        """
        noisy = noisy_latents(latents, noise, time)
        noisy = noisy.contiguous(memory_format=torch.channels_last)
        timestep = time * networks.TIMESTEPS
        velocity = self.denoiser(noisy, timestep, text, return_dict=False)[0]
        return F.mse_loss(velocity.float(), target_velocity(latents, noise))


def drop_captions(caption: np.ndarray, draws: loop.Draws, empty: int) -> np.ndarray:
    """Put the number of the empty caption in place of a tenth of the captions, int (n,)."""
    dropped = draws.uniform().numpy() < CAPTION_DROPOUT
    return np.where(dropped, empty, caption)


def train_denoiser(
    denoiser: UNet2DConditionModel,
    latents: np.ndarray,
    embeddings: np.ndarray,
    caption: np.ndarray,
    plan: loop.TrainingPlan,
    directory: Path,
    snapshots: tuple[int, ...] = (),
    *,
    dtype: torch.dtype | None = None,
) -> None:
    """Train `denoiser` in place, at logit-normal flow times.

    Parameters
    ----------
    denoiser : UNet2DConditionModel
        Predicts the velocity.
    latents : np.ndarray
        float (n, c, h, w); may be memory-mapped.
    embeddings : np.ndarray
        Text embeddings, float (m + 1, tokens, width), the last of the empty caption; may be
        memory-mapped.
    caption : np.ndarray
        Which embedding belongs to each image, int (n,).
    plan, directory, snapshots, dtype
        As of `loop.fit`.
    """
    empty = len(embeddings) - 1

    def make_batch(rows: np.ndarray, draws: loop.Draws) -> dict[str, torch.Tensor]:
        noise = draws.normal(*latents.shape[1:])
        time = torch.sigmoid(draws.normal())
        text = embeddings[drop_captions(caption[rows], draws, empty)]
        return {
            "latents": torch.from_numpy(latents[rows]).float(),
            "noise": noise,
            "time": time,
            "text": torch.from_numpy(text).float(),
        }

    loop.fit(
        FlowMatching(denoiser),
        make_batch,
        n=len(latents),
        plan=plan,
        directory=directory,
        snapshots=snapshots,
        dtype=dtype,
    )


def denoiser_flops(denoiser: UNet2DConditionModel, latent_side: int, text_width: int) -> float:
    """Count the floating-point operations of one image's forward and backward pass.

    Parameters
    ----------
    denoiser : UNet2DConditionModel
        Its gradients are cleared.
    latent_side : int
        Height and width of the latents.
    text_width : int
        Width of the text embeddings.
    """
    latents = torch.zeros(1, denoiser.config.in_channels, latent_side, latent_side)
    text = torch.zeros(1, networks.CONTEXT, text_width)
    loss = FlowMatching(denoiser)
    flops, _ = count_flops(lambda: loss(latents, latents, torch.zeros(1), text).backward())
    denoiser.zero_grad(set_to_none=True)
    return float(flops)
