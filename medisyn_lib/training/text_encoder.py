"""The text side: tokenizer and text encoder learnt from captions, prompts to embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from medisyn_lib.models import networks
from medisyn_lib.models.tensors import in_batches
from medisyn_lib.models.tokens import distinct, learn_tokenizer, token_numbers
from medisyn_lib.runtime import distributed
from medisyn_lib.runtime.device import seeded
from medisyn_lib.training import loop

if TYPE_CHECKING:
    from transformers import CLIPTextModel, CLIPTokenizer

TEMPERATURE = 0.07  # of the contrastive loss, as in Radford et al.


def contrastive_loss(
    text: torch.Tensor,
    images: torch.Tensor,
    caption: torch.Tensor,
    temperature: float = TEMPERATURE,
) -> torch.Tensor:
    """Return the symmetric contrastive loss of captions and images.

    With scores s_ij = <text_i, image_j> / temperature it is the mean of two cross-entropies, of
    the images given a caption and of the captions given an image; images that share a caption
    count as equally right.

    Parameters
    ----------
    text, images : torch.Tensor
        Embeddings of length 1, float (n, width); row i of both belongs together.
    caption : torch.Tensor
        Number of each row's caption, int64 (n,).
    temperature : float
        Above 0.

    References
    ----------
    Radford et al., arXiv 2103.00020, figure 3.
    """
    same = (caption[:, None] == caption[None, :]).float()
    target = same / same.sum(1, keepdim=True)
    scores = text @ images.T / temperature
    return (F.cross_entropy(scores, target) + F.cross_entropy(scores.T, target)) / 2


def image_encoder(latent_channels: int, width: int) -> nn.Module:
    """Make the auxiliary image side: latents (n, c, h, w) to embeddings (n, width)."""
    return nn.Sequential(
        nn.Conv2d(latent_channels, 96, 3, padding=1),
        nn.GELU(),
        nn.Conv2d(96, 192, 3, stride=2, padding=1),
        nn.GELU(),
        nn.Conv2d(192, 192, 3, padding=1),
        nn.GELU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(192 * 4, width),
    )


class Contrastive(nn.Module):
    """The contrastive loss of a text encoder; the image side is thrown away after training."""

    def __init__(
        self, encoder: CLIPTextModel, latent_channels: int = networks.LATENT_CHANNELS
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.images = image_encoder(latent_channels, encoder.config.hidden_size)

    def forward(
        self, tokens: torch.Tensor, latents: torch.Tensor, caption: torch.Tensor
    ) -> torch.Tensor:
        """Return the loss over the batch of all processes.

        Parameters
        ----------
        tokens : torch.Tensor
            Token numbers, int64 (n, tokens).
        latents : torch.Tensor
            float (n, c, h, w).
        caption : torch.Tensor
            Caption numbers, int64 (n,).
        """
        text = F.normalize(self.encoder(input_ids=tokens).pooler_output.float(), dim=1)
        images = F.normalize(self.images(latents).float(), dim=1)
        # Of all processes: else each would contrast its own part of the batch alone.
        return contrastive_loss(
            distributed.all_gather(text),
            distributed.all_gather(images),
            distributed.all_gather(caption),
        )


def train_text_encoder(
    captions: Sequence[str],
    latents: np.ndarray,
    plan: loop.TrainingPlan,
    directory: Path,
    width: int,
    layers: int,
) -> tuple[CLIPTokenizer, CLIPTextModel]:
    """Learn a tokenizer from captions and train a text encoder on (caption, latent) pairs.

    Parameters
    ----------
    captions : sequence of str
        n of them.
    latents : np.ndarray
        Of their images, float (n, c, h, w).
    plan, directory
        As of `loop.fit`.
    width, layers : int
        Of the transformer.
    """
    unique, number = distinct(captions)
    tokenizer = learn_tokenizer(unique)
    with seeded(plan.seed):
        encoder = networks.text_encoder(
            len(tokenizer),
            width,
            layers,
            bos=tokenizer.bos_token_id,
            eos=tokenizer.eos_token_id,
        )
        loss = Contrastive(encoder, latents.shape[1])
    tokens = token_numbers(tokenizer, unique)
    # Attention is causal, so end marks beyond the longest caption's own change nothing.
    longest = int((tokens != tokenizer.eos_token_id).sum(1).max()) + 1
    tokens = tokens[:, :longest]

    def make_batch(rows: np.ndarray, draws: loop.Draws) -> dict[str, torch.Tensor]:
        caption = torch.from_numpy(number[rows])
        return {
            "tokens": tokens[caption],
            "latents": torch.from_numpy(latents[rows]).float(),
            "caption": caption,
        }

    loop.fit(loss, make_batch, n=len(captions), plan=plan, directory=directory)
    return tokenizer, encoder.eval()


def embed_prompts(
    tokenizer: CLIPTokenizer, encoder: CLIPTextModel, prompts: Sequence[str], batch: int = 256
) -> np.ndarray:
    """Return the last hidden states, which the denoiser attends to.

    Returns
    -------
    np.ndarray
        float32 (n, CONTEXT, width).

    Raises
    ------
    InputError
        If a prompt is longer than the tokenizer's context.
    """

    def embed(some_prompts: Sequence[str]) -> np.ndarray:
        tokens = token_numbers(tokenizer, some_prompts)
        return encoder(input_ids=tokens).last_hidden_state.numpy()

    return in_batches(embed, prompts, batch)
