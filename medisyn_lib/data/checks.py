"""What a source holds and what can be tested on it: `medisyn data check` and the notebooks' `testable`.

Also near-duplicate images across splits: a leak that patient ids cannot show.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from medisyn_lib import data
from medisyn_lib.data.samples import SPLITS
from medisyn_lib.modalities import MODALITIES

if TYPE_CHECKING:
    import datasets
    import pandas

MIN_TEST_PATIENTS = 20
PHANTOMS_CHECKED = 150  # a split and modality: phantoms have no end
SIDE = 16  # pixels of the reduced grey image
THRESHOLD = 0.97
BLOCK = 2048  # rows of the score matrix in memory at a time


def testable(source: str | datasets.Dataset) -> dict[str, str]:
    """Whether each modality can be tested: "" or the reason why not.

    A modality is not testable with fewer than 20 test patients or with a class that has no test
    image. `source` is a data source or a dataset that holds test images; of a dataset only the
    classes that occur in it are known.
    """
    if source == "phantom":  # as many patients as one asks for
        return dict.fromkeys(MODALITIES, "")
    reasons = {}
    for name, own in _by_modality(source).items():
        test = own[own["split"] == "test"]
        patients, empty = test["patient_id"].nunique(), sorted({*own["finding"]} - {*test["finding"]})
        few = f"{patients} test patients, at least {MIN_TEST_PATIENTS} are needed" * (patients < MIN_TEST_PATIENTS)
        reasons[name] = "; ".join(filter(None, [few, f"no test image of {', '.join(empty)}" * bool(empty)]))
    return reasons


def check(source: str) -> list[dict[str, Any]]:
    """One row a modality: images, patients and classes by split, empty classes, identity, leaks, why not testable.

    `classes` and `patients` are written train/val/test; `near_duplicates` counts pairs of images in
    different splits. Of phantoms 150 images a split and modality are looked at. Raises InputError
    as `preflight` and `load` do.
    """
    import datasets

    phantom = source == "phantom"
    there = SPLITS if phantom else {row.split for row in data.rows(source)}
    cap = PHANTOMS_CHECKED if phantom else None
    parts = [data.load(source, split, per_modality=cap) for split in SPLITS if split in there]
    whole, reasons = datasets.concatenate_datasets(parts), testable(source)
    home = dict(zip(whole["image_id"], whole["modality"], strict=True))
    leaks = Counter(home[first] for first, _, _ in near_duplicates(whole))
    rows = []
    for name, own in _by_modality(whole).items():
        cells = own.groupby(["finding", "split"]).size().unstack(fill_value=0).reindex(columns=SPLITS, fill_value=0)
        patients = own.groupby("split")["patient_id"].nunique().reindex(SPLITS, fill_value=0)
        empty = [f"{finding} in {split}" for split in ("val", "test") for finding in cells.index[cells[split] == 0]]
        row = {
            "modality": name,
            **{split: int(cells[split].sum()) for split in SPLITS},
            "patients": "/".join(map(str, patients)),
            "classes": ", ".join(f"{key} {'/'.join(map(str, counts))}" for key, counts in cells.T.items()),
            "empty": ", ".join(empty),
            "identity": "known" if own["identity_known"].all() else "unknown",
            "near_duplicates": leaks[name],
            "not_testable": reasons[name],
        }
        rows.append(row)
    return rows


def _by_modality(source: str | datasets.Dataset) -> dict[str, pandas.DataFrame]:
    import pandas

    table = data.rows(source) if isinstance(source, str) else source.remove_columns("image").to_pandas()
    return {str(name): own for name, own in pandas.DataFrame(table).groupby("modality", sort=False)}


def near_duplicates(dataset: datasets.Dataset, threshold: float = THRESHOLD) -> list[tuple[str, str, float]]:
    """Pairs of images of one modality in different splits that look the same: (image_id, image_id, score).

    The score is the correlation, in [-1, 1], of 16 x 16 grey images after the modality's mean image
    is taken away: what all images of a modality share, such as the round field of a fundus camera,
    does not count, nor do brightness and contrast. Neither a flipped nor a shifted copy is found. Score
    and threshold are our own choice: at 0.97 nearly all copies with noise of 8/255, JPEG quality 50 or
    20% more brightness are found, and 1 pair in 9,000 independent phantoms is named falsely.
    """
    modality, split = np.asarray(dataset["modality"]), np.asarray(dataset["split"])
    pairs: list[tuple[str, str, float]] = []
    for name in dict.fromkeys(modality.tolist()):
        own = dataset.select(np.flatnonzero(modality == name).tolist())
        grey = np.empty((len(own), SIDE * SIDE), np.float32)
        for number, row in enumerate(own.select_columns("image")):
            grey[number] = np.ravel(row["image"].convert("L").resize((SIDE, SIDE), Image.Resampling.BOX))
        values = _unit(grey)
        values = _unit(values - values.mean(axis=0))
        ids, where = own["image_id"][:], split[modality == name]
        for start in range(0, len(own), BLOCK):
            scores = values[start : start + BLOCK] @ values.T
            close = (scores >= threshold) & (where[start : start + BLOCK, None] < where[None, :])
            pairs += [(ids[start + i], ids[j], round(float(scores[i, j]), 4)) for i, j in np.argwhere(close)]
    return pairs


def _unit(values: np.ndarray) -> np.ndarray:
    """Rows of zero mean and unit length."""
    centred = values - values.mean(axis=1, keepdims=True)
    return np.asarray(centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-6))
