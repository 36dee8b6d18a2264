"""A generator that sees a handful of images and nothing else.

Its autoencoder is linear (whitened principal components of patches) and its text one random vector per finding.
The denoiser, its training and its sampler are those of every generator here, only smaller.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import ArrayLike

from medisyn_lib.models import networks
from medisyn_lib.pipeline.artifacts import TRAINING_CODE, Artifact, Pixels
from medisyn_lib.runtime.device import full_float32, seeded, to_device
from medisyn_lib.training import denoiser, loop
from medisyn_lib.training.denoiser import train_denoiser

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel
    from sklearn.decomposition import PCA

    from medisyn_lib.profiles import Profile

WIDTHS = (64, 96)  # of the denoiser
TEXT_WIDTH = 128
PATCH = 8  # pixels of a side
COMPONENTS = 16  # of a patch


@dataclass(frozen=True)
class LinearAutoencoder:
    """Principal components of square patches: each patch is one latent."""

    components: PCA
    patch: int  # pixels of a patch's side

    def encode(self, pixels: np.ndarray) -> np.ndarray:
        """Latents float32 (n, components, side, side) of pixels uint8 (n, h, h, 3)."""
        side = pixels.shape[1] // self.patch
        flat = self.components.transform(to_patches(pixels, self.patch))
        latents = flat.reshape(len(pixels), side, side, -1).transpose(0, 3, 1, 2)
        return latents.astype(np.float32)

    def decode(self, latents: np.ndarray) -> np.ndarray:
        """Pixels uint8 (n, h, h, 3) of latents (n, components, side, side)."""
        n, channels, side, _ = latents.shape
        flat = self.components.inverse_transform(
            latents.transpose(0, 2, 3, 1).reshape(-1, channels)
        )
        cell = self.patch
        patches = flat.reshape(n, side, side, cell, cell, 3).swapaxes(2, 3)
        images = patches.reshape(n, side * cell, side * cell, 3)
        return np.rint((images + 1) * 127.5).clip(0, 255).astype(np.uint8)


def to_patches(pixels: np.ndarray, patch: int) -> np.ndarray:
    """Cut images uint8 (n, h, h, 3) into patches, float64 in [-1, 1], (n * side * side, values of a patch)."""
    n, side = len(pixels), pixels.shape[1] // patch
    grid = pixels.reshape(n, side, patch, side, patch, 3).swapaxes(2, 3)
    return grid.reshape(n * side**2, -1) / 127.5 - 1


def fit_linear_autoencoder(
    pixels: np.ndarray, patch: int = PATCH, components: int = COMPONENTS
) -> LinearAutoencoder:
    """Fit the autoencoder to images uint8 (n, h, h, 3), whose side the patch's side divides."""
    from sklearn.decomposition import PCA

    fitted = PCA(components, whiten=True, svd_solver="full").fit(to_patches(pixels, patch))
    return LinearAutoencoder(fitted, patch)


def random_embeddings(count: int, seed: int) -> np.ndarray:
    """Draw `count` random text embeddings and append that of no text, zero: float32 (count + 1, 1, TEXT_WIDTH)."""
    rng = np.random.default_rng(seed)
    embeddings = rng.normal(size=(count + 1, 1, TEXT_WIDTH)).astype(np.float32)
    embeddings[-1] = 0
    return embeddings


@dataclass(frozen=True, eq=False)
class OwnSamples(Artifact):
    """Images of a generator that was trained on these images alone, `samples.npy`."""

    step = "own_samples"
    code = (networks, *TRAINING_CODE, denoiser, sys.modules[__name__])
    plan: loop.TrainingPlan
    images: Pixels
    findings: tuple[str, ...]  # of each image
    requested: tuple[str, ...]  # of each image to sample
    sampling_steps: int
    guidance: float

    def make(self, folder: Path) -> None:
        """Train the generator and sample from it."""
        pixels, seed = self.images.array, self.plan.seed
        names, labels = np.unique(self.findings, return_inverse=True)
        wanted = np.searchsorted(names, np.asarray(self.requested))
        autoencoder = fit_linear_autoencoder(pixels)
        latents = autoencoder.encode(pixels)
        embeddings = random_embeddings(len(names), seed)
        with seeded(seed):
            net = networks.denoiser(
                pixels.shape[1],
                WIDTHS,
                text_width=TEXT_WIDTH,
                latent_channels=COMPONENTS,
                downscale=PATCH,
            )
        train_denoiser(net, latents, embeddings, labels, self.plan, folder)
        sampled = self._sample(net, latents.shape[1:], embeddings, wanted)
        np.save(folder / "samples.npy", autoencoder.decode(sampled.numpy()))

    def _sample(
        self,
        net: UNet2DConditionModel,
        latent_shape: Sequence[int],
        embeddings: np.ndarray,
        wanted: np.ndarray,
    ) -> torch.Tensor:
        """Latents (m, *latent_shape), with classifier-free guidance (Ho and Salimans, arXiv 2207.12598)."""
        empty_caption = np.full(len(wanted), -1)
        device = to_device(net)
        text = torch.from_numpy(embeddings[np.append(wanted, empty_caption)]).to(device)
        sampler = networks.scheduler()
        sampler.set_timesteps(self.sampling_steps)
        generator = torch.Generator().manual_seed(self.plan.seed)
        latents = torch.randn(len(wanted), *latent_shape, generator=generator).to(device)
        with torch.inference_mode(), full_float32():
            for time in sampler.timesteps:
                both = net(torch.cat([latents, latents]), time, text, return_dict=False)[0]
                conditional, unconditional = both.chunk(2)
                guided = unconditional + self.guidance * (conditional - unconditional)
                step = sampler.step(guided, time, latents, generator=generator)
                latents = step.prev_sample
        return latents.cpu()


def own_generator_images(
    pixels: np.ndarray,
    findings: ArrayLike,
    requested: ArrayLike,
    *,
    settings: Profile,
    steps: int,
    seed: int,
) -> np.ndarray:
    """Train a generator on these images alone and sample from it, or read from the store what it sampled.

    Parameters
    ----------
    pixels, findings
        The images, uint8 (n, h, w, 3), and the finding of each, str (n,).
    requested
        The finding of each image to sample, str (m,); each is among `findings`.
    settings
        Whose sampling steps and guidance.
    steps
        Optimiser steps of the denoiser.
    seed
        Of weights, training and sampling.

    Returns
    -------
    images
        uint8 (m, h, w, 3).
    """
    samples = OwnSamples(
        plan=loop.TrainingPlan(
            steps=steps, batch=16, learning_rate=1.5e-3, seed=seed, ema_decay=0.999
        ),
        images=Pixels(pixels),
        findings=tuple(map(str, np.asarray(findings))),
        requested=tuple(map(str, np.asarray(requested))),
        sampling_steps=settings.sampling_steps,
        guidance=settings.guidance,
    )
    return np.load(samples.folder / "samples.npy")
