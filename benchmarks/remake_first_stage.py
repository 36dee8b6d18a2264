"""Remakes the first stage that this package ships, one go further: `python benchmarks/remake_first_stage.py`.

First both halves by the library's own loss, then the decoder alone on latents that a quick generator
redrew; weights/README.md tells what each go has done. Hours on two cores.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import datasets
import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import nn
from torch.nn import functional as F

from medisyn_lib.data import sources
from medisyn_lib.data.pixels import load_pixels
from medisyn_lib.models import networks
from medisyn_lib.models.tensors import to_tensor
from medisyn_lib.models.weights import save_weights, shipped_weights
from medisyn_lib.pipeline.generators import generator_entry
from medisyn_lib.pipeline.study import MODELS_CODE, Study
from medisyn_lib.runtime import store
from medisyn_lib.sampling.pipeline import load_pipeline
from medisyn_lib.training import loop
from medisyn_lib.training.autoencoder import (
    EDGE_WEIGHT,
    LATENT_NOISE,
    distance_seen,
    encode,
    load_shipped,
    train_autoencoder,
)
from medisyn_lib.training.classifier import AttributeClassifier, feature_maps, train_classifier
from medisyn_lib.training.text_encoder import embed_prompts

IMAGES = 3000  # phantoms a modality, of the role that no generator, evaluator or test uses
REDRAWN_IMAGES = 500
GUIDE_PLAN = loop.Plan(steps=3000, batch=32, rate=3e-3, decay=0.05)
PLAN = loop.Plan(
    steps=1500, batch=16, rate=5e-4, average=0.997
)  # both halves, one go more; see weights/README.md
DECODER_PLAN = loop.Plan(steps=1700, batch=16, rate=1e-3, average=0.997)
REDRAWN_PIXELS, REDRAWN_READING = (
    0.5,
    0.6,
)  # of redrawn latents: weights of pixels and of the finding
DRAFT_SEED = 1  # of the generator that redraws latents: not a seed of the quick or tiny profile


class Decoding(nn.Module):
    """The loss of a decoder alone, the encoder frozen, half of whose latents a denoiser redrew.

    A denoiser's latents have the layout and the finding's code of their caption but blunt details,
    and a decoder that has seen only an encoder's follows the details. So it is shown latents that
    were noised and redrawn (`redraw`) beside the image that they began as: pixels, what the
    guide sees, and, of redrawn ones, that the finding is read.
    """

    def __init__(self, vae: AutoencoderKL, guide: torch.nn.Module, rivals: np.ndarray) -> None:
        super().__init__()
        self.vae, self.guide = vae.requires_grad_(False), guide.eval().requires_grad_(False)
        vae.decoder.requires_grad_(True)
        vae.post_quant_conv.requires_grad_(True)
        self.register_buffer("rivals", torch.from_numpy(rivals))

    def forward(
        self,
        images: torch.Tensor,
        latents: torch.Tensor,
        redrawn: torch.Tensor,
        target: torch.Tensor,
    ) -> torch.Tensor:
        """The loss of images (n, 3, h, w) and their latents; `redrawn` bool (n, 1, 1, 1), `target` class numbers."""
        self.guide.eval()
        decoded = self.vae.decode(latents).sample.float()
        loss = _pixels_apart(images, decoded, torch.where(redrawn, REDRAWN_PIXELS, 1.0))
        with torch.no_grad():
            wanted = feature_maps(self.guide, images)
        seen = feature_maps(self.guide, decoded)
        wrong = _misread(seen[1], wanted[1], target, self.rivals)  # type: ignore[arg-type]
        return (
            loss
            + distance_seen(real=wanted, decoded=seen)
            + REDRAWN_READING * (wrong * redrawn.flatten()).mean()
        )


def _pixels_apart(
    images: torch.Tensor, decoded: torch.Tensor, weight: torch.Tensor
) -> torch.Tensor:
    """Mean absolute error of pixels and of their differences between neighbours, weighted image by image."""
    loss = (weight * (decoded - images).abs()).mean()
    for axis in (2, 3):
        loss = (
            loss
            + EDGE_WEIGHT * (weight * (decoded.diff(dim=axis) - images.diff(dim=axis)).abs()).mean()
        )
    return loss


def _misread(
    read: torch.Tensor, known: torch.Tensor, target: torch.Tensor, rivals: torch.Tensor
) -> torch.Tensor:
    """Cross-entropy (n,) among a modality's findings, against labels and the guide's reading in equal parts."""
    others = ~rivals[target]
    soft = known.float().masked_fill(others, -1e4).softmax(1)
    right = (soft + F.one_hot(target, soft.shape[1])) / 2
    return F.cross_entropy(read.float().masked_fill(others, -1e4), right, reduction="none")


def redraw(
    denoiser: UNet2DConditionModel,
    latents: np.ndarray,
    embeddings: np.ndarray,
    caption: np.ndarray,
    *,
    guidance: float,
    seed: int = 0,
    steps: int = 6,
    batch: int = 64,
) -> np.ndarray:
    """Latents noised to a flow time in 0.35..0.9 and denoised under their captions: float32 (n, 16, h, w).

    Arguments as in `denoising.train`; noise and time hang on seed and the latent's number alone. Euler steps with
    classifier-free guidance (Meng et al., arXiv 2108.01073, SDEdit).
    """
    parts = []
    with torch.inference_mode():
        for start in range(0, len(latents), batch):
            rows = range(start, min(start + batch, len(latents)))
            draws = [np.random.default_rng([seed, row]) for row in rows]
            began = torch.tensor([d.uniform(0.35, 0.9) for d in draws])[:, None, None, None].float()
            noise = torch.from_numpy(
                np.stack([d.standard_normal(latents.shape[1:], np.float32) for d in draws])
            )
            x = torch.lerp(
                torch.from_numpy(np.asarray(latents[rows.start : rows.stop], np.float32)),
                noise,
                began,
            )
            asked = torch.from_numpy(
                embeddings[np.append(caption[rows.start : rows.stop], [-1] * len(rows))]
            ).float()
            for step in range(steps):
                time = (began * (1 - step / steps)).flatten().repeat(2) * networks.TIMESTEPS
                both = torch.cat([x, x]).contiguous(memory_format=torch.channels_last)
                flow, without = denoiser(both, time, asked, return_dict=False)[0].chunk(2)
                x = x - began / steps * (without + guidance * (flow - without))
            parts.append(x.numpy())
    return np.concatenate(parts)


def train_decoder(
    vae: AutoencoderKL,
    guide: AttributeClassifier,
    images: datasets.Dataset,
    redrawn: np.ndarray,
    plan: loop.Plan,
    directory: Path,
) -> None:
    """Trains the decoder of `vae` in place; `redrawn` float (n, 16, h, w) are its images' latents, redrawn."""
    pixels, target = load_pixels(images), guide.numbers(images["modality"][:], images["finding"][:])
    latents = encode(vae, pixels)

    def batch_of(rows: np.ndarray, draws: loop.Draws) -> dict[str, torch.Tensor]:
        chosen = draws.uniform(1, 1, 1) < 0.5
        noise = LATENT_NOISE * draws.uniform(1, 1, 1) * draws.normal(*latents.shape[1:])
        shown = torch.where(
            chosen, torch.from_numpy(redrawn[rows]).float(), torch.from_numpy(latents[rows]) + noise
        )
        batch = to_tensor(np.ascontiguousarray(pixels[rows]))
        return {
            "images": batch,
            "latents": shown,
            "redrawn": chosen,
            "target": torch.from_numpy(target[rows]),
        }

    loss = Decoding(vae, guide.net, _rivals(guide))
    loop.fit(loss, batch_of, n=len(pixels), plan=plan, directory=directory)


