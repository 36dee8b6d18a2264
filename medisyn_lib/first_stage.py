"""The first stage: training it, standardising its latents, images to latents and back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medisyn_lib import encoders, models, store, training

if TYPE_CHECKING:
    import torch
    from diffusers import AutoencoderKL

WIDTHS = (16, 32, 64, 128)
KL_WEIGHT = 1e-4  # just enough to keep the latents' scale; Rombach et al., section 3.1
LATENT_NOISE = 0.1  # the decoder also sees latents this far off, as the denoiser will hand it
EDGE_WEIGHT, PERCEPTUAL_WEIGHT = 1.0, 0.15
SHIPPED_IMAGES = 3000  # phantoms a modality
SHIPPED_PLAN = training.Plan(steps=4400, batch=16, rate=1e-3)  # how the shipped weights were made, see their card


def shipped_weights() -> Path:
    """The phantom-trained first stage inside this package (its card is `weights/README.md`)."""
    return Path(__file__).parent / "weights" / "first_stage.safetensors"


def load_shipped() -> AutoencoderKL:
    """The shipped first stage, half-precision weights widened to float32."""
    model = models.first_stage(WIDTHS)
    models.load_weights(model, shipped_weights())
    return model.eval()


def objective(vae: AutoencoderKL) -> torch.nn.Module:
    """Module whose forward gives the reconstruction loss of a batch `images`, `noise`.

    Mean absolute error in pixels and in their differences between neighbours (edges and texture
    count as much as tone), a perceptual distance, and the Kullback-Leibler term that keeps latents
    in range.
    """
    import torch
    from torch.nn import functional as F

    perceive = encoders.efflite0().to(memory_format=torch.channels_last)

    class Objective(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.vae = vae

        def forward(self, images: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
            latent = self.vae.encode(images).latent_dist
            scale = latent.mean.detach().std() * LATENT_NOISE
            decoded = self.vae.decode(latent.mean + (latent.std + scale) * noise).sample.float()
            loss = F.l1_loss(decoded, images)
            for axis in (2, 3):
                loss = loss + EDGE_WEIGHT * F.l1_loss(decoded.diff(dim=axis), images.diff(dim=axis))
            loss = loss + PERCEPTUAL_WEIGHT * _perceptual_distance(perceive, decoded, images)
            return loss + KL_WEIGHT * latent.kl().mean()

    return Objective()


def _perceptual_distance(net: Any, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Squared distance of unit-length features at three depths (Zhang et al., arXiv 1801.03924, eq. 1)."""
    import torch
    from torch.nn import functional as F

    def features(images: torch.Tensor) -> list[torch.Tensor]:
        levels = net.forward_intermediates(images, indices=[0, 1, 2], intermediates_only=True)
        return [F.normalize(level.float(), dim=1) for level in levels]

    pairs = zip(features(one), features(other), strict=True)
    return torch.stack([((a - b) ** 2).sum(1).mean() for a, b in pairs]).sum()


def train(vae: AutoencoderKL, pixels: np.ndarray, plan: training.Plan, directory: Path) -> None:
    """Trains `vae` in place on uint8 images (n, h, w, 3), flipped at random; then standardises it."""
    import torch

    side = pixels.shape[1] // models.DOWNSCALE

    def batch_of(rows: np.ndarray, draws: training.Draws) -> dict[str, torch.Tensor]:
        images = models.to_tensor(np.ascontiguousarray(pixels[rows]))
        flip = draws.uniform(1, 1, 1) < 0.5
        images = torch.where(flip, images.flip(3), images).contiguous(memory_format=torch.channels_last)
        return {"images": images, "noise": draws.normal(models.LATENT_CHANNELS, side, side)}

    training.fit(objective(vae), batch_of, n=len(pixels), plan=plan, directory=directory)
    standardise(vae, pixels[:: max(1, len(pixels) // 1024)])  # images come modality by modality: some of each


def standardise(vae: AutoencoderKL, pixels: np.ndarray) -> None:
    """Folds each latent channel's mean and deviation into the 1x1 convolutions around the latents.

    Afterwards latents of such images have mean 0 and variance 1 a channel and decode as before, so
    plain pipelines need neither a scaling factor nor a shift.
    """
    import torch

    latents = encode(vae, pixels)
    mean = torch.from_numpy(latents.mean((0, 2, 3)))
    deviation = torch.from_numpy(latents.std((0, 2, 3)).clip(1e-3))
    channels = models.LATENT_CHANNELS
    with torch.no_grad():
        into, out = vae.quant_conv, vae.post_quant_conv
        out.bias += (out.weight[:, :, 0, 0] * mean).sum(1)
        out.weight *= deviation[None, :, None, None]
        into.weight[:channels] /= deviation[:, None, None, None]
        into.bias[:channels] = (into.bias[:channels] - mean) / deviation
        into.bias[channels:] -= 2 * deviation.log()


def encode(vae: AutoencoderKL, pixels: np.ndarray, batch: int = 64) -> np.ndarray:
    """Latent means float32 (n, 16, h / 8, w / 8) of uint8 images (n, h, w, 3)."""
    import torch

    half = models.autocast_dtype()
    parts = []
    device = next(vae.parameters()).device
    with torch.inference_mode(), torch.autocast(device.type, dtype=half, enabled=half is not None):
        for start in range(0, len(pixels), batch):
            images = models.to_tensor(np.ascontiguousarray(pixels[start : start + batch])).to(device)
            parts.append(vae.encode(images).latent_dist.mean.float().cpu().numpy())
    return np.concatenate(parts)


def decode(vae: AutoencoderKL, latents: np.ndarray, batch: int = 64) -> np.ndarray:
    """The inverse of `encode`: uint8 images (n, h, w, 3)."""
    import torch

    half = models.autocast_dtype()
    parts = []
    device = next(vae.parameters()).device
    with torch.inference_mode(), torch.autocast(device.type, dtype=half, enabled=half is not None):
        for start in range(0, len(latents), batch):
            part = torch.from_numpy(latents[start : start + batch]).to(device)
            parts.append(models.to_pixels(vae.decode(part).sample))
    return np.concatenate(parts)


def peak_signal_to_noise(*, real: np.ndarray, decoded: np.ndarray) -> np.ndarray:
    """Peak signal-to-noise ratio of each image, float64 (n,), in decibels; uint8 (n, h, w, 3) each."""
    error = ((real.astype(np.float64) - decoded) ** 2).mean((1, 2, 3))
    return 10 * np.log10(255.0**2 / np.maximum(error, 1e-12))


def remake_shipped() -> None:
    """Trains the shipped first stage anew and writes it: `python -m medisyn_lib.first_stage`."""
    from medisyn_lib import data

    def make(directory: Path) -> None:
        pixels = data.pixels(data.load("phantom", role="first_stage", per_modality=SHIPPED_IMAGES))
        with models.seeded(0):
            vae = models.first_stage(WIDTHS)
        train(vae, pixels, SHIPPED_PLAN, directory)
        models.save_weights(vae.half(), directory / "first_stage.safetensors")

    code = ("medisyn_lib.phantoms", "medisyn_lib.first_stage", "medisyn_lib.models", "medisyn_lib.training")
    made = store.keep("shipped_first_stage", vars(SHIPPED_PLAN), make, code=code)
    store.write_atomic(shipped_weights(), (made / "first_stage.safetensors").read_bytes())


if __name__ == "__main__":
    remake_shipped()
