"""The recipes that `benchmarks/recipes.py` tries: losses, solvers, latent shapes and the measure."""

from __future__ import annotations

import pytest
import recipe_parts
import torch
from recipe_parts import RECIPES, SHAPES, LatentShape, Recipe, RecipeLoss

from medisyn_lib.models import networks
from medisyn_lib.runtime.device import seeded
from medisyn_lib.training.denoiser import FlowMatching

N = 3


@pytest.fixture
def net() -> torch.nn.Module:
    with seeded(0):
        return networks.denoiser(64, (32, 64), text_width=32)


@pytest.fixture
def batch() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    latents, noise = torch.randn(2, N, networks.LATENT_CHANNELS, 16, 16, generator=generator)
    text = torch.randn(N, networks.CONTEXT, 32, generator=generator)
    return {"latents": latents, "noise": noise, "time": torch.tensor([0.2, 0.5, 0.9]), "text": text}


def test_ours_is_the_library_s(net: torch.nn.Module, batch: dict[str, torch.Tensor]) -> None:
    assert RECIPES["ours"] == Recipe()
    torch.testing.assert_close(RecipeLoss(net, Recipe())(**batch), FlowMatching(net)(**batch))


@pytest.mark.parametrize("predicts", ["flow", "clean", "noise", "velocity"])
@pytest.mark.parametrize("path", ["flow", "ddpm"])
def test_a_denoiser_that_is_right_has_no_loss(
    path: str, predicts: str, batch: dict[str, torch.Tensor]
) -> None:
    class Right(torch.nn.Module):
        def forward(
            self, mixed: torch.Tensor, shown: torch.Tensor, *_: object, **__: object
        ) -> tuple[torch.Tensor]:
            keep, add = recipe_parts.mix(path, batch["time"])[:2]
            latents, noise = batch["latents"], batch["noise"]
            told = {"flow": noise - latents, "clean": latents, "noise": noise}
            return ((told | {"velocity": keep * noise - add * latents})[predicts] + self.off,)

    right, loss = Right(), RecipeLoss(torch.nn.Identity(), Recipe(path, predicts))
    loss.denoiser = right
    right.off = 0.0
    assert float(loss(**batch)) == pytest.approx(0, abs=1e-9)
    right.off = 1.0
    assert float(loss(**batch)) > 0.9


def test_the_path_of_ddpm_is_that_of_diffusers(batch: dict[str, torch.Tensor]) -> None:
    from diffusers import DDPMScheduler

    keep, add, step = recipe_parts.mix("ddpm", batch["time"])
    theirs = DDPMScheduler(**recipe_parts.DDPM).add_noise(batch["latents"], batch["noise"], step)
    torch.testing.assert_close(keep * batch["latents"] + add * batch["noise"], theirs)


def test_uniform_times_are_uniform() -> None:
    seen: list[torch.Tensor] = []

    class Watch(torch.nn.Module):
        def forward(
            self, mixed: torch.Tensor, shown: torch.Tensor, *_: object, **__: object
        ) -> tuple[torch.Tensor]:
            seen.append(shown / networks.TIMESTEPS)
            return (mixed,)

    latents, times = torch.zeros(20_000, 1, 1, 1), torch.sigmoid(torch.randn(20_000))
    loss = RecipeLoss(torch.nn.Identity(), Recipe(uniform_times=True))
    loss.denoiser = Watch()
    loss(latents, latents, times, latents)
    proportions = torch.histc(seen[0], 10, 0, 1) / 20_000
    assert proportions.min() > 0.09 and proportions.max() < 0.11


@pytest.mark.parametrize("name", SHAPES)
def test_latents_have_the_shape_of_their_name(name: str) -> None:
    shape = SHAPES[name]
    vae = networks.autoencoder(shape.widths, shape.channels)
    with torch.no_grad():
        latents = vae.encode(torch.zeros(1, 3, 32, 32)).latent_dist.mean
    side = 32 // shape.downscale
    assert latents.shape == (1, shape.channels, side, side)
    assert name == f"{shape.channels} channels, {shape.downscale} times smaller"


def test_the_default_shape_is_the_library_s() -> None:
    ours = LatentShape()
    assert (ours.channels, ours.downscale) == (networks.LATENT_CHANNELS, networks.DOWNSCALE)
    assert ours in SHAPES.values()


def test_muon_steps_all_ways_alike() -> None:
    """Of a matrix whose gradient has singular values far apart the step has them near each other."""
    weight, bias = torch.nn.Parameter(torch.zeros(4, 4)), torch.nn.Parameter(torch.zeros(4))
    optimiser = recipe_parts.Muon([weight, bias], 0.1, (0.9, 0.99), weight_decay=0.0, fused=False)
    weight.grad, bias.grad = torch.diag(torch.tensor([8.0, 4.0, 2.0, 1.0])), torch.ones(4)
    optimiser.step()
    values = torch.linalg.svdvals(weight.detach())
    assert (
        values.max() / values.min() < 2 and float(weight[0, 0]) < 0 and float(bias[0].detach()) < 0
    )


def test_every_solver_ends_at_what_a_perfect_denoiser_predicts(
    batch: dict[str, torch.Tensor],
) -> None:
    """Latents of one value alone: each parametrisation, told the truth, must lead there from noise."""
    for recipe in {(r.path, r.predicts): r for r in RECIPES.values()}.values():
        solver, goal = recipe_parts.scheduler(recipe), torch.full_like(batch["latents"], 0.7)
        solver.set_timesteps(20)
        drawn = batch["noise"] * solver.init_noise_sigma
        for time in solver.timesteps:
            keep, add, _ = recipe_parts.mix(recipe.path, (time.float() / 1000).expand(N))
            noise = (drawn - keep * goal) / add
            told = {
                "flow": noise - goal,
                "clean": goal,
                "noise": noise,
                "velocity": keep * noise - add * goal,
            }
            drawn = solver.step(told[recipe.predicts], time, drawn).prev_sample
        torch.testing.assert_close(drawn, goal, rtol=0, atol=0.05)
