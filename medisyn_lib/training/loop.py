"""One training loop for every network here, through Accelerate, that can be killed and resumed.

Data order and noise depend on (seed, step, place in the global batch) and on nothing else, so a run
goes on bit-identically after an interruption and may change its number of processes.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from medisyn_lib.errors import InputError
from medisyn_lib.runtime import store
from medisyn_lib.runtime.device import accelerator, autocast_dtype

if TYPE_CHECKING:
    from accelerate import Accelerator

CHECKPOINT, HISTORY = "checkpoint.safetensors.tmp", "history.csv"


class Draws:
    """Random numbers of one step: drawn for the global batch, handed out for this process's rows."""

    def __init__(self, seed: int, step: int, batch: int, rows: slice) -> None:
        self._generator = torch.Generator().manual_seed(
            int(np.random.SeedSequence([seed, step]).generate_state(1)[0])
        )
        self._batch, self._rows = batch, rows

    def normal(self, *shape: int) -> torch.Tensor:
        """Standard normal float32 (rows, *shape)."""
        return torch.randn(self._batch, *shape, generator=self._generator)[self._rows]

    def uniform(self, *shape: int) -> torch.Tensor:
        """Uniform [0, 1) float32 (rows, *shape)."""
        return torch.rand(self._batch, *shape, generator=self._generator)[self._rows]


@dataclass(frozen=True)
class Plan:
    """How long and how fast: optimiser steps, global batch, peak learning rate, weight averaging."""

    steps: int
    batch: int
    rate: float
    seed: int = 0
    decay: float = 0.01  # AdamW weight decay
    average: float = 0.0  # decay of the exponential moving average of weights; 0 keeps none
    warmup: float = 0.05  # share of the steps
    checkpoint_every: int = 200


def sample_rows(seed: int, n: int, step: int, batch: int) -> np.ndarray:
    """Which of n samples the global batch of a step holds: int64 (batch,), epoch by epoch shuffled."""
    epochs, places = np.divmod(np.arange(step * batch, (step + 1) * batch), n)
    return np.concatenate(
        [_order(seed, n, int(epoch))[places[epochs == epoch]] for epoch in np.unique(epochs)]
    )


@functools.lru_cache(1)  # of the epoch under way
def _order(seed: int, n: int, epoch: int) -> np.ndarray:
    return np.random.default_rng([seed, 7, epoch]).permutation(n)


def rate_at(plan: Plan, step: int) -> float:
    """Learning rate of a step: linear warm-up, then a cosine to zero."""
    warm = max(1, round(plan.warmup * plan.steps))
    if step < warm:
        return plan.rate * (step + 1) / warm
    return plan.rate * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, plan.steps - warm)))


def fit(
    objective: torch.nn.Module, batch_of: Callable[[np.ndarray, Draws], Mapping[str, torch.Tensor]], *, n: int,
    plan: Plan, directory: Path, snapshots: Sequence[int] = (), half: bool = True,
) -> None:  # fmt: skip
    """Trains `objective` in place, whose forward takes a batch and returns the loss.

    `batch_of(rows, draws)` makes this process's share of the batch: `rows` are numbers of samples below `n`. Goes on
    from a checkpoint in `directory`, where the loss history (`history.csv`) and the averaged weights after each of the
    steps in `snapshots` (`step-N.safetensors`) are left. The objective ends on the CPU, with the averaged weights if
    the plan averages. `half` computes in bfloat16 where the machine does (`models.autocast_dtype`). An objective that
    never waits for a tensor's value, and takes a batch in its order, may say `captured`: on one GPU it is a CUDA graph.
    Raises InputError if the batch does not divide among the processes, ValueError if the loss stops being finite.
    """
    accel = accelerator()
    share, rest = divmod(plan.batch, accel.num_processes)
    if rest:
        raise InputError(
            f"batch of {plan.batch}: does not divide among {accel.num_processes} processes; change one"
        )
    rows = slice(accel.process_index * share, (accel.process_index + 1) * share)
    run = _Run(objective, plan, directory, accel, half)
    for step in range(run.resume(), plan.steps):
        draws = Draws(plan.seed, step, plan.batch, rows)
        run.advance(step, batch_of(sample_rows(plan.seed, n, step, plan.batch)[rows], draws))
        done = step + 1
        if accel.is_main_process and done in snapshots:
            run.snapshot(done)
        if accel.is_main_process and done % plan.checkpoint_every == 0 and done < plan.steps:
            run.save(done)
    run.finish()


