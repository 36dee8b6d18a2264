"""Fine-tunes a Stable Diffusion pipeline on a data source; every notebook takes the outcome as its `generator`.

    accelerate launch --config_file benchmarks/accelerate/one_gpu.yaml benchmarks/fine_tune.py \
        --base FOLDER_OR_HUB_ID --data npz:DIR --profile gpu --steps 10000 --batch 64

Only the denoiser learns, in its scheduler's own terms (`medisyn_lib.training.fine_tuning`). Size and number of images
are the profile's. Resumes from its last checkpoint after an interruption, and prints the folder of the finished
pipeline.
"""

from __future__ import annotations

import argparse
import re
from dataclasses import asdict
from pathlib import Path

import pairs

from medisyn_lib.cli.main import HUB_ID
from medisyn_lib.data import sources
from medisyn_lib.data.pixels import load_pixels
from medisyn_lib.pipeline.study import Study
from medisyn_lib.profiles import PROFILES
from medisyn_lib.runtime import distributed, store
from medisyn_lib.runtime.device import accelerator
from medisyn_lib.runtime.provenance import data_label
from medisyn_lib.sampling.pipeline import model_fingerprint
from medisyn_lib.training import fine_tuning, loop

CODE = (
    "medisyn_lib.training.loop",
    "medisyn_lib.training.batches",
    "medisyn_lib.training.schedules",
    "medisyn_lib.training.autoencoder",
    "medisyn_lib.training.text_encoder",
    "medisyn_lib.training.fine_tuning",
)
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


def fine_tuned_entry(base: str, study: Study, plan: loop.TrainingPlan) -> Path:
    """Folder of the pipeline `base` after training on the generator's images of a study.

    Raises InputError for a base of another kind, and for a caption that is longer than it reads.
    """
    pipeline, scheduler = fine_tuning.load_base(base)
    images = study.images("generator")
    captions = images["caption"][:]
    fine_tuning.check_captions(pipeline, captions)

    def make(directory: Path) -> None:
        fine_tuning.fine_tune(pipeline, scheduler, load_pixels(images), captions, plan, directory)
        if accelerator().is_main_process:
            card = CARD.format(
                base=Path(base).name if Path(base).is_dir() else base,
                data=data_label(study.source),
                images=len(images),
                size=study.settings.size,
                profile=study.profile,
                plan=plan,
            )
            store.write_atomic(directory / "README.md", card)

    settings = {
        "base": model_fingerprint(base),
        "plan": asdict(plan),
        "data": sources.fingerprint(study.source),
        "images": len(images),
        "size": study.settings.size,
    }
    return distributed.keep_together("fine_tuned", settings, make, code=CODE)


def main() -> None:
    """Checks what it is given, fine-tunes and says where the pipeline lies."""
    parser = pairs.Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", required=True, help="a pipeline's folder, or a hub id")
    parser.add_argument(
        "--data", default="phantom", help="a data source, as of `medisyn reproduce`"
    )
    parser.add_argument("--profile", default="gpu", choices=PROFILES)
    parser.add_argument("--steps", type=pairs.whole(1), default=1000)
    parser.add_argument(
        "--batch", type=pairs.whole(1), default=16, help="images per step, over all processes"
    )
    parser.add_argument("--rate", type=float, default=1e-5, help="peak learning rate")
    parser.add_argument("--seed", type=pairs.whole(0), default=0)
    arguments = parser.parse_args()
    if not 0 < arguments.rate < 1:
        parser.error(f"--rate {arguments.rate:g}: give a number above 0 and below 1")
    if not Path(arguments.base).is_dir() and not re.fullmatch(HUB_ID, arguments.base):
        parser.error(f"--base {arguments.base!r}: no such folder, nor a hub id such as OWNER/NAME")
    store.preflight_store()
    sources.preflight(arguments.data)
    plan = loop.TrainingPlan(
        arguments.steps,
        arguments.batch,
        arguments.rate,
        seed=arguments.seed,
        ema_decay=0.999,
        checkpoint_every=1000,
    )
    study = Study(arguments.profile, arguments.data)
    print(f"pipeline in {fine_tuned_entry(arguments.base, study, plan)}")
    distributed.end()


if __name__ == "__main__":
    pairs.run_script(main)
