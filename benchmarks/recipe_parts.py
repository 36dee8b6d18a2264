"""What `recipes.py` tries: recipes, and the losses, solvers and optimisers they are made of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch

from medisyn_lib.models import networks
from medisyn_lib.training.autoencoder import AUTOENCODER_WIDTHS
from medisyn_lib.training.plan import TrainingPlan

DDPM: dict[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_start": 1e-4,
    "beta_end": 0.02,
    "beta_schedule": "linear",
}


@dataclass(frozen=True)
class LatentShape:
    """What the latents of an autoencoder are like, by default ours."""

    channels: int = networks.LATENT_CHANNELS
    # Channels of the autoencoder's levels; every level but the first halves the side.
    widths: tuple[int, ...] = AUTOENCODER_WIDTHS

    @property
    def downscale(self) -> int:
        """Return how many pixels of the image side make one latent."""
        return 2 ** (len(self.widths) - 1)


# Trained from scratch; the first, our own shape, is the reference for the others.
SHAPES = {
    "16 channels, 4 times smaller": LatentShape(),
    "4 channels, 4 times smaller": LatentShape(4),
    "16 channels, 8 times smaller": LatentShape(16, (16, 32, 64, 96)),
}


@dataclass(frozen=True)
class Recipe:
    """One way to train the denoiser, by default ours."""

    path: str = "flow"  # between image and noise: straight, or that of DDPM
    predicts: str = "flow"  # flow, clean latents, noise or velocity
    uniform_times: bool = False  # flow times drawn uniformly instead of logit-normally
    muon: bool = False
    constant: bool = False  # the learning rate, once warm
    # By which the plan's numbers are multiplied.
    plan_factors: dict[str, float] = field(default_factory=dict)
    widths: tuple[int, ...] = ()  # of the denoiser, in place of the profile's
    autoencoder: str = ""  # one of SHAPES, in place of the study's own


RECIPES = {
    "ours": Recipe(),
    "times drawn evenly": Recipe(uniform_times=True),
    "clean latents predicted": Recipe(predicts="clean"),
    "DDPM's path, velocity": Recipe("ddpm", "velocity", uniform_times=True),
    "DDPM's path, noise": Recipe("ddpm", "noise", uniform_times=True),
    "half the rate": Recipe(plan_factors={"learning_rate": 0.5}),
    "twice the rate": Recipe(plan_factors={"learning_rate": 2.0}),
    "constant rate": Recipe(constant=True),
    "no averaging": Recipe(plan_factors={"ema_decay": 0.0}),
    "batch 8": Recipe(plan_factors={"batch": 0.5}),
    "batch 32": Recipe(plan_factors={"batch": 2}),
    "widths 32, 96 and 160": Recipe(widths=(32, 96, 160)),
    "widths 96, 160 and 224": Recipe(widths=(96, 160, 224)),
    "Muon for matrices": Recipe(muon=True),
    **{f"autoencoder from scratch, {name}": Recipe(autoencoder=name) for name in SHAPES},
}


class RecipeLoss(torch.nn.Module):
    """The loss of a recipe; that of ours equals `training.denoiser.FlowMatching`."""

    use_cuda_graph = True

    def __init__(self, denoiser: Any, recipe: Recipe) -> None:
        super().__init__()
        self.denoiser, self.recipe = denoiser, recipe

    def forward(
        self, latents: torch.Tensor, noise: torch.Tensor, time: torch.Tensor, text: torch.Tensor
    ) -> torch.Tensor:
        """Return the mean squared error of what the denoiser predicts.

        Parameters
        ----------
        latents, noise : torch.Tensor
            float (n, c, h, w).
        time : torch.Tensor
            Logit-normal flow times, float (n,) in (0, 1).
        text : torch.Tensor
            Text embeddings, float (n, tokens, width).
        """
        recipe = self.recipe
        if recipe.uniform_times:  # the normal distribution function of their logit
            time = 0.5 + 0.5 * torch.erf(torch.logit(time) / 2**0.5)
        keep, add, timestep = mix(recipe.path, time)
        noisy = (keep * latents + add * noise).contiguous(memory_format=torch.channels_last)
        predicted = self.denoiser(noisy, timestep, text, return_dict=False)[0].float()
        target = targets(latents, noise, keep, add)[recipe.predicts]
        # The flow's error, where clean latents are predicted.
        weight = 1 / add.clamp(min=0.05) ** 2 if recipe.predicts == "clean" else 1.0
        return (weight * (predicted - target) ** 2).mean()


def targets(
    latents: torch.Tensor, noise: torch.Tensor, keep: torch.Tensor, add: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Return what a denoiser may predict, by `Recipe.predicts`."""
    return {
        "flow": noise - latents,
        "clean": latents,
        "noise": noise,
        "velocity": keep * noise - add * latents,
    }


