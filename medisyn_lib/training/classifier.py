"""Networks that classify modality and finding, trained on the evaluator's patients only."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from medisyn_lib.models.tensors import in_batches, to_tensor
from medisyn_lib.models.weights import load_weights, save_weights
from medisyn_lib.runtime.device import seeded, to_device
from medisyn_lib.training import loop
from medisyn_lib.training.pair_classifier import (
    PairClassifier,
    number_classes,
    read_classes,
    write_classes,
)

__all__ = [
    "WEIGHTS",
    "AttributeClassifier",
    "FeatureMaps",
    "augment",
    "classifier_network",
    "feature_maps",
    "train_classifier",
]

WEIGHTS = "classifier.safetensors"
STAGES = 4  # of the network that make feature maps: the first convolution, three blocks
LABEL_SMOOTHING = 0.05


class _Block(nn.Module):
    """Pre-activation residual block (He et al., arXiv 1603.05027, figure 4e)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm2d(in_channels),
            nn.ReLU(),
            nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
            nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False),
        )
        self.skip: nn.Module = nn.Identity()
        if in_channels != out_channels:
            self.skip = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x) + self.skip(x)


class _Pool(nn.Module):
    """Mean and maximum over the image: the one shows a diffuse finding, the other a small one."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1)


def classifier_network(classes: int, width: int = 24) -> nn.Module:
    """Make a small untrained residual network.

    Parameters
    ----------
    classes : int
        Number of logits.
    width : int
        Channels after the first convolution; each of three blocks doubles them.

    Returns
    -------
    nn.Module
        From images float (n, 3, h, w) in [-1, 1] to logits (n, classes).
    """
    widths = (width, 2 * width, 4 * width, 8 * width)
    body = nn.Sequential(
        nn.Conv2d(3, width, 5, stride=2, padding=2, bias=False),
        *(_Block(before, after, 2) for before, after in itertools.pairwise(widths)),
        nn.BatchNorm2d(widths[-1]),
        nn.ReLU(),
        _Pool(),
        nn.Linear(2 * widths[-1], classes),
    )
    return body.to(memory_format=torch.channels_last)


class FeatureMaps(NamedTuple):
    """What a `classifier_network` makes of images on the way to its logits."""

    stages: list[torch.Tensor]  # after each of the first four stages, (n, c, h, w)
    logits: torch.Tensor  # (n, classes)


def feature_maps(net: nn.Module, images: torch.Tensor) -> FeatureMaps:
    """Return a classifier's feature maps and logits of images (n, 3, h, w) in [-1, 1]."""
    stages, value = [], images
    for place, layer in enumerate(net.children()):
        value = layer(value)
        if place < STAGES:
            stages.append(value)
    return FeatureMaps(stages, value)


class _CrossEntropy(nn.Module):
    """The cross-entropy of a network's logits, with smoothed labels."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        logits = self.net(images).float()
        return F.cross_entropy(logits, target, label_smoothing=LABEL_SMOOTHING)


def augment(images: torch.Tensor, draws: loop.Draws) -> torch.Tensor:
    """Return images (n, 3, h, w) shifted by up to 1/16 of the side, with other tone, blur, noise.

    So sharpness does not decide the class. Never flipped: the side of the body is part of it.
    """
    reach = 2.0 / 16
    theta = torch.eye(2, 3).repeat(len(images), 1, 1)
    theta[:, :, 2] = (draws.uniform(2) * 2 - 1) * reach
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    images = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    blurred = F.avg_pool2d(images, 3, 1, 1, count_include_pad=False)
    images = torch.lerp(images, blurred, draws.uniform(1, 1, 1))
    gain = 0.8 + 0.4 * draws.uniform(1, 1, 1)
    offset = 0.2 * (draws.uniform(1, 1, 1) - 0.5)
    noise = 0.1 * draws.uniform(1, 1, 1) * draws.normal(*images.shape[1:])
    return ((images + 1) * gain - 1 + offset + noise).contiguous(memory_format=torch.channels_last)


def train_classifier(
    pixels: np.ndarray,
    modality: Sequence[str],
    finding: Sequence[str],
    plan: loop.TrainingPlan,
    directory: Path,
    make_network: Callable[[int], nn.Module] = classifier_network,
) -> None:
    """Train a classifier of (modality, finding) pairs; leave it in a folder.

    Parameters
    ----------
    pixels : np.ndarray
        uint8 (n, h, w, 3).
    modality, finding : sequence of str
        Of each image.
    plan, directory
        As of `loop.fit`; `AttributeClassifier(directory)` reads it back.
    make_network : callable
        From a number of classes to an untrained network, from images to logits as
        `classifier_network` makes.

    Raises
    ------
    InputError
        If there are fewer than two classes.
    """
    classes, target = number_classes(modality, finding)
    with seeded(plan.seed):
        net = make_network(len(classes))

    def make_batch(rows: np.ndarray, draws: loop.Draws) -> dict[str, torch.Tensor]:
        images = augment(to_tensor(np.ascontiguousarray(pixels[rows])), draws)
        return {"images": images, "target": torch.from_numpy(target[rows])}

    directory.mkdir(parents=True, exist_ok=True)
    loop.fit(
        _CrossEntropy(net),
        make_batch,
        n=len(pixels),
        plan=plan,
        directory=directory,
        dtype=torch.float32,  # what judges should be the same on every machine
    )
    save_weights(net, directory / WEIGHTS)
    write_classes(classes, directory)


class AttributeClassifier(PairClassifier):
    """A trained `classifier_network` of (modality, finding) pairs, read from the folder that holds it."""

    def __init__(self, directory: Path) -> None:
        self.classes = read_classes(directory)
        self.net = classifier_network(len(self.classes))
        load_weights(self.net, directory / WEIGHTS)
        self.net.eval()

    def scores(self, pixels: np.ndarray, batch: int = 256) -> np.ndarray:
        """Return logits, float32 (n, classes), of uint8 images (n, h, w, 3)."""
        device = to_device(self.net)

        def classify(some_pixels: np.ndarray) -> np.ndarray:
            images = to_tensor(np.array(some_pixels)).to(device)
            return self.net(images).float().cpu().numpy()

        return in_batches(classify, pixels, batch)
