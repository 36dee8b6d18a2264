"""What the autoencoder is trained for: images, findings, and latents that a denoiser can learn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from medisyn_lib.training.classifier import FeatureMaps, feature_maps

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

__all__ = [
    "EDGE_WEIGHT",
    "LATENT_NOISE",
    "GuidedReconstruction",
    "code_variance_penalty",
    "finding_logits",
    "perceptual_distance",
    "pixel_error",
    "soft_findings",
]

EDGE_WEIGHT = 1.0
PERCEPTUAL_WEIGHT = 0.5
LOGIT_WEIGHT = 0.1
AUXILIARY_WEIGHT = 0.5
# The decoder also sees latents up to this far off, as the denoiser will hand it.
LATENT_NOISE = 0.3
# The finding is to be recovered up to this flow time in half of the latents, clean in the others.
RECOVERABLE_UP_TO = 0.8
# Beyond this fraction of the latents' variance their means over the image are penalised.
CODE_WEIGHT, CODE_VARIANCE = 0.3, 0.4
IMPOSSIBLE = -1e4  # logit


def pixel_error(images: torch.Tensor, decoded: torch.Tensor) -> torch.Tensor:
    """Return the mean absolute error of pixels and of their differences between neighbours.

    |x - y| + w |dx - dy| along both axes: edges count as much as tone. Images (n, 3, h, w).
    """
    loss = F.l1_loss(decoded, images)
    for axis in (2, 3):
        loss = loss + EDGE_WEIGHT * F.l1_loss(decoded.diff(dim=axis), images.diff(dim=axis))
    return loss


def perceptual_distance(*, real: FeatureMaps, decoded: FeatureMaps) -> torch.Tensor:
    """Return how differently a classifier sees two sets of images.

    0.5 sum_l |f_l(y) - f_l(x)|^2 / |f_l(x)|^2 over its stages l, plus 0.1 times the
    Kullback-Leibler divergence of its probabilities.
    """
    relative_errors = []
    for real_map, decoded_map in zip(real.stages, decoded.stages, strict=True):
        target, found = real_map.float(), decoded_map.float()
        error = (found - target).square().mean() / target.square().mean()
        relative_errors.append(error)
    divergence = F.kl_div(
        decoded.logits.float().log_softmax(1),
        real.logits.float().softmax(1),
        reduction="batchmean",
    )
    return PERCEPTUAL_WEIGHT * torch.stack(relative_errors).sum() + LOGIT_WEIGHT * divergence


def finding_logits(logits: torch.Tensor, other_modality: torch.Tensor) -> torch.Tensor:
    """Return logits (n, classes) with the classes of other modalities, a mask, ruled out."""
    return logits.float().masked_fill(other_modality, IMPOSSIBLE)


def soft_findings(
    guide_logits: torch.Tensor, target: torch.Tensor, other_modality: torch.Tensor
) -> torch.Tensor:
    """Return label and guide's probabilities of a modality's findings in equal parts, (n, classes)."""
    probabilities = finding_logits(guide_logits, other_modality).softmax(1)
    return (probabilities + F.one_hot(target, probabilities.shape[1])) / 2


def code_variance_penalty(code: torch.Tensor) -> torch.Tensor:
    """Return by how much the latents' means over the image, (n, c), exceed their permitted variance."""
    return (code.square().mean() - CODE_VARIANCE).clamp(min=0)


class GuidedReconstruction(nn.Module):
    """The loss of a batch, for an autoencoder and an auxiliary head.

    Pixels and edges (`pixel_error`); what a frozen classifier, the guide, sees in both images
    (`perceptual_distance`), so that a small lesion is not lost among thousands of pixels; an
    auxiliary linear head that must tell a modality's findings apart from the mean of the latents
    over the image, noised in half of them, which makes the finding easy to learn for the denoiser
    (after Yao et al., arXiv 2501.01423). Noise in place of a Kullback-Leibler term keeps the
    latents smooth; their scale is set afterwards.

    Parameters
    ----------
    vae : AutoencoderKL
        The autoencoder under training.
    guide : nn.Module
        A trained `classifier_network`; it stays as it is.
    same_modality : np.ndarray
        Which classes are findings of one modality, bool (classes, classes).
    """

    same_modality: torch.Tensor

    def __init__(self, vae: AutoencoderKL, guide: nn.Module, same_modality: np.ndarray) -> None:
        super().__init__()
        self.vae, self.guide = vae, guide.eval().requires_grad_(False)
        self.head = nn.Linear(vae.config.latent_channels, len(same_modality))
        self.register_buffer("same_modality", torch.from_numpy(same_modality))

    def forward(
        self,
        images: torch.Tensor,
        noise: torch.Tensor,
        strength: torch.Tensor,
        target: torch.Tensor,
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
        target : torch.Tensor
            Class numbers, int64 (n,).
        """
        self.guide.eval()  # the loop switches everything to training
        latents = self.vae.encode(images).latent_dist.mean.float()
        deviation = latents.detach().std((0, 2, 3), keepdim=True)
        perturbed = latents + LATENT_NOISE * strength * deviation * noise
        decoded = self.vae.decode(perturbed).sample.float()
        loss = pixel_error(images, decoded)
        with torch.no_grad():
            seen = feature_maps(self.guide, images)
        centred = latents - latents.detach().mean((0, 2, 3), keepdim=True)
        code = (centred / deviation).mean((2, 3))
        loss = loss + AUXILIARY_WEIGHT * self.auxiliary_loss(
            code, noise, strength, target, seen.logits
        )
        loss = loss + CODE_WEIGHT * code_variance_penalty(code)
        return loss + perceptual_distance(real=seen, decoded=feature_maps(self.guide, decoded))

    def auxiliary_loss(
        self,
        code: torch.Tensor,
        noise: torch.Tensor,
        strength: torch.Tensor,
        target: torch.Tensor,
        guide_logits: torch.Tensor,
    ) -> torch.Tensor:
        """Return the cross-entropy of the findings that the head recovers from noised latent means."""
        # Another image's strength and noise: independent of those that the decoder sees.
        time = RECOVERABLE_UP_TO * (2 * strength.flip(0).flatten(1) - 1).clamp(min=0)
        other_modality = ~self.same_modality[target]
        noised = (1 - time) * code + time * noise.flip(0).mean((2, 3))
        recovered = finding_logits(self.head(noised), other_modality)
        return F.cross_entropy(recovered, soft_findings(guide_logits, target, other_modality))
