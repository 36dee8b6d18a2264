"""Remakes the autoencoder that this package ships, trained one run further: `python benchmarks/remake_autoencoder.py`.

First both halves by the library's own loss, then the decoder alone on latents that a quick generator redrew;
medisyn_lib/models/shipped/README.md says what each run has done. Hours on two cores.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import datasets
import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import nn
from torch.nn import functional as F

from medisyn_lib.data.pixels import load_pixels
from medisyn_lib.models import networks
from medisyn_lib.models.tensors import to_tensor
from medisyn_lib.models.weights import save_weights, shipped_weights
from medisyn_lib.pipeline.artifacts import TRAINING_CODE, Artifact, ImageSet
from medisyn_lib.pipeline.classifiers import Classifier
from medisyn_lib.pipeline.generators import Generator
from medisyn_lib.pipeline.study import Study
from medisyn_lib.runtime import store
from medisyn_lib.sampling.pipeline import load_pipeline
from medisyn_lib.training import autoencoder, autoencoder_loss, loop
from medisyn_lib.training.autoencoder import (
    encode,
    findings_of_same_modality,
    load_shipped,
    train_autoencoder,
)
from medisyn_lib.training.autoencoder_loss import (
    EDGE_WEIGHT,
    LATENT_NOISE,
    finding_logits,
    perceptual_distance,
    soft_findings,
)
from medisyn_lib.training.classifier import AttributeClassifier, feature_maps
from medisyn_lib.training.text_encoder import embed_prompts

SIZE = 64  # pixels of an image side
ROLE = "first_stage"  # which no generator, evaluator or test uses
IMAGES = 3000  # phantoms per modality
REDRAWN_IMAGES = 500
GUIDE_PLAN = loop.TrainingPlan(3000, batch=32, learning_rate=3e-3, weight_decay=0.05)
BOTH_HALVES_PLAN = loop.TrainingPlan(1500, batch=16, learning_rate=5e-4, ema_decay=0.997)
DECODER_PLAN = loop.TrainingPlan(1700, batch=16, learning_rate=1e-3, ema_decay=0.997)
# Weights of redrawn latents: of their pixels, and of their finding.
REDRAWN_PIXELS, REDRAWN_FINDING = 0.5, 0.6
DRAFT_SEED = 1  # of the generator that redraws latents: not a seed of the quick or tiny profile
REDRAWN_FROM, REDRAWN_TO = 0.35, 0.9  # flow times
WEIGHTS = "autoencoder.safetensors"


class DecoderLoss(nn.Module):
    """The loss of a decoder alone, the encoder frozen, half of whose latents a denoiser redrew.

    A denoiser's latents have the layout and the finding's code of their caption but blunt details, and a decoder that
    has seen only an encoder's follows the details. So it is shown latents that were noised and redrawn (`redraw`)
    beside the image that they began as: pixels, what the guide sees, and, of redrawn ones, that the finding is
    recovered.
    """

    same_modality: torch.Tensor

    def __init__(self, vae: AutoencoderKL, guide: nn.Module, same_modality: np.ndarray) -> None:
        super().__init__()
        self.vae, self.guide = vae.requires_grad_(False), guide.eval().requires_grad_(False)
        vae.decoder.requires_grad_(True)
        vae.post_quant_conv.requires_grad_(True)
        self.register_buffer("same_modality", torch.from_numpy(same_modality))

    def forward(
        self,
        images: torch.Tensor,
        latents: torch.Tensor,
        redrawn: torch.Tensor,
        target: torch.Tensor,
    ) -> torch.Tensor:
        """Return the loss of images (n, 3, h, w) and their latents.

        `redrawn` is bool (n, 1, 1, 1), `target` int (n,) holds class numbers.
        """
        self.guide.eval()
        decoded = self.vae.decode(latents).sample.float()
        weight = torch.where(redrawn, REDRAWN_PIXELS, 1.0)
        loss = weighted_pixel_error(images, decoded, weight)
        with torch.no_grad():
            seen = feature_maps(self.guide, images)
        seen_decoded = feature_maps(self.guide, decoded)
        other_modality = ~self.same_modality[target]
        findings = F.cross_entropy(
            finding_logits(seen_decoded.logits, other_modality),
            soft_findings(seen.logits, target, other_modality),
            reduction="none",
        )
        loss = loss + perceptual_distance(real=seen, decoded=seen_decoded)
        return loss + REDRAWN_FINDING * (findings * redrawn.flatten()).mean()


def weighted_pixel_error(
    images: torch.Tensor, decoded: torch.Tensor, weight: torch.Tensor
) -> torch.Tensor:
    """Return the mean absolute error of pixels and of their differences between neighbours, weighted image by image."""
    loss = (weight * (decoded - images).abs()).mean()
    for axis in (2, 3):
        edges = (decoded.diff(dim=axis) - images.diff(dim=axis)).abs()
        loss = loss + EDGE_WEIGHT * (weight * edges).mean()
    return loss


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
    """Noise latents to a flow time in 0.35..0.9 and denoise them under their captions: float32 (n, 16, h, w).

    Arguments as of `train_denoiser`; noise and time depend on seed and the latent's number alone. Euler steps with
    classifier-free guidance (Meng et al., arXiv 2108.01073, SDEdit).
    """
    parts = []
    with torch.inference_mode():
        for start in range(0, len(latents), batch):
            rows = np.arange(start, min(start + batch, len(latents)))
            draws = [np.random.default_rng([seed, int(row)]) for row in rows]
            times = [draw.uniform(REDRAWN_FROM, REDRAWN_TO) for draw in draws]
            began = torch.tensor(times)[:, None, None, None].float()
            noise = [draw.standard_normal(latents.shape[1:], np.float32) for draw in draws]
            clean = torch.from_numpy(np.asarray(latents[rows], np.float32))
            noisy = torch.lerp(clean, torch.from_numpy(np.stack(noise)), began)
            text = embeddings[np.append(caption[rows], np.full(len(rows), -1))]
            text = torch.from_numpy(text).float()
            parts.append(denoised(denoiser, noisy, began, text, guidance, steps).numpy())
    return np.concatenate(parts)


def denoised(
    denoiser: UNet2DConditionModel,
    latents: torch.Tensor,
    began: torch.Tensor,
    text: torch.Tensor,
    guidance: float,
    steps: int,
) -> torch.Tensor:
    """Bring latents at flow times `began` (n, 1, 1, 1) to 0; `text` holds captions, then as many empty ones."""
    for step in range(steps):
        time = (began * (1 - step / steps)).flatten().repeat(2) * networks.TIMESTEPS
        twice = torch.cat([latents, latents]).contiguous(memory_format=torch.channels_last)
        guided, unguided = denoiser(twice, time, text, return_dict=False)[0].chunk(2)
        latents = latents - began / steps * (unguided + guidance * (guided - unguided))
    return latents


def train_decoder(
    vae: AutoencoderKL,
    guide: AttributeClassifier,
    images: datasets.Dataset,
    redrawn: np.ndarray,
    plan: loop.TrainingPlan,
    directory: Path,
) -> None:
    """Train the decoder of `vae` in place; `redrawn` float (n, 16, h, w) are its images' latents, redrawn."""
    pixels, target = load_pixels(images), guide.numbers(images["modality"][:], images["finding"][:])
    latents = encode(vae, pixels)

    def make_batch(rows: np.ndarray, draws: loop.Draws) -> dict[str, torch.Tensor]:
        is_redrawn = draws.uniform(1, 1, 1) < 0.5
        noise = LATENT_NOISE * draws.uniform(1, 1, 1) * draws.normal(*latents.shape[1:])
        encoded = torch.from_numpy(latents[rows]) + noise
        return {
            "images": to_tensor(np.ascontiguousarray(pixels[rows])),
            "latents": torch.where(is_redrawn, torch.from_numpy(redrawn[rows]).float(), encoded),
            "redrawn": is_redrawn,
            "target": torch.from_numpy(target[rows]),
        }

    loss = DecoderLoss(vae, guide.net, findings_of_same_modality(guide))
    loop.fit(loss, make_batch, n=len(pixels), plan=plan, directory=directory)


