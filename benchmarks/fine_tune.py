"""Fine-tunes a Stable Diffusion pipeline on a data source; every notebook takes the outcome as its `generator`.

    accelerate launch --config_file benchmarks/accelerate/one_gpu.yaml benchmarks/fine_tune.py \
        --base FOLDER_OR_HUB_ID --data npz:DIR --profile gpu --steps 10000 --batch 64

Only the denoiser learns, in its scheduler's own terms (noise or velocity); first stage and text encoder stay as they
are, so images and captions go through them once, in every process. Size and number of images are the profile's. Goes
on from its last checkpoint after an interruption, and prints the folder of the finished pipeline.
"""

from __future__ import annotations

import argparse
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pairs
import torch
from torch import nn
from torch.nn import functional as F

from medisyn_lib.cli.main import HUB_ID
from medisyn_lib.data import sources
from medisyn_lib.data.pixels import load_pixels
from medisyn_lib.errors import InputError
from medisyn_lib.models.tokens import token_numbers
from medisyn_lib.pipeline.study import Study
from medisyn_lib.profiles import PROFILES
from medisyn_lib.runtime import distributed, store
from medisyn_lib.runtime.device import accelerator
from medisyn_lib.runtime.provenance import data_label
from medisyn_lib.sampling.pipeline import load_pipeline, model_fingerprint
from medisyn_lib.training import loop
from medisyn_lib.training.autoencoder import encode
from medisyn_lib.training.denoiser import CAPTION_DROPOUT
from medisyn_lib.training.text_encoder import embed_prompts

LEARNT = ("epsilon", "v_prediction")  # what a denoiser may predict
PIXELS = 64**3  # that the first stage sees at a time: 64 images of 64 x 64
CARD = """---
license: other
library_name: diffusers
pipeline_tag: text-to-image
tags: [medical, synthetic, companion]
---
# {base}, fine-tuned by the MediSyn companion

**Not for clinical use.** The denoiser of `{base}`, whose licence and limits go on to hold, trained further:

- Data: `{data}`, {images} images of {size} pixels (profile `{profile}`)
- Training: {steps} steps of {batch} images, learning rate {rate:g}, seed {seed}, weights averaged; first stage and text
  encoder are unchanged
- Judged by: nothing yet. Before use: `medisyn audit --generator FOLDER --data {data} --out OUT`
"""


class Denoising(nn.Module):
    """The denoiser's loss in its scheduler's own terms.

    Noise: Ho et al., arXiv 2006.11239, equation 14. Velocity: Salimans and Ho, arXiv 2202.00512, appendix D.
    """

    def __init__(self, denoiser: nn.Module, scheduler: Any) -> None:
        super().__init__()
        self.denoiser, self.scheduler = denoiser, scheduler

    def forward(
        self, latents: torch.Tensor, noise: torch.Tensor, time: torch.Tensor, text: torch.Tensor
    ) -> torch.Tensor:
        """The loss of latents (n, c, h, w) at time steps (n,), int64, with text embeddings (n, tokens, width)."""
        noisy = self.scheduler.add_noise(latents, noise, time)
        velocity = self.scheduler.config.prediction_type == "v_prediction"
        target = self.scheduler.get_velocity(latents, noise, time) if velocity else noise
        return F.mse_loss(self.denoiser(noisy, time, text, return_dict=False)[0].float(), target)


def base_pipeline(base: str) -> tuple[Any, Any]:
    """A pipeline to start from, and the scheduler that noises for its training. Raises InputError for another kind."""
    from diffusers import DDPMScheduler

    pipeline = load_pipeline(base)
    kind, scheduler = type(pipeline).__name__, DDPMScheduler.from_config(pipeline.scheduler.config)
    if kind != "StableDiffusionPipeline" or scheduler.config.prediction_type not in LEARNT:
        learns = scheduler.config.prediction_type
        wanted = f"give a StableDiffusionPipeline that predicts {' or '.join(LEARNT)}"
        raise InputError(f"--base {base!r}: is a {kind} that predicts {learns}; {wanted}")
    return pipeline, scheduler


def fine_tune(base: str, study: Study, plan: loop.Plan) -> Path:
    """Folder of the pipeline `base` after training on the generator's images of a study.

    Raises InputError for a base of another kind, and for a caption that is longer than it reads.
    """
    pipeline, scheduler = base_pipeline(base)
    images = study.images("generator")
    captions, number = np.unique(np.asarray(images["caption"][:], dtype=str), return_inverse=True)
    token_numbers(pipeline.tokenizer, captions.tolist())

    def make(directory: Path) -> None:
        accel, times = accelerator(), scheduler.config.num_train_timesteps
        pipeline.vae.to(accel.device)
        at_once = max(1, PIXELS // study.settings.size**2)
        latents = (
            encode(pipeline.vae, load_pixels(images), at_once) * pipeline.vae.config.scaling_factor
        )
        embeddings = embed_prompts(
            pipeline.tokenizer, pipeline.text_encoder, [*captions.tolist(), ""], 32
        )

        def batch_of(rows: np.ndarray, draws: loop.Draws) -> dict[str, torch.Tensor]:
            time = (draws.uniform() * times).long()
            words = np.where(draws.uniform().numpy() < CAPTION_DROPOUT, len(captions), number[rows])
            found = {"latents": latents[rows].astype(np.float32), "text": embeddings[words]}
            drawn = {"noise": draws.normal(*latents.shape[1:]), "time": time}
            return {name: torch.from_numpy(part) for name, part in found.items()} | drawn

        pipeline.unet.enable_gradient_checkpointing()  # less memory for more time
        loss = Denoising(pipeline.unet, scheduler)
        loop.fit(loss, batch_of, n=len(images), plan=plan, directory=directory)
        pipeline.unet.register_to_config(
            sample_size=latents.shape[2]
        )  # so that it draws at the size that it learnt
        if accel.is_main_process:
            pipeline.to("cpu").save_pretrained(directory, safe_serialization=True)
            about = asdict(plan) | {
                "base": Path(base).name if Path(base).is_dir() else base,
                "images": len(images),
            }
            about |= {
                "data": data_label(study.source),
                "profile": study.profile,
                "size": study.settings.size,
            }
            store.write_atomic(directory / "README.md", CARD.format(**about))

    what = {
        "base": model_fingerprint(base),
        "plan": asdict(plan),
        "data": sources.fingerprint(study.source),
    }
    what |= {"images": len(images), "size": study.settings.size}
    code = (
        "medisyn_lib.training.loop",
        "medisyn_lib.training.autoencoder",
        "medisyn_lib.training.text_encoder",
    )
    return distributed.keep_together("fine_tuned", what, make, code=code)


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
        "--batch", type=pairs.whole(1), default=16, help="images a step, over all processes"
    )
    parser.add_argument("--rate", type=float, default=1e-5, help="peak learning rate")
    parser.add_argument("--seed", type=pairs.whole(0), default=0)
    given = parser.parse_args()
    if not 0 < given.rate < 1:
        parser.error(f"--rate {given.rate:g}: give a number above 0 and below 1")
    if not Path(given.base).is_dir() and not re.fullmatch(HUB_ID, given.base):
        parser.error(f"--base {given.base!r}: no such folder, nor a hub id such as OWNER/NAME")
    store.preflight_store()
    sources.preflight(given.data)
    plan = loop.Plan(
        given.steps, given.batch, given.rate, given.seed, average=0.999, checkpoint_every=1000
    )
    print(f"pipeline in {fine_tune(given.base, Study(given.profile, given.data), plan)}")
    distributed.end()


if __name__ == "__main__":
    pairs.told(main)