def _rivals(guide: AttributeClassifier) -> np.ndarray:
    """Which classes are findings of one modality: bool (classes, classes)."""
    owner = np.array([modality for modality, _ in guide.classes])
    return owner[:, None] == owner[None, :]


def guide_entry() -> Path:
    """Folder of the reader of modality and finding that guides both goes."""

    def make(directory: Path) -> None:
        images = sources.load("phantom", role="first_stage", per_modality=IMAGES)
        train_classifier(
            load_pixels(images), images["modality"][:], images["finding"][:], GUIDE_PLAN, directory
        )

    code = ("medisyn_lib.phantoms", "medisyn_lib.training.classifier", *MODELS_CODE)
    return store.keep("guide", asdict(GUIDE_PLAN), make, code=code)


def both_halves() -> None:
    """Trains encoder and decoder further and ships them; every generator's latents change."""
    guide = guide_entry()

    def make(directory: Path) -> None:
        vae, images = (
            load_shipped(),
            sources.load("phantom", role="first_stage", per_modality=IMAGES),
        )
        train_autoencoder(vae, AttributeClassifier(guide), images, PLAN, directory)
        save_weights(vae.half(), directory / "first_stage.safetensors")

    _ship("first_stage_go", PLAN, make, guide)


def decoder_alone() -> None:
    """Trains the decoder on latents that a quick generator redrew and ships it; latents stay as they are."""
    guide, study = guide_entry(), Study("quick", "phantom")
    drafted = generator_entry(study, seed=DRAFT_SEED)
    draft = load_pipeline(str(drafted))

    def make(directory: Path) -> None:
        vae, images = (
            load_shipped(),
            sources.load("phantom", role="first_stage", per_modality=REDRAWN_IMAGES),
        )
        unique, caption = np.unique(
            np.asarray(images["caption"][:], dtype=str), return_inverse=True
        )
        embeddings = embed_prompts(draft.tokenizer, draft.text_encoder, [*unique.tolist(), ""])
        latents = encode(vae, load_pixels(images))
        redrawn = redraw(draft.unet, latents, embeddings, caption, guidance=study.settings.guidance)
        train_decoder(vae, AttributeClassifier(guide), images, redrawn, DECODER_PLAN, directory)
        save_weights(vae.half(), directory / "first_stage.safetensors")

    _ship("decoder_go", DECODER_PLAN, make, guide, drafted)


def _ship(step: str, plan: loop.Plan, make: Callable[[Path], None], *inputs: Path) -> None:
    code = ("medisyn_lib.phantoms", "medisyn_lib.training.autoencoder", *MODELS_CODE)
    made = store.keep(step, asdict(plan), make, inputs=[path.name for path in inputs], code=code)
    store.write_atomic(shipped_weights(), (made / "first_stage.safetensors").read_bytes())


if __name__ == "__main__":
    both_halves()
    decoder_alone()
