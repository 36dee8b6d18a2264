"""Captions to text embeddings, by a text encoder trained on the generator's images."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np

from medisyn_lib.pipeline.latents import latents_entry, load_latents
from medisyn_lib.pipeline.study import MODELS_CODE, Study
from medisyn_lib.runtime import distributed
from medisyn_lib.training import loop
from medisyn_lib.training.text_encoder import embed_prompts, train_text_encoder

TEXT_WIDTH, TEXT_LAYERS = 128, 2


def text_entry(study: Study) -> Path:
    """Folder with `tokenizer/`, `text_encoder/`, `embeddings.npy` (m + 1, tokens, width), `caption.npy` (n,).

    The last embedding is of the empty prompt; `caption` says which one belongs to each image.
    """
    latents = latents_entry(study)
    plan = loop.TrainingPlan(study.settings.text_steps, batch=128, learning_rate=2e-3)

    def make(directory: Path) -> None:
        captions = study.images("generator")["caption"][:]
        tokenizer, encoder = train_text_encoder(
            captions, load_latents(latents), plan, directory, TEXT_WIDTH, TEXT_LAYERS
        )
        unique, number = np.unique(np.asarray(captions, dtype=str), return_inverse=True)
        tokenizer.save_pretrained(directory / "tokenizer")
        encoder.save_pretrained(directory / "text_encoder")
        embeddings = embed_prompts(tokenizer, encoder, [*unique.tolist(), ""])
        np.save(directory / "embeddings.npy", embeddings.astype(np.float16))
        np.save(directory / "caption.npy", number.astype(np.int64))

    what = {"plan": asdict(plan), "width": TEXT_WIDTH, "layers": TEXT_LAYERS}
    code = (
        *MODELS_CODE,
        "medisyn_lib.training.text_encoder",
        "medisyn_lib.modalities",
    )  # the captions' words are made there
    return distributed.keep_together("text", what, make, inputs=[latents.name], code=code)
