"""Denoisers overfitted to a few training images: models that copy on purpose."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medisyn_lib.pipeline.denoisers import denoiser_entry, load_denoiser, snapshot_steps
from medisyn_lib.pipeline.embeddings import text_entry
from medisyn_lib.pipeline.latents import latents_entry, load_latents
from medisyn_lib.pipeline.study import MODELS_CODE, Study
from medisyn_lib.runtime import store
from medisyn_lib.runtime.distributed import keep_together
from medisyn_lib.training import loop
from medisyn_lib.training.denoiser import train_denoiser

if TYPE_CHECKING:
    import datasets

OVERFITTED_IMAGES = 64
BATCH = 16


def overfitted_plan(study: Study) -> loop.TrainingPlan:
    """The plan of overfitting: the profile's steps, a high learning rate, no weight decay."""
    return loop.TrainingPlan(
        steps=study.settings.memorization.overfit_steps,
        batch=BATCH,
        learning_rate=2e-3,
        weight_decay=0.0,
    )


def overfitted_steps(study: Study) -> tuple[int, ...]:
    """The steps after which an overfitted denoiser's weights are kept, the last at the end."""
    return snapshot_steps(overfitted_plan(study))


def overfitted_rows(images: datasets.Dataset, n: int = OVERFITTED_IMAGES) -> np.ndarray:
    """Choose n images, one per patient and spread evenly over modalities and findings.

    Returns
    -------
    int64 (n,), rows in ascending order; one of every patient, if there are fewer
    """
    table = images.remove_columns("image").to_pandas().drop_duplicates("patient_id")
    turn = table.groupby(["modality", "finding"]).cumcount().sort_values(kind="stable")
    return np.sort(turn.index[:n].to_numpy())


def overfitted_entry(study: Study, rows: np.ndarray) -> Path:
    """Folder of the generalist's denoiser, trained on with these rows of the generator's images alone."""
    base, latents = denoiser_entry(study), latents_entry(study)
    words = text_entry(study)
    plan = overfitted_plan(study)

    def make(directory: Path) -> None:
        net = load_denoiser(study, base).train()
        few = load_latents(latents)[rows]
        embeddings = np.load(words / "embeddings.npy")
        caption = np.load(words / "caption.npy")[rows]
        train_denoiser(net, few, embeddings, caption, plan, directory, snapshot_steps(plan))
        flops_per_image = json.loads((base / "compute.json").read_text("utf-8"))["flops_per_image"]
        n_seen = plan.steps * plan.batch
        cost = {
            "steps": plan.steps,
            "images": n_seen,
            "flops_per_image": flops_per_image,
            "flops": n_seen * flops_per_image,
        }
        store.write_atomic(directory / "compute.json", json.dumps(cost))

    settings = {"plan": asdict(plan), "rows": rows.tolist()}
    code = (*MODELS_CODE, "medisyn_lib.training.denoiser")
    inputs = [base.name, latents.name, words.name]
    return keep_together("overfitted", settings, make, inputs=inputs, code=code)
