"""An encoder that maps images of one patient, and copies of an image, close together.

Identity and copies are learnt at once, as LCMem does (arXiv 2512.14421).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from medisyn_lib.models.tensors import in_batches, to_tensor
from medisyn_lib.models.weights import load_weights
from medisyn_lib.runtime import distributed
from medisyn_lib.training import loop
from medisyn_lib.training.classifier import classifier_network

WIDTH, TEMPERATURE = 64, 0.1
BATCH = 48  # patients
WEIGHTS = "reidentification.safetensors"


class Contrast(nn.Module):
    """InfoNCE loss (van den Oord et al., arXiv 1807.03748) of two images of each patient, both ways."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """The loss of images (n, 3, h, w): row i of both is of one patient, the other rows of others."""
        a, b = (
            distributed.of_all(F.normalize(self.net(images).float())) for images in (first, second)
        )
        alike, own = a @ b.T / TEMPERATURE, torch.arange(len(a), device=a.device)
        return (F.cross_entropy(alike, own) + F.cross_entropy(alike.T, own)) / 2


def augment(images: torch.Tensor, draws: loop.Draws) -> torch.Tensor:
    """Copies of images (n, 3, h, w) in [-1, 1]: mirrored or not, cropped by up to 30%, other tone, blur and noise."""
    side = 1 - 0.16 * draws.uniform(1)
    theta = torch.zeros(len(images), 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = (side * (draws.uniform(1).round() * 2 - 1))[:, 0], side[:, 0]
    theta[:, :, 2] = (draws.uniform(2) * 2 - 1) * (1 - side)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    images = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    images = torch.lerp(
        images, F.avg_pool2d(images, 3, 1, 1, count_include_pad=False), draws.uniform(1, 1, 1)
    )
    gain, noise = (
        0.75 + 0.5 * draws.uniform(1, 1, 1),
        0.1 * draws.uniform(1, 1, 1) * draws.normal(*images.shape[1:]),
    )
    return ((images + 1) * gain - 1 + noise).contiguous(memory_format=torch.channels_last)


def patients_with_several_images(patient: Sequence[str], known: Sequence[bool]) -> list[np.ndarray]:
    """The rows of each patient that is known and has more than one image."""
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(patient):
        if known[row]:
            rows.setdefault(name, []).append(row)
    return [np.array(own) for own in rows.values() if len(own) > 1]


def train_reidentification(
    net: nn.Module,
    pixels: np.ndarray,
    patients: Sequence[np.ndarray],
    plan: loop.Plan,
    directory: Path,
) -> None:
    """Trains `net` in place on images uint8 (n, h, w, 3) of `patients`, the rows of each; a batch counts patients."""

    def batch_of(rows: np.ndarray, draws: loop.Draws) -> dict[str, torch.Tensor]:
        chance = draws.uniform(2).numpy()  # of the same image at times: a copy
        chosen = [(patients[row], u) for row, u in zip(rows, chance, strict=True)]
        pairs = np.array([own[(u * len(own)).astype(int)] for own, u in chosen])
        sides = (to_tensor(np.ascontiguousarray(pixels[side])) for side in pairs.T)
        return {
            name: augment(side, draws)
            for name, side in zip(("first", "second"), sides, strict=True)
        }

    loop.fit(Contrast(net), batch_of, n=len(patients), plan=plan, directory=directory, half=False)


def reidentification_network(net: nn.Module) -> nn.Module:
    """A reader's network (`evaluators.network`) with an embedding in place of its classes."""
    weight = [*net.parameters()][-2]
    return nn.Sequential(*[*net.children()][:-1], nn.Linear(weight.shape[1], WIDTH)).train()


class ReidentificationEncoder:
    """A trained re-identification encoder."""

    def __init__(self, folder: Path) -> None:
        self.net = reidentification_network(classifier_network(1))
        load_weights(self.net, folder / WEIGHTS)
        self.net.eval()

    def __call__(self, pixels: np.ndarray, batch: int = 256) -> np.ndarray:
        """Embeddings float32 (n, 64) of length 1 of uint8 images (n, h, w, 3)."""
        part = lambda some: F.normalize(self.net(to_tensor(np.array(some)))).numpy()  # noqa: E731
        return in_batches(part, pixels, batch)
