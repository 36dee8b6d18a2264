"""Freezes what notebooks 02 and 03 must not choose after the fact: primary measure, margins, principal axes.

    python benchmarks/pilot.py --profile quick --data phantom

On calibration patients of the modalities that 02 tests, with a training seed and sampling seeds that no claim uses, a
generator with half its training steps is set beside the finished one: whichever of KID and the Frechet distance within
the leading principal axes tells them apart more surely becomes the primary measure; a modality's margin is 20% of the
lower 95% limit of its log-ratio. The axes are fitted on the real calibration images, centred within each modality.
Writes `medisyn_lib/claims/pilot.json` and `pilot.safetensors`; trains a generator first where there is none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pairs

from medisyn_lib.claims.pilot import PILOT, Pilot, primary_measure
from medisyn_lib.data import check
from medisyn_lib.data.pixels import load_pixels
from medisyn_lib.models.encoders import FeatureSet
from medisyn_lib.pipeline.denoisers import denoiser_plan
from medisyn_lib.pipeline.features import cached_features
from medisyn_lib.pipeline.paired_samples import (
    evaluation_splits,
    patients_of,
    rows_of,
    sample_modalities,
)
from medisyn_lib.pipeline.study import Study
from medisyn_lib.pipeline.suite import compared_modalities
from medisyn_lib.runtime import store
from medisyn_lib.runtime.provenance import run_name
from medisyn_lib.statistics.estimates import Estimate
from medisyn_lib.statistics.noninferiority import (
    FeatureTriple,
    contrast,
    effect_of_one_seed,
    margin,
)

if TYPE_CHECKING:
    import datasets

MEASURES = ("KID", "FD_pc")
COMPONENTS = 10
ROWS_PER_AXIS = 5
SEED, SPLIT = 100, 9  # of training, and of sampling: claims use seeds below 10 and splits below 5
ABOUT = (
    "Frozen before any claim was tested; made and explained by "
    "benchmarks/pilot.py --profile P --data D."
)

Features = Mapping[str, FeatureSet]  # by modality


@dataclass(frozen=True)
class Compared:
    """Features of real images and of two generators' images of their captions, by modality."""

    real: Features
    half_trained: Features
    finished: Features
    patients: Mapping[str, np.ndarray]


def main() -> None:
    """Measure, choose, write, and print what was frozen."""
    options = arguments()
    study = Study(options.profile, options.data)
    images = evaluation_splits(study, "calibration", options.images)[0]
    names = compared_modalities(study.settings.specialists, check.testable(study.source))
    half_steps = denoiser_plan(study.settings).steps // 2
    compared = compare_generators(study, images, names, half_steps)
    axes = principal_axes(compared.real)
    effects = {kind: effects_of(kind, axes, compared) for kind in MEASURES}
    power = {kind: mean_effect_in_half_widths(effects[kind]) for kind in MEASURES}
    best = max(MEASURES, key=lambda kind: power[kind])
    frozen = {
        "primary": best,
        "margins": {name: rounded(margin(effect)) for name, effect in effects[best].items()},
        "effects": {name: rounded_limits(effect) for name, effect in effects[best].items()},
        "effect_over_standard_error": {kind: round(value, 2) for kind, value in power.items()},
        "n": {name: len(features) for name, features in compared.real.items()},
        "half_steps": half_steps,
        "training_seed": SEED,
        "encoder": compared.real[names[0]].encoder,
    }
    write(run_name(options.profile, options.data), frozen, axes)
    print(json.dumps(frozen, indent=1))


def compare_generators(
    study: Study, images: datasets.Dataset, names: list[str], half_steps: int
) -> Compared:
    """Sample the captions of real images by the half-trained and the finished generator."""

    def features_after(steps: int | None) -> Features:
        generator = study.generator(seed=SEED, after=steps).folder
        samples = sample_modalities(generator, images, names, SPLIT)
        return {name: cached_features(samples[name]) for name in names}

    return Compared(
        real={name: cached_features(load_pixels(images, rows_of(images, name))) for name in names},
        half_trained=features_after(half_steps),
        finished=features_after(None),
        patients={name: patients_of(images, name) for name in names},
    )


def principal_axes(real: Features) -> np.ndarray:
    """Fit principal axes (d, c) to real features, centred within each modality."""
    from sklearn.decomposition import PCA

    values = [np.asarray(features) for features in real.values()]
    centred = np.concatenate([features - features.mean(0) for features in values])
    least = min(map(len, values)) * 9 // 10  # a jackknife leaves some out
    return PCA(max(1, min(COMPONENTS, least // ROWS_PER_AXIS))).fit(centred).components_.T


def effects_of(kind: str, axes: np.ndarray, compared: Compared) -> dict[str, Estimate]:
    """Return by how much further from real images the half-trained generator lies, by modality."""
    measure = primary_measure(Pilot(primary=kind, axes=axes))
    effects = {}
    for name, real in compared.real.items():
        triple = FeatureTriple(
            real=real,
            candidate=compared.half_trained[name],
            reference=compared.finished[name],
        )
        effects[name] = effect_of_one_seed(contrast(measure, [triple], [compared.patients[name]]))
    return effects


def mean_effect_in_half_widths(effects: Mapping[str, Estimate]) -> float:
    """Return the mean over modalities of effects in half-widths of their intervals."""
    return float(np.mean([effect_in_half_widths(effect) for effect in effects.values()]))


def effect_in_half_widths(effect: Estimate) -> float:
    """Return an effect in half-widths of its interval; 0 where there is none."""
    if effect.value is None or effect.ci_low is None:
        return 0.0
    return effect.value / (effect.value - effect.ci_low)


def rounded(value: float | None) -> float | None:
    """Return four decimals, as frozen."""
    return None if value is None else round(float(value), 4)


def rounded_limits(effect: Estimate) -> list[float | None]:
    """Return value and interval, as frozen."""
    return [rounded(value) for value in (effect.value, effect.ci_low, effect.ci_high)]


def write(name: str, frozen: Mapping[str, Any], axes: np.ndarray) -> None:
    """Put one run's numbers beside those of the others."""
    from safetensors.numpy import load_file, save

    axes_file = PILOT.with_suffix(".safetensors")
    runs = json.loads(PILOT.read_text("utf-8"))["runs"] if PILOT.exists() else {}
    runs[name] = frozen
    store.write_atomic(PILOT, json.dumps({"about": ABOUT, "runs": runs}, indent=1) + "\n")
    tensors = load_file(axes_file) if axes_file.exists() else {}
    tensors[name] = np.ascontiguousarray(axes, np.float32)
    store.write_atomic(axes_file, save(tensors))


def arguments() -> Any:
    """Return what the command line asks for."""
    parser = pairs.plain_parser(__doc__)
    pairs.add_study(parser)
    parser.add_argument("--images", type=pairs.whole(2), default=200, help="per modality")
    return parser.parse_args()


if __name__ == "__main__":
    pairs.run_script(main)
