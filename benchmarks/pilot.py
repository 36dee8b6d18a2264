"""Freezes what notebooks 02 and 03 must not choose after the fact: primary measure, margins, principal axes.

    python benchmarks/pilot.py --profile quick --data phantom

On calibration patients of the modalities that 02 tests, with a training seed and sampling seeds that no claim uses, a
generator with half its training steps is set beside the finished one: whichever of KID and the Frechet distance within
the leading principal axes tells them apart more surely becomes the primary measure; a modality's margin is 20% of the
lower 95% limit of its log-ratio. The axes are fitted on the real calibration images, centred within each modality.
Writes `medisyn_lib/pilot.json` and `pilot.safetensors`; trains a generator first where there is none.
"""

from __future__ import annotations

import argparse
import json

import numpy as np
from safetensors.numpy import load_file, save
from sklearn.decomposition import PCA

from medisyn_lib import profiles
from medisyn_lib.claims.pilot import PILOT, primary_measure
from medisyn_lib.data import sources
from medisyn_lib.data.pixels import load_pixels
from medisyn_lib.pipeline.denoisers import denoiser_plan
from medisyn_lib.pipeline.features import cached_features
from medisyn_lib.pipeline.generators import generator_entry
from medisyn_lib.pipeline.paired_samples import evaluation_splits, rows_of, sample_modalities
from medisyn_lib.pipeline.study import Study
from medisyn_lib.runtime import store
from medisyn_lib.runtime.provenance import run_name
from medisyn_lib.statistics.estimates import Estimate, student
from medisyn_lib.statistics.noninferiority import contrast, margin

COMPONENTS = 10
SEED, TURN = 100, 9  # of training, and of sampling: claims use seeds below 10 and turns below 5


def main() -> None:
    """Measures, chooses, writes, and prints what was frozen."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--profile", default="quick", choices=profiles.PROFILES)
    parser.add_argument("--data", default="phantom")
    parser.add_argument("--images", type=int, default=200, help="a modality")
    options = parser.parse_args()
    study = Study(options.profile, options.data)
    asked = evaluation_splits(study, "calibration", options.images)[0]
    reasons = sources.testable(study.source)
    names = [name for name in study.settings.specialists if name in reasons]
    names = [name for name in names if not reasons[name]] or names  # as notebook 02 does
    rows = {name: rows_of(asked, name) for name in names}
    real = {name: cached_features(load_pixels(asked, r)) for name, r in rows.items()}
    centred = np.concatenate([found - found.mean(0) for found in real.values()])
    least = min(map(len, real.values())) * 9 // 10  # a jackknife leaves some out
    axes = PCA(max(1, min(COMPONENTS, least // 5))).fit(centred).components_.T

    half = denoiser_plan(study).steps // 2
    finished, halved = (generator_entry(study, seed=SEED, step=step) for step in (None, half))
    both = [sample_modalities(generator, asked, names, TURN) for generator in (halved, finished)]
    sets = {name: (real[name], *(cached_features(drawn[name]) for drawn in both)) for name in names}
    people = {name: np.array(asked["patient_id"][:])[r] for name, r in rows.items()}
    effects = {
        kind: {
            n: effect(primary_measure({"primary": kind, "axes": axes}), sets[n], people[n])
            for n in names
        }
        for kind in ("KID", "FD_pc")
    }
    power = {
        kind: float(np.mean([sure(e) for e in found.values()])) for kind, found in effects.items()
    }
    best = max(power, key=lambda kind: power[kind])
    frozen = {
        "primary": best,
        "margins": {name: rounded(margin(e)) for name, e in effects[best].items()},
        "effects": {
            name: [rounded(x) for x in (e.value, e.ci_low, e.ci_high)]
            for name, e in effects[best].items()
        },
        "effect_over_standard_error": {kind: round(value, 2) for kind, value in power.items()},
        "n": {name: len(rows) for name, rows in real.items()},
        "half_steps": half,
        "training_seed": SEED,
        "encoder": real[names[0]].encoder,
    }
    write(run_name(options.profile, options.data), frozen, axes)
    print(json.dumps(frozen, indent=1))


def effect(measure, set_, people) -> Estimate:
    """The log-ratio of half-trained to finished, with its interval by patient."""
    values, variance, freedom, n = contrast(measure, [set_], [people])
    return student(values[0], variance, freedom, n)


def sure(found: Estimate) -> float:
    """An effect in half-widths of its interval; 0 where there is none."""
    return 0.0 if found.ci_low is None else found.value / (found.value - found.ci_low)


def rounded(value: float | None) -> float | None:
    """Four decimals, as frozen."""
    return None if value is None else round(float(value), 4)


def write(name: str, frozen: dict, axes: np.ndarray) -> None:
    """Puts one run's numbers beside those of the others."""
    path, beside = PILOT, PILOT.with_suffix(".safetensors")
    kept = json.loads(path.read_text("utf-8")) if path.exists() else {"runs": {}}
    about = "Frozen before any claim was tested; made and explained by benchmarks/pilot.py --profile P --data D."
    store.write_atomic(
        path, json.dumps({"about": about, "runs": kept["runs"] | {name: frozen}}, indent=1) + "\n"
    )
    tensors = (load_file(beside) if beside.exists() else {}) | {
        name: np.ascontiguousarray(axes, np.float32)
    }
    store.write_atomic(beside, save(tensors))


if __name__ == "__main__":
    main()
