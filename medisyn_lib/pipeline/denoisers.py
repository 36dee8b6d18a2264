"""Trained denoisers: the generalist, the specialists, and what their training cost."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medisyn_lib.errors import InputError
from medisyn_lib.modalities import MODALITIES
from medisyn_lib.models import networks
from medisyn_lib.models.weights import load_weights
from medisyn_lib.runtime import distributed, store
from medisyn_lib.runtime.device import seeded
from medisyn_lib.training import loop
from medisyn_lib.training.denoiser import denoiser_flops, train_denoiser

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel
from medisyn_lib.pipeline.embeddings import TEXT_WIDTH, text_entry
from medisyn_lib.pipeline.latents import latents_entry, load_latents
from medisyn_lib.pipeline.study import MODELS_CODE, Study


def new_denoiser(study: Study, seed: int) -> UNet2DConditionModel:
    """The untrained denoiser that generalist and specialists of a seed all start from."""
    with seeded(seed):
        return networks.denoiser(
            study.settings.size, study.settings.denoiser_widths, text_width=TEXT_WIDTH
        )


def denoiser_plan(
    study: Study, modality: str | None = None, seed: int = 0, long: bool = False
) -> loop.TrainingPlan:
    """The generalist's plan; a specialist has a tenth of it, and so sees its modality as often, or, `long`, all."""
    settings, share = study.settings, 1 if modality is None or long else len(MODALITIES)
    steps = max(1, settings.denoiser_steps // share)
    return loop.TrainingPlan(
        steps, batch=settings.denoiser_batch, learning_rate=1.5e-3, seed=seed, ema_decay=0.999
    )


def snapshot_steps(plan: loop.TrainingPlan) -> tuple[int, ...]:
    """The steps after which weights of a long training are kept: an eighth, a quarter, a half, the end."""
    return tuple(sorted({max(1, plan.steps // share) for share in (8, 4, 2, 1)}))


def load_denoiser(
    study: Study, entry: Path, seed: int = 0, step: int | None = None
) -> UNet2DConditionModel:
    """The denoiser of an entry after `step` steps, by default all of its plan; 0 is the untrained one."""
    net = new_denoiser(study, seed)
    if step is None:
        step = json.loads((entry / "compute.json").read_text("utf-8"))["steps"]
    if step:
        load_weights(net, entry / f"step-{step}.safetensors", prefix="denoiser.")
    return net.eval()


def denoiser_entry(
    study: Study, modality: str | None = None, *, seed: int = 0, long: bool = False
) -> Path:
    """Folder of a trained denoiser: `step-N.safetensors`, `history.csv`, `compute.json`."""
    latents, words = latents_entry(study), text_entry(study)
    plan = denoiser_plan(study, modality, seed, long)

    def make(directory: Path) -> None:
        kept, embeddings = load_latents(latents), np.load(words / "embeddings.npy", mmap_mode="r")
        caption = np.load(words / "caption.npy")
        if modality is not None:
            rows = np.flatnonzero(np.asarray(study.images("generator")["modality"][:]) == modality)
            if not len(rows):
                raise InputError(
                    f"specialist for {modality!r}: the data have no such images; leave it out"
                )
            kept, caption = kept[rows], caption[rows]
        net = new_denoiser(study, seed)
        flops = denoiser_flops(net, kept.shape[-1], TEXT_WIDTH)
        kept_steps = snapshot_steps(plan) if modality is None or long else (plan.steps,)
        start = time.perf_counter()
        train_denoiser(net, kept, embeddings, caption, plan, directory, kept_steps)
        seen = plan.steps * plan.batch
        cost = {
            "steps": plan.steps,
            "images": seen,
            "flops_per_image": flops,
            "flops": flops * seen,
        }
        cost["seconds"] = time.perf_counter() - start  # of the last go, where it was interrupted
        store.write_atomic(directory / "compute.json", json.dumps(cost))

    what = {"plan": asdict(plan), "widths": study.settings.denoiser_widths, "modality": modality}
    code = (*MODELS_CODE, "medisyn_lib.training.denoiser", "medisyn_lib.training.flops")
    return distributed.keep_together(
        "denoiser", what, make, inputs=[latents.name, words.name], code=code
    )


def flops_of(entries: Iterable[Path]) -> float:
    """Floating-point operations that trained denoisers of these entries took, together."""
    return sum(
        json.loads((entry / "compute.json").read_text("utf-8"))["flops"] for entry in entries
    )
