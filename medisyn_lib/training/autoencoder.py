"""The first stage: training it, standardising its latents, images to latents and back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from medisyn_lib.data.pixels import load_pixels
from medisyn_lib.models import networks
from medisyn_lib.models.tensors import in_batches, to_pixels, to_tensor
from medisyn_lib.models.weights import load_weights
from medisyn_lib.runtime.device import autocast_dtype, seeded
from medisyn_lib.training import loop
from medisyn_lib.training.classifier import AttributeClassifier, FeatureMaps, feature_maps

if TYPE_CHECKING:
    import datasets
    from diffusers import AutoencoderKL
from medisyn_lib.models.weights import shipped_weights

AUTOENCODER_WIDTHS = (16, 32, 64, 128)
EDGE_WEIGHT, PERCEPTUAL_WEIGHT, READING_WEIGHT, LEGIBLE_WEIGHT = 1.0, 0.5, 0.1, 0.5
LATENT_NOISE = 0.3  # the decoder also sees latents up to this far off, as the denoiser will hand it
LEGIBLE_UP_TO = 0.8  # flow time up to which the finding is to be legible in half of the latents, clean in the others
CODE_WEIGHT, CODE_SIZE = (
    0.3,
    0.4,
)  # beyond this share of the latents' variance their means over the image cost


def load_shipped() -> AutoencoderKL:
    """The shipped first stage, half-precision weights widened to float32."""
    model = networks.autoencoder(AUTOENCODER_WIDTHS)
    load_weights(model, shipped_weights())
    return model.eval()


class Objective(nn.Module):
    """The loss of a batch, for a first stage and a throw-away head.

    Mean absolute error in pixels and in their differences between neighbours (edges count as much as tone); the
    distance of what `guide`, a frozen reader of modality and finding, sees in both images, so that a small lesion is
    not lost among thousands of pixels. A throw-away linear head that must tell a modality's findings apart from the
    mean of the latents over the image, noised in half of them, makes the finding easy to learn for the denoiser (after
    Yao et al., arXiv 2501.01423). It learns labels and the guide's reading in equal parts, and the means are kept from
    taking over the latents. Noise in place of a Kullback-Leibler term keeps the latents smooth; their scale is set
    afterwards.
    """

    def __init__(self, vae: AutoencoderKL, guide: torch.nn.Module, rivals: np.ndarray) -> None:
        super().__init__()
        self.vae, self.guide = vae, guide.eval().requires_grad_(False)
        self.head = nn.Linear(networks.LATENT_CHANNELS, len(rivals))
        self.register_buffer("rivals", torch.from_numpy(rivals))

    def forward(
        self,
        images: torch.Tensor,
        noise: torch.Tensor,
        strength: torch.Tensor,
        target: torch.Tensor,
    ) -> torch.Tensor:
        """The loss of images (n, 3, h, w) in [-1, 1] whose class numbers are `target`."""
        self.guide.eval()  # the loop switches everything to training
        latent = self.vae.encode(images).latent_dist.mean.float()
        spread = latent.detach().std((0, 2, 3), keepdim=True)
        decoded = self.vae.decode(latent + LATENT_NOISE * strength * spread * noise).sample.float()
        loss = F.l1_loss(decoded, images)
        for axis in (2, 3):
            loss = loss + EDGE_WEIGHT * F.l1_loss(decoded.diff(dim=axis), images.diff(dim=axis))
        with torch.no_grad():
            wanted = feature_maps(self.guide, images)
        code = ((latent - latent.detach().mean((0, 2, 3), keepdim=True)) / spread).mean((2, 3))
        time = LEGIBLE_UP_TO * (2 * strength.flip(0).flatten(1) - 1).clamp(min=0)
        others = ~self.rivals[target]  # type: ignore[index]
        read = (
            self.head((1 - time) * code + time * noise.flip(0).mean((2, 3)))
            .float()
            .masked_fill(others, -1e4)
        )
        known = wanted[1].float().masked_fill(others, -1e4).softmax(1)
        right = (known + F.one_hot(target, known.shape[1])) / 2
        loss = loss + LEGIBLE_WEIGHT * F.cross_entropy(read, right)
        loss = loss + CODE_WEIGHT * (code.square().mean() - CODE_SIZE).clamp(min=0)
        return loss + distance_seen(real=wanted, decoded=feature_maps(self.guide, decoded))


def distance_seen(*, real: FeatureMaps, decoded: FeatureMaps) -> torch.Tensor:
    """Relative squared distance of a reader's features after each stage, and divergence of its reading."""
    (wanted, reading), (found, read) = real, decoded
    levels = [(a.float(), b.float()) for a, b in zip(found, wanted, strict=True)]
    apart = [(a - b).square().mean() / b.square().mean() for a, b in levels]
    divergence = F.kl_div(
        read.float().log_softmax(1), reading.float().softmax(1), reduction="batchmean"
    )
    return PERCEPTUAL_WEIGHT * torch.stack(apart).sum() + READING_WEIGHT * divergence


