"""Sharpening a finished autoencoder's decoder, lightly and last, against a patch discriminator.

Absolute error alone averages what the latents leave open: speckle and grain come out too smooth. A
discriminator that compares patches brings them back. The encoder stays as it is, so latents, and what was
trained on them, keep their meaning.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from medisyn_lib.runtime.device import seeded
from medisyn_lib.training import loop
from medisyn_lib.training.autoencoder import fit_to_images
from medisyn_lib.training.autoencoder_loss import noised_latents, pixel_error, texture_error

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

__all__ = [
    "AdversarialReconstruction",
    "Judgement",
    "PatchDiscriminator",
    "hinge_loss",
    "sharpen_decoder",
]

ADVERSARIAL_WEIGHT = 0.05
MATCHING_WEIGHT = 0.5
TEXTURE_WEIGHT = 2.0


class Judgement(NamedTuple):
    """What a discriminator says of images.

    Attributes
    ----------
    scores : torch.Tensor
        One per patch, float (n, 1, h / 4, w / 4); high where it takes a patch for real.
    maps : list of torch.Tensor
        Its features on the way, float (n, c, h', w').
    """

    scores: torch.Tensor
    maps: list[torch.Tensor]


class PatchDiscriminator(nn.Module):
    """A small convolutional network that scores overlapping patches of 22 pixels a side.

    References
    ----------
    Isola et al., arXiv 1611.07004, section 3.2.2.
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            [
                nn.Conv2d(3, width, 4, stride=2, padding=1),
                _normalised(width, 2 * width, stride=2),
                _normalised(2 * width, 4 * width, stride=1),
            ]
        )
        self.score = nn.Conv2d(4 * width, 1, 3, padding=1)

    def forward(self, images: torch.Tensor) -> Judgement:
        """Judge images, float (n, 3, h, w) in [-1, 1]."""
        maps = []
        features = images
        for stage in self.stages:
            features = F.leaky_relu(stage(features), 0.2)
            maps.append(features)
        return Judgement(self.score(features).float(), maps)


def _normalised(given: int, passed_on: int, *, stride: int) -> nn.Module:
    convolution = nn.Conv2d(given, passed_on, 2 + stride, stride=stride, padding=1)
    return nn.Sequential(convolution, nn.GroupNorm(8, passed_on))


def hinge_loss(*, real: torch.Tensor, decoded: torch.Tensor) -> torch.Tensor:
    """Return the discriminator's loss: mean of max(0, 1 - real) plus mean of max(0, 1 + decoded).

    Its scores of any shape.

    References
    ----------
    Lim and Ye, arXiv 1705.02894.
    """
    return F.relu(1 - real).mean() + F.relu(1 + decoded).mean()


class AdversarialReconstruction(nn.Module):
    """The losses of decoder and discriminator, in one: each is blind to the other's.

    The decoder's is `pixel_error` and `texture_error`, minus the discriminator's mean score, plus
    the distance of its features on the way, the last three with weights; the discriminator's is
    `hinge_loss`. The encoder is frozen.

    Parameters
    ----------
    vae : AutoencoderKL
        The autoencoder whose decoder is trained.
    discriminator : PatchDiscriminator
        Trained beside it, and thrown away.
    """

    def __init__(self, vae: AutoencoderKL, discriminator: PatchDiscriminator) -> None:
        super().__init__()
        self.vae, self.discriminator = vae, discriminator
        vae.requires_grad_(False)
        vae.decoder.requires_grad_(True)

    def forward(
        self, images: torch.Tensor, noise: torch.Tensor, strength: torch.Tensor
    ) -> torch.Tensor:
        """Return the loss; arguments as of `Reconstruction`."""
        with torch.no_grad():
            latents = self.vae.encode(images).latent_dist.mean.float()
        perturbed = noised_latents(latents, noise, strength)
        perturbed = perturbed.contiguous(memory_format=torch.channels_last)
        decoded = self.vae.decode(perturbed).sample.float()
        real = self.discriminator(images)
        loss = pixel_error(images, decoded) + TEXTURE_WEIGHT * texture_error(images, decoded)
        loss = loss + self._persuasion(real, decoded)
        judged = self.discriminator(decoded.detach())
        return loss + hinge_loss(real=real.scores, decoded=judged.scores)

    def _persuasion(self, real: Judgement, decoded: torch.Tensor) -> torch.Tensor:
        """What the decoder loses where the discriminator, held still, sees a difference."""
        still = {name: value.detach() for name, value in self.discriminator.named_parameters()}
        judged = torch.func.functional_call(self.discriminator, still, (decoded,))
        distances = [
            F.l1_loss(found.float(), target.detach().float())
            for found, target in zip(judged.maps, real.maps, strict=True)
        ]
        matching = torch.stack(distances).mean()
        return MATCHING_WEIGHT * matching - ADVERSARIAL_WEIGHT * judged.scores.mean()


def sharpen_decoder(
    vae: AutoencoderKL, pixels: np.ndarray, plan: loop.TrainingPlan, directory: Path
) -> None:
    """Train the decoder of `vae` in place; encoder and latents stay as they are.

    Parameters
    ----------
    vae : AutoencoderKL
        As `train_autoencoder` leaves it.
    pixels : np.ndarray
        The images it was trained on, uint8 (n, h, w, 3).
    plan, directory
        As of `loop.fit`.
    """
    with seeded(plan.seed):
        discriminator = PatchDiscriminator().to(memory_format=torch.channels_last)
    loss = AdversarialReconstruction(vae, discriminator)
    fit_to_images(loss, vae, pixels, plan, directory)
    vae.requires_grad_(True)
