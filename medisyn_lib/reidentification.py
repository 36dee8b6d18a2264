"""An encoder that maps images of one patient, and copies of an image, close together.

Identity and copies are learnt at once, as LCMem does (arXiv 2512.14421).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from medisyn_lib import data, evaluators, generators, models, processes, training

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
        a, b = (processes.of_all(F.normalize(self.net(images).float())) for images in (first, second))
        alike, own = a @ b.T / TEMPERATURE, torch.arange(len(a), device=a.device)
        return (F.cross_entropy(alike, own) + F.cross_entropy(alike.T, own)) / 2


def augment(images: torch.Tensor, draws: training.Draws) -> torch.Tensor:
    """Copies of images (n, 3, h, w) in [-1, 1]: mirrored or not, cropped by up to 30%, other tone, blur and noise."""
    side = 1 - 0.16 * draws.uniform(1)
    theta = torch.zeros(len(images), 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = (side * (draws.uniform(1).round() * 2 - 1))[:, 0], side[:, 0]
    theta[:, :, 2] = (draws.uniform(2) * 2 - 1) * (1 - side)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    images = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    images = torch.lerp(images, F.avg_pool2d(images, 3, 1, 1, count_include_pad=False), draws.uniform(1, 1, 1))
    gain, noise = 0.75 + 0.5 * draws.uniform(1, 1, 1), 0.1 * draws.uniform(1, 1, 1) * draws.normal(*images.shape[1:])
    return ((images + 1) * gain - 1 + noise).contiguous(memory_format=torch.channels_last)


def several(patient: Sequence[str], known: Sequence[bool]) -> list[np.ndarray]:
    """The rows of each patient that is known and has more than one image."""
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(patient):
        if known[row]:
            rows.setdefault(name, []).append(row)
    return [np.array(own) for own in rows.values() if len(own) > 1]


def train(
    net: nn.Module, pixels: np.ndarray, patients: Sequence[np.ndarray], plan: training.Plan, directory: Path
) -> None:
    """Trains `net` in place on images uint8 (n, h, w, 3) of `patients`, the rows of each; a batch counts patients."""

    def batch_of(rows: np.ndarray, draws: training.Draws) -> dict[str, torch.Tensor]:
        chance = draws.uniform(2).numpy()  # of the same image at times: a copy
        chosen = [(patients[row], u) for row, u in zip(rows, chance, strict=True)]
        pairs = np.array([own[(u * len(own)).astype(int)] for own, u in chosen])
        sides = (models.to_tensor(np.ascontiguousarray(pixels[side])) for side in pairs.T)
        return {name: augment(side, draws) for name, side in zip(("first", "second"), sides, strict=True)}

    training.fit(Contrast(net), batch_of, n=len(patients), plan=plan, directory=directory, half=False)


def entry(study: generators.Study) -> Path | None:
    """Folder of an encoder trained on the evaluator's patients; None where too few are known by several images.

    It starts from the reader of modality and finding, which saw the same patients. None of them calibrates or tests.
    """
    images = study.images("evaluator")
    patients = several(images["patient_id"][:], images["identity_known"][:])
    if len(patients) < BATCH or not generators.readable(study):
        return None
    reader, plan = generators.reader_entry(study), training.Plan(study.settings.copies[3], BATCH, 2e-3, decay=0.05)

    def make(directory: Path) -> None:
        with models.seeded(plan.seed):
            net = _network(evaluators.Reader(reader).net)
        train(net, data.pixels(images), patients, plan, directory)
        models.save_weights(net, directory / WEIGHTS)

    what = {"plan": asdict(plan), "images": len(images)}
    code = (*generators.MODELS_CODE, "medisyn_lib.evaluators", "medisyn_lib.reidentification")
    return processes.keep_together("reidentification", what, make, inputs=[reader.name], code=code)


def _network(net: nn.Module) -> nn.Module:
    """A reader's network (`evaluators.network`) with an embedding in place of its classes."""
    weight = [*net.parameters()][-2]
    return nn.Sequential(*[*net.children()][:-1], nn.Linear(weight.shape[1], WIDTH)).train()


class Encoder:
    """A trained re-identification encoder."""

    def __init__(self, folder: Path) -> None:
        self.net = _network(evaluators.network(1))
        models.load_weights(self.net, folder / WEIGHTS)
        self.net.eval()

    def __call__(self, pixels: np.ndarray, batch: int = 256) -> np.ndarray:
        """Embeddings float32 (n, 64) of length 1 of uint8 images (n, h, w, 3)."""
        part = lambda some: F.normalize(self.net(models.to_tensor(np.array(some)))).numpy()  # noqa: E731
        return models.in_batches(part, pixels, batch)
