"""Training the denoiser by flow matching, over latents and text embeddings computed once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional as F

from medisyn_lib import models, training

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel

NO_TEXT = 0.1  # share of captions dropped for classifier-free guidance (Ho and Salimans, arXiv 2207.12598)


class FlowMatching(torch.nn.Module):
    """The rectified-flow loss of a denoiser.

    Esser et al., arXiv 2403.03206, equations 13 and 19: x_t = (1 - t) x_0 + t e, target e - x_0.
    """

    def __init__(self, denoiser: UNet2DConditionModel) -> None:
        super().__init__()
        self.denoiser = denoiser

    def forward(
        self, latents: torch.Tensor, noise: torch.Tensor, time: torch.Tensor, text: torch.Tensor
    ) -> torch.Tensor:
        """The loss of latents (n, 16, h, w) at flow times (n,) with text embeddings (n, tokens, width)."""
        t = time[:, None, None, None]
        mixed = ((1 - t) * latents + t * noise).contiguous(memory_format=torch.channels_last)
        flow = self.denoiser(mixed, time * models.TIMESTEPS, text, return_dict=False)[0]
        return F.mse_loss(flow.float(), noise - latents)


def train(
    denoiser: UNet2DConditionModel,
    latents: np.ndarray,
    embeddings: np.ndarray,
    caption: np.ndarray,
    plan: training.Plan,
    directory: Path,
    snapshots: tuple[int, ...] = (),
) -> None:
    """Trains `denoiser` in place.

    `latents` float (n, 16, h, w); `embeddings` float (m + 1, tokens, width), the last of no text;
    `caption` int (n,): which embedding belongs to each image. Both arrays may be memory-mapped.
    """
    empty = len(embeddings) - 1

    def batch_of(rows: np.ndarray, draws: training.Draws) -> dict[str, torch.Tensor]:
        noise = draws.normal(*latents.shape[1:])
        time = torch.sigmoid(draws.normal())
        dropped = draws.uniform().numpy() < NO_TEXT
        words = np.where(dropped, empty, caption[rows])
        return {
            "latents": torch.from_numpy(latents[rows]).float(),
            "noise": noise,
            "time": time,
            "text": torch.from_numpy(embeddings[words]).float(),
        }

    training.fit(FlowMatching(denoiser), batch_of, n=len(latents), plan=plan, directory=directory, snapshots=snapshots)


def redraw(
    denoiser: UNet2DConditionModel,
    latents: np.ndarray,
    embeddings: np.ndarray,
    caption: np.ndarray,
    *,
    guidance: float,
    seed: int = 0,
    steps: int = 6,
    batch: int = 64,
) -> np.ndarray:
    """Latents noised to a flow time in 0.35..0.9 and denoised under their captions: float32 (n, 16, h, w).

    Arguments as in `train`; noise and time hang on seed and the latent's number alone. Euler steps with
    classifier-free guidance (Meng et al., arXiv 2108.01073, SDEdit).
    """
    parts = []
    with torch.inference_mode():
        for start in range(0, len(latents), batch):
            rows = range(start, min(start + batch, len(latents)))
            draws = [np.random.default_rng([seed, row]) for row in rows]
            began = torch.tensor([d.uniform(0.35, 0.9) for d in draws])[:, None, None, None].float()
            noise = torch.from_numpy(np.stack([d.standard_normal(latents.shape[1:], np.float32) for d in draws]))
            x = torch.lerp(torch.from_numpy(np.asarray(latents[rows.start : rows.stop], np.float32)), noise, began)
            asked = torch.from_numpy(embeddings[np.append(caption[rows.start : rows.stop], [-1] * len(rows))]).float()
            for step in range(steps):
                time = (began * (1 - step / steps)).flatten().repeat(2) * models.TIMESTEPS
                both = torch.cat([x, x]).contiguous(memory_format=torch.channels_last)
                flow, without = denoiser(both, time, asked, return_dict=False)[0].chunk(2)
                x = x - began / steps * (without + guidance * (flow - without))
            parts.append(x.numpy())
    return np.concatenate(parts)


def operations(denoiser: UNet2DConditionModel, latent_side: int, text_width: int) -> float:
    """Floating-point operations of one image's forward and backward pass (torch's counter)."""
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    latents, text = (
        torch.zeros(1, models.LATENT_CHANNELS, latent_side, latent_side),
        torch.zeros(1, models.CONTEXT, text_width),
    )
    # Attention as plain products, since the counter takes a processor's fused attention for nothing.
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        FlowMatching(denoiser)(latents, latents, torch.zeros(1), text).backward()
    denoiser.zero_grad(set_to_none=True)
    return float(counter.get_total_flops())
