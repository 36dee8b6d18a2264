"""An eleventh modality, learnt by the generalist or by a new specialist."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from medisyn_lib.data.pixels import load_pixels
from medisyn_lib.pipeline.denoisers import (
    denoiser_entry,
    denoiser_plan,
    load_denoiser,
    new_denoiser,
    snapshot_steps,
)
from medisyn_lib.pipeline.embeddings import text_entry
from medisyn_lib.pipeline.generators import generator_entry
from medisyn_lib.pipeline.latents import latents_entry, load_latents
from medisyn_lib.runtime.store import keep, write_atomic
from medisyn_lib.sampling.pipeline import load_pipeline
from medisyn_lib.training import loop
from medisyn_lib.training.autoencoder import encode
from medisyn_lib.training.denoiser import train_denoiser
from medisyn_lib.training.text_encoder import embed_prompts

if TYPE_CHECKING:
    import datasets

    from medisyn_lib.pipeline.study import Study

BLACK = 16  # of 255: what no channel exceeds is outside the eye
CODE = (
    "medisyn_lib.pipeline.added_modality",
    "medisyn_lib.training.denoiser",
    "medisyn_lib.models.networks",
    "medisyn_lib.training.loop",
    "medisyn_lib.training.autoencoder",
)


class Learner(NamedTuple):
    """How a denoiser learns the new modality."""

    name: str
    from_generalist: bool  # starts from its weights and sees old images as often as new ones
    rate_divisor: int  # how much lower its learning rate is


TUNED_GENERALIST = Learner("tuned generalist", from_generalist=True, rate_divisor=3)
NEW_SPECIALIST = Learner("new specialist", from_generalist=False, rate_divisor=1)
LEARNERS = (TUNED_GENERALIST, NEW_SPECIALIST)


class TrainingImages(NamedTuple):
    """What a denoiser is trained on."""

    latents: np.ndarray  # float (n, channels, h, w)
    embeddings: np.ndarray  # float (m + 1, tokens, width), the last of the empty prompt
    caption: np.ndarray  # int (n,): which embedding belongs to each image


def choose_origin(present: Sequence[str], compared: Sequence[str]) -> str:
    """Choose the modality whose images the new one is made from: the fundus, where there is one."""
    return "fundus" if "fundus" in present else compared[0]


def angiograms(images: datasets.Dataset) -> tuple[np.ndarray, list[str]]:
    """Turn images into negatives of their green channel, as fluorescein angiography shows the eye.

    Returns
    -------
    pixels
        uint8 (n, h, w, 3), grey, black where black was.
    captions
        One per image.
    """
    pixels = load_pixels(images)
    negative = 255 - pixels[..., 1]
    grey = np.where(pixels.max(-1) > BLACK, negative, 0).astype(np.uint8)
    findings = [finding.replace("_", " ") for finding in images["finding"][:]]
    captions = [f"fluorescein angiogram, {finding}" for finding in findings]
    return np.repeat(grey[..., None], 3, -1), captions


def with_angiogram_captions(images: datasets.Dataset) -> datasets.Dataset:
    """Give the images of an evaluation split the captions of their angiograms."""
    _, captions = angiograms(images)
    return images.remove_columns("caption").add_column("caption", captions)


def added_plan(study: Study, learner: Learner) -> loop.TrainingPlan:
    """Plan the training of a learner; both take the same number of steps."""
    plan = denoiser_plan(study)
    learning_rate = plan.learning_rate / learner.rate_divisor
    return replace(plan, steps=study.settings.eleventh_steps, learning_rate=learning_rate)


def added_modality_entry(study: Study, learner: Learner, origin: str) -> Path:
    """Train a learner on the new modality, with the first training seed.

    Parameters
    ----------
    study
        Profile and data. Its autoencoder and text encoder stay as they are.
    learner
        One of `LEARNERS`.
    origin
        Modality whose images the new one is made from.

    Returns
    -------
    Path
        Folder as of `denoisers.denoiser_entry`.
    """
    seed = study.settings.seeds[0]
    latents, prompts = latents_entry(study), text_entry(study)
    generalist = denoiser_entry(study, seed=seed)
    plan = added_plan(study, learner)
    settings = {
        "version": 1,
        "kind": learner.name,
        "plan": asdict(plan),
        "widths": study.settings.denoiser_widths,
        "origin": origin,
    }
    make = partial(_train, study=study, learner=learner, plan=plan, origin=origin)
    inputs = [latents.name, prompts.name, generalist.name]
    return keep("eleventh", settings, make, inputs=inputs, code=CODE)


def _train(
    directory: Path, study: Study, learner: Learner, plan: loop.TrainingPlan, origin: str
) -> None:
    """Train a learner into a store folder, which also says what that took."""
    seed = study.settings.seeds[0]
    net = new_denoiser(study, seed)
    images = _new_images(study, origin)
    if learner.from_generalist:
        net = load_denoiser(study, denoiser_entry(study, seed=seed), seed)
        images = _with_old_images(study, images)
    train_denoiser(
        net,
        images.latents,
        images.embeddings,
        images.caption,
        plan,
        directory,
        snapshot_steps(plan),
    )
    generalist_cost = denoiser_entry(study, seed=seed) / "compute.json"
    per_image = json.loads(generalist_cost.read_text("utf-8"))["flops_per_image"]
    seen = plan.steps * plan.batch
    cost = {"steps": plan.steps, "images": seen, "flops": per_image * seen}
    write_atomic(directory / "compute.json", json.dumps(cost))


def _new_images(study: Study, origin: str) -> TrainingImages:
    """The new modality's training images, with the embeddings of new and old captions."""
    images = study.images("generator")
    rows = np.flatnonzero(np.array(images["modality"][:]) == origin)
    pixels, captions = angiograms(images.select(rows))
    shared = load_pipeline(str(generator_entry(study, seed=study.settings.seeds[0])))
    unique, caption = np.unique(captions, return_inverse=True)
    new = embed_prompts(shared.tokenizer, shared.text_encoder, unique.tolist())
    old = np.load(text_entry(study) / "embeddings.npy")
    return TrainingImages(encode(shared.vae, pixels), np.concatenate([new, old]), caption)


def _with_old_images(study: Study, new: TrainingImages) -> TrainingImages:
    """As many of the generalist's old images beside the new ones, evenly spaced."""
    latents = load_latents(latents_entry(study))
    caption = np.load(text_entry(study) / "caption.npy")
    old_embeddings = len(np.load(text_entry(study) / "embeddings.npy", mmap_mode="r"))
    new_captions = len(new.embeddings) - old_embeddings
    rows = np.linspace(0, len(latents) - 1, len(new.latents)).astype(int)
    return TrainingImages(
        np.concatenate([new.latents, latents[rows]]),
        new.embeddings,
        np.concatenate([new.caption, caption[rows] + new_captions]),
    )
