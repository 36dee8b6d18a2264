"""Remakes the flagship generator that this package ships, from random weights: `python benchmarks/remake_flagship.py`.

Two trainings, one after the other: the second goes on from the weights of the first. Two hours on two cores as two
processes (`benchmarks/accelerate/two_cpus.yaml` says how). Interrupted, it goes on where it was, with any number of
processes. Its card, medisyn_lib/models/shipped/flagship/README.md, says what came of it.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medisyn_lib.evaluation.memorization import flagship_index
from medisyn_lib.pipeline import flagship
from medisyn_lib.pipeline.denoisers import ContinuedDenoiser, TrainedDenoiser
from medisyn_lib.pipeline.generators import SamplingCall, assemble
from medisyn_lib.runtime import store
from medisyn_lib.runtime.device import accelerator
from medisyn_lib.training.autoencoder import load_shipped

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel

# With the sampler of all generators among the nearest of twelve settings to 50 calibration phantoms of each
# modality, which nothing here is tested on.
CALL = SamplingCall(num_inference_steps=10, guidance_scale=2.0)


def write_pipeline(folder: Path, first: TrainedDenoiser, net: UNet2DConditionModel) -> None:
    """Write the pipeline as it ships: of `net`, which learnt from the latents and embeddings of `first`."""
    scheduler = first.denoiser_origin.scheduler()
    assemble(folder, first.latents.autoencoder, first.embeddings, net.half(), scheduler, CALL)
    load_shipped().half().save_pretrained(folder / "vae")


def ship(trained: ContinuedDenoiser) -> None:
    """Put the pipeline in place of the shipped one; its card stays, what training cost is written anew."""
    folder = flagship.folder()
    for part in folder.iterdir() if folder.is_dir() else ():
        if part.is_dir():
            shutil.rmtree(part)
    write_pipeline(folder, trained.first, trained.load())
    store.write_atomic(folder / "compute.json", json.dumps(whole_cost(trained), indent=1))
    np.save(flagship_index.PATH, np.concatenate([*flagship_index.describe_training_phantoms()]))


def whole_cost(trained: ContinuedDenoiser) -> dict[str, float]:
    """What both trainings cost together."""
    first, second = trained.first.compute(), trained.compute()
    summed = {name: first[name] + second[name] for name in ("steps", "images", "flops", "seconds")}
    return summed | {"flops_per_image": second["flops_per_image"]}


def main() -> None:
    """Train, and write."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    trained = flagship.continued_denoiser()
    trained.ensure()
    if accelerator().is_main_process:
        ship(trained)


if __name__ == "__main__":
    main()
