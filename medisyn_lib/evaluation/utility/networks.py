"""The second family of classifiers: small networks that learn their features from the images of a run."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from medisyn_lib.evaluation.utility.arms import Run
from medisyn_lib.evaluation.utility.tasks import Task
from medisyn_lib.evaluation.utility.training import batches, fingerprint
from medisyn_lib.models.tensors import to_tensor
from medisyn_lib.pipeline.artifacts import UNKEYED, Artifact
from medisyn_lib.runtime.device import full_float32, seeded, to_device
from medisyn_lib.training import classifier
from medisyn_lib.training.classifier import classifier_network

WIDTH = 8  # channels after the first convolution; each of three blocks doubles them
LEARNING_RATE, WEIGHT_DECAY = 3e-3, 0.05  # of AdamW
VALIDATION_CHECKS = 5  # in a training


def train_networks(task: Task, runs: Sequence[Run], steps: int) -> np.ndarray:
    """Train one network per run from random weights, or read from the store what was trained before.

    A small residual network (`training.classifier`), by AdamW for `steps` steps, half of them from the run's
    first rows. The number of steps is that of least cross-entropy on the validation images. All runs of a
    draw start from the same weights.

    Parameters
    ----------
    task
        Whose `x` are images, uint8 (f, h, w, 3).
    runs
        What each network is trained on.
    steps
        Optimiser steps of each.

    Returns
    -------
    probabilities
        Of each class in the test images, float32 (runs, test images, classes).
    """
    trained = TrainedNetworks(fingerprint(task, runs), steps, task=task, runs=tuple(runs))
    return np.load(trained.folder / "probabilities.npy")


@dataclass(frozen=True, eq=False)
class TrainedNetworks(Artifact):
    """What the networks of some runs say of the test images: `probabilities.npy`."""

    step = "small_networks"
    code = (sys.modules[__name__], classifier)
    content: str  # digest of the task and the runs
    steps: int
    task: Task = field(metadata=UNKEYED, kw_only=True)
    runs: tuple[Run, ...] = field(metadata=UNKEYED, kw_only=True)

    def make(self, folder: Path) -> None:
        """Train the networks, one after another."""
        with full_float32():
            each = [train_network(self.task, run, self.steps) for run in self.runs]
        np.save(folder / "probabilities.npy", np.stack(each))


def train_network(task: Task, run: Run, steps: int) -> np.ndarray:
    """Train the network of one run; see `train_networks`. Returns float32 (test images, classes)."""
    with seeded(run.draw):
        net = classifier_network(len(task.classes), WIDTH)
    device = to_device(net)
    optimiser = torch.optim.AdamW(net.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    validation, test = (to_tensor(task.x[rows]).to(device) for rows in (task.validation, task.test))
    y = torch.from_numpy(task.y)
    check_every = max(1, steps // VALIDATION_CHECKS)
    least, logits = torch.inf, torch.zeros(len(test), len(task.classes))
    for step, (rows,) in enumerate(batches([run], steps), start=1):
        net.train()
        images = to_tensor(task.x[rows.numpy() % len(task.x)]).to(device)
        optimiser.zero_grad()
        F.cross_entropy(net(images), y[rows].to(device)).backward()
        optimiser.step()
        if step % check_every == 0:
            net.eval()
            with torch.inference_mode():
                loss = float(F.cross_entropy(net(validation), y[task.validation].to(device)))
                if loss < least:
                    least, logits = loss, net(test)
    return logits.softmax(1).cpu().numpy()
