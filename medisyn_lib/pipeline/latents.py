"""The autoencoder that all generators of a study share, and the latents of its training images."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medisyn_lib.data.pixels import load_pixels
from medisyn_lib.models import networks
from medisyn_lib.models.weights import shipped_weights
from medisyn_lib.runtime import distributed
from medisyn_lib.runtime.device import accelerator, seeded
from medisyn_lib.training import loop
from medisyn_lib.training.autoencoder import (
    AUTOENCODER_WIDTHS,
    decode,
    encode,
    load_shipped,
    train_autoencoder,
)
from medisyn_lib.training.classifier import AttributeClassifier

if TYPE_CHECKING:
    from diffusers import AutoencoderKL
from medisyn_lib.pipeline.classifiers import classifier_entry, has_classes
from medisyn_lib.pipeline.study import MODELS_CODE, Study, data_settings


def autoencoder_entry(study: Study) -> Path:
    """Folder of the frozen first stage (`vae/`) that all generators of this study share.

    Phantoms have the shipped one; other sources adapt it to the generator's patients, guided by a
    reader trained on the same patients; a source that names no two classes keeps the shipped one, too.
    """
    settings, retrain = study.settings, study.retrain
    shipped = not retrain and (study.source == "phantom" or not has_classes(study, "first_stage"))
    steps = (
        0
        if shipped
        else settings.autoencoder_scratch_steps
        if retrain
        else settings.autoencoder_steps
    )
    plan = loop.TrainingPlan(steps, batch=16, learning_rate=1e-3 if retrain else 5e-4)
    weights = hashlib.sha256(shipped_weights().read_bytes()).hexdigest()
    guides = [classifier_entry(study, "first_stage")] if steps else []

    def make(directory: Path) -> None:
        with seeded(plan.seed):
            vae = networks.autoencoder(AUTOENCODER_WIDTHS) if retrain else load_shipped()
        for guide in guides:
            train_autoencoder(
                vae, AttributeClassifier(guide), study.images("first_stage"), plan, directory
            )
        vae.save_pretrained(directory / "vae")

    what = {"plan": asdict(plan), "retrain": retrain, "weights": weights}
    what |= data_settings(study, "first_stage") if steps else {}
    code = (
        (
            *MODELS_CODE,
            "medisyn_lib.training.autoencoder",
            "medisyn_lib.training.autoencoder_loss",
            "medisyn_lib.training.classifier",
        )
        if steps
        else ("medisyn_lib.models.networks",)
    )
    inputs = [guide.name for guide in guides]
    return distributed.keep_together("first_stage", what, make, inputs=inputs, code=code)


def load_autoencoder(entry: Path) -> AutoencoderKL:
    """The first stage of an entry, frozen."""
    from diffusers import AutoencoderKL

    return AutoencoderKL.from_pretrained(entry / "vae").eval().requires_grad_(False)


def latents_entry(study: Study) -> Path:
    """Folder with `latents.npy`, float16 (n, 16, h, w): the generator's images through the first stage."""
    stage = autoencoder_entry(study)

    def part(rows: np.ndarray) -> np.ndarray:
        vae = load_autoencoder(stage).to(accelerator().device)
        return encode(vae, load_pixels(study.images("generator"), rows)).astype(np.float16)

    what, code = data_settings(study, "generator"), ("medisyn_lib.training.autoencoder",)
    count = lambda: len(study.images("generator"))  # noqa: E731
    return distributed.keep_array(
        "latents", what, count, part, inputs=[stage.name], code=code
    ).parent


def reconstructed(study: Study, pixels: np.ndarray) -> np.ndarray:
    """Images uint8 (n, h, w, 3) through the first stage and back, kept in the store under their own bytes."""
    stage = autoencoder_entry(study)

    def part(rows: np.ndarray) -> np.ndarray:
        vae = load_autoencoder(stage).to(accelerator().device)
        return decode(vae, encode(vae, pixels[rows]))

    what = {"images": hashlib.sha256(pixels.tobytes()).hexdigest(), "shape": pixels.shape}
    code = ("medisyn_lib.training.autoencoder",)
    return np.load(
        distributed.keep_array(
            "decoded", what, lambda: len(pixels), part, inputs=[stage.name], code=code
        )
    )


def load_latents(entry: Path) -> np.ndarray:
    """The latents of an entry, memory-mapped."""
    return np.load(entry / "latents.npy", mmap_mode="r")
