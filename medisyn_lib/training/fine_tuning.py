"""Fine-tuning: the denoiser of a Stable Diffusion pipeline trained further, in its own terms.

Autoencoder and text encoder stay as they are, so images and captions go through them once.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from medisyn_lib.errors import InputError
from medisyn_lib.models.tokens import token_numbers
from medisyn_lib.runtime.device import accelerator
from medisyn_lib.sampling.pipeline import load_pipeline
from medisyn_lib.training import loop
from medisyn_lib.training.autoencoder import encode
from medisyn_lib.training.denoiser import drop_captions
from medisyn_lib.training.text_encoder import embed_prompts

if TYPE_CHECKING:
    from diffusers import DDPMScheduler, StableDiffusionPipeline

__all__ = ["PREDICTIONS", "DenoisingLoss", "check_captions", "fine_tune", "load_base"]

PREDICTIONS = ("epsilon", "v_prediction")  # what a denoiser may predict
PIXELS_AT_ONCE = 64**3  # that the autoencoder encodes at a time: 64 images of 64 x 64
PROMPTS_AT_ONCE = 32


class DenoisingLoss(nn.Module):
    """The denoiser's loss in its scheduler's own terms: the error of noise, or of velocity.

    References
    ----------
    Noise: Ho et al., arXiv 2006.11239, equation 14. Velocity: Salimans and Ho, arXiv 2202.00512,
    appendix D.
    """

    def __init__(self, denoiser: nn.Module, scheduler: DDPMScheduler) -> None:
        super().__init__()
        self.denoiser, self.scheduler = denoiser, scheduler

    def forward(
        self, latents: torch.Tensor, noise: torch.Tensor, time: torch.Tensor, text: torch.Tensor
    ) -> torch.Tensor:
        """Return the mean squared error.

        Parameters
        ----------
        latents, noise : torch.Tensor
            float (n, c, h, w).
        time : torch.Tensor
            Time steps of the scheduler, int64 (n,).
        text : torch.Tensor
            Text embeddings, float (n, tokens, width).
        """
        noisy = self.scheduler.add_noise(latents, noise, time)
        if self.scheduler.config.prediction_type == "v_prediction":
            target = self.scheduler.get_velocity(latents, noise, time)
        else:
            target = noise
        predicted = self.denoiser(noisy, time, text, return_dict=False)[0]
        return F.mse_loss(predicted.float(), target)


def load_base(base: str) -> tuple[StableDiffusionPipeline, DDPMScheduler]:
    """Load a pipeline to start from, and the scheduler that adds noise in its training.

    Raises
    ------
    InputError
        Where there is no StableDiffusionPipeline that predicts noise or velocity.
    """
    from diffusers import DDPMScheduler

    pipeline: Any = load_pipeline(base)
    scheduler = DDPMScheduler.from_config(pipeline.scheduler.config)
    kind, prediction = type(pipeline).__name__, scheduler.config.prediction_type
    if kind != "StableDiffusionPipeline" or prediction not in PREDICTIONS:
        expected = f"give a StableDiffusionPipeline that predicts {' or '.join(PREDICTIONS)}"
        raise InputError(f"--base {base!r}: is a {kind} that predicts {prediction}; {expected}")
    return pipeline, scheduler


def check_captions(pipeline: StableDiffusionPipeline, captions: Sequence[str]) -> None:
    """Raise InputError for a caption that is longer than the pipeline reads."""
    token_numbers(pipeline.tokenizer, np.unique(np.asarray(captions, dtype=str)).tolist())


def fine_tune(
    pipeline: StableDiffusionPipeline,
    scheduler: DDPMScheduler,
    pixels: np.ndarray,
    captions: Sequence[str],
    plan: loop.TrainingPlan,
    directory: Path,
) -> None:
    """Train a pipeline's denoiser further and save the whole pipeline into a folder.

    Every process of a launch must call it; the main one saves.

    Parameters
    ----------
    pipeline, scheduler
        As of `load_base`; the pipeline's denoiser is changed in place.
    pixels : np.ndarray
        uint8 (n, h, w, 3), h equal to w.
    captions : sequence of str
        Of the n images.
    plan, directory
        As of `loop.fit`.
    """
    accel = accelerator()
    unique, number = np.unique(np.asarray(captions, dtype=str), return_inverse=True)
    pipeline.vae.to(accel.device)
    images_at_once = max(1, PIXELS_AT_ONCE // pixels.shape[1] ** 2)
    latents = encode(pipeline.vae, pixels, images_at_once) * pipeline.vae.config.scaling_factor
    embeddings = embed_prompts(
        pipeline.tokenizer, pipeline.text_encoder, [*unique.tolist(), ""], PROMPTS_AT_ONCE
    )

    def make_batch(rows: np.ndarray, draws: loop.Draws) -> dict[str, torch.Tensor]:
        time = (draws.uniform() * scheduler.config.num_train_timesteps).long()
        text = embeddings[drop_captions(number[rows], draws, empty=len(unique))]
        return {
            "latents": torch.from_numpy(latents[rows].astype(np.float32)),
            "text": torch.from_numpy(text),
            "noise": draws.normal(*latents.shape[1:]),
            "time": time,
        }

    pipeline.unet.enable_gradient_checkpointing()  # less memory for more time
    loss = DenoisingLoss(pipeline.unet, scheduler)
    loop.fit(loss, make_batch, n=len(pixels), plan=plan, directory=directory)
    # So that it samples at the size that it was trained at.
    pipeline.unet.register_to_config(sample_size=latents.shape[2])
    if accel.is_main_process:
        pipeline.to("cpu").save_pretrained(directory, safe_serialization=True)
