"""How near generated phantoms come to real ones as the denoiser sees more images: `python benchmarks/scaling_curve.py`.

    python benchmarks/scaling_curve.py [--images 448000] [--judged 300]

The flagship: a fixed set of 30,000 phantoms, one seed, one learning-rate schedule over all of `--images`; its
averaged weights are judged after 3, 10, 30 and 100% of them: `--judged` images of held-out captions a modality beside
the real ones, means over modalities of KID and of coverage (k = 5), EfficientNet-Lite0 at 128 pixels.
Points before the last belong to an unfinished schedule: a training that ended there would be somewhat nearer.
Interrupted, it goes on where it was.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pairs
import remake_flagship

from medisyn_lib.evaluation import nearness
from medisyn_lib.models import encoders, networks
from medisyn_lib.pipeline import flagship
from medisyn_lib.pipeline.artifacts import Artifact, ImageSet
from medisyn_lib.pipeline.denoisers import Denoiser
from medisyn_lib.runtime import store
from medisyn_lib.sampling import pipeline
from medisyn_lib.sampling.pipeline import load_pipeline, sample_images, sampling_settings


@dataclass(frozen=True, eq=False)
class Point(Artifact):
    """How near the images after some steps are: `point.json`, `samples.npy`."""

    step = "scaling_point"
    code = (nearness, encoders, networks, pipeline, remake_flagship)
    after: int  # steps
    held_out: ImageSet
    denoiser: Denoiser

    def make(self, folder: Path) -> None:
        """Sample an image for each held-out caption and measure."""
        prompts = self.held_out.load()["caption"][:]
        with tempfile.TemporaryDirectory() as place:
            net = self.denoiser.load(self.after)
            remake_flagship.write_pipeline(Path(place), self.denoiser, net)
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
        kid, coverage, worst = Point(after, held_out, trained).load()
        seen = f"{after * flagship.BATCH:,}"
        rows.append([seen, f"{kid:.2f}", f"{coverage:.2f}", f"{worst:.2f}"])
    print(pairs.table(["images seen", "KID", "coverage", "worst modality"], rows))
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
        "--judged", type=pairs.whole(10), default=300, help="images of a modality (default: 300)"
    )
    return parser.parse_args()


if __name__ == "__main__":
    pairs.run_script(main)
