"""Remakes the autoencoder that this package ships, from random weights: `python benchmarks/remake_autoencoder.py`.

First both halves by the library's own loss, then the decoder alone, lightly, against a patch discriminator. Its card,
medisyn_lib/models/shipped/README.md, says what came of it. Interrupted, it goes on where it was.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from medisyn_lib.models import networks, wavelet_start
from medisyn_lib.models.weights import load_weights, save_weights, shipped_weights
from medisyn_lib.pipeline.artifacts import TRAINING_CODE, Artifact, ImageSet
from medisyn_lib.runtime import store
from medisyn_lib.runtime.device import seeded
from medisyn_lib.training import adversarial, autoencoder, autoencoder_loss, loop
from medisyn_lib.training.adversarial import sharpen_decoder
from medisyn_lib.training.autoencoder import AUTOENCODER_WIDTHS, train_autoencoder

SIZE = 64  # pixels of an image side
ROLE = "first_stage"  # which no generator, evaluator or test uses
IMAGES = 3000  # phantoms per modality
BOTH_HALVES = loop.TrainingPlan(steps=10_000, batch=16, learning_rate=1e-3, ema_decay=0.999)
DECODER = loop.TrainingPlan(steps=1200, batch=16, learning_rate=5e-4, seed=1, ema_decay=0.995)
WEIGHTS = "autoencoder.safetensors"


@dataclass(frozen=True, eq=False)
class BothHalves(Artifact):
    """Encoder and decoder, trained together from random weights."""

    step = "autoencoder_run"
    code = (networks, wavelet_start, *TRAINING_CODE, autoencoder, autoencoder_loss)
    plan: loop.TrainingPlan
    images: ImageSet

    def make(self, folder: Path) -> None:
        """Train it and write its weights."""
        with seeded(self.plan.seed):
            vae = networks.autoencoder(AUTOENCODER_WIDTHS)
        train_autoencoder(vae, self.images.pixels(), self.plan, folder)
        save_weights(vae.half(), folder / WEIGHTS)


@dataclass(frozen=True, eq=False)
class Sharpened(Artifact):
    """The same, its decoder trained further against a discriminator."""

    step = "decoder_run"
    code = (networks, *TRAINING_CODE, autoencoder, autoencoder_loss, adversarial)
    plan: loop.TrainingPlan
    start: BothHalves
    images: ImageSet

    def make(self, folder: Path) -> None:
        """Train the decoder and write the weights."""
        vae = networks.autoencoder(AUTOENCODER_WIDTHS)
        load_weights(vae, self.start.folder / WEIGHTS)
        sharpen_decoder(vae, self.images.pixels(), self.plan, folder)
        save_weights(vae.half(), folder / WEIGHTS)


def runs() -> Sharpened:
    """Return the runs that the shipped weights come from: the last, which holds the first."""
    images = ImageSet("phantom", ROLE, SIZE, IMAGES)
    return Sharpened(DECODER, BothHalves(BOTH_HALVES, images), images)


def remake() -> None:
    """Train the autoencoder and put its weights in place of those that the package ships."""
    weights = runs().folder / WEIGHTS
    store.write_atomic(shipped_weights(), weights.read_bytes())


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    remake()
