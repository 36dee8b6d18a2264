"""What the notebooks on quality and compute share: paired images of generators, features, the frozen pilot."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medisyn_lib import alignment, data, encoders, generators, processes
from medisyn_lib.errors import InputError
from medisyn_lib.fidelity import frechet_distance, kernel_distance, project
from medisyn_lib.provenance import run_name

if TYPE_CHECKING:
    import datasets

    from medisyn_lib.generators import Study

PILOT = Path(__file__).with_name("pilot.json")
SEEDS_APART = 1_000_000  # between the sampling seeds of two training seeds


def deals(study: Study, role: str = "test", n: int | None = None) -> list[datasets.Dataset]:
    """For each training seed `n` images a modality, ordered by modality; other images each where there are enough."""
    n, seeds = n or study.settings.quality_images, len(study.settings.seeds)
    images = data.load(study.source, role=role, size=study.settings.size, per_modality=n * seeds)
    modality = np.array(images["modality"][:])
    places = [np.flatnonzero(modality == name) for name in dict.fromkeys(modality.tolist())]
    turns = [np.arange(k * n, k * n + n) for k in range(seeds)]
    return [images.select(np.concatenate([own[np.unique(turn % len(own))] for own in places])) for turn in turns]


def rows_of(asked: datasets.Dataset, modality: str, most: int | None = None) -> np.ndarray:
    """Where the images of a modality, or the first of them, lie in a deal. Raises InputError if there are none."""
    rows = np.flatnonzero(np.array(asked["modality"][:]) == modality)[:most]
    if not len(rows):
        raise InputError(f"modality {modality!r}: no held-out image; choose among {sorted(set(asked['modality'][:]))}")
    return rows


def drawn(
    model: Path | str, asked: datasets.Dataset, names: Sequence[str], turn: int, most: int | None = None,
    whole: bool = False,
) -> dict[str, np.ndarray]:  # fmt: skip
    """Images of some modalities' captions in deal number `turn`, uint8; a row's place in the deal is its seed.

    So two models' images are paired. `whole` draws all of the deal at once, as notebook 01 does with a generalist.
    """
    rows = {name: rows_of(asked, name, most) for name in names}
    some = np.arange(len(asked)) if whole else np.concatenate(list(rows.values()))
    seeds = (SEEDS_APART * turn + some).tolist()
    entry = alignment.samples_entry(model, asked.select(some)["caption"][:], seeds=seeds)
    images = alignment.load_samples(entry, asked[0]["image"].width)
    return {name: images[np.flatnonzero(np.isin(some, own))] for name, own in rows.items()}


def features(pixels: np.ndarray) -> encoders.Features:
    """`encoders.features` of the offline default, kept in the store under the images' own bytes."""

    def part(rows: np.ndarray) -> np.ndarray:
        return encoders.features(pixels[rows]).astype(np.float32)

    what = {"images": hashlib.sha256(pixels.tobytes()).hexdigest(), "n": len(pixels), "encoder": "efflite0"}
    path = processes.keep_array("features", what, lambda: len(pixels), part, code=("medisyn_lib.encoders",))
    found = np.load(path).astype(np.float64).view(encoders.Features)
    found.encoder = "efflite0"
    return found


def suite(study: Study) -> list[Path]:
    """The generators that notebook 02 compares, trained, and their images drawn and described; by all processes."""
    made: list[Path] = []
    for turn, (seed, deal) in enumerate(zip(study.settings.seeds, deals(study), strict=True)):
        present = [name for name in study.settings.specialists if name in set(deal["modality"][:])]
        for name in (None, *present):
            made.append(generators.generator_entry(study, name, seed=seed))
            images = drawn(made[-1], deal, [name] if name else present, turn, whole=name is None)
            for pixels in images.values():
                features(pixels)
    return made


def pilot(study: Study) -> dict[str, Any]:
    """What was frozen for this profile and data: `primary`, `margins`, `axes` (d, c) and more; empty where nothing was.

    From other patients and seeds, by `python tests/benchmarks/pilot.py`.
    """
    from safetensors.numpy import load_file

    name = run_name(study.profile, study.source)
    frozen = json.loads(PILOT.read_text("utf-8"))["runs"].get(name)
    return frozen | {"axes": load_file(PILOT.with_suffix(".safetensors"))[name]} if frozen else {}


def primary(frozen: Mapping[str, Any]) -> Callable[..., float]:
    """The frozen primary measure of `real=`, `synthetic=`: KID, or Frechet distance within the frozen axes."""
    if frozen.get("primary", "KID") == "KID":
        return kernel_distance
    axes = frozen["axes"]
    return lambda *, real, synthetic: frechet_distance(real=project(real, axes), synthetic=project(synthetic, axes))