@cache
def variance_kept_by_ddpm(device: torch.device) -> torch.Tensor:
    """Return how much of an image's variance is left after each of DDPM's steps."""
    betas = torch.linspace(DDPM["beta_start"], DDPM["beta_end"], DDPM["num_train_timesteps"])
    return betas.neg().add(1).cumprod(0).to(device)


def mix(path: str, time: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return how much of image and noise is in at times (n,) of a path, and the denoiser's time step."""
    if path == "flow":
        t = time[:, None, None, None]
        return 1 - t, t, time * networks.TIMESTEPS
    steps = DDPM["num_train_timesteps"]
    step = (time * steps).long().clamp(max=steps - 1)
    kept = variance_kept_by_ddpm(time.device)[step][:, None, None, None]
    return kept.sqrt(), (1 - kept).sqrt(), step


def scheduler(recipe: Recipe) -> Any:
    """Return the solver of images for what a denoiser of this recipe predicts."""
    from diffusers import DPMSolverMultistepScheduler

    prediction_types = {
        "flow": "flow_prediction",
        "clean": "sample",
        "noise": "epsilon",
        "velocity": "v_prediction",
    }
    kind = {"prediction_type": prediction_types[recipe.predicts]}
    if recipe.path == "flow":
        return DPMSolverMultistepScheduler.from_config(networks.scheduler().config, **kind)
    solver = networks.scheduler().config.algorithm_type
    return DPMSolverMultistepScheduler(**DDPM, **kind, algorithm_type=solver, steps_offset=1)


class Muon(torch.optim.Optimizer):
    """Orthogonalised momentum for matrices and kernels (Jordan et al., as torch.optim.Muon), AdamW for the rest."""

    def __init__(
        self,
        parameters: Sequence[torch.nn.Parameter],
        learning_rate: float,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.01,
        fused: bool = True,
    ) -> None:
        matrices = [p for p in parameters if p.ndim > 1]
        rest = [p for p in parameters if p.ndim < 2]
        super().__init__([{"params": matrices}], {"lr": learning_rate, "decay": weight_decay})
        self.rest = torch.optim.AdamW(
            rest, learning_rate, betas, weight_decay=weight_decay, fused=fused
        )

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        """Take one step of both."""
        (group,) = self.param_groups
        for p in group["params"]:
            momentum = self.state[p].setdefault("momentum", torch.zeros_like(p))
            momentum.lerp_(p.grad, 0.05)
            update = orthogonal(p.grad.lerp(momentum, 0.95).flatten(1))
            size = 0.2 * group["lr"] * math.sqrt(max(update.shape))  # of AdamW's step
            p.mul_(1 - group["lr"] * group["decay"])
            p.add_(update.view_as(p), alpha=-size)
        self.rest.param_groups[0]["lr"] = group["lr"]
        self.rest.step()
        for p in self.rest.param_groups[0]["params"]:
            p.grad = None


def make_muon(parameters: Sequence[torch.nn.Parameter], plan: TrainingPlan) -> Muon:
    """Make Muon by a plan's learning rate and weight decay."""
    return Muon(parameters, plan.learning_rate, weight_decay=plan.weight_decay)


def orthogonal(matrix: torch.Tensor) -> torch.Tensor:
    """Bring the singular values of a matrix near 1, by Newton and Schulz's iteration with Muon's coefficients.

    In float32: torch's own takes bfloat16, which a processor without it imitates, 14 times slower.
    """
    tall = matrix.shape[0] > matrix.shape[1]
    wide = matrix.T if tall else matrix
    wide = wide / (wide.norm() + 1e-7)
    for _ in range(5):
        square = wide @ wide.T
        wide = 3.4445 * wide + (2.0315 * square @ square - 4.775 * square) @ wide
    return wide.T if tall else wide
