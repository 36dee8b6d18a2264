"""How near generated phantoms come to real ones as the denoiser sees more images: `python benchmarks/scaling_curve.py`.

    python benchmarks/scaling_curve.py [--images 1000000] [--guidance 1.5 ...] [--judged 300]

One generalist on a fixed set of 30,000 phantoms, 3,000 of each modality, one seed, one learning-rate schedule over all
of `--images`; its averaged weights are judged after 3, 10, 30 and 100% of them: `--judged` images of held-out captions
a modality beside the real ones, means over modalities of KID and of coverage (k = 5), EfficientNet-Lite0 at 128 pixels.
Points before the last belong to an unfinished schedule: a training that ended there would be somewhat nearer.
Interrupted, it goes on where it was.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pairs

from medisyn_lib.evaluation import nearness
from medisyn_lib.models import encoders, networks
from medisyn_lib.pipeline.artifacts import UNKEYED, Artifact, ImageSet
from medisyn_lib.pipeline.autoencoders import (
    Autoencoder,
    Latents,
    ShippedAutoencoder,
    shipped_sha256,
)
from medisyn_lib.pipeline.denoisers import Denoiser, DenoiserShape
from medisyn_lib.pipeline.embeddings import TEXT_LAYERS, TEXT_WIDTH, Embeddings
from medisyn_lib.pipeline.generators import SamplingCall, assemble
from medisyn_lib.profiles import PROFILES
from medisyn_lib.runtime import store
from medisyn_lib.sampling import pipeline
from medisyn_lib.sampling.pipeline import load_pipeline, sample_images, sampling_settings
from medisyn_lib.training import loop

SIZE, PER_MODALITY = 64, 3000
BATCH = 16
FRACTIONS = (0.03, 0.1, 0.3, 1.0)
TEXT_PLAN = loop.TrainingPlan(steps=600, batch=128, learning_rate=2e-3)
SAMPLING_STEPS = 10


def generalist(images: int) -> Denoiser:
    """Return the training: so many images seen, in all."""
    training = ImageSet("phantom", "generator", SIZE, PER_MODALITY)
    latents = Latents(ShippedAutoencoder(shipped_sha256()), training)
    embeddings = Embeddings(TEXT_PLAN, TEXT_WIDTH, TEXT_LAYERS, latents, images=training)
    steps = images // BATCH
    return Denoiser(
        plan=loop.TrainingPlan(
            steps, BATCH, learning_rate=1e-3, ema_decay=0.9995, warmup_fraction=0.02
        ),
        shape=DenoiserShape(SIZE, PROFILES["quick"].denoiser_widths, TEXT_WIDTH),
        modality=None,
        latents=latents,
        embeddings=embeddings,
        images=training,
        snapshots=tuple(round(steps * fraction) for fraction in FRACTIONS),
    )


@dataclass(frozen=True, eq=False)
class Point(Artifact):
    """How near the images after some steps are, at one guidance scale: `point.json`, `samples.npy`."""

    step = "scaling_point"
    code = (nearness, encoders, networks, pipeline)
    after: int  # steps
    call: SamplingCall
    held_out: ImageSet
    denoiser: Denoiser
    autoencoder: Autoencoder = field(metadata=UNKEYED, kw_only=True)  # that of the latents

    def make(self, folder: Path) -> None:
        """Sample an image for each held-out caption and measure."""
        prompts = self.held_out.load()["caption"][:]
        with tempfile.TemporaryDirectory() as place:
            net = self.denoiser.load(self.after)
            assemble(Path(place), self.autoencoder, self.denoiser.embeddings, net, self.call)
            generator, call = load_pipeline(place), sampling_settings(place)
        samples = sample_images(generator, prompts, range(len(prompts)), **call)
        near = nearness.nearness(
            real=encoders.features(self.held_out.pixels()),
            synthetic=encoders.features(samples),
            modality=self.held_out.column("modality"),
        )
        np.save(folder / "samples.npy", samples)
        store.write_atomic(folder / "point.json", json.dumps(near._asdict()))

    def load(self) -> nearness.Nearness:
        """Return what was measured."""
        return nearness.Nearness(**json.loads((self.folder / "point.json").read_text("utf-8")))


def main() -> None:
    """Train, judge after each fraction and print the table."""
    options = arguments()
    trained = generalist(options.images)
    held_out = ImageSet("phantom", "calibration", SIZE, options.judged)
    rows = []
    for after in trained.snapshots:
        for guidance in options.guidance:
            point = Point(
                after=after,
                call=SamplingCall(SAMPLING_STEPS, guidance),
                held_out=held_out,
                denoiser=trained,
                autoencoder=trained.latents.autoencoder,
            )
            kid, coverage, worst = point.load()
            seen = f"{after * BATCH:,}"
            rows.append([seen, guidance, f"{kid:.2f}", f"{coverage:.2f}", f"{worst:.2f}"])
    print(pairs.table(["images seen", "guidance", "KID", "coverage", "worst modality"], rows))
    seconds = trained.compute()["seconds"]
    print(f"\nTraining took {seconds / 60:.0f} minutes since its last interruption.")
    print(f"\n{pairs.machine()}")


def arguments() -> Any:
    """Return what the command line asks for."""
    parser = pairs.plain_parser(__doc__)
    parser.add_argument(
        "--images",
        type=pairs.whole(1000),
        default=1_000_000,
        help="seen in training (default: 1 million)",
    )
    parser.add_argument(
        "--guidance", type=float, nargs="+", default=[1.5], help="scales to judge (default: 1.5)"
    )
    parser.add_argument(
        "--judged", type=pairs.whole(10), default=300, help="images of a modality (default: 300)"
    )
    return parser.parse_args()


if __name__ == "__main__":
    pairs.run_script(main)
