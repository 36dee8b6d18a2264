"""Recovered attributes: which words a caption names, linear heads, chance by hand, heads that learn what is planted."""

from __future__ import annotations

from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file

from medisyn_lib.data.pixels import load_pixels
from medisyn_lib.evaluation import attribute_accuracy, attributes
from medisyn_lib.evaluation.attributes import AttributeEvaluator, AttributeHeads
from medisyn_lib.pipeline.study import Study
from medisyn_lib.runtime import store
from medisyn_lib.training.classifier import AttributeClassifier


def captioned(**columns: list) -> datasets.Dataset:
    n = len(next(iter(columns.values())))
    base = {
        "image": ["x"] * n,
        "modality": ["ct"] * n,
        "finding": ["mass"] * n,
        "caption": ["a caption"] * n,
    }
    base |= {"patient_id": [f"p{i}" for i in range(n)], "side": [""] * n, "lesion_size": [""] * n}
    return datasets.Dataset.from_dict(base | {"count": [-1] * n, "grade": [-1] * n} | columns)


def test_labels_are_what_the_caption_names() -> None:
    requested = captioned(
        caption=[
            "large left mass",
            "mass on the right",
            "three lesions",
            "ICDR grade 3, retina",
            "13 drusen, leftover",
        ],
        side=["left", "left", "", "", "left"],
        lesion_size=["large", "small", "", "", ""],
        count=[-1, -1, 3, 4, 13],
        grade=[-1, -1, -1, 3, -1],
    )
    found = attributes.labels(requested)
    others = found[found["attribute"].isin(attributes.CAPTION_ATTRIBUTES)]
    assert others[["image", "attribute", "value"]].to_numpy().tolist() == [
        [0, "side", "left"],
        [0, "lesion_size", "large"],
        [2, "count", "3"],
        [3, "grade", "3"],
        [4, "count", "13"],
    ]
    assert (found["attribute"] == "finding").sum() == 5 == (found["attribute"] == "modality").sum()
    every = attributes.labels(requested, only_captioned=False)
    assert len(every[every["attribute"].isin(attributes.CAPTION_ATTRIBUTES)]) == 9


def planted_classifier(classes: list[tuple[str, str]], scores: torch.Tensor) -> AttributeClassifier:
    """A classifier whose features are its images' means by quarter, and whose logits are given."""
    classifier = object.__new__(AttributeClassifier)
    classifier.classes = classes
    stages = [
        torch.nn.Identity(),
        torch.nn.Identity(),
        torch.nn.Identity(),
        torch.nn.AdaptiveAvgPool2d(2),
    ]

    class Fixed(torch.nn.Module):
        def forward(self, maps: torch.Tensor) -> torch.Tensor:
            return scores[: len(maps)]

    classifier.net = torch.nn.Sequential(*stages, Fixed())
    return classifier


def test_recovery_takes_findings_and_heads_of_the_images_modality() -> None:
    classes = [("ct", "a"), ("ct", "b"), ("mri", "a")]
    classifier = planted_classifier(classes, torch.tensor([[0.0, 1.0, 9.0], [2.0, 1.0, 0.0]]))
    pixels = np.zeros((2, 8, 8, 3), np.uint8)
    pixels[0, :, 4:], pixels[1, :, :4] = 255, 255  # bright at the right, then at the left
    right = np.append(np.tile([-1.0, 1.0], 6), 0.0).astype(np.float32)
    heads = {
        "ct\tside\tleft": -right,
        "ct\tside\tright": right,
        "ct\tgrade\t1": right,
        "mri\tside\tleft": right,
    }
    requested = attributes.labels(
        captioned(side=["right", "right"], grade=[1, 1], caption=["right", "right grade 1"])
    )
    evaluator = AttributeEvaluator(classifier, heads)
    table = attributes.recover(evaluator, pixels, requested).set_index(["attribute", "image"])
    assert table.loc["modality", "recovered"].tolist() == ["mri", "ct"]
    assert table.loc["finding", "recovered"].tolist() == ["b", "a"]
    assert table.loc["side", "recovered"].tolist() == ["right", "left"]
    assert table.loc["side", "correct"].tolist() == [True, False]
    assert "grade" not in table.index  # a head that knows a single value recovers nothing


def test_chance_by_hand_and_by_dealing() -> None:
    table = pd.DataFrame({"modality": "ct", "attribute": ["side"] * 4 + ["count"] * 2})
    table["recovered"], table["value"] = list("aaab12"), list("aabb22")
    assert attribute_accuracy.chance_accuracy(table) == pytest.approx(
        (4 * (0.75 * 0.5 + 0.25 * 0.5) + 2 * 0.5) / 6
    )
    rng = np.random.default_rng(0)
    side = table[:4]
    dealt = [(rng.permutation(side["value"]) == side["recovered"]).mean() for _ in range(4000)]
    assert np.mean(dealt) == pytest.approx(attribute_accuracy.chance_accuracy(side), abs=0.01)


def test_heads_learn_what_is_planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the store, from phantoms: the side of a fundus is recovered by a head on a hardly trained classifier."""
    monkeypatch.setenv("MEDISYN_STORE", str(tmp_path))
    study = Study("tiny", "phantom")
    folder = AttributeHeads(study.classifier()).folder
    heads = load_file(folder / "heads.safetensors")
    assert {"fundus\tside\tleft", "fundus\tside\tright", "ct\tcount\t3"} <= heads.keys()
    assert {key.rpartition("\t")[0] for key in heads} >= {"fundus\tgrade", "endoscopy\tlesion_size"}
    images = study.images("evaluator")
    every = attributes.labels(images, only_captioned=False)
    evaluator = attributes.load_evaluator(study)
    table = attributes.recover(evaluator, load_pixels(images), every)
    accuracy = table.groupby("attribute")["correct"].mean()
    # On the images that they were fitted on.
    assert accuracy["side"] > 0.8 and accuracy["lesion_size"] > 0.8
    assert AttributeHeads(Study("tiny", "phantom").classifier()).folder == folder
    assert store.key("heads", {}) != folder.name
