"""The autoencoder ("first stage" in Rombach et al., arXiv 2112.10752): training and use.

Images to latents and back, and latents standardised to mean 0 and variance 1 per channel.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from medisyn_lib.models import networks
from medisyn_lib.models.tensors import in_batches, to_pixels, to_tensor
from medisyn_lib.models.weights import load_weights, shipped_weights
from medisyn_lib.runtime.device import autocast
from medisyn_lib.training import loop
from medisyn_lib.training.autoencoder_loss import Reconstruction

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

__all__ = [
    "AUTOENCODER_WIDTHS",
    "decode",
    "encode",
    "fit_to_images",
    "flipped_at_random",
    "load_shipped",
    "peak_signal_to_noise",
    "standardise",
    "train_autoencoder",
]

AUTOENCODER_WIDTHS = (16, 32, 96)
STANDARDISED_ON = 1024  # images, about, whose latents set mean and deviation


def load_shipped() -> AutoencoderKL:
    """Load the shipped autoencoder, its half-precision weights widened to float32."""
    model = networks.autoencoder(AUTOENCODER_WIDTHS)
    load_weights(model, shipped_weights())
    return model.eval()


def train_autoencoder(
    vae: AutoencoderKL, pixels: np.ndarray, plan: loop.TrainingPlan, directory: Path
) -> None:
    """Train `vae` in place, on images flipped at random, then standardise its latents.

    Parameters
    ----------
    vae : AutoencoderKL
        Of any number of latent channels and levels.
    pixels : np.ndarray
        uint8 (n, h, w, 3); may be memory-mapped.
    plan, directory
        As of `loop.fit`.
    """
    fit_to_images(Reconstruction(vae), vae, pixels, plan, directory)
    # Images are ordered by modality: every k-th, so that all modalities are among them.
    standardise(vae, pixels[:: max(1, len(pixels) // STANDARDISED_ON)])


def fit_to_images(
    objective: nn.Module,
    vae: AutoencoderKL,
    pixels: np.ndarray,
    plan: loop.TrainingPlan,
    directory: Path,
) -> None:
    """Train a loss of `vae` on images flipped at random.

    Parameters
    ----------
    objective : nn.Module
        Its forward takes images, noise and strength, as of `Reconstruction`.
    vae, pixels, plan, directory
        As of `train_autoencoder`.
    """
    channels = vae.config.latent_channels
    side = pixels.shape[1] // networks.downscale_of(vae)

    def make_batch(rows: np.ndarray, draws: loop.Draws) -> dict[str, torch.Tensor]:
        return {
            "images": flipped_at_random(pixels[rows], draws),
            "noise": draws.normal(channels, side, side),
            "strength": draws.uniform(1, 1, 1),
        }

    loop.fit(objective, make_batch, n=len(pixels), plan=plan, directory=directory)


def flipped_at_random(pixels: np.ndarray, draws: loop.Draws) -> torch.Tensor:
    """Return images uint8 (n, h, w, 3) as float (n, 3, h, w) in [-1, 1], half of them mirrored."""
    upright = to_tensor(np.ascontiguousarray(pixels))
    flip = draws.uniform(1, 1, 1) < 0.5
    flipped = torch.where(flip, upright.flip(3), upright)
    return flipped.contiguous(memory_format=torch.channels_last)


def standardise(vae: AutoencoderKL, pixels: np.ndarray) -> None:
    """Fold each latent channel's mean and deviation into the 1x1 convolutions around the latents.

    With z' = (z - mean) / deviation, latents of such images have mean 0 and variance 1 per channel
    and decode as before, so plain pipelines need neither a scaling factor nor a shift. The encoder's
    own variance becomes exp(-20).

    Parameters
    ----------
    vae : AutoencoderKL
        Changed in place.
    pixels : np.ndarray
        uint8 (n, h, w, 3).
    """
    latents = encode(vae, pixels)
    mean = torch.from_numpy(latents.mean((0, 2, 3)))
    deviation = torch.from_numpy(latents.std((0, 2, 3)).clip(1e-3))
    channels = vae.config.latent_channels
    to_latents, from_latents = vae.quant_conv, vae.post_quant_conv
    with torch.no_grad():
        from_latents.bias += (from_latents.weight[:, :, 0, 0] * mean).sum(1)
        from_latents.weight *= deviation[None, :, None, None]
        to_latents.weight[:channels] /= deviation[:, None, None, None]
        to_latents.bias[:channels] = (to_latents.bias[:channels] - mean) / deviation
        to_latents.weight[channels:] = 0.0  # the log-variances
        to_latents.bias[channels:] = -20.0


def encode(vae: AutoencoderKL, pixels: np.ndarray, batch: int = 64) -> np.ndarray:
    """Return the latents' means.

    Parameters
    ----------
    vae : AutoencoderKL
        On any device.
    pixels : np.ndarray
        uint8 (n, h, w, 3).
    batch : int
        Images at a time.

    Returns
    -------
    np.ndarray
        float32 (n, c, h', w').
    """
    device = _device_of(vae)

    def encode_some(some_pixels: np.ndarray) -> np.ndarray:
        images = to_tensor(np.array(some_pixels)).to(device)
        return vae.encode(images).latent_dist.mean.float().cpu().numpy()

    with autocast(device):
        return in_batches(encode_some, pixels, batch)


def decode(vae: AutoencoderKL, latents: np.ndarray, batch: int = 64) -> np.ndarray:
    """Return uint8 images (n, h, w, 3) of latents float32 (n, c, h', w'); inverts `encode`."""
    device = _device_of(vae)

    def decode_some(some_latents: np.ndarray) -> np.ndarray:
        return to_pixels(vae.decode(torch.from_numpy(some_latents).to(device)).sample)

    with autocast(device):
        return in_batches(decode_some, latents, batch)


def _device_of(net: nn.Module) -> torch.device:
    return next(net.parameters()).device


def peak_signal_to_noise(*, real: np.ndarray, decoded: np.ndarray) -> np.ndarray:
    """Return 10 log10(255^2 / mean squared error) of each image, in decibels.

    Parameters
    ----------
    real, decoded : np.ndarray
        uint8 (n, h, w, 3).

    Returns
    -------
    np.ndarray
        float64 (n,), at most about 168.
    """
    error = ((real.astype(np.float64) - decoded) ** 2).mean((1, 2, 3))
    return 10 * np.log10(255.0**2 / np.maximum(error, 1e-12))
