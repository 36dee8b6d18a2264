"""Fine-tunes a Stable Diffusion pipeline on a data source; every notebook takes the outcome as its `generator`.

    accelerate launch --config_file benchmarks/accelerate/one_gpu.yaml benchmarks/fine_tune.py \
        --base FOLDER_OR_HUB_ID --data npz:DIR --profile gpu --steps 10000 --batch 64

Only the denoiser learns, in its scheduler's own terms (`medisyn_lib.training.fine_tuning`). Size and number of images
are the profile's. Resumes from its last checkpoint after an interruption, and prints the folder of the finished
pipeline.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pairs

from medisyn_lib.cli.options import checked_model
from medisyn_lib.data import sources
from medisyn_lib.pipeline.artifacts import TRAINING_CODE, UNKEYED, Artifact, ImageSet
from medisyn_lib.pipeline.study import Study
from medisyn_lib.runtime import distributed, store
from medisyn_lib.runtime.device import accelerator
from medisyn_lib.runtime.provenance import data_label
from medisyn_lib.sampling.pipeline import model_fingerprint
from medisyn_lib.training import autoencoder, fine_tuning, loop, text_encoder

if TYPE_CHECKING:
    from diffusers import DDPMScheduler, StableDiffusionPipeline

CARD = """---
license: other
library_name: diffusers
pipeline_tag: text-to-image
tags: [medical, synthetic, companion]
---
# {base}, fine-tuned by the MediSyn companion

**Not for clinical use.** The denoiser of `{base}`, whose licence and limits go on to hold, trained further:

- Data: `{data}`, {images} images of {size} pixels (profile `{profile}`)
- Training: {plan.steps} steps of {plan.batch} images, learning rate {plan.learning_rate:g}, seed {plan.seed}, weights
  averaged; autoencoder and text encoder are unchanged
- Judged by: nothing yet. Before use: `medisyn audit --generator FOLDER --data {data} --out OUT`
"""


@dataclass(frozen=True, eq=False)
class FineTuned(Artifact):
    """A folder of a pipeline whose denoiser was trained further on a set of images."""

    step = "fine_tuned"
    code = (*TRAINING_CODE, autoencoder, text_encoder, fine_tuning)
    fingerprint: str  # of the base
    plan: loop.TrainingPlan
    images: ImageSet
    pipeline: StableDiffusionPipeline = field(metadata=UNKEYED, kw_only=True)
    scheduler: DDPMScheduler = field(metadata=UNKEYED, kw_only=True)
    base: str = field(metadata=UNKEYED, kw_only=True)
    profile: str = field(metadata=UNKEYED, kw_only=True)

    def make(self, folder: Path) -> None:
        """Train it and save the whole pipeline with its model card."""
        images = self.images.load()
        fine_tuning.fine_tune(
            self.pipeline,
            self.scheduler,
            self.images.pixels(),
            images["caption"][:],
            self.plan,
            folder,
        )
        if accelerator().is_main_process:
            store.write_atomic(folder / "README.md", self.card(len(images)))

    def card(self, images: int) -> str:
        """Return the model card, of a training on so many images."""
        return CARD.format(
            base=Path(self.base).name if Path(self.base).is_dir() else self.base,
            data=data_label(self.images.source),
            images=images,
            size=self.images.size,
            profile=self.profile,
            plan=self.plan,
        )


def fine_tuned(base: str, study: Study, plan: loop.TrainingPlan) -> FineTuned:
    """Return the pipeline `base` as trained further on the generator's images of a study.

    Raises InputError for a base of another kind, and for a caption that is longer than it reads.
    """
    pipeline, scheduler = fine_tuning.load_base(base)
    images = study.image_set("generator")
    fine_tuning.check_captions(pipeline, images.load()["caption"][:])
    return FineTuned(
        fingerprint=model_fingerprint(base),
        plan=plan,
        images=images,
        pipeline=pipeline,
        scheduler=scheduler,
        base=base,
        profile=study.profile,
    )


def main() -> None:
    """Check what is given, fine-tune and say where the pipeline lies."""
    options = arguments()
    store.preflight_store()
    sources.preflight(options.data)
    base = checked_model(options.base, "--base", or_images=False)
    plan = loop.TrainingPlan(
        steps=options.steps,
        batch=options.batch,
        learning_rate=options.rate,
        seed=options.seed,
        ema_decay=0.999,
        checkpoint_every=1000,
    )
    study = Study(options.profile, options.data)
    print(f"pipeline in {fine_tuned(base, study, plan).folder}")
    distributed.close_processes()


def arguments() -> Any:
    """Return what the command line asks for."""
    parser = pairs.plain_parser(__doc__)
    parser.add_argument("--base", required=True, help="a pipeline's folder, or a hub id")
    pairs.add_study(parser, profile="gpu")
    parser.add_argument("--steps", type=pairs.whole(1), default=1000)
    parser.add_argument(
        "--batch", type=pairs.whole(1), default=16, help="images per step, over all processes"
    )
    parser.add_argument("--rate", type=learning_rate, default=1e-5, help="peak learning rate")
    parser.add_argument("--seed", type=pairs.whole(0), default=0)
    return parser.parse_args()


def learning_rate(text: str) -> float:
    """Return a learning rate. Raises ArgumentTypeError outside (0, 1)."""
    value = float(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"is {text}: give a number above 0 and below 1")
    return value


if __name__ == "__main__":
    pairs.run_script(main)
