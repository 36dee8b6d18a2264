"""Reading prompts back: what evaluators see in generated images, against what was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medisyn_lib import data, evaluators, generators, sampling, store, training
from medisyn_lib.statistics import Estimate, cluster_proportion, paired_difference

if TYPE_CHECKING:
    import datasets
    import pandas as pd


def reader_entry(study: generators.Study, *, seed: int = 0) -> Path:
    """Folder of the evaluator of a study: trained on evaluator patients, whom no generator saw."""
    plan = training.Plan(steps=study.settings.evaluator_steps, batch=64, rate=3e-3, seed=seed, decay=0.05)

    def make(directory: Path) -> None:
        images = study.images("evaluator")
        labels = images["modality"][:], images["finding"][:]
        evaluators.train(data.pixels(images), *labels, plan, directory)

    what = {"plan": asdict(plan), "size": study.settings.size, "images": study.settings.evaluator_images}
    what["data"] = data.fingerprint(study.source)
    code = ("medisyn_lib.evaluators", *generators.MODELS_CODE)
    return training.keep_together("reader", what, make, code=code)


def samples_entry(generator: Path | str, prompts: Sequence[str], *, first_seed: int = 0) -> Path:
    """Folder with `samples.npy`, uint8 (n, h, w, 3): one image a prompt, seeds from `first_seed` on.

    `generator` is a folder in the store (kept by its key) or any other pipeline, kept by its name.
    """
    call = sampling.settings_of(str(generator))

    def make(directory: Path) -> None:
        pipeline = sampling.load_pipeline(str(generator))
        seeds = range(first_seed, first_seed + len(prompts))
        np.save(directory / "samples.npy", sampling.sample(pipeline, prompts, seeds, **call))

    what = {"prompts": list(prompts), "first_seed": first_seed, "call": call}
    return store.keep("samples", what, make, inputs=[Path(generator).name], code=("medisyn_lib.sampling",))


def load_samples(entry: Path) -> np.ndarray:
    """The images of a samples entry, memory-mapped."""
    return np.load(entry / "samples.npy", mmap_mode="r")


def readings(reader: evaluators.Reader, pixels: np.ndarray, asked: datasets.Dataset) -> pd.DataFrame:
    """One row an image: modality, finding, patient, and whether both were read as in `asked`, row by row."""
    import pandas as pd

    modality, finding = asked["modality"][:], asked["finding"][:]
    scores = reader.scores(pixels)
    return pd.DataFrame(
        {
            "modality": modality,
            "finding": finding,
            "patient": asked["patient_id"][:],
            "modality_right": reader.modality_right(scores, modality),
            "finding_right": reader.finding_right(scores, modality, finding),
        }
    )


def derange(asked: datasets.Dataset, *, seed: int = 0) -> datasets.Dataset:
    """The same rows with every caption given to another image of its modality; nobody keeps its own."""
    modality = np.asarray(asked["modality"][:])
    other = np.arange(len(modality))
    rng = np.random.default_rng(seed)
    for name in np.unique(modality):
        rows = rng.permutation(np.flatnonzero(modality == name))
        other[rows] = np.roll(rows, 1)
    return asked.select(other.tolist())


def chance(asked: datasets.Dataset) -> float:
    """How often a finding is right when captions of a modality are dealt at random: sum of squared shares."""
    import pandas as pd

    table = pd.DataFrame({"modality": asked["modality"][:], "finding": asked["finding"][:]})
    agree = table.groupby("modality")["finding"].agg(lambda f: (f.value_counts(normalize=True) ** 2).sum())
    return float((agree * table["modality"].value_counts(normalize=True)).sum())


def share_right(table: pd.DataFrame, column: str) -> Estimate:
    """The share of images read right, with the interval by patient."""
    return cluster_proportion(table[column].to_numpy(float), table["patient"].to_numpy())


def finding_gap(*, real: pd.DataFrame, synthetic: pd.DataFrame) -> Estimate:
    """How much more often the finding is read right from synthetic images than from the real ones.

    Row i of both tables belongs to one caption; the interval is by patient.
    """
    return paired_difference(
        synthetic["finding_right"].to_numpy(float), real["finding_right"].to_numpy(float), real["patient"].to_numpy()
    )


def by_modality(*, real: pd.DataFrame, synthetic: pd.DataFrame) -> pd.DataFrame:
    """Tidy table: modality, images (real or synthetic), what (modality or finding), share, low, high, n."""
    import pandas as pd

    rows = []
    for images, table in (("real", real), ("synthetic", synthetic)):
        for modality, part in table.groupby("modality", sort=False):
            for what in ("modality", "finding"):
                found = share_right(part, f"{what}_right")
                rows.append(
                    {"modality": modality, "images": images, "what": what, "share": found.value}
                    | {"low": found.ci_low, "high": found.ci_high, "n": found.n}
                )
    return pd.DataFrame(rows)
