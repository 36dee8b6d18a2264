"""Many softmax regressions trained side by side: one for each run and each setting of the optimiser."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional as F

from medisyn_lib.evaluation.utility.arms import Run
from medisyn_lib.evaluation.utility.tasks import Task
from medisyn_lib.pipeline.artifacts import UNKEYED, Artifact
from medisyn_lib.runtime.device import accelerator


class Setting(NamedTuple):
    """Of AdamW; one of SETTINGS is chosen for each run on the validation images."""

    learning_rate: float
    weight_decay: float


SETTINGS = (Setting(5e-4, 0.0), Setting(5e-4, 10.0), Setting(2e-3, 0.0), Setting(2e-3, 10.0))
BATCH = 16  # rows per step
VALIDATION_CHECKS = 10  # in a training
RUNS_AT_ONCE = 16


class _Classifiers:
    """The classifiers of some runs, zero-initialised: a runs by h settings, for c classes.

    Features are centred and scaled by the images of the run. All is on the device that Accelerate was launched on.
    """

    def __init__(self, task: Task, runs: Sequence[Run]) -> None:
        self.x = torch.from_numpy(task.x).to(accelerator().device)
        images = [self._features_of(run) for run in runs]
        self.centre = torch.stack([x.mean(0, keepdim=True) for x in images])
        spread = [(x - x.mean(0)).square().mean().sqrt() for x in images]
        self.scale = torch.stack(spread)[:, None, None]
        inputs, outputs = task.x.shape[1], len(task.classes)
        self.parameters = [self._zeros(len(runs), inputs, outputs) for _ in SETTINGS]

    def _features_of(self, run: Run) -> torch.Tensor:
        numbers = np.union1d(run.first_half, run.second_half)
        return self.x[numbers % len(self.x)]

    def _zeros(self, runs: int, inputs: int, outputs: int) -> list[torch.Tensor]:
        """Weights (a, d, c) and biases (a, 1, c) of one setting."""
        weights = torch.zeros(runs, inputs, outputs, device=self.x.device, requires_grad=True)
        biases = torch.zeros(runs, 1, outputs, device=self.x.device, requires_grad=True)
        return [weights, biases]

    def optimiser(self) -> torch.optim.AdamW:
        """One parameter group per setting."""
        groups = [
            {
                "params": parameters,
                "lr": setting.learning_rate,
                "weight_decay": setting.weight_decay,
            }
            for parameters, setting in zip(self.parameters, SETTINGS, strict=True)
        ]
        return torch.optim.AdamW(groups, fused=True)

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        """Logits (a, c, n, h) of features (a, n, d), or of the same features (n, d) for all runs."""
        weights, biases = (torch.cat(part, 2) for part in zip(*self.parameters, strict=True))
        centred = features @ weights - self.centre @ weights
        flat = centred / self.scale + biases
        return flat.unflatten(2, (len(SETTINGS), -1)).movedim(3, 1)


def cross_entropy(logits: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """Return the mean cross-entropy (a, h) of logits (a, c, n, h) for true classes (a, n), or (n,) for all."""
    runs, _, _, settings = logits.shape
    targets = classes.expand(runs, -1)[:, :, None].expand(-1, -1, settings)
    return F.cross_entropy(logits, targets, reduction="none").mean(1)


def train_classifiers(task: Task, runs: Sequence[Run], steps: int) -> np.ndarray:
    """Train one classifier per run, or read from the store what was trained before.

    Softmax regression by AdamW, for `steps` steps of BATCH rows, half of them from the run's first rows. Setting and
    number of steps are those of least cross-entropy on the validation images.

    Parameters
    ----------
    task
        Features and classes.
    runs
        What each classifier is trained on.
    steps
        Optimiser steps of each.

    Returns
    -------
    probabilities
        Of each class in the test images, float32 (runs, test images, classes).
    """

    trained = TrainedClassifiers(fingerprint(task, runs), steps, task=task, runs=tuple(runs))
    return np.load(trained.folder / "probabilities.npy")


@dataclass(frozen=True, eq=False)
class TrainedClassifiers(Artifact):
    """What classifiers of some runs say of the test images: `probabilities.npy`."""

    step = "heads"
    code = (sys.modules[__name__],)
    content: str  # digest of the task and the runs
    steps: int
    task: Task = field(metadata=UNKEYED, kw_only=True)
    runs: tuple[Run, ...] = field(metadata=UNKEYED, kw_only=True)

    def make(self, folder: Path) -> None:
        """Train the classifiers, some at a time."""
        chunks = [
            train_side_by_side(self.task, self.runs[start : start + RUNS_AT_ONCE], self.steps)
            for start in range(0, len(self.runs), RUNS_AT_ONCE)
        ]
        np.save(folder / "probabilities.npy", np.concatenate(chunks))


def fingerprint(task: Task, runs: Sequence[Run]) -> str:
    """Return the SHA-256 (hex) of all that the probabilities follow from, but the number of steps."""
    arrays = [task.x, task.y, task.validation, task.test]
    for run in runs:
        arrays += [run.first_half, run.second_half]
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(array.tobytes() + str(array.shape).encode())
    for run in runs:
        digest.update(f"{run.arm.n} {run.arm.ratio} {run.draw}\n".encode())
    return digest.hexdigest()


def train_side_by_side(task: Task, runs: Sequence[Run], steps: int) -> np.ndarray:
    """Train the classifiers of all these runs at once; see `train_classifiers`."""
    classifiers = _Classifiers(task, runs)
    device = classifiers.x.device
    y = torch.from_numpy(task.y).to(device)
    optimiser = classifiers.optimiser()
    best_loss = torch.full((len(runs), len(SETTINGS)), torch.inf, device=device)
    shape = len(runs), len(task.classes), len(task.test), len(SETTINGS)
    best_logits = torch.zeros(shape, device=device)
    check_every = max(1, steps // VALIDATION_CHECKS)
    for step, chosen in enumerate(batches(runs, steps), start=1):
        rows = chosen.to(device)
        features = classifiers.x[rows % len(classifiers.x)]
        optimiser.zero_grad()
        cross_entropy(classifiers.logits(features), y[rows]).sum().backward()
        optimiser.step()
        if step % check_every == 0:
            with torch.no_grad():
                validation = classifiers.logits(classifiers.x[task.validation])
                loss = cross_entropy(validation, y[task.validation])
                test = classifiers.logits(classifiers.x[task.test])
                improved = (loss < best_loss)[:, None, None]
                best_logits = torch.where(improved, test, best_logits)
                best_loss = torch.minimum(loss, best_loss)
    best_setting = best_loss.argmin(1)
    logits = best_logits[torch.arange(len(runs), device=device), :, :, best_setting]
    return logits.softmax(1).movedim(1, 2).cpu().numpy()


def batches(runs: Sequence[Run], steps: int) -> Iterator[torch.Tensor]:
    """Yield the row numbers (runs, BATCH) of each step; a run's do not depend on what else is trained."""
    of_runs = []
    for run in runs:
        rng = np.random.default_rng([run.draw, run.arm.n, run.arm.ratio])
        first = rng.choice(run.first_half, (steps // 2, BATCH))
        second = rng.choice(run.second_half, (steps - steps // 2, BATCH))
        of_runs.append(np.concatenate([first, second]))
    yield from torch.from_numpy(np.stack(of_runs, 1))
