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
from medisyn_lib.models.tokens import learn_tokenizer, token_numbers
from medisyn_lib.runtime import distributed
from medisyn_lib.runtime.device import seeded
from medisyn_lib.training import loop

if TYPE_CHECKING:
    from transformers import CLIPTextModel, CLIPTokenizer

TEMPERATURE = 0.07


class Contrastive(nn.Module):
    """The contrastive loss of captions `tokens` and their images' `latents`.

    Radford et al., arXiv 2103.00020, figure 3, with one change: images that share a caption (`caption`: its number)
    count as right answers alike. The image side is a small throw-away network over latents.
    """

    def __init__(self, encoder: CLIPTextModel) -> None:
        super().__init__()
        self.encoder = encoder
        self.images = nn.Sequential(
            nn.Conv2d(networks.LATENT_CHANNELS, 96, 3, padding=1), nn.GELU(),
            nn.Conv2d(96, 192, 3, stride=2, padding=1), nn.GELU(),
            nn.Conv2d(192, 192, 3, padding=1), nn.GELU(),
            nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(192 * 4, encoder.config.hidden_size),
        )  # fmt: skip

    def forward(
        self, tokens: torch.Tensor, latents: torch.Tensor, caption: torch.Tensor
    ) -> torch.Tensor:
        """The loss of token numbers (n, CONTEXT), latents (n, 16, h, w) and caption numbers (n,)."""
        words = F.normalize(self.encoder(input_ids=tokens).pooler_output.float(), dim=1)
        pictures = F.normalize(self.images(latents).float(), dim=1)
        words, pictures, caption = map(
            distributed.of_all, (words, pictures, caption)
        )  # or each would contrast its own
        same = (caption[:, None] == caption[None, :]).float()
        target = same / same.sum(1, keepdim=True)
        scores = words @ pictures.T / TEMPERATURE
        return (F.cross_entropy(scores, target) + F.cross_entropy(scores.T, target)) / 2


def train_text_encoder(
    captions: Sequence[str],
    latents: np.ndarray,
    plan: loop.Plan,
    directory: Path,
    width: int,
    layers: int,
) -> tuple[CLIPTokenizer, CLIPTextModel]:
    """Tokenizer and text encoder from (caption, latent) pairs; latents float (n, 16, h, w)."""
    unique, number = np.unique(np.asarray(captions, dtype=str), return_inverse=True)
    tokenizer = learn_tokenizer(unique.tolist())
    with seeded(plan.seed):
        ends = {"bos": tokenizer.bos_token_id, "eos": tokenizer.eos_token_id}
        encoder = networks.text_encoder(len(tokenizer), width, layers, **ends)
        loss = Contrastive(encoder)
    table = token_numbers(tokenizer, unique.tolist())
    # Attention is causal, so end marks beyond the longest caption's own change nothing.
    table = table[:, : int((table != tokenizer.eos_token_id).sum(1).max()) + 1]

    def batch_of(rows: np.ndarray, draws: loop.Draws) -> dict[str, torch.Tensor]:
        caption = torch.from_numpy(number[rows])
        return {
            "tokens": table[caption],
            "latents": torch.from_numpy(latents[rows]).float(),
            "caption": caption,
        }

    loop.fit(loss, batch_of, n=len(captions), plan=plan, directory=directory)
    return tokenizer, encoder.eval()


def embed_prompts(
    tokenizer: CLIPTokenizer, encoder: CLIPTextModel, prompts: Sequence[str], batch: int = 256
) -> np.ndarray:
    """Last hidden states float32 (n, CONTEXT, width): what the denoiser attends to."""

    def part(some: Sequence[str]) -> np.ndarray:
        return encoder(input_ids=token_numbers(tokenizer, some)).last_hidden_state.numpy()

    return in_batches(part, prompts, batch)
