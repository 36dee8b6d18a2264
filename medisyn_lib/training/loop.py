"""One training loop for every network, through Accelerate, that can be killed and resumed.

Data order and noise depend on (seed, step, place in the global batch) and on nothing else, so a run
goes on bit-identically after an interruption and may change its number of processes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from medisyn_lib.errors import InputError
from medisyn_lib.runtime import store
from medisyn_lib.runtime.device import (
    accelerator,
    autocast,
    compute_dtype,
    full_float32,
    widen_group_norms,
)
from medisyn_lib.training.batches import Draws, sample_rows
from medisyn_lib.training.checkpoint import (
    TrainingState,
    restore_checkpoint,
    save_checkpoint,
    save_snapshot,
)
from medisyn_lib.training.plan import TrainingPlan
from medisyn_lib.training.schedules import Schedule, warmup_cosine

__all__ = [
    "HISTORY",
    "Draws",
    "MakeBatch",
    "MakeOptimiser",
    "Trainer",
    "TrainingPlan",
    "adamw",
    "ema_decay_at",
    "fit",
    "sample_rows",
]

HISTORY = "history.csv"
MAX_GRADIENT_NORM = 1.0
MakeBatch = Callable[[np.ndarray, Draws], Mapping[str, torch.Tensor]]
MakeOptimiser = Callable[[Sequence[torch.nn.Parameter], TrainingPlan], torch.optim.Optimizer]


def adamw(parameters: Sequence[torch.nn.Parameter], plan: TrainingPlan) -> torch.optim.Optimizer:
    """Make AdamW (Loshchilov and Hutter, arXiv 1711.05101) with betas 0.9 and 0.99."""
    return torch.optim.AdamW(
        parameters,
        plan.learning_rate,
        betas=(0.9, 0.99),
        weight_decay=plan.weight_decay,
        fused=True,
    )


def ema_decay_at(ema_decay: float, step: int) -> float:
    """Return the decay of the weights' moving average at a step: min(d, (1 + k) / (10 + k)).

    The warm-up keeps the initial weights from lingering (`ExponentialMovingAverage` of TensorFlow).
    """
    return min(ema_decay, (1 + step) / (10 + step))


def fit(
    objective: torch.nn.Module,
    make_batch: MakeBatch,
    *,
    n: int,
    plan: TrainingPlan,
    directory: Path,
    snapshots: Sequence[int] = (),
    dtype: torch.dtype | None = None,
    make_optimiser: MakeOptimiser = adamw,
    schedule: Schedule = warmup_cosine,
) -> None:
    """Train `objective` in place, as `Trainer` does.

    Parameters
    ----------
    objective : torch.nn.Module
        Its forward takes a batch by keyword and returns the scalar loss. It ends on the CPU, in
        evaluation mode, with the averaged weights if the plan averages. One that never waits for
        a tensor's value, and whose arguments stand in the batch's order, may have an attribute
        `use_cuda_graph`: on one GPU loss and gradients then are one CUDA graph.
    make_batch : callable
        From the numbers of this process's samples, int64 (b,), below `n`, and the step's random
        numbers (`Draws`) to the batch: tensors of b rows by name.
    n : int
        Number of samples.
    plan : TrainingPlan
        Steps, batch size, learning rate and so on.
    directory : Path
        Where a checkpoint is resumed from and where the loss history (`history.csv`: step, loss)
        and the snapshots are left.
    snapshots : sequence of int
        Steps after which the (averaged) weights are kept, as `step-N.safetensors`.
    dtype : torch.dtype, optional
        What to compute in; by default what this machine is fastest in (`device.compute_dtype`).
    make_optimiser, schedule : callable
        The optimiser of the trainable parameters, and the learning rate of each step.

    Raises
    ------
    InputError
        If the batch does not divide among the processes.
    ValueError
        If the loss stops being finite.
    """
    trainer = Trainer(
        objective, plan, directory, dtype=dtype, make_optimiser=make_optimiser, schedule=schedule
    )
    trainer.run(make_batch, n, snapshots)


class Trainer:
    """The loop, step by step; `fit` says what its arguments are."""

    def __init__(
        self,
        objective: torch.nn.Module,
        plan: TrainingPlan,
        directory: Path,
        *,
        dtype: torch.dtype | None = None,
        make_optimiser: MakeOptimiser = adamw,
        schedule: Schedule = warmup_cosine,
    ) -> None:
        self.plan, self.directory, self.schedule = plan, directory, schedule
        self.accelerator = accelerator()
        self.device: torch.device = self.accelerator.device
        self.dtype = dtype or compute_dtype()
        self.places = self._places()
        # Launching hundreds of small kernels takes up to six times as long as computing them.
        self.use_cuda_graph = (
            self.device.type == "cuda"
            and self.accelerator.num_processes == 1
            and getattr(objective, "use_cuda_graph", False)
            and not plan.compiled
        )
        # In bfloat16 on a CPU fused attention is slow in the backward pass, as are group norms.
        self.avoid_slow_cpu_kernels = self.device.type == "cpu" and self.dtype == torch.bfloat16
        self.hooks = widen_group_norms(objective) if self.avoid_slow_cpu_kernels else []
        if plan.compiled:
            objective.compile()
        self.model = self.accelerator.prepare_model(objective)
        parameters = [p for p in objective.parameters() if p.requires_grad]
        self.state = TrainingState(
            objective=objective,
            optimiser=make_optimiser(parameters, plan),
            parameters=parameters,
            averaged=[p.detach().clone() for p in parameters] if plan.ema_decay else [],
        )
        self.model.train()

    def run(self, make_batch: MakeBatch, n: int, snapshots: Sequence[int] = ()) -> None:
        """Train from the last checkpoint, else from the start, to the end of the plan."""
        restore_checkpoint(self.state, self.directory)
        for step in range(self.state.step, self.plan.steps):
            batch = self._batch(make_batch, n, step)
            loss = self._backward(batch)
            self._update(step)
            self._record(step, loss)
            self.state.step = step + 1
            self._save(snapshots)
        self._finish()

    def _places(self) -> slice:
        """This process's places in the global batch."""
        processes, batch = self.accelerator.num_processes, self.plan.batch
        if batch % processes:
            raise InputError(
                f"batch of {batch}: does not divide among {processes} processes; change one"
            )
        each = batch // processes
        first = self.accelerator.process_index * each
        return slice(first, first + each)

    def _batch(self, make_batch: MakeBatch, n: int, step: int) -> dict[str, torch.Tensor]:
        """This process's part of a step's batch, on the device."""
        plan = self.plan
        draws = Draws(plan.seed, step, plan.batch, self.places)
        rows = sample_rows(plan.seed, n, step, plan.batch)[self.places]
        batch = make_batch(rows, draws)
        return {name: tensor.to(self.device) for name, tensor in batch.items()}

    def _backward(self, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The loss of a batch; its gradients are left in the parameters."""
        with ExitStack() as kernels:
            if self.avoid_slow_cpu_kernels:
                kernels.enter_context(sdpa_kernel(SDPBackend.MATH))
            if self.dtype == torch.float32:
                kernels.enter_context(full_float32())
            with autocast(self.device, self.dtype, cache_weights=not self.use_cuda_graph):
                if self.use_cuda_graph:
                    self._capture_once(batch)
                    loss = self.model(*batch.values())
                else:
                    loss = self.model(**batch)
            # Within the choice of attention: activation checkpointing repeats the forward pass.
            self.accelerator.backward(loss)
        return loss

    def _capture_once(self, batch: Mapping[str, torch.Tensor]) -> None:
        """Record forward and backward pass as a CUDA graph, which takes the place of `forward`."""
        if "forward" not in vars(self.model):
            torch.cuda.make_graphed_callables(self.model, tuple(batch.values()))

    def _update(self, step: int) -> None:
        """One step of the optimiser, and of the moving average of the weights."""
        parameters, averaged, optimiser = (
            self.state.parameters,
            self.state.averaged,
            self.state.optimiser,
        )
        for group in optimiser.param_groups:
            group["lr"] = self.schedule(self.plan, step)
        torch.nn.utils.clip_grad_norm_(parameters, MAX_GRADIENT_NORM)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        if averaged:
            decay = ema_decay_at(self.plan.ema_decay, step)
            torch._foreach_lerp_(averaged, [p.detach() for p in parameters], 1 - decay)

    def _record(self, step: int, loss: torch.Tensor) -> None:
        """Note the loss, of all processes, about 200 times per training."""
        is_last = step + 1 == self.plan.steps
        if step % max(1, self.plan.steps // 200) and not is_last:
            return
        value = float(self.accelerator.gather(loss.detach().reshape(1)).mean())
        if not math.isfinite(value):
            raise ValueError(
                f"training diverged: loss {value} at step {step}; "
                f"lower the learning rate {self.plan.learning_rate}"
            )
        self.state.history.append((step, value))

    def _save(self, snapshots: Sequence[int]) -> None:
        """Keep what is due after the current step: a snapshot, a checkpoint."""
        step = self.state.step
        if not self.accelerator.is_main_process:
            return
        if step in snapshots:
            save_snapshot(self.state, self.directory)
        if step % self.plan.checkpoint_every == 0 and step < self.plan.steps:
            save_checkpoint(self.state, self.directory)

    def _finish(self) -> None:
        """Put the averaged weights in place, write the history, leave the objective on the CPU."""
        state = self.state
        if state.averaged:
            torch._foreach_copy_([p.data for p in state.parameters], state.averaged)
        if self.accelerator.is_main_process:
            lines = "".join(f"{step},{loss:.6g}\n" for step, loss in state.history)
            store.write_atomic(self.directory / HISTORY, f"step,loss\n{lines}")
        vars(state.objective).pop("forward", None)  # that of the CUDA graph
        for hook in self.hooks:
            hook.remove()
        state.objective.eval().to("cpu")  # where it came from, and what follows expects it
        self.accelerator.wait_for_everyone()
