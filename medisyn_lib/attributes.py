"""Every attribute that a prompt names, read back from images by one evaluator of all of them."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medisyn_lib import data, evaluators, generators, training
from medisyn_lib.modalities import COUNT_WORDS
from medisyn_lib.statistics import cluster_proportion

if TYPE_CHECKING:
    import datasets
    import pandas as pd

ATTRIBUTES = ("modality", "finding", "side", "lesion_size", "count", "grade")


def labels(images: datasets.Dataset, *, named: bool = True) -> pd.DataFrame:
    """One row an attribute of an image: image (its row), modality, patient, caption, attribute, value (a word).

    Modality and finding always; of the others those that are known and, if `named`, said by the caption.
    """
    table = images.remove_columns("image").to_pandas().rename(columns={"patient_id": "patient"})
    table = table.assign(image=range(len(table)), owner=table["modality"])
    kept = ["image", "owner", "patient", "caption"]
    long = table.melt(kept, list(ATTRIBUTES), "attribute", "value").astype({"value": str})
    long = long.rename(columns={"owner": "modality"})
    none = long["value"].isin(["", "-1"]) | ((long["attribute"] == "count") & (long["value"] == "0"))

    def said(caption: str, attribute: str, value: str) -> bool:
        words = {"count": dict(enumerate(COUNT_WORDS)).get(int(value), value)} if attribute == "count" else {}
        words["grade"] = f"grade {value}"
        return re.search(rf"\b{words.get(attribute, value)}\b", caption) is not None

    long = long[~none]
    always = long["attribute"].isin(["modality", "finding"])
    rows = zip(long["caption"], long["attribute"], long["value"], always, strict=True)
    return long[[not named or sure or said(*row) for *row, sure in rows]].reset_index(drop=True)


def reader_entry(study: generators.Study, *, seed: int = 0) -> Path:
    """Folder of an `evaluators.Reader` of all attributes, trained once on evaluator patients.

    Each image comes once an attribute. One softmax runs over (attribute, value), for findings (modality,
    finding): among the values of one attribute it is their probability given the image.
    """
    settings = study.settings
    plan = training.Plan(steps=settings.attribute_steps, batch=32, rate=3e-3, seed=seed, decay=0.05)

    def make(directory: Path) -> None:
        images = study.images("evaluator")
        rows = labels(images, named=False).query("attribute != 'modality'")
        pixels, owner = data.pixels(images)[rows["image"]], _owner(rows)
        evaluators.train(pixels, owner.tolist(), rows["value"].tolist(), plan, directory)

    what = {"plan": asdict(plan), "data": data.fingerprint(study.source), "size": settings.size}
    what["images"] = settings.evaluator_images
    code = ("medisyn_lib.evaluators", "medisyn_lib.attributes", *generators.MODELS_CODE)
    return training.keep_together("attributes", what, make, code=code)


def _owner(rows: pd.DataFrame) -> np.ndarray:
    """What the reader calls an attribute: a finding by its modality."""
    return np.where(rows["attribute"] == "finding", rows["modality"], rows["attribute"])


def readings(reader: evaluators.Reader, pixels: np.ndarray, asked: datasets.Dataset) -> pd.DataFrame:
    """`labels` of what was asked with the value that is read from the images, uint8 (n, h, w, 3), and `right`."""
    rows = labels(asked)
    owner, value = np.array(reader.classes).T
    modality = rows["attribute"].to_numpy() == "modality"
    inside = np.where(modality[:, None], ~np.isin(owner, ATTRIBUTES), owner == _owner(rows)[:, None])
    best = np.where(inside, reader.scores(pixels)[rows["image"]], -np.inf).argmax(1)
    rows["read"] = np.where(modality, owner[best], value[best])
    return rows.assign(right=rows["read"] == rows["value"])


def chance(read: pd.DataFrame) -> float:
    """How often readings would be right if captions were dealt at random within modality and attribute."""
    parts = [part for _, part in read.groupby(["modality", "attribute"])]
    shares = [[part[name].value_counts(normalize=True) for name in ("read", "value")] for part in parts]
    alike = [a.mul(b, fill_value=0.0).sum() for a, b in shares]
    return float(np.average(alike, weights=[len(part) for part in parts]))


def by_attribute(**read: pd.DataFrame) -> pd.DataFrame:
    """Tidy table of shares read right: group (the keyword), label (attribute), value, low, high, n; by patient."""
    import pandas as pd

    rows = []
    for group, table in read.items():
        for name, part in table.groupby("attribute", sort=False):
            found = cluster_proportion(part["right"].to_numpy(float), part["patient"].to_numpy())
            rows.append((group, name, found.value, found.ci_low, found.ci_high, found.n))
    return pd.DataFrame(rows, columns=["group", "label", "value", "low", "high", "n"])
