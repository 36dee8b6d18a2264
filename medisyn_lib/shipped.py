"""Remaking the first stage that this package ships: `python -m medisyn_lib.shipped`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from medisyn_lib import data, denoising, evaluators, first_stage, generators, models, store, text, training

IMAGES = 3000  # phantoms a modality, of the role that no generator, evaluator or test uses
REDRAWN_IMAGES = 500
GUIDE_PLAN = training.Plan(steps=3000, batch=32, rate=3e-3, decay=0.05)
PLAN = training.Plan(steps=1500, batch=16, rate=5e-4, average=0.997)  # both halves, one go more; see weights/README.md
DECODER_PLAN = training.Plan(steps=1700, batch=16, rate=1e-3, average=0.997)
DRAFT_SEED = 1  # of the generator that redraws latents: not a seed of the quick or tiny profile


def guide_entry() -> Path:
    """Folder of the reader of modality and finding that guides both goes."""

    def make(directory: Path) -> None:
        images = data.load("phantom", role="first_stage", per_modality=IMAGES)
        evaluators.train(data.pixels(images), images["modality"][:], images["finding"][:], GUIDE_PLAN, directory)

    code = ("medisyn_lib.phantoms", "medisyn_lib.evaluators", *generators.MODELS_CODE)
    return store.keep("guide", asdict(GUIDE_PLAN), make, code=code)


def both_halves() -> None:
    """Trains encoder and decoder further and ships them; every generator's latents change."""
    guide = guide_entry()

    def make(directory: Path) -> None:
        vae, images = first_stage.load_shipped(), data.load("phantom", role="first_stage", per_modality=IMAGES)
        first_stage.train(vae, evaluators.Reader(guide), images, PLAN, directory)
        models.save_weights(vae.half(), directory / "first_stage.safetensors")

    _ship("first_stage_go", PLAN, make, guide)


def decoder_alone() -> None:
    """Trains the decoder on latents that a quick generator redrew and ships it; latents stay as they are."""
    guide, study = guide_entry(), generators.Study("quick", "phantom")
    drafted = generators.denoiser_entry(study, seed=DRAFT_SEED)

    def make(directory: Path) -> None:
        vae, images = first_stage.load_shipped(), data.load("phantom", role="first_stage", per_modality=REDRAWN_IMAGES)
        unique, caption = np.unique(np.asarray(images["caption"][:], dtype=str), return_inverse=True)
        embeddings = text.embed(*generators.load_text(generators.text_entry(study)), [*unique.tolist(), ""])
        net, latents = (
            generators.load_denoiser(study, drafted, DRAFT_SEED),
            first_stage.encode(vae, data.pixels(images)),
        )
        redrawn = denoising.redraw(net, latents, embeddings, caption, guidance=study.settings.guidance)
        first_stage.train_decoder(vae, evaluators.Reader(guide), images, redrawn, DECODER_PLAN, directory)
        models.save_weights(vae.half(), directory / "first_stage.safetensors")

    _ship("decoder_go", DECODER_PLAN, make, guide, drafted)


def _ship(step: str, plan: training.Plan, make: Callable[[Path], None], *inputs: Path) -> None:
    code = ("medisyn_lib.phantoms", "medisyn_lib.first_stage", "medisyn_lib.denoising", *generators.MODELS_CODE)
    made = store.keep(step, asdict(plan), make, inputs=[path.name for path in inputs], code=code)
    store.write_atomic(first_stage.shipped_weights(), (made / "first_stage.safetensors").read_bytes())


if __name__ == "__main__":
    both_halves()
    decoder_alone()
