"""What training costs: operations of the denoisers, of the shared autoencoder, and energy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from medisyn_lib.models import networks
from medisyn_lib.pipeline.arms import GENERALIST, SPECIALIST
from medisyn_lib.pipeline.denoisers import StoredDenoiser, denoiser_plan, snapshot_steps
from medisyn_lib.pipeline.study import Study
from medisyn_lib.pipeline.suite import TrainedModel
from medisyn_lib.training.autoencoder import AUTOENCODER_WIDTHS
from medisyn_lib.training.flops import count_flops

if TYPE_CHECKING:
    import pandas as pd

    from medisyn_lib.evaluation.own_best import Chosen

# Images that the shipped autoencoder saw in training (its card), the last by its decoder alone.
SHIPPED_AUTOENCODER_IMAGES = 16 * (7500 + 1200)
AUTOENCODER_BATCH = 16


@dataclass(frozen=True)
class SuiteCosts:
    """Operations (FLOPs) that training took.

    Attributes
    ----------
    modalities
        How many the data have: a whole suite has a specialist for each.
    autoencoder
        Of the autoencoder that generalist and specialists share.
    checkpoints
        The generalist's up to each of its checkpoints, rising.
    specialists
        By modality that has a specialist, one per training seed: up to its own best checkpoint.
    """

    modalities: int
    autoencoder: float
    checkpoints: tuple[float, ...]
    specialists: Mapping[str, tuple[float, ...]]

    @property
    def suite(self) -> float:
        """A specialist for each modality of the data, each at the mean specialist's cost."""
        means = [np.mean(flops) for flops in self.specialists.values()]
        return float(self.modalities * np.mean(means))

    @property
    def mean_specialist(self) -> np.ndarray:
        """The mean specialist's cost, one per training seed."""
        return np.mean(list(self.specialists.values()), 0)


def training_costs(denoisers: Mapping[TrainedModel, StoredDenoiser]) -> pd.DataFrame:
    """Tabulate what training each denoiser took: model (its kind), images seen, TFLOP, seconds."""
    import pandas as pd

    rows = []
    for model, denoiser in denoisers.items():
        cost = denoiser.compute()
        seconds = cost.get("seconds", np.nan)
        rows.append((model.kind, cost["images"], cost["flops"] / 1e12, seconds))
    return pd.DataFrame(rows, columns=["model", "images seen", "TFLOP", "seconds"])


def suite_costs(
    study: Study,
    denoisers: Mapping[TrainedModel, StoredDenoiser],
    modalities: int,
    chosen: Chosen,
) -> SuiteCosts:
    """Count the operations behind the autoencoder, a generalist's checkpoints and the specialists.

    Parameters
    ----------
    study
        Profile and data.
    denoisers
        Of `suite.train_denoisers`.
    modalities
        How many the data have.
    chosen
        The specialists' own best checkpoints: what is trained beyond them is not counted.
    """
    first = study.settings.seeds[0]
    per_image = denoisers[TrainedModel(GENERALIST, "", first)].compute()["flops_per_image"]
    plan = denoiser_plan(study.settings)
    checkpoints = tuple(per_image * plan.batch * step for step in snapshot_steps(plan))
    specialists: dict[str, tuple[float, ...]] = {}
    for model, denoiser in denoisers.items():
        if model.kind == SPECIALIST:
            cost = denoiser.compute()
            best = chosen.specialists[model.modality, study.settings.seeds.index(model.seed)]
            flops = cost["flops"] * best / cost["steps"]
            specialists[model.modality] = (*specialists.get(model.modality, ()), flops)
    return SuiteCosts(modalities, _shared_autoencoder_flops(study), checkpoints, specialists)


def denoiser_operations(study: Study) -> tuple[int, dict[str, int]]:
    """Count one training image's operations in the denoiser (`training.flops.count_flops`)."""
    return study.denoiser_origin.operations(study.denoiser_origin.new(study.settings.seeds[0]))


def uncounted_in_words(uncounted: Mapping[str, int]) -> str:
    """Say how many values the operators without a formula put out, and which ones most."""
    values = sum(uncounted.values())
    most = sorted(uncounted, key=lambda name: uncounted[name], reverse=True)[:3]
    return (
        f"operators without a formula put out {values / 1e6:.0f} million values besides, "
        f"most of them {', '.join(most)}"
    )


def autoencoder_operations(size: int) -> int:
    """Count one training image's operations in the autoencoder."""
    autoencoder = networks.autoencoder(AUTOENCODER_WIDTHS)
    image = torch.zeros(1, 3, size, size)
    flops, _ = count_flops(lambda: autoencoder(image).sample.sum().backward())
    return flops


def autoencoder_in_words(study: Study) -> str:
    """Say what a training step of the shared autoencoder costs, or that it is a base's."""
    if study.base:
        return f"autoencoder: that of {study.base_label}, which is not trained here"
    operations = autoencoder_operations(study.settings.size)
    return f"autoencoder: {operations / 1e9:.2f} GFLOP an image and training step"


def _shared_autoencoder_flops(study: Study) -> int:
    """Operations of training the autoencoder: the shipped one, adapted to other data; a base's is not trained."""
    if study.base:
        return 0
    images = SHIPPED_AUTOENCODER_IMAGES
    if study.source != "phantom":
        images += AUTOENCODER_BATCH * study.settings.autoencoder_steps
    return images * autoencoder_operations(study.settings.size)


def cost_table(
    denoisers: Mapping[TrainedModel, StoredDenoiser], costs: SuiteCosts, watts: float
) -> pd.DataFrame:
    """Tabulate the mean cost of a model of each kind, of a whole suite and of the shared autoencoder.

    `watts` is the assumed power of the machine at work; energy, in kJ, is seconds times that.
    """
    table = training_costs(denoisers)[["model", "TFLOP", "seconds"]].groupby("model").mean()
    table.loc["suite"] = table.loc[SPECIALIST] * costs.modalities
    table.loc["shared autoencoder"] = [costs.autoencoder / 1e12, np.nan]
    table["energy (kJ, estimate)"] = table["seconds"] * watts / 1e3
    return table