def train_autoencoder(
    vae: AutoencoderKL,
    guide: AttributeClassifier,
    images: datasets.Dataset,
    plan: loop.Plan,
    directory: Path,
) -> None:
    """Trains `vae` in place on images that `guide` was trained on, flipped at random; then standardises it."""
    pixels, target = load_pixels(images), guide.numbers(images["modality"][:], images["finding"][:])
    side = pixels.shape[1] // networks.DOWNSCALE

    def batch_of(rows: np.ndarray, draws: loop.Draws) -> dict[str, torch.Tensor]:
        batch = to_tensor(np.ascontiguousarray(pixels[rows]))
        flip = draws.uniform(1, 1, 1) < 0.5
        batch = torch.where(flip, batch.flip(3), batch).contiguous(
            memory_format=torch.channels_last
        )
        noise, strength = draws.normal(networks.LATENT_CHANNELS, side, side), draws.uniform(1, 1, 1)
        return {
            "images": batch,
            "noise": noise,
            "strength": strength,
            "target": torch.from_numpy(target[rows]),
        }

    owner = np.array([modality for modality, _ in guide.classes])
    rivals = owner[:, None] == owner[None, :]  # bool (classes, classes): findings of one modality
    with seeded(plan.seed):
        loss = Objective(vae, guide.net, rivals)
    loop.fit(loss, batch_of, n=len(pixels), plan=plan, directory=directory)
    standardise(
        vae, pixels[:: max(1, len(pixels) // 1024)]
    )  # images come modality by modality: some of each


def standardise(vae: AutoencoderKL, pixels: np.ndarray) -> None:
    """Folds each latent channel's mean and deviation into the 1x1 convolutions around the latents.

    Afterwards latents of such images have mean 0 and variance 1 a channel and decode as before, so
    plain pipelines need neither a scaling factor nor a shift.
    """
    latents = encode(vae, pixels)
    mean = torch.from_numpy(latents.mean((0, 2, 3)))
    deviation = torch.from_numpy(latents.std((0, 2, 3)).clip(1e-3))
    channels = networks.LATENT_CHANNELS
    with torch.no_grad():
        into, out = vae.quant_conv, vae.post_quant_conv
        out.bias += (out.weight[:, :, 0, 0] * mean).sum(1)
        out.weight *= deviation[None, :, None, None]
        into.weight[:channels] /= deviation[:, None, None, None]
        into.bias[:channels] = (into.bias[:channels] - mean) / deviation
        into.weight[channels:], into.bias[channels:] = (
            0.0,
            -20.0,
        )  # the encoder is certain: no noise of its own


def encode(vae: AutoencoderKL, pixels: np.ndarray, batch: int = 64) -> np.ndarray:
    """Latent means float32 (n, 16, h / 8, w / 8) of uint8 images (n, h, w, 3)."""

    def part(some: np.ndarray, device: torch.device) -> np.ndarray:
        images = to_tensor(np.ascontiguousarray(some)).to(device)
        return vae.encode(images).latent_dist.mean.float().cpu().numpy()

    return _in_batches(vae, pixels, batch, part)


def decode(vae: AutoencoderKL, latents: np.ndarray, batch: int = 64) -> np.ndarray:
    """The inverse of `encode`: uint8 images (n, h, w, 3)."""

    def part(some: np.ndarray, device: torch.device) -> np.ndarray:
        return to_pixels(vae.decode(torch.from_numpy(some).to(device)).sample)

    return _in_batches(vae, latents, batch, part)


def _in_batches(
    vae: AutoencoderKL, rows: np.ndarray, batch: int, part: Callable[..., np.ndarray]
) -> np.ndarray:
    half, device = autocast_dtype(), next(vae.parameters()).device
    with torch.autocast(device.type, dtype=half, enabled=half is not None):
        return in_batches(lambda some: part(some, device), rows, batch)


def peak_signal_to_noise(*, real: np.ndarray, decoded: np.ndarray) -> np.ndarray:
    """Peak signal-to-noise ratio of each image, float64 (n,), in decibels; uint8 (n, h, w, 3) each."""
    error = ((real.astype(np.float64) - decoded) ** 2).mean((1, 2, 3))
    return 10 * np.log10(255.0**2 / np.maximum(error, 1e-12))
