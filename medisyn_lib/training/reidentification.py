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
from medisyn_lib.runtime.device import to_device
from medisyn_lib.training import loop
from medisyn_lib.training.classifier import classifier_network

__all__ = [
    "BATCH",
    "EMBEDDING_WIDTH",
    "TEMPERATURE",
    "WEIGHTS",
    "Contrast",
    "ReidentificationEncoder",
    "augment",
    "info_nce",
    "patients_with_several_images",
    "reidentification_network",
    "train_reidentification",
]

EMBEDDING_WIDTH = 64
TEMPERATURE = 0.1
BATCH = 48  # patients
WEIGHTS = "reidentification.safetensors"


def info_nce(
    first: torch.Tensor, second: torch.Tensor, temperature: float = TEMPERATURE
) -> torch.Tensor:
    """Return the symmetric InfoNCE loss of two views of each patient.

    With similarities s_ij = <first_i, second_j> / temperature it is the mean over i of
    -log softmax_j(s_ij)[i], averaged with the same over columns.

    Parameters
    ----------
    first, second : torch.Tensor
        Embeddings of length 1, float (n, width); row i of both is of one patient, the other rows
        are of others.
    temperature : float
        Above 0.

    References
    ----------
    van den Oord et al., arXiv 1807.03748, equation 4; Chen et al., arXiv 2002.05709.
    """
    similarity = first @ second.T / temperature
    same_patient = torch.arange(len(first), device=first.device)
    by_row = F.cross_entropy(similarity, same_patient)
    by_column = F.cross_entropy(similarity.T, same_patient)
    return (by_row + by_column) / 2


class Contrast(nn.Module):
    """The loss of an embedding network on two images of each patient."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """Return `info_nce` over all processes of images (n, 3, h, w) in [-1, 1]."""
        embedded_first = distributed.all_gather(F.normalize(self.net(first).float()))
        embedded_second = distributed.all_gather(F.normalize(self.net(second).float()))
        return info_nce(embedded_first, embedded_second)


def augment(images: torch.Tensor, draws: loop.Draws) -> torch.Tensor:
    """Return altered copies: mirrored or not, cropped by up to 30% of the area, other tone, noise.

    Parameters
    ----------
    images : torch.Tensor
        float (n, 3, h, w) in [-1, 1]; so are the copies, but for what noise adds.
    draws : loop.Draws
        The step's random numbers.
    """
    side = 1 - 0.16 * draws.uniform(1)
    mirror = draws.uniform(1).round() * 2 - 1
    theta = torch.zeros(len(images), 2, 3)
    theta[:, 0, 0] = (side * mirror)[:, 0]
    theta[:, 1, 1] = side[:, 0]
    theta[:, :, 2] = (draws.uniform(2) * 2 - 1) * (1 - side)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    images = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    blurred = F.avg_pool2d(images, 3, 1, 1, count_include_pad=False)
    images = torch.lerp(images, blurred, draws.uniform(1, 1, 1))
    gain = 0.75 + 0.5 * draws.uniform(1, 1, 1)
    noise = 0.1 * draws.uniform(1, 1, 1) * draws.normal(*images.shape[1:])
    return ((images + 1) * gain - 1 + noise).contiguous(memory_format=torch.channels_last)


def patients_with_several_images(
    patient: Sequence[str], identity_known: Sequence[bool]
) -> list[np.ndarray]:
    """Return the rows, int64 (k,), of each identified patient with two images or more."""
    rows_by_patient: dict[str, list[int]] = {}
    for row, name in enumerate(patient):
        if identity_known[row]:
            rows_by_patient.setdefault(name, []).append(row)
    return [np.array(rows) for rows in rows_by_patient.values() if len(rows) > 1]


def train_reidentification(
    net: nn.Module,
    pixels: np.ndarray,
    patients: Sequence[np.ndarray],
    plan: loop.TrainingPlan,
    directory: Path,
) -> None:
    """Train `net` in place.

    Parameters
    ----------
    net : nn.Module
        From images (n, 3, h, w) in [-1, 1] to embeddings.
    pixels : np.ndarray
        uint8 (n, h, w, 3).
    patients : sequence of np.ndarray
        The rows of each patient; a batch counts patients.
    plan, directory
        As of `loop.fit`.
    """

    def make_batch(rows: np.ndarray, draws: loop.Draws) -> dict[str, torch.Tensor]:
        chosen = [patients[row] for row in rows]
        sizes = np.array([[len(images)] for images in chosen], np.float32)
        # At times the same image twice: a copy.
        places = (draws.uniform(2).numpy() * sizes).astype(int)
        pairs = np.array([images[place] for images, place in zip(chosen, places, strict=True)])
        first, second = (to_tensor(np.ascontiguousarray(pixels[side])) for side in pairs.T)
        return {"first": augment(first, draws), "second": augment(second, draws)}

    loop.fit(
        Contrast(net),
        make_batch,
        n=len(patients),
        plan=plan,
        directory=directory,
        dtype=torch.float32,  # what judges should be the same on every machine
    )


def reidentification_network(classifier: nn.Module) -> nn.Module:
    """Put an embedding layer in place of the last layer of a `classifier_network`."""
    *body, last = classifier.children()
    if not isinstance(last, nn.Linear):
        raise TypeError(f"expected a linear layer at the end, got {type(last).__name__}")
    return nn.Sequential(*body, nn.Linear(last.in_features, EMBEDDING_WIDTH)).train()


class ReidentificationEncoder:
    """A trained re-identification encoder, read from the folder that holds its weights."""

    def __init__(self, folder: Path) -> None:
        self.net = reidentification_network(classifier_network(1))
        load_weights(self.net, folder / WEIGHTS)
        self.net.eval()

    def __call__(self, pixels: np.ndarray, batch: int = 256) -> np.ndarray:
        """Return embeddings of length 1, float32 (n, 64), of uint8 images (n, h, w, 3)."""
        device = to_device(self.net)

        def embed(some_pixels: np.ndarray) -> np.ndarray:
            images = to_tensor(np.array(some_pixels)).to(device)
            return F.normalize(self.net(images)).cpu().numpy()

        return in_batches(embed, pixels, batch)
