"""Which measure sees what: generators with one known fault each, put through the measures of fidelity and memorization.

    python benchmarks/reference_generators.py [--n 50] [--calibration 100] [--size 64] [--seed 0] [--modalities NAME]

Phantoms, not patients: `--n` training, held-out and other patients of each modality, and `--calibration` patients that
set the threshold for copies, with one image each. Nothing is trained. Features are those of EfficientNet-Lite0. Prints
a table with a row for each generator.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import pairs

from medisyn_lib.modalities import MODALITIES
from medisyn_lib.phantoms import IMAGES_PER_PATIENT, SIZES, draw

if TYPE_CHECKING:
    import datasets
    import pandas as pd

    from medisyn_lib.evaluation.memorization.images import RealImages

ROLES = ("training", "calibration", "held_out", "other_patients")
ENCODER = "efflite0"


def draw_patients(modalities: Iterable[str], n: int, *, size: int, seed: int) -> datasets.Dataset:
    """Draw n patients of each modality, one image each: columns image, modality, finding, patient_id."""
    import datasets
    from PIL import Image

    rows = []
    for modality in modalities:
        for patient in range(n):
            number = patient * IMAGES_PER_PATIENT
            pixels, factors = draw(modality, seed=seed, index=number, size=size)
            labels = {name: factors[name] for name in ("finding", "patient_id")}
            rows.append({"image": Image.fromarray(pixels), "modality": modality, **labels})
    return datasets.Dataset.from_list(rows).cast_column("image", datasets.Image())


def draw_real(
    modalities: Iterable[str], *, n: int, calibration: int, size: int, seed: int
) -> tuple[RealImages, datasets.Dataset]:
    """Draw the real images of an audit, and those of other patients; no patient is in two sets."""
    from medisyn_lib.evaluation.memorization.images import RealImages

    counts = {"calibration": calibration}
    drawn = {
        role: draw_patients(
            modalities, counts.get(role, n), size=size, seed=len(ROLES) * seed + place
        )
        for place, role in enumerate(ROLES)
    }
    other_patients = drawn.pop("other_patients")
    return RealImages(**drawn), other_patients


def measured(real: RealImages, other_patients: datasets.Dataset, seed: int) -> pd.DataFrame:
    """Return the table of measures of all reference generators."""
    from medisyn_lib.evaluation.reference_generators import measure_table, reference_sets

    rng = np.random.default_rng(seed)
    made = reference_sets(real=real, other_patients=other_patients, rng=rng)
    return measure_table(real=real, synthetic=made, encoder=ENCODER)


def heading(measure: str) -> str:
    """Return what stands above a measure's column."""
    return measure.removesuffix(f"_{ENCODER}").replace("_", " ")


def as_words(measure: str, value: Any) -> str:
    """Return a cell: proportions of images in percent, KID to three places."""
    if measure == "rule_broken":
        return "yes" if value else "no"
    if measure in ("flagged", "nearer_to_training"):
        return f"{100 * value:.1f}%"
    if measure.startswith("KID"):
        return f"{value:.3f}"
    return f"{value:.0f}" if measure.startswith("FD") else f"{value:.2f}"


def main() -> None:
    """Draw, measure, print."""
    options = arguments()
    settings = {name: getattr(options, name) for name in ("n", "calibration", "size", "seed")}
    real, other_patients = draw_real(options.modalities, **settings)
    found = measured(real, other_patients, options.seed)
    words = [heading(name) for name in found]
    rows = [
        [generator, *(as_words(name, values[name]) for name in found)]
        for generator, values in found.iterrows()
    ]
    print(pairs.table(["generator", *words], rows))
    print(f"\n{pairs.machine()}")


def arguments() -> Any:
    """Return what the command line asks for."""
    parser = pairs.plain_parser(__doc__)
    parser.add_argument("--n", type=pairs.whole(6, 10_000), default=50, help="per modality")
    parser.add_argument(
        "--calibration", type=pairs.whole(1, 10_000), default=100, help="per modality"
    )
    parser.add_argument("--size", type=pairs.whole(*SIZES), default=64, help="side in pixels")
    parser.add_argument("--seed", type=pairs.whole(0), default=0)
    parser.add_argument("--modalities", nargs="+", choices=MODALITIES, default=list(MODALITIES))
    return parser.parse_args()


if __name__ == "__main__":
    pairs.run_script(main)
