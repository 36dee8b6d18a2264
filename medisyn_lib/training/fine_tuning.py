"""Fine-tuning: the denoiser of a Stable Diffusion pipeline trained further, in its own terms.

Autoencoder and text encoder stay as they are, so images and captions go through them once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import nn

from medisyn_lib.models.tokens import token_numbers
from medisyn_lib.runtime.device import accelerator, compute_dtype
from medisyn_lib.training import loop
from medisyn_lib.training.denoiser import drop_captions, noisy_latents, target_velocity

if TYPE_CHECKING:
    from diffusers import DDPMScheduler, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

__all__ = [
    "DenoisingLoss",
    "NoisyLatents",
    "embed_captions",
    "fine_tune",
    "make_noisy",
    "min_snr_weights",
]

GAMMA = 5.0  # signal-to-noise ratio from which on less noisy images count for less
PROMPTS_AT_ONCE = 32
FLOW = "flow_prediction"


class NoisyLatents(NamedTuple):
    """What a denoiser is shown, and what it is to predict; both float (n, c, h, w)."""

    noisy: torch.Tensor
    target: torch.Tensor


def make_noisy(
    scheduler: DDPMScheduler, latents: torch.Tensor, noise: torch.Tensor, time: torch.Tensor
) -> NoisyLatents:
    """Add noise as a scheduler does, and say what its denoiser is to predict.

    Parameters
    ----------
    scheduler : DDPMScheduler
        Its `prediction_type` is `epsilon`, `v_prediction` or `flow_prediction`.
    latents, noise : torch.Tensor
        float (n, c, h, w).
    time : torch.Tensor
        Time steps of the scheduler, (n,): int64, of flow float.

    References
    ----------
    Noise: Ho et al., arXiv 2006.11239, equation 14. Velocity: Salimans and Ho, arXiv 2202.00512,
    appendix D. Flow: Esser et al., arXiv 2403.03206, equation 13.
    """
    if scheduler.config.prediction_type == FLOW:
        noisy = noisy_latents(latents, noise, time / scheduler.config.num_train_timesteps)
        return NoisyLatents(noisy, target_velocity(latents, noise))
    noisy = scheduler.add_noise(latents, noise, time)
    if scheduler.config.prediction_type == "v_prediction":
        return NoisyLatents(noisy, scheduler.get_velocity(latents, noise, time))
    return NoisyLatents(noisy, noise)


def min_snr_weights(scheduler: DDPMScheduler, time: torch.Tensor) -> torch.Tensor:
    """Return how much each image's squared error counts, float (n,): 1 for flow.

    With s the signal-to-noise ratio at a time step it is min(s, 5) / s where noise is predicted and
    min(s, 5) / (s + 1) where velocity is: both weigh the error of the clean latents by min(s, 5).

    References
    ----------
    Hang et al., arXiv 2303.09556, section 3.4.
    """
    if scheduler.config.prediction_type == FLOW:
        return torch.ones(len(time), device=time.device)
    signal = scheduler.alphas_cumprod.to(time.device)[time]
    ratio = signal / (1 - signal)
    if scheduler.config.prediction_type == "v_prediction":
        return ratio.clamp(max=GAMMA) / (ratio + 1)
    return (GAMMA / ratio).clamp(max=1)


class DenoisingLoss(nn.Module):
    """The denoiser's loss in its scheduler's own terms: the weighted error of noise, velocity or flow."""

    def __init__(self, denoiser: nn.Module, scheduler: DDPMScheduler) -> None:
        super().__init__()
        self.denoiser, self.scheduler = denoiser, scheduler

    def forward(
        self, latents: torch.Tensor, noise: torch.Tensor, time: torch.Tensor, text: torch.Tensor
    ) -> torch.Tensor:
        """Return the mean squared error, weighted by `min_snr_weights`.

        Parameters
        ----------
        latents, noise, time
            As of `make_noisy`.
        text : torch.Tensor
            Text embeddings, float (n, tokens, width).
        """
        noisy, target = make_noisy(self.scheduler, latents, noise, time)
        predicted = self.denoiser(noisy, time, text, return_dict=False)[0]
        errors = (predicted.float() - target).square().mean((1, 2, 3))
        return (min_snr_weights(self.scheduler, time) * errors).mean()


def fine_tune(
    denoiser: UNet2DConditionModel,
    scheduler: DDPMScheduler,
    latents: np.ndarray,
    embeddings: np.ndarray,
    caption: np.ndarray,
    plan: loop.TrainingPlan,
    directory: Path,
    snapshots: tuple[int, ...] = (),
) -> None:
    """Train the trainable weights of `denoiser` in place, with activation checkpointing.

    Parameters
    ----------
    denoiser, scheduler
        As of `DenoisingLoss`.
    latents : np.ndarray
        float (n, c, h, w); may be memory-mapped.
    embeddings : np.ndarray
        Text embeddings, float (m + 1, tokens, width), the last of the empty caption; may be
        memory-mapped.
    caption : np.ndarray
        Which embedding belongs to each image, int (n,).
    plan, directory, snapshots
        As of `loop.fit`.
    """
    empty, flow = len(embeddings) - 1, scheduler.config.prediction_type == FLOW
    steps = scheduler.config.num_train_timesteps

    def make_batch(rows: np.ndarray, draws: loop.Draws) -> dict[str, torch.Tensor]:
        time = torch.sigmoid(draws.normal()) * steps if flow else (draws.uniform() * steps).long()
        text = embeddings[drop_captions(caption[rows], draws, empty)]
        return {
            "latents": torch.from_numpy(latents[rows]).float(),
            "noise": draws.normal(*latents.shape[1:]),
            "time": time,
            "text": torch.from_numpy(text).float(),
        }

    _say_precision()
    denoiser.enable_gradient_checkpointing()
    loss = DenoisingLoss(denoiser, scheduler)
    loop.fit(loss, make_batch, n=len(latents), plan=plan, directory=directory, snapshots=snapshots)


def _say_precision() -> None:
    """Say on stderr where a GPU computes in float32 for want of bfloat16: it takes longer, and more memory."""
    accel = accelerator()
    is_gpu = accel.device.type != "cpu"
    if is_gpu and accel.is_main_process and compute_dtype() == torch.float32:
        fallback = "has no bfloat16: fine-tuning computes in float32, slower and in more memory"
        print(f"medisyn: device {accel.device}: {fallback}", file=sys.stderr)


def embed_captions(
    tokenizer: CLIPTokenizer, encoder: CLIPTextModel, captions: Sequence[str], path: Path
) -> None:
    """Write the text embeddings of captions to a `.npy` file, float16 (n, tokens, width), some at a time.

    The encoder computes where Accelerate does.
    """
    device = accelerator().device
    encoder.to(device)
    width, tokens = encoder.config.hidden_size, tokenizer.model_max_length
    embeddings = np.lib.format.open_memmap(path, "w+", np.float16, (len(captions), tokens, width))
    with torch.inference_mode():
        for start in range(0, len(captions), PROMPTS_AT_ONCE):
            some = captions[start : start + PROMPTS_AT_ONCE]
            numbers = token_numbers(tokenizer, some).to(device)
            states = encoder(input_ids=numbers).last_hidden_state
            embeddings[start : start + len(some)] = states.half().cpu().numpy()
    embeddings.flush()
    encoder.to("cpu")
