"""From a data source to trained generators, step by step, each step kept in the store.

Images -> first stage -> latents; captions and latents -> text encoder -> embeddings; both -> one
denoiser for all modalities (the generalist) or for one (a specialist) -> a diffusers folder.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from medisyn_lib.models import networks
from medisyn_lib.runtime import distributed, store
from medisyn_lib.runtime.device import accelerator
from medisyn_lib.runtime.provenance import data_label
from medisyn_lib.sampling.pipeline import SAMPLING_FILE

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel
from medisyn_lib.pipeline.denoisers import denoiser_entry, load_denoiser
from medisyn_lib.pipeline.embeddings import text_entry
from medisyn_lib.pipeline.latents import autoencoder_entry, load_autoencoder
from medisyn_lib.pipeline.study import Study


def generator_entry(
    study: Study,
    modality: str | None = None,
    *,
    seed: int = 0,
    step: int | None = None,
    trained: Path | None = None,
) -> Path:
    """A finished generator: a folder that `diffusers.DiffusionPipeline.from_pretrained` loads.

    `step` takes the denoiser's weights from the way there; 0 leaves it untrained. `trained` is another entry of one.
    """
    stage, words = autoencoder_entry(study), text_entry(study)
    trained = trained or denoiser_entry(study, modality, seed=seed)

    def make(directory: Path) -> None:
        if accelerator().is_main_process:  # of several alone transformers lets this one save
            assemble(directory, stage, words, load_denoiser(study, trained, seed, step), study)
            cost = json.loads((trained / "compute.json").read_text("utf-8"))
            store.write_atomic(directory / "README.md", model_card(study, modality, seed, cost))

    what: dict[str, object] = {
        "modality": modality,
        "seed": seed,
        "step": step,
        "profile": study.profile,
    }
    what |= {"steps": study.settings.sampling_steps, "guidance": study.settings.guidance}
    inputs = [stage.name, words.name, trained.name]
    code = ("medisyn_lib.pipeline.generators", "medisyn_lib.models.networks")
    return distributed.keep_together("generator", what, make, inputs=inputs, code=code)


def assemble(
    directory: Path, stage: Path, words: Path, net: UNet2DConditionModel, study: Study
) -> None:
    """Writes the pipeline folder: stock classes only, so that it loads without this package."""
    from diffusers import StableDiffusionPipeline
    from transformers import CLIPTextModel, CLIPTokenizer

    pipeline = StableDiffusionPipeline(
        vae=load_autoencoder(stage), text_encoder=CLIPTextModel.from_pretrained(words / "text_encoder"),
        tokenizer=CLIPTokenizer.from_pretrained(words / "tokenizer"), unet=net, scheduler=networks.scheduler(),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipeline.save_pretrained(directory, safe_serialization=True)
    call = {
        "num_inference_steps": study.settings.sampling_steps,
        "guidance_scale": study.settings.guidance,
    }
    store.write_atomic(directory / SAMPLING_FILE, json.dumps(call))


def model_card(study: Study, modality: str | None, seed: int, cost: dict[str, float]) -> str:
    """The model card (Markdown with Hugging Face metadata) of a generator trained here: `model_card.md`, filled in."""
    kind = (
        f"a specialist for {modality}"
        if modality
        else "the generalist for all modalities of its data"
    )
    card = Path(__file__).with_name("model_card.md").read_text("utf-8")
    return card.format(kind=kind, data=data_label(study.source), study=study, seed=seed, cost=cost)
