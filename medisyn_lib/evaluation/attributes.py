"""Every attribute that a caption names, recovered from images by what saw evaluator patients only.

The classifier names modality and finding; linear heads on its last feature maps name side, size, count
and grade.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional as F

from medisyn_lib.evaluation import alignment
from medisyn_lib.modalities import COUNT_WORDS
from medisyn_lib.models.tensors import in_batches, to_tensor
from medisyn_lib.pipeline.artifacts import Artifact
from medisyn_lib.pipeline.classifiers import Classifier
from medisyn_lib.pipeline.study import Study
from medisyn_lib.runtime.device import to_device
from medisyn_lib.training.classifier import AttributeClassifier, feature_maps

if TYPE_CHECKING:
    from collections.abc import Sequence

    import datasets
    import pandas as pd

CAPTION_ATTRIBUTES = ("side", "lesion_size", "count", "grade")
PENALTY = 0.3  # of the ridge regression, per feature; a tenth or ten times as much recovers alike
# Weights (d + 1,) by modality, attribute and value with tabs between.
Heads = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class AttributeEvaluator:
    """What recovers attributes from images: a classifier, and linear heads on its feature maps."""

    classifier: AttributeClassifier
    heads: Heads


def load_evaluator(study: Study) -> AttributeEvaluator:
    """Load, or train first, the evaluator of a study."""
    classifier = study.classifier()
    return AttributeEvaluator(classifier.load(), AttributeHeads(classifier).load())


def labels(images: datasets.Dataset, *, only_captioned: bool = True) -> pd.DataFrame:
    """List the attributes of images.

    Modality and finding always; of the others those that are known and, with `only_captioned`, named
    by the caption.

    Returns
    -------
    DataFrame
        One row per attribute of an image: `image` (its row), `modality`, `patient`, `attribute`,
        `value` (a word).
    """
    import pandas as pd

    rows = []
    for image, row in enumerate(images.remove_columns("image").to_pandas().to_dict("records")):
        attributes = ["modality", "finding"]
        for name in CAPTION_ATTRIBUTES:
            if _is_known(row, name) and (not only_captioned or _is_captioned(row, name)):
                attributes.append(name)
        for name in attributes:
            rows.append((image, row["modality"], row["patient_id"], name, str(row[name])))
    return pd.DataFrame(rows, columns=["image", "modality", "patient", "attribute", "value"])


def _is_known(row: Mapping[str, Any], attribute: str) -> bool:
    """Say whether an image's attribute is known; a count of none is not an attribute."""
    return row[attribute] not in ("", -1) and (attribute, row[attribute]) != ("count", 0)


def _is_captioned(row: Mapping[str, Any], attribute: str) -> bool:
    """Say whether an image's caption names the value of an attribute, as a whole word."""
    word = row[attribute]
    if attribute == "count" and word < len(COUNT_WORDS):
        word = COUNT_WORDS[word]
    phrase = re.escape(f"grade {word}" if attribute == "grade" else str(word))
    return re.search(rf"\b{phrase}\b", row["caption"]) is not None


def deranged_labels(images: datasets.Dataset, modalities: Sequence[str]) -> pd.DataFrame:
    """List `labels` of captions that were swapped between patients of a modality.

    The modality itself, which they share, is left out. Rows keep the number and patient of the image
    that they are held against.
    """
    table = labels(alignment.derange(images))
    table = table[(table["attribute"] != "modality") & table["modality"].isin(list(modalities))]
    patient = np.array(images["patient_id"][:])
    return table.assign(patient=patient[table["image"]])


