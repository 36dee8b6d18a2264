"""What autoencoders of other sizes and starts keep of held-out phantoms, beside linear maps of the same size.

    python benchmarks/autoencoder_rates.py [--minutes 6] [--images 300] [--only NAME ...]

Linear maps are principal components of square patches. Learnt ones start from random weights and are trained on the
images and by the loss of the shipped one, each for as many minutes of one processor core; `stock` starts from the
initial weights of diffusers instead of a wavelet transform. All are judged on `--images` phantoms of each modality of
the role `test`: PSNR, then means over modalities of KID and of coverage (k = 5), EfficientNet-Lite0 at 128 pixels, the
worst modality's coverage, the spectrum, the small lesions of the fundus and the contrast of thin vessels
(`medisyn_lib.evaluation.reconstruction`). The shipped autoencoder stands below them.
"""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pairs
import remake_autoencoder
import torch

from medisyn_lib.evaluation.reconstruction import reconstruction_table
from medisyn_lib.models import networks
from medisyn_lib.models.wavelet_start import start_as_wavelet
from medisyn_lib.pipeline.artifacts import ImageSet
from medisyn_lib.pipeline.own_generator import fit_linear_autoencoder
from medisyn_lib.runtime.device import seeded
from medisyn_lib.training import loop
from medisyn_lib.training.autoencoder import decode, encode, load_shipped, train_autoencoder

SIZE = remake_autoencoder.SIZE
LINEAR_IMAGES = 3000  # whose patches the components are fitted to
TIMED_STEPS = 20


class Linear(NamedTuple):
    """Principal components of square patches."""

    patch: int  # pixels of a side
    components: int

    @property
    def numbers(self) -> int:
        """Numbers that an image is reduced to."""
        return (SIZE // self.patch) ** 2 * self.components


class Learnt(NamedTuple):
    """An `AutoencoderKL` of this project."""

    widths: tuple[int, ...]
    channels: int
    stock: bool = False  # diffusers' own initial weights

    @property
    def numbers(self) -> int:
        """Numbers that an image is reduced to."""
        return (SIZE // 2 ** (len(self.widths) - 1)) ** 2 * self.channels


TRIED: dict[str, Linear | Learnt] = {
    "linear, 8 x 8 x 16": Linear(8, 16),
    "linear, 16 x 16 x 4": Linear(4, 4),
    "linear, 8 x 8 x 32": Linear(8, 32),
    "linear, 16 x 16 x 8": Linear(4, 8),
    "linear, 16 x 16 x 16": Linear(4, 16),
    "learnt, 16 x 16 x 4": Learnt((16, 32, 96), 4),
    "learnt, 16 x 16 x 8": Learnt((16, 32, 96), 8),
    "learnt, 16 x 16 x 8, stock": Learnt((16, 32, 96), 8, stock=True),
    "learnt, 16 x 16 x 16": Learnt((16, 32, 96), 16),
    "learnt, 8 x 8 x 32": Learnt((16, 32, 96, 192), 32),
}
SHIPPED = "shipped"
COLUMNS = [
    "autoencoder",
    "numbers",
    "PSNR, dB",
    "KID",
    "coverage",
    "worst",
    "spectrum",
    "lesions",
    "lines",
]


def by_linear(tried: Linear, training: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Return images through principal components and back."""
    some = training[:: max(1, len(training) // LINEAR_IMAGES)]
    fitted = fit_linear_autoencoder(some, tried.patch, tried.components)
    return fitted.decode(fitted.encode(real))


def by_learnt(tried: Learnt, training: np.ndarray, real: np.ndarray, minutes: float) -> np.ndarray:
    """Return images through an autoencoder trained for this time and back."""
    vae = untrained(tried)
    plan = remake_autoencoder.BOTH_HALVES
    seconds = _train(untrained(tried), training, replace(plan, steps=TIMED_STEPS))
    steps = max(1, round(60 * minutes / seconds * TIMED_STEPS))
    _train(vae, training, replace(plan, steps=steps))
    return decode(vae, encode(vae, real))


def untrained(tried: Learnt) -> Any:
    """Return the network with its initial weights."""
    start = None if tried.stock else start_as_wavelet
    with seeded(remake_autoencoder.BOTH_HALVES.seed):
        return networks.autoencoder(tried.widths, tried.channels, start=start)


def _train(vae: Any, pixels: np.ndarray, plan: loop.TrainingPlan) -> float:
    start = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        train_autoencoder(vae, pixels, plan, Path(folder))
    return time.process_time() - start


def row(name: str, numbers: int, decoded: np.ndarray, held_out: ImageSet) -> list[object]:
    """Return a row of the printed table."""
    table = reconstruction_table(
        real=held_out.pixels(), decoded=decoded, modality=held_out.column("modality")
    )
    farthest = table["spectrum"].iloc[np.abs(np.log(table["spectrum"])).argmax()]
    lesions = f"{table['kept'].max():.0%} kept, {table['invented'].max():.0%} invented"
    values = [
        f"{table['psnr'].mean():.1f}",
        f"{table['KID'].mean():.2f}",
        f"{table['coverage'].mean():.2f}",
        f"{table['coverage'].min():.2f}",
        f"{farthest:.2f}",
        lesions,
        f"{table['lines'].min():.2f}",
    ]
    return [name, numbers, *values]


def main() -> None:
    """Try them one after another and print the table."""
    options = arguments()
    torch.set_num_threads(1)
    held_out = ImageSet("phantom", "test", SIZE, options.images)
    training, real = remake_autoencoder.runs().images.pixels(), held_out.pixels()
    rows = []
    for name, tried in TRIED.items():
        if options.only and name not in options.only:
            continue
        if isinstance(tried, Linear):
            decoded = by_linear(tried, training, real)
        else:
            decoded = by_learnt(tried, training, real, options.minutes)
        rows.append(row(name, tried.numbers, decoded, held_out))
        print(rows[-1], file=sys.stderr, flush=True)
    vae = load_shipped()
    latents = encode(vae, real)
    rows.append(row(SHIPPED, latents[0].size, decode(vae, latents), held_out))
    print(pairs.table(COLUMNS, rows))
    print(f"\n{options.images} held-out phantoms a modality, {options.minutes} minutes each.")
    print(f"\n{pairs.machine()}")


def arguments() -> Any:
    """Return what the command line asks for."""
    parser = pairs.plain_parser(__doc__)
    parser.add_argument(
        "--minutes", type=pairs.whole(1, 600), default=6, help="of one core, each (default: 6)"
    )
    parser.add_argument(
        "--images", type=pairs.whole(10), default=300, help="of a modality (default: 300)"
    )
    parser.add_argument("--only", nargs="+", choices=TRIED, help="which to try (default: all)")
    return parser.parse_args()


if __name__ == "__main__":
    pairs.run_script(main)
