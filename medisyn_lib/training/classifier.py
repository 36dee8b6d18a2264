"""Classifiers that read modality and finding back from images, trained on evaluator patients only."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from medisyn_lib.errors import InputError
from medisyn_lib.models.tensors import in_batches, to_tensor
from medisyn_lib.models.weights import load_weights, save_weights
from medisyn_lib.runtime import store
from medisyn_lib.runtime.device import seeded
from medisyn_lib.training import loop

CLASSES = "classes.json"
FeatureMaps = tuple[list[torch.Tensor], torch.Tensor]  # features stage by stage, logits


class _Block(nn.Module):
    """Pre-activation residual block (He et al., arXiv 1603.05027, figure 4e)."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm2d(inside), nn.ReLU(), nn.Conv2d(inside, outside, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outside), nn.ReLU(), nn.Conv2d(outside, outside, 3, 1, 1, bias=False),
        )  # fmt: skip
        self.skip = (
            nn.Conv2d(inside, outside, 1, stride, bias=False)
            if inside != outside
            else nn.Identity()
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x) + self.skip(x)


class _Pool(nn.Module):
    """Mean and maximum over the image: a small finding may be the maximum, a diffuse one the mean."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1)


def classifier_network(classes: int, width: int = 24) -> torch.nn.Module:
    """A small untrained residual network over (n, 3, h, w) in [-1, 1]."""
    widths = (width, 2 * width, 4 * width, 8 * width)
    body = nn.Sequential(
        nn.Conv2d(3, width, 5, stride=2, padding=2, bias=False),
        *(_Block(a, b, 2) for a, b in itertools.pairwise(widths)),
        nn.BatchNorm2d(widths[-1]), nn.ReLU(), _Pool(), nn.Linear(2 * widths[-1], classes),
    )  # fmt: skip
    return body.to(memory_format=torch.channels_last)


class _Reading(nn.Module):
    """The cross-entropy of a network's reading."""

    def __init__(self, net: torch.nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(self.net(images).float(), target, label_smoothing=0.05)


def _augment(images: torch.Tensor, draws: loop.Draws) -> torch.Tensor:
    """Shifts up to 1/16 of the side, tone, blur and noise: sharpness must not decide the reading.

    Never flips: the side is part of what is read.
    """
    n, reach = len(images), 2.0 / 16
    theta = torch.eye(2, 3).repeat(n, 1, 1)
    theta[:, :, 2] = (draws.uniform(2) * 2 - 1) * reach
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    images = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    softened = F.avg_pool2d(images, 3, 1, 1, count_include_pad=False)
    images = torch.lerp(images, softened, draws.uniform(1, 1, 1))
    gain, offset = 0.8 + 0.4 * draws.uniform(1, 1, 1), 0.2 * (draws.uniform(1, 1, 1) - 0.5)
    noise = 0.1 * draws.uniform(1, 1, 1) * draws.normal(*images.shape[1:])
    return ((images + 1) * gain - 1 + offset + noise).contiguous(memory_format=torch.channels_last)


def feature_maps(net: torch.nn.Module, images: torch.Tensor) -> FeatureMaps:
    """What a `network` makes of images: the features after its first four stages, and the logits."""
    features, value = [], images
    for place, stage in enumerate(net.children()):
        value = stage(value)
        if place < 4:
            features.append(value)
    return features, value


def train_classifier(
    pixels: np.ndarray,
    modality: Sequence[str],
    finding: Sequence[str],
    plan: loop.Plan,
    directory: Path,
) -> None:
    """Trains one reader of (modality, finding) pairs; writes weights and class names to `directory`."""
    pairs = list(zip(modality, finding, strict=True))
    classes = sorted(set(pairs))
    if len(classes) < 2:
        raise InputError(
            f"evaluator: needs at least 2 classes, got {len(classes)}; add findings or modalities"
        )
    number = {pair: i for i, pair in enumerate(classes)}
    target = np.array([number[pair] for pair in pairs])
    with seeded(plan.seed):
        net = classifier_network(len(classes))

    def batch_of(rows: np.ndarray, draws: loop.Draws) -> dict[str, torch.Tensor]:
        batch = to_tensor(np.ascontiguousarray(pixels[rows]))
        return {"images": _augment(batch, draws), "target": torch.from_numpy(target[rows])}

    directory.mkdir(parents=True, exist_ok=True)
    # In full precision: what judges should be the same on every machine.
    loop.fit(_Reading(net), batch_of, n=len(pixels), plan=plan, directory=directory, half=False)
    save_weights(net, directory / "reader.safetensors")
    store.write_atomic(directory / CLASSES, json.dumps(classes))


class AttributeClassifier:
    """A trained classifier of (modality, finding) pairs."""

    def __init__(self, directory: Path) -> None:
        self.classes = [
            (str(m), str(f)) for m, f in json.loads((directory / CLASSES).read_text("utf-8"))
        ]
        self.net = classifier_network(len(self.classes))
        load_weights(self.net, directory / "reader.safetensors")
        self.net.eval()

    def numbers(self, modality: Sequence[str], finding: Sequence[str]) -> np.ndarray:
        """The class number of each image: int64 (n,)."""
        number = {pair: i for i, pair in enumerate(self.classes)}
        return np.array([number[pair] for pair in zip(modality, finding, strict=True)])

    def scores(self, pixels: np.ndarray, batch: int = 256) -> np.ndarray:
        """Logits float32 (n, classes) of uint8 images (n, h, w, 3)."""
        return in_batches(
            lambda some: self.net(to_tensor(np.array(some))).float().numpy(), pixels, batch
        )

    def modality_right(self, scores: np.ndarray, modality: Sequence[str]) -> np.ndarray:
        """Whether the best class of all is of each image's modality: bool (n,)."""
        best = np.array([m for m, _ in self.classes])[scores.argmax(1)]
        return best == np.asarray(modality)

    def finding_right(
        self, scores: np.ndarray, modality: Sequence[str], finding: Sequence[str]
    ) -> np.ndarray:
        """Whether the best class within each image's modality is its finding: bool (n,)."""
        owner = np.array([m for m, _ in self.classes])
        inside = np.where(owner[None, :] == np.asarray(modality)[:, None], scores, -np.inf)
        best = np.array([f for _, f in self.classes])[inside.argmax(1)]
        return best == np.asarray(finding)
