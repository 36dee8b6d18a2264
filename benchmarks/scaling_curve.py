"""How near generated phantoms come to real ones as the denoiser sees more images: `python benchmarks/scaling_curve.py`.

    python benchmarks/scaling_curve.py [--images 448000] [--guidance 1.5 ...] [--judged 300]

The flagship: a fixed set of 30,000 phantoms, one seed, one learning-rate schedule over all of `--images`; its
averaged weights are judged after 3, 10, 30 and 100% of them: `--judged` images of held-out captions a modality beside
the real ones, means over modalities of KID and of coverage (k = 5), EfficientNet-Lite0 at 128 pixels.
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
from medisyn_lib.pipeline import flagship
from medisyn_lib.pipeline.artifacts import UNKEYED, Artifact, ImageSet
from medisyn_lib.pipeline.autoencoders import Autoencoder
from medisyn_lib.pipeline.denoisers import Denoiser
from medisyn_lib.pipeline.generators import SamplingCall, assemble
from medisyn_lib.runtime import store
from medisyn_lib.sampling import pipeline
from medisyn_lib.sampling.pipeline import load_pipeline, sample_images, sampling_settings

SAMPLING_STEPS = 10


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
    trained = flagship.denoiser(options.images // flagship.BATCH)
    held_out = ImageSet("phantom", "calibration", flagship.SIZE, options.judged)
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
            seen = f"{after * flagship.BATCH:,}"
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
        default=flagship.STEPS * flagship.BATCH,
        help="seen in training (default: those of the shipped one)",
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
