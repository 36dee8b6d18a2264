"""Finished generators: pipeline folders that plain diffusers loads without this package."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from medisyn_lib.models import networks
from medisyn_lib.pipeline.artifacts import UNKEYED, Artifact
from medisyn_lib.pipeline.autoencoders import Autoencoder
from medisyn_lib.pipeline.denoisers import StoredDenoiser
from medisyn_lib.pipeline.embeddings import StoredEmbeddings
from medisyn_lib.profiles import PROFILES
from medisyn_lib.runtime import store
from medisyn_lib.runtime.device import accelerator
from medisyn_lib.runtime.provenance import data_label
from medisyn_lib.sampling.pipeline import SAMPLING_FILE

if TYPE_CHECKING:
    from diffusers import (
        DPMSolverMultistepScheduler,
        StableDiffusionPipeline,
        UNet2DConditionModel,
    )

# Of the model card.
FINE_TUNED = (
    "the denoiser of `{base}`, fine-tuned in its scheduler's own terms; its autoencoder and text encoder are as they "
    "were, captions are cut where they are longer than that reads, and its licence and limits go on to hold"
)


@dataclass(frozen=True)
class SamplingCall:
    """How a generator is called by default."""

    num_inference_steps: int
    guidance_scale: float


@dataclass(frozen=True, eq=False)
class Generator(Artifact):
    """A folder that `diffusers.DiffusionPipeline.from_pretrained` loads.

    `after` takes the denoiser's weights after so many steps of its training; 0 leaves it untrained, None
    takes the finished one. One after so many steps is for sampling alone: as a `pipeline` in memory it takes no disk.
    """

    step = "generator"
    code = (networks, sys.modules[__name__])
    autoencoder: Autoencoder
    embeddings: StoredEmbeddings
    denoiser: StoredDenoiser
    call: SamplingCall
    profile: str
    modality: str | None
    seed: int
    after: int | None
    source: str = field(metadata=UNKEYED, kw_only=True)
    base: str = field(metadata=UNKEYED, kw_only=True, default="")  # its name; empty: from scratch

    def make(self, folder: Path) -> None:
        """Write the pipeline and its model card."""
        if not accelerator().is_main_process:  # transformers lets the first process alone save
            return
        net, scheduler = self.denoiser.load(self.after), self.denoiser.denoiser_origin.scheduler()
        assemble(folder, self.autoencoder, self.embeddings, net, scheduler, self.call)
        store.write_atomic(folder / "README.md", self.card())

    def pipeline(self) -> StableDiffusionPipeline:
        """Return the pipeline that the folder holds, assembled in memory."""
        net, scheduler = self.denoiser.load(self.after), self.denoiser.denoiser_origin.scheduler()
        net.to(memory_format=torch.contiguous_format)  # as read from a folder: rounding is the same
        pipeline = assembled(self.autoencoder, self.embeddings, net, scheduler)
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    def card(self) -> str:
        """Return the model card (Markdown with Hugging Face metadata): `model_card.md`, filled in."""
        kind = "the generalist for all modalities of its data"
        if self.modality:
            kind = f"a specialist for {self.modality}"
        origin, licence = "from scratch, by flow matching", "apache-2.0"
        if self.base:
            origin, licence = FINE_TUNED.format(base=self.base), "other"
        template = Path(__file__).with_name("model_card.md").read_text("utf-8")
        return template.format(
            kind=kind,
            origin=origin,
            licence=licence,
            data=data_label(self.source),
            profile=self.profile,
            settings=PROFILES[self.profile],
            seed=self.seed,
            call=self.call,
            cost=self.denoiser.compute(),
        )


def assemble(
    folder: Path,
    autoencoder: Autoencoder,
    embeddings: StoredEmbeddings,
    net: UNet2DConditionModel,
    scheduler: DPMSolverMultistepScheduler,
    call: SamplingCall,
) -> None:
    """Write a pipeline folder, and beside it how it is called by default."""
    pipeline = assembled(autoencoder, embeddings, net, scheduler)
    pipeline.save_pretrained(folder, safe_serialization=True)
    store.write_atomic(folder / SAMPLING_FILE, json.dumps(asdict(call)))


def assembled(
    autoencoder: Autoencoder,
    embeddings: StoredEmbeddings,
    net: UNet2DConditionModel,
    scheduler: DPMSolverMultistepScheduler,
) -> StableDiffusionPipeline:
    """Assemble a pipeline of stock classes only, so that what is saved of it loads without this package."""
    from diffusers import StableDiffusionPipeline

    tokenizer, text_encoder = embeddings.load_encoder()
    vae = autoencoder.load()
    vae.register_to_config(_name_or_path="")  # a folder of this machine, which nobody else has
    return StableDiffusionPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=net,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