@dataclass(frozen=True, eq=False)
class BothHalves(Artifact):
    """The shipped autoencoder, encoder and decoder trained further by the library's own loss."""

    step = "autoencoder_run"
    code = (networks, *TRAINING_CODE, autoencoder, autoencoder_loss)
    plan: loop.TrainingPlan
    guide: Classifier
    images: ImageSet

    def make(self, folder: Path) -> None:
        """Train it and write its weights."""
        vae = load_shipped()
        train_autoencoder(vae, self.guide.load(), self.images.load(), self.plan, folder)
        save_weights(vae.half(), folder / WEIGHTS)


@dataclass(frozen=True, eq=False)
class DecoderAlone(Artifact):
    """The shipped autoencoder, its decoder trained on latents of which a generator redrew half."""

    step = "decoder_run"
    code = (networks, *TRAINING_CODE, autoencoder, autoencoder_loss)
    plan: loop.TrainingPlan
    guidance: float
    guide: Classifier
    draft: Generator
    images: ImageSet

    def make(self, folder: Path) -> None:
        """Redraw latents, train the decoder on them and write the weights."""
        vae, images = load_shipped(), self.images.load()
        redrawn = self._redrawn(encode(vae, self.images.pixels()), images["caption"][:])
        train_decoder(vae, self.guide.load(), images, redrawn, self.plan, folder)
        save_weights(vae.half(), folder / WEIGHTS)

    def _redrawn(self, latents: np.ndarray, captions: list[str]) -> np.ndarray:
        """Latents as the draft generator redraws them under their captions."""
        pipeline = load_pipeline(str(self.draft.folder))
        unique, caption = np.unique(np.asarray(captions, dtype=str), return_inverse=True)
        texts = [*unique.tolist(), ""]
        embeddings = embed_prompts(pipeline.tokenizer, pipeline.text_encoder, texts)
        return redraw(pipeline.unet, latents, embeddings, caption, guidance=self.guidance)


def guide() -> Classifier:
    """Return the classifier of modality and finding that guides both runs."""
    return Classifier(GUIDE_PLAN, ImageSet("phantom", ROLE, SIZE, IMAGES))


def train_both_halves() -> None:
    """Train encoder and decoder further and ship them; every generator's latents change."""
    images = ImageSet("phantom", ROLE, SIZE, IMAGES)
    ship(BothHalves(BOTH_HALVES_PLAN, guide(), images))


def train_decoder_alone() -> None:
    """Train the decoder on latents that a quick generator redrew and ship it; latents stay as they are."""
    study = Study("quick", "phantom")
    run = DecoderAlone(
        plan=DECODER_PLAN,
        guidance=study.settings.guidance,
        guide=guide(),
        draft=study.generator(seed=DRAFT_SEED),
        images=ImageSet("phantom", ROLE, SIZE, REDRAWN_IMAGES),
    )
    ship(run)


def ship(run: Artifact) -> None:
    """Put the weights of a run in place of those that the package ships."""
    store.write_atomic(shipped_weights(), (run.folder / WEIGHTS).read_bytes())


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    train_both_halves()
    train_decoder_alone()
