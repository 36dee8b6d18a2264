"""The flagship: the generalist that this package ships, and the training that it came from.

It has seen a fixed, finite set of phantoms, so that copying can be asked about.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from medisyn_lib.models.weights import SHIPPED
from medisyn_lib.pipeline.artifacts import ImageSet
from medisyn_lib.pipeline.autoencoders import Latents, ShippedAutoencoder, shipped_sha256
from medisyn_lib.pipeline.denoisers import ContinuedDenoiser, Denoiser
from medisyn_lib.pipeline.embeddings import TEXT_LAYERS, TEXT_WIDTH, Embeddings
from medisyn_lib.pipeline.origins import DenoiserShape
from medisyn_lib.training import loop

SIZE = 64  # pixels of an image side
PER_MODALITY = 3000  # training images
WIDTHS = (64, 128, 192)  # of the denoiser
TEXT_PLAN = loop.TrainingPlan(steps=600, batch=128, learning_rate=2e-3)
STEPS, BATCH = 12_000, 32
CONTINUED_STEPS = 10_000  # after those, along a schedule of their own
FRACTIONS = (0.03, 0.1, 0.3, 1.0)  # of the steps, after which its weights are stored


def folder() -> Path:
    """Return the shipped pipeline, a folder that plain diffusers loads."""
    return SHIPPED / "flagship"


def compute() -> dict[str, Any]:
    """Return what its training cost: steps, images, FLOPs an image and in all, seconds."""
    return json.loads((folder() / "compute.json").read_text("utf-8"))


def training_images() -> ImageSet:
    """Return the phantoms that it was trained on: 30,000, of known patients."""
    return ImageSet("phantom", "generator", SIZE, PER_MODALITY)


def denoiser(steps: int = STEPS) -> Denoiser:
    """Return its denoiser as first trained, for so many steps."""
    images = training_images()
    latents = Latents(ShippedAutoencoder(shipped_sha256()), images)
    return Denoiser(
        plan=loop.TrainingPlan(
            steps,
            BATCH,
            learning_rate=1.5e-3,
            ema_decay=0.9995,
            warmup_fraction=0.02,
            compiled=True,
        ),
        shape=DenoiserShape(SIZE, WIDTHS, TEXT_WIDTH),
        modality=None,
        latents=latents,
        embeddings=Embeddings(TEXT_PLAN, TEXT_WIDTH, TEXT_LAYERS, latents, images=images),
        images=images,
        snapshots=tuple(round(steps * fraction) for fraction in FRACTIONS),
    )


def continued_denoiser() -> ContinuedDenoiser:
    """Return its denoiser, trained on from where the first training ended."""
    plan = loop.TrainingPlan(
        CONTINUED_STEPS,
        BATCH,
        learning_rate=1e-3,
        seed=1,  # images come in another order, with other noise
        ema_decay=0.9995,
        compiled=True,
    )
    return ContinuedDenoiser(plan, denoiser())
