"""The training loop: what a step sees, resuming, processes, and the few numbers behind it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from medisyn_lib.errors import InputError
from medisyn_lib.runtime.device import accelerator
from medisyn_lib.training import loop, schedules

FLOAT = torch.float32
PLAN = loop.TrainingPlan(
    steps=9, batch=8, learning_rate=1e-2, seed=3, ema_decay=0.9, checkpoint_every=4
)


class Regression(torch.nn.Module):
    """A tiny objective: predicts noise from inputs, so that data order and noise both matter."""

    def __init__(self, stop_at: int | None = None) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.random.default_generator.manual_seed(0)
            self.layer = torch.nn.Linear(4, 4)
            # a weight that is not contiguous, as those of networks in channels-last memory
            self.mix = torch.nn.Conv2d(2, 2, 3, padding=1).to(memory_format=torch.channels_last)
        self.calls, self.stop_at = 0, stop_at

    def forward(self, x: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        if self.calls == self.stop_at:
            raise KeyboardInterrupt
        mixed = self.mix(self.layer(x).reshape(-1, 2, 1, 2)).reshape(-1, 4)
        return ((mixed - noise) ** 2).mean()


def make_batch(rows: np.ndarray, draws: loop.Draws) -> dict[str, torch.Tensor]:
    x = torch.from_numpy(rows[:, None] * np.array([0.01, 0.02, -0.01, 0.03])).float()
    return {"x": x, "noise": draws.normal(4)}


def test_rows_cover_every_sample_once_an_epoch() -> None:
    rows = np.concatenate([loop.sample_rows(5, 12, step, 8) for step in range(3)])
    assert sorted(rows[:12]) == list(range(12)) == sorted(rows[12:])
    assert list(rows[:12]) != list(rows[12:])


def test_rows_are_those_of_a_permutation_drawn_for_each_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The order of an epoch is drawn once; the rows are those of drawing it at every step, whoever asks in between."""

    def drawn(seed: int, n: int, place: int) -> int:
        return int(np.random.default_rng([seed, 7, place // n]).permutation(n)[place % n])

    for seed, n, batch in ((3, 20, 8), (0, 7, 16), (5, 12, 5), (3, 20, 8)):
        for step in (0, 1, 2, 7, 3):
            rows = loop.sample_rows(seed, n, step, batch)
            assert rows.tolist() == [
                drawn(seed, n, place) for place in range(step * batch, (step + 1) * batch)
            ]
            assert rows.dtype == np.int64
    made, real = [], np.random.default_rng
    monkeypatch.setattr(np.random, "default_rng", lambda key: made.append(key) or real(key))
    for step in range(10):
        loop.sample_rows(9, 50, step, 10)
    assert made == [[9, 7, 0], [9, 7, 1]]


def test_rate_warms_up_and_falls_to_zero() -> None:
    plan = loop.TrainingPlan(steps=100, batch=1, learning_rate=2.0, warmup_fraction=0.1)
    assert schedules.warmup_cosine(plan, 0) == pytest.approx(0.2)
    assert schedules.warmup_cosine(plan, 9) == schedules.warmup_cosine(plan, 10) == 2.0
    assert schedules.warmup_cosine(plan, 55) == pytest.approx(1.0)
    assert schedules.warmup_cosine(plan, 99) < 0.001


def test_draws_are_those_of_the_global_batch() -> None:
    whole = loop.Draws(1, 2, 8, slice(0, 8)).normal(3)
    second = loop.Draws(1, 2, 8, slice(4, 8)).normal(3)
    assert torch.equal(whole[4:], second)
    assert not torch.equal(whole, loop.Draws(1, 3, 8, slice(0, 8)).normal(3))


def test_resuming_gives_the_same_bits(tmp_path: Path) -> None:
    straight, broken, resumed = Regression(), Regression(stop_at=7), Regression()
    for folder in ("straight", "broken"):
        (tmp_path / folder).mkdir()
    loop.fit(
        straight, make_batch, n=20, plan=PLAN, directory=tmp_path / "straight", snapshots=(5, 9)
    )
    with pytest.raises(KeyboardInterrupt):
        loop.fit(
            broken, make_batch, n=20, plan=PLAN, directory=tmp_path / "broken", snapshots=(5, 9)
        )
    loop.fit(resumed, make_batch, n=20, plan=PLAN, directory=tmp_path / "broken", snapshots=(5, 9))
    assert resumed.calls == 5  # went on after step 4, not from the start
    assert torch.equal(straight.layer.weight, resumed.layer.weight)
    assert torch.equal(straight.mix.weight, resumed.mix.weight)
    for name in ("history.csv", "step-5.safetensors", "step-9.safetensors"):
        assert (tmp_path / "straight" / name).read_bytes() == (
            tmp_path / "broken" / name
        ).read_bytes()


@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a C++ compiler")
def test_a_compiled_training_ends_where_a_plain_one_does(tmp_path: Path) -> None:
    plain, compiled = Regression(), Regression()
    for name, objective in (("plain", plain), ("compiled", compiled)):
        (tmp_path / name).mkdir()
        plan = replace(PLAN, compiled=name == "compiled")
        loop.fit(objective, make_batch, n=20, plan=plan, directory=tmp_path / name, dtype=FLOAT)
    torch.testing.assert_close(compiled.mix.weight, plain.mix.weight)
    torch.testing.assert_close(compiled.layer.weight, plain.layer.weight)


def test_averaged_weights_follow_the_formula(tmp_path: Path) -> None:
    plan = loop.TrainingPlan(steps=2, batch=8, learning_rate=1e-2, ema_decay=0.9, weight_decay=0.0)
    seen: list[torch.Tensor] = []

    class Watched(Regression):
        def forward(self, x: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
            seen.append(self.layer.weight.detach().clone())
            return super().forward(x, noise)

    averaged, plain = Watched(), Regression()
    loop.fit(averaged, make_batch, n=20, plan=plan, directory=tmp_path)
    loop.fit(
        plain,
        make_batch,
        n=20,
        plan=loop.TrainingPlan(steps=2, batch=8, learning_rate=1e-2, weight_decay=0.0),
        directory=tmp_path,
    )
    after_one = seen[0] + (1 - 1 / 10) * (seen[1] - seen[0])
    expected = after_one + (1 - 2 / 11) * (plain.layer.weight - after_one)
    torch.testing.assert_close(averaged.layer.weight, expected)


def test_divergence_and_uneven_batches_are_refused(tmp_path: Path) -> None:
    def nonsense(rows: np.ndarray, draws: loop.Draws) -> dict[str, torch.Tensor]:
        return {"x": torch.full((len(rows), 4), torch.inf), "noise": draws.normal(4)}

    with pytest.raises(ValueError, match="training diverged"):
        loop.fit(Regression(), nonsense, n=20, plan=PLAN, directory=tmp_path)


def test_a_batch_that_does_not_divide_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = accelerator()

    class Three:
        num_processes, process_index, device = 3, 0, real.device

    monkeypatch.setattr(loop, "accelerator", Three)
    with pytest.raises(InputError, match="batch of 8"):
        loop.fit(Regression(), make_batch, n=20, plan=PLAN, directory=tmp_path)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_on_a_processor_norms_are_given_float32_while_a_network_trains(
    tmp_path: Path, dtype: torch.dtype
) -> None:
    """Between two convolutions, which autocast leaves in bfloat16; what follows the training is as it was."""
    seen: list[torch.dtype] = []

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two, self.norm = (
                torch.nn.Conv2d(4, 4, 1),
                torch.nn.Conv2d(4, 4, 1),
                torch.nn.GroupNorm(2, 4),
            )

        def forward(self, x: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
            seen.append(self.one(x[:, :, None, None]).dtype)
            normal = self.norm(self.one(x[:, :, None, None]))
            seen.append(normal.dtype)
            return (self.two(normal).float().flatten(1) - noise).square().mean()

    net, plan = Net(), loop.TrainingPlan(steps=2, batch=8, learning_rate=1e-2)
    loop.fit(net, make_batch, n=20, plan=plan, directory=tmp_path, dtype=dtype)
    assert seen == [dtype, torch.float32] * 2 and not net.norm._forward_pre_hooks


def test_optimiser_and_schedule_are_those_that_were_passed_in(tmp_path: Path) -> None:
    """Plain gradient descent at a constant rate: one step is minus rate times gradient, by hand."""
    plan = loop.TrainingPlan(steps=1, batch=8, learning_rate=0.01)
    before, after = Regression(), Regression()
    draws, rows = loop.Draws(0, 0, 8, slice(0, 8)), loop.sample_rows(0, 20, 0, 8)
    before(**make_batch(rows, draws)).backward()
    loop.fit(
        after,
        make_batch,
        n=20,
        plan=plan,
        directory=tmp_path,
        make_optimiser=lambda parameters, plan: torch.optim.SGD(parameters, 1.0),
        schedule=lambda plan, step: 0.5 * plan.learning_rate,
    )
    gradients = torch.cat([p.grad.flatten() for p in before.parameters()])
    step = 0.005 * before.layer.weight.grad / gradients.norm().clamp(min=1)  # clipped to length 1
    torch.testing.assert_close(after.layer.weight, before.layer.weight - step)


def test_a_constant_rate_stays_once_warm() -> None:
    plan = loop.TrainingPlan(steps=100, batch=1, learning_rate=2.0)
    assert [schedules.warmup_constant(plan, step) for step in (0, 9, 99)] == [0.2, 2.0, 2.0]
