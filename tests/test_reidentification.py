"""The re-identification encoder: its loss by hand, what it is trained on, what training does."""

from __future__ import annotations

import math
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch

from medisyn_lib.phantoms import draw
from medisyn_lib.pipeline.artifacts import ImageSet
from medisyn_lib.pipeline.reidentification import reidentification_of
from medisyn_lib.pipeline.study import Study
from medisyn_lib.training import loop
from medisyn_lib.training.classifier import classifier_network
from medisyn_lib.training.reidentification import (
    Contrast,
    augment,
    patients_with_several_images,
    reidentification_network,
    train_reidentification,
)


def test_the_loss_by_hand() -> None:
    """Two patients at right angles: own similarity 1, the other's 0, at temperature 0.1."""
    loss = Contrast(torch.nn.Flatten())
    pair = torch.eye(2).reshape(2, 2, 1, 1)
    assert float(loss(pair, pair)) == pytest.approx(math.log(1 + math.exp(-10)), rel=1e-3)
    assert float(loss(pair, pair.flip(0))) == pytest.approx(10, rel=1e-3)


def test_only_known_patients_with_several_images_count() -> None:
    rows = patients_with_several_images(
        ["a", "b", "a", "c", "c", "d"], [True, True, True, False, False, True]
    )
    assert [row.tolist() for row in rows] == [[0, 2]]


def test_augmented_copies_keep_shape_and_vary() -> None:
    draws = loop.Draws(0, 0, 4, slice(None))
    images = torch.rand(4, 3, 32, 32) * 2 - 1
    made = augment(images, draws)
    assert made.shape == images.shape and not torch.allclose(made, images, atol=0.05)


def test_where_patients_are_unknown_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    unknown = datasets.Dataset.from_dict(
        {"patient_id": ["a", "a", "b", "b"] * 30, "identity_known": [False] * 120}
    )
    monkeypatch.setattr(ImageSet, "load", lambda self: unknown)
    assert reidentification_of(Study("tiny", "npz:somewhere")) is None


def test_it_learns_from_the_evaluators_patients_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither calibration nor test patients: the roles that it asks for."""
    asked: list[str] = []
    few = datasets.Dataset.from_dict({"patient_id": ["a"], "identity_known": [True]})
    monkeypatch.setattr(ImageSet, "load", lambda self: asked.append(self.role) or few)
    assert reidentification_of(Study("tiny", "phantom")) is None and asked == ["evaluator"]


def test_training_brings_images_of_a_patient_together(tmp_path: Path) -> None:
    images = np.stack([draw("fundus", seed=3, index=i, size=32)[0] for i in range(60)])
    patients = [np.arange(3 * k, 3 * k + 3) for k in range(16)]
    with torch.random.fork_rng():
        torch.random.default_generator.manual_seed(0)
        net = reidentification_network(classifier_network(5, width=8))
    plan = loop.TrainingPlan(steps=30, batch=16, learning_rate=3e-3)
    train_reidentification(net, images, patients, plan, tmp_path)
    losses = [
        float(line.split(",")[1]) for line in (tmp_path / loop.HISTORY).read_text().split()[1:]
    ]
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.3
