"""What the autoencoder is trained for: faithful images, from latents that a denoiser can learn.

No classifier and no encoder that judges images takes part.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

__all__ = [
    "EDGE_WEIGHT",
    "LATENT_NOISE",
    "Reconstruction",
    "halved",
    "noised_latents",
    "pixel_error",
    "texture_error",
]

EDGE_WEIGHT = 1.0
# The decoder also sees latents up to this far off, in their own deviations, as a denoiser hands it.
LATENT_NOISE = 0.1
HALVED_WEIGHT = 0.5
HALVED_EVERY = 4  # images of a batch
TEXTURE_WINDOW = 4  # pixels a side


def pixel_error(images: torch.Tensor, decoded: torch.Tensor) -> torch.Tensor:
    """Return the mean absolute error of pixels and of their differences between neighbours.

    |x - y| + w |dx - dy| along both axes: edges count as much as tone. Images (n, 3, h, w).
    """
    loss = F.l1_loss(decoded, images)
    for axis in (2, 3):
        loss = loss + EDGE_WEIGHT * F.l1_loss(decoded.diff(dim=axis), images.diff(dim=axis))
    return loss


def texture_error(images: torch.Tensor, decoded: torch.Tensor) -> torch.Tensor:
    """Return how far the strength of texture is off, wherever its grains lie.

    The mean absolute difference of the root mean square, in windows of 4 x 4, of differences
    between neighbours. Absolute error alone rewards smoothness where grain cannot be foreseen.
    Images (n, 3, h, w).
    """
    loss = images.new_zeros(())
    for axis in (2, 3):
        real, found = (_grain(picture.diff(dim=axis)) for picture in (images, decoded))
        loss = loss + F.l1_loss(found, real)
    return loss


def _grain(differences: torch.Tensor) -> torch.Tensor:
    """Root mean square in windows of TEXTURE_WINDOW pixels a side."""
    return (F.avg_pool2d(differences.square(), TEXTURE_WINDOW) + 1e-4).sqrt()


def halved(x: torch.Tensor) -> torch.Tensor:
    """Return images or latents (n, c, h, w) at half the side, by means of 2 x 2."""
    return F.avg_pool2d(x, 2)


def noised_latents(
    latents: torch.Tensor, noise: torch.Tensor, strength: torch.Tensor
) -> torch.Tensor:
    """Return latents (n, c, h', w') with up to LATENT_NOISE of their own deviation added.

    Noise and strength as of `Reconstruction`.
    """
    deviation = latents.detach().std((0, 2, 3), keepdim=True)
    return latents + LATENT_NOISE * strength * deviation * noise


class Reconstruction(nn.Module):
    """The loss of a batch for encoder and decoder.

    Pixels and edges (`pixel_error`), decoded from latents that are noised in a small dose; and, for
    every fourth image, those of halved latents against the halved image, after Kouzelis et al.,
    arXiv 2502.09509 (EQ-VAE): latents that behave as an image does under scaling are easier to
    learn. Noise in place of a Kullback-Leibler term bounds what a latent can carry; the latents'
    scale is set afterwards.

    Parameters
    ----------
    vae : AutoencoderKL
        The autoencoder under training.
    """

    def __init__(self, vae: AutoencoderKL) -> None:
        super().__init__()
        self.vae = vae

    def forward(
        self, images: torch.Tensor, noise: torch.Tensor, strength: torch.Tensor
    ) -> torch.Tensor:
        """Return the loss.

        Parameters
        ----------
        images : torch.Tensor
            float (n, 3, h, w) in [-1, 1].
        noise : torch.Tensor
            Standard normal, float (n, c, h', w').
        strength : torch.Tensor
            Of the noise, float (n, 1, 1, 1) in [0, 1].
        """
        latents = self.vae.encode(images).latent_dist.mean.float()
        loss = pixel_error(images, self._decode(noised_latents(latents, noise, strength)))
        some = slice(None, None, HALVED_EVERY)
        decoded = self._decode(halved(latents[some]))
        return loss + HALVED_WEIGHT * pixel_error(halved(images[some]), decoded)

    def _decode(self, latents: torch.Tensor) -> torch.Tensor:
        latents = latents.contiguous(memory_format=torch.channels_last)
        return self.vae.decode(latents).sample.float()
