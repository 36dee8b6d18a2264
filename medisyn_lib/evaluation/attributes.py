"""Every attribute that a prompt names, read back from images by what saw evaluator patients only.

The reader names modality and finding; linear heads on its last maps name side, size, count and grade.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional as F

from medisyn_lib.data.pixels import load_pixels
from medisyn_lib.modalities import COUNT_WORDS
from medisyn_lib.models.tensors import in_batches, to_tensor
from medisyn_lib.pipeline.classifiers import classifier_entry
from medisyn_lib.pipeline.study import Study
from medisyn_lib.runtime import store
from medisyn_lib.training.classifier import AttributeClassifier, feature_maps

if TYPE_CHECKING:
    import datasets
    import pandas as pd

NAMED = ("side", "lesion_size", "count", "grade")
PENALTY = 0.3  # of the ridge regression, a feature; a tenth or ten times as much reads alike
Heads = Mapping[
    str, np.ndarray
]  # weights (d + 1,) by modality, attribute and value with tabs between


def labels(images: datasets.Dataset, *, said: bool = True) -> pd.DataFrame:
    """One row an attribute of an image: image (its row), modality, patient, attribute, value (a word).

    Modality and finding always; of the others those that are known and, if `said`, named by the caption.
    """
    import pandas as pd

    rows = []
    for image, row in enumerate(images.remove_columns("image").to_pandas().to_dict("records")):
        known = [
            name
            for name in NAMED
            if row[name] not in ("", -1) and (name, row[name]) != ("count", 0)
        ]
        for name in ("modality", "finding", *known):
            word = (
                COUNT_WORDS[row[name]]
                if name == "count" and row[name] < len(COUNT_WORDS)
                else row[name]
            )
            phrase = re.escape(f"grade {word}" if name == "grade" else str(word))
            if name not in NAMED or not said or re.search(rf"\b{phrase}\b", row["caption"]):
                rows.append((image, row["modality"], row["patient_id"], name, str(row[name])))
    return pd.DataFrame(rows, columns=["image", "modality", "patient", "attribute", "value"])


def look(
    reader: AttributeClassifier, pixels: np.ndarray, batch: int = 256
) -> tuple[np.ndarray, np.ndarray]:
    """Features float32 (n, d + 1) of uint8 images, the reader's last maps and a one, and its logits (n, classes)."""

    def part(some: np.ndarray) -> np.ndarray:
        maps, logits = feature_maps(reader.net, to_tensor(np.array(some)))
        return torch.cat([F.pad(maps[-1].relu().flatten(1), (0, 1), value=1.0), logits], 1).numpy()

    found, width = in_batches(part, pixels, batch), len(reader.classes)
    return found[:, :-width], found[:, -width:]


def heads_entry(study: Study) -> Path:
    """Folder with `heads.safetensors`, the `Heads`: a ridge regression of -1 and 1 for each value."""
    from safetensors.numpy import save_file
    from sklearn.linear_model import Ridge

    trained = classifier_entry(study)

    def make(directory: Path) -> None:
        images, weights = study.images("evaluator"), {}
        features, table = (
            look(AttributeClassifier(trained), load_pixels(images))[0][:, :-1],
            labels(images, said=False),
        )
        for (modality, attribute), part in table[table["attribute"].isin(NAMED)].groupby(
            ["modality", "attribute"]
        ):
            own, values = features[part["image"]], part["value"].to_numpy()
            for value in np.unique(values):
                ridge = Ridge(PENALTY * own.shape[1]).fit(own, np.where(values == value, 1.0, -1.0))
                weights[f"{modality}\t{attribute}\t{value}"] = np.array(
                    [*ridge.coef_, ridge.intercept_], np.float32
                )
        save_file(weights, directory / "heads.safetensors")

    return store.keep(
        "heads", {}, make, inputs=[trained.name], code=("medisyn_lib.evaluation.attributes",)
    )


def read(
    reader: AttributeClassifier, heads: Heads, pixels: np.ndarray, asked: pd.DataFrame
) -> pd.DataFrame:
    """The `labels` asked for with what was `read` in uint8 images (n, h, w, 3), and whether it is `right`.

    A finding is one of its modality. Rows of what no head reads are left out.
    """
    (features, scores), (owner, finding) = look(reader, pixels), np.array(reader.classes).T
    table = asked.assign(read="")
    for (modality, attribute), part in asked.groupby(["modality", "attribute"]):
        rows, keys = (
            part["image"],
            [key for key in heads if key.startswith(f"{modality}\t{attribute}\t")],
        )
        if attribute == "modality":
            seen, score = owner, scores[rows]
        elif attribute == "finding":
            seen, score = finding, np.where(owner == modality, scores[rows], -np.inf)
        elif len(keys) > 1:
            seen = np.array([key.split("\t")[2] for key in keys])
            score = features[rows] @ np.stack([heads[key] for key in keys], 1)
        else:
            continue
        table.loc[part.index, "read"] = seen[score.argmax(1)]
    return (
        table[table["read"] != ""]
        .assign(right=lambda t: t["read"] == t["value"])
        .reset_index(drop=True)
    )


def chance(table: pd.DataFrame) -> float:
    """How often `read` would be right if captions were dealt at random within modality and attribute."""
    parts = [part for _, part in table.groupby(["modality", "attribute"])]
    counts = [[part[name].value_counts() for name in ("read", "value")] for part in parts]
    return float(sum(a.mul(b, fill_value=0).sum() / a.sum() for a, b in counts) / len(table))
