"""What `recipes.py` trains on: images, latents, and what a recipe may need computed once."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from recipe_parts import ALIGNED_WIDTH, SHAPES, EquivariantReconstruction, LatentShape
from torch.nn import functional as F

from medisyn_lib.models import encoders, networks
from medisyn_lib.models.tensors import in_batches, to_tensor
from medisyn_lib.pipeline.artifacts import TRAINING_CODE, ArrayArtifact, ImageSet
from medisyn_lib.pipeline.autoencoders import Autoencoder, Latents
from medisyn_lib.pipeline.classifiers import Classifier
from medisyn_lib.pipeline.study import AUTOENCODER_ROLE, Study
from medisyn_lib.runtime.device import seeded
from medisyn_lib.training import autoencoder, autoencoder_loss, loop
from medisyn_lib.training.autoencoder import train_autoencoder
from medisyn_lib.training.autoencoder_loss import GuidedReconstruction

FURTHER_STEPS = 150  # of the shared autoencoder


@dataclass(frozen=True, eq=False)
class TriedAutoencoder(Autoencoder):
    """Another autoencoder: the shared one trained further, or one of SHAPES from scratch."""

    step = "tried_autoencoder"
    code = (networks, *TRAINING_CODE, autoencoder, autoencoder_loss)
    name: str
    shape: LatentShape | None  # of one from scratch
    plan: loop.TrainingPlan
    shared: Autoencoder
    guide: Classifier
    images: ImageSet

    def make(self, folder: Path) -> None:
        """Train it and write it as a diffusers folder."""
        with seeded(self.plan.seed):
            if self.shape:
                vae = networks.autoencoder(self.shape.widths, self.shape.channels)
            else:
                vae = self.shared.load().requires_grad_(True)
        loss = EquivariantReconstruction if self.name == "equivariant" else GuidedReconstruction
        with tempfile.TemporaryDirectory() as place:
            guide, images = self.guide.load(), self.images.load()
            train_autoencoder(vae, guide, images, self.plan, Path(place), loss)
        vae.eval().requires_grad_(False).save_pretrained(folder / "vae")


def tried_autoencoder(study: Study, name: str) -> TriedAutoencoder:
    """Return the autoencoder that recipes call by this name."""
    shape = SHAPES.get(name)
    if shape:
        steps, learning_rate = study.settings.autoencoder_scratch_steps, 1e-3
    else:
        steps, learning_rate = FURTHER_STEPS, 5e-4
    return TriedAutoencoder(
        name=name,
        shape=shape,
        plan=loop.TrainingPlan(steps, batch=16, learning_rate=learning_rate),
        shared=study.autoencoder,
        guide=study.classifier(AUTOENCODER_ROLE),
        images=study.image_set(AUTOENCODER_ROLE),
    )


@dataclass(frozen=True, eq=False)
class AlignedFeatures(ArrayArtifact):
    """Features of images to align a denoiser with, float16 (n, c, side, side)."""

    step = "tried_features"
    code = (autoencoder, encoders)
    kind: str  # `Recipe.extra`
    side: int
    autoencoder: Autoencoder
    images: ImageSet

    def count(self) -> int:
        """Return the number of images."""
        return len(self.images.load())

    def block(self, rows: np.ndarray) -> np.ndarray:
        """Describe the images of some rows."""
        describe = features_of(self.kind, self.autoencoder.load(), self.side)

        def describe_some(pixels: np.ndarray) -> np.ndarray:
            return describe(pixels).half().numpy()

        return in_batches(describe_some, self.images.pixels(rows), 64)


@dataclass
class Material:
    """What recipes train on."""

    autoencoder: Autoencoder
    vae: Any
    latents: np.ndarray
    features: np.ndarray | None = None  # to align with, (n, c, h, w)


@cache
def material(study: Study, name: str, extra: str) -> Material:
    """Return autoencoder, latents and features to align with, all cached.

    `name` is that of another autoencoder, or empty; `extra` is a recipe's.
    """
    images = study.image_set("generator")
    chosen = tried_autoencoder(study, name) if name else study.autoencoder
    latents = Latents(chosen, images).array()
    found = Material(chosen, chosen.load(), latents)
    if extra in ALIGNED_WIDTH:
        side = latents.shape[-1] // 2 ** (len(study.settings.denoiser_widths) - 1)
        found.features = AlignedFeatures(extra, side, study.autoencoder, images).array()
    return found


def features_of(kind: str, vae: Any, side: int) -> Callable[[np.ndarray], torch.Tensor]:
    """Return what describes images to align a denoiser with.

    It takes uint8 (n, h, w, 3) and returns float32 (n, channels, side, side).
    """

    def by_autoencoder(pixels: np.ndarray) -> torch.Tensor:
        outputs: list[torch.Tensor] = []
        hook = vae.encoder.conv_norm_out.register_forward_hook(
            lambda module, inputs, output: outputs.append(output)
        )
        vae.encode(to_tensor(np.ascontiguousarray(pixels)))
        hook.remove()
        return F.adaptive_avg_pool2d(outputs[0], side)

    if kind == "autoencoder":
        return by_autoencoder
    net = encoders.efflite0()

    def by_encoder(pixels: np.ndarray) -> torch.Tensor:
        images = to_tensor(np.ascontiguousarray(pixels))
        images = F.interpolate(images, (128, 128), mode="bicubic", antialias=True)
        return F.adaptive_avg_pool2d(net.forward_features(images), side)

    return by_encoder