class _Run:
    """A training under way: weights, optimiser, averaged weights, loss history, and their checkpoint."""

    def __init__(
        self,
        objective: torch.nn.Module,
        plan: Plan,
        directory: Path,
        accel: Accelerator,
        half: bool,
    ) -> None:
        self.dtype, device = autocast_dtype() if half else None, accel.device.type
        # Launching hundreds of small kernels one by one takes up to six times as long as computing them.
        self.captured = (
            device == "cuda" and accel.num_processes == 1 and getattr(objective, "captured", False)
        )
        # In bfloat16 on a processor the way back is slow through fused attention, and through norms not in float32.
        self.plain = device == "cpu" and self.dtype is not None
        norms = [m for m in objective.modules() if self.plain and isinstance(m, torch.nn.GroupNorm)]
        self.hooks = [
            norm.register_forward_pre_hook(lambda _, given: given[0].float()) for norm in norms
        ]
        self.objective, self.plan, self.directory, self.accel = objective, plan, directory, accel
        self.model = accel.prepare_model(objective)
        self.parameters = [p for p in objective.parameters() if p.requires_grad]
        self.optimiser = torch.optim.AdamW(
            self.parameters, plan.rate, (0.9, 0.99), weight_decay=plan.decay, fused=True
        )
        self.average = [p.detach().clone() for p in self.parameters] if plan.average else []
        self.history: list[tuple[int, float]] = []
        self.model.train()

    def advance(self, step: int, batch: Mapping[str, torch.Tensor]) -> None:
        """One optimiser step."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate_at(self.plan, step)
        batch, device = (
            {name: x.to(self.accel.device) for name, x in batch.items()},
            self.accel.device.type,
        )
        with sdpa_kernel(SDPBackend.MATH) if self.plain else nullcontext():
            with torch.autocast(
                device, self.dtype, self.dtype is not None, cache_enabled=not self.captured
            ):
                if self.captured and "forward" not in vars(self.model):
                    torch.cuda.make_graphed_callables(self.model, tuple(batch.values()))
                loss = self.model(*batch.values()) if self.captured else self.model(**batch)
            self.accel.backward(loss)  # where what a network keeps no room for is computed anew
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        if self.average:
            keep = min(self.plan.average, (1 + step) / (10 + step))
            torch._foreach_lerp_(self.average, [p.detach() for p in self.parameters], 1 - keep)
        if step % max(1, self.plan.steps // 200) == 0 or step + 1 == self.plan.steps:
            value = float(self.accel.gather(loss.detach().reshape(1)).mean())
            if not math.isfinite(value):
                raise ValueError(
                    f"training diverged: loss {value} at step {step}; lower the rate {self.plan.rate}"
                )
            self.history.append((step, value))

    def finish(self) -> None:
        """Averaged weights take the place of the last ones; the loss history is written."""
        if self.average:
            torch._foreach_copy_([p.data for p in self.parameters], self.average)
        if self.accel.is_main_process:
            lines = "".join(f"{step},{loss:.6g}\n" for step, loss in self.history)
            store.write_atomic(self.directory / HISTORY, f"step,loss\n{lines}")
        vars(self.objective).pop("forward", None)  # the captured one
        for hook in self.hooks:
            hook.remove()
        self.objective.eval().to("cpu")  # where it came from, and what follows expects it
        self.accel.wait_for_everyone()

    def save(self, step: int) -> None:
        """The checkpoint after `step` steps: tensors as safetensors, scalars in its header."""
        from safetensors.torch import save

        tensors = {f"model.{name}": t for name, t in self.objective.state_dict().items()}
        tensors |= {f"average.{i}": t for i, t in enumerate(self.average)}
        for i, moments in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{i}.{name}": t for name, t in moments.items()}
        tensors = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
        told = {"step": str(step), "history": json.dumps(self.history)}
        store.write_atomic(self.directory / CHECKPOINT, save(tensors, told))

    def resume(self) -> int:
        """Takes up the checkpoint, if there is one; the number of steps done."""
        from safetensors import safe_open

        path = self.directory / CHECKPOINT
        if not path.exists():
            return 0
        with safe_open(path, "pt") as file:
            scalars = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}
        self.objective.load_state_dict(
            {k[6:]: t for k, t in tensors.items() if k.startswith("model.")}
        )
        for i, averaged in enumerate(self.average):
            averaged.copy_(tensors[f"average.{i}"])
        moments: dict[int, dict[str, Any]] = {}
        for name, tensor in tensors.items():
            if name.startswith("optimiser."):
                _, i, moment = name.split(".")
                like = (
                    torch.empty_like(self.parameters[int(i)]) if moment != "step" else tensor
                )  # in its layout
                moments.setdefault(int(i), {})[moment] = like.copy_(tensor)
        groups = self.optimiser.state_dict()["param_groups"]
        self.optimiser.load_state_dict({"state": moments, "param_groups": groups})
        self.history = [(int(s), float(v)) for s, v in json.loads(scalars["history"])]
        return int(scalars["step"])

    def snapshot(self, step: int) -> None:
        """The averaged (else current) trainable weights after `step` steps, under their parameters' names."""
        from safetensors.torch import save

        names = [name for name, p in self.objective.named_parameters() if p.requires_grad]
        values = self.average or self.parameters
        tensors = {k: t.detach().contiguous().cpu() for k, t in zip(names, values, strict=True)}
        store.write_atomic(self.directory / f"step-{step}.safetensors", save(tensors))