def features_and_logits(
    classifier: AttributeClassifier, pixels: np.ndarray, batch: int = 256
) -> tuple[np.ndarray, np.ndarray]:
    """Return the classifier's last feature maps and logits.

    Parameters
    ----------
    classifier
        Of k classes.
    pixels
        uint8 (n, h, w, 3).
    batch
        Images at a time.

    Returns
    -------
    features
        float32 (n, d + 1), the last column a one, for the heads' intercept.
    logits
        float32 (n, k).
    """

    device = to_device(classifier.net)

    def part(chosen: np.ndarray) -> np.ndarray:
        maps, logits = feature_maps(classifier.net, to_tensor(np.array(chosen)).to(device))
        features = F.pad(maps[-1].relu().flatten(1), (0, 1), value=1.0)
        return torch.cat([features, logits], 1).cpu().numpy()

    both, classes = in_batches(part, pixels, batch), len(classifier.classes)
    return both[:, :-classes], both[:, -classes:]


def fit_heads(features: np.ndarray, table: pd.DataFrame) -> dict[str, np.ndarray]:
    """Fit `Heads`: within modality and attribute a ridge regression of -1 and 1 for each value.

    Parameters
    ----------
    features
        float32 (n, d), without the column of ones.
    table
        `labels` of the same n images.
    """
    from sklearn.linear_model import Ridge

    heads = {}
    named = table[table["attribute"].isin(CAPTION_ATTRIBUTES)]
    for (modality, attribute), part in named.groupby(["modality", "attribute"]):
        inputs, values = features[part["image"]], part["value"].to_numpy()
        for value in np.unique(values):
            target = np.where(values == value, 1.0, -1.0)
            ridge = Ridge(PENALTY * inputs.shape[1]).fit(inputs, target)
            weights = np.array([*ridge.coef_, ridge.intercept_], np.float32)
            heads[f"{modality}\t{attribute}\t{value}"] = weights
    return heads


@dataclass(frozen=True, eq=False)
class AttributeHeads(Artifact):
    """The `Heads` of a classifier, fitted to evaluator patients: `heads.safetensors`."""

    step = "heads"
    code = (sys.modules[__name__],)
    classifier: Classifier

    def make(self, folder: Path) -> None:
        """Fit the heads to the classifier's own training images."""
        from safetensors.numpy import save_file

        images = self.classifier.images
        features, _ = features_and_logits(self.classifier.load(), images.pixels())
        heads = fit_heads(features[:, :-1], labels(images.load(), only_captioned=False))
        save_file(heads, folder / "heads.safetensors")

    def load(self) -> Heads:
        """Return the fitted heads."""
        from safetensors.numpy import load_file

        return load_file(self.folder / "heads.safetensors")


def recover(
    evaluator: AttributeEvaluator, pixels: np.ndarray, requested: pd.DataFrame
) -> pd.DataFrame:
    """Recover the requested attributes from images.

    A finding is one of its modality. Attributes for which there is no head, or a head of a single
    value, are left out.

    Parameters
    ----------
    evaluator
        Classifier and heads.
    pixels
        uint8 (n, h, w, 3).
    requested
        `labels` whose column `image` numbers these images.

    Returns
    -------
    DataFrame
        The rows of `requested` with what was `recovered`, and whether that is `correct`.
    """
    features, logits = features_and_logits(evaluator.classifier, pixels)
    class_modality, class_finding = np.array(evaluator.classifier.classes).T
    table = requested.assign(recovered="")
    for (modality, attribute), part in requested.groupby(["modality", "attribute"]):
        rows = part["image"]
        keys = [key for key in evaluator.heads if key.startswith(f"{modality}\t{attribute}\t")]
        if attribute == "modality":
            values, scores = class_modality, logits[rows]
        elif attribute == "finding":
            of_modality = class_modality == modality
            values, scores = class_finding, np.where(of_modality, logits[rows], -np.inf)
        elif len(keys) > 1:
            values = np.array([key.split("\t")[2] for key in keys])
            scores = features[rows] @ np.stack([evaluator.heads[key] for key in keys], 1)
        else:
            continue
        table.loc[part.index, "recovered"] = values[scores.argmax(1)]
    table = table[table["recovered"] != ""].reset_index(drop=True)
    return table.assign(correct=table["recovered"] == table["value"])
