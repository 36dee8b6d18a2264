"""Remakes the flagship generator that this package ships, from random weights: `python benchmarks/remake_flagship.py`.

Seventy minutes on two cores as two processes (`benchmarks/accelerate/two_cpus.yaml` says how), twice that as one.
Interrupted, it goes on where it was, with any number of processes. Its card,
medisyn_lib/models/shipped/flagship/README.md, says what came of it.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import numpy as np

from medisyn_lib.evaluation.memorization import flagship_index
from medisyn_lib.pipeline import flagship
from medisyn_lib.pipeline.denoisers import Denoiser
from medisyn_lib.pipeline.generators import SamplingCall, assemble
from medisyn_lib.runtime import store
from medisyn_lib.runtime.device import accelerator
from medisyn_lib.training.autoencoder import load_shipped

# Among the nearest of ten settings to 60 calibration phantoms of each modality, which nothing here is tested on.
CALL = SamplingCall(num_inference_steps=10, guidance_scale=2.0)


def write_pipeline(folder: Path, trained: Denoiser, after: int | None = None) -> None:
    """Write the pipeline as it ships, after all steps of its training or fewer."""
    net = trained.load(after).half()
    scheduler = trained.denoiser_origin.scheduler()
    assemble(folder, trained.latents.autoencoder, trained.embeddings, net, scheduler, CALL)
    load_shipped().half().save_pretrained(folder / "vae")


def ship(trained: Denoiser) -> None:
    """Put the pipeline in place of the shipped one; its card stays, what training cost is written anew."""
    folder = flagship.folder()
    for part in folder.iterdir() if folder.is_dir() else ():
        if part.is_dir():
            shutil.rmtree(part)
    write_pipeline(folder, trained)
    store.write_atomic(folder / "compute.json", json.dumps(trained.compute(), indent=1))
    np.save(flagship_index.PATH, np.concatenate([*flagship_index.describe_training_phantoms()]))


def main() -> None:
    """Train, and write."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    trained = flagship.denoiser()
    trained.ensure()
    if accelerator().is_main_process:
        ship(trained)


if __name__ == "__main__":
    main()
