"""Checkpoints of a training: written whole or not at all, without pickle."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from medisyn_lib.runtime import store

CHECKPOINT = "checkpoint.safetensors.tmp"  # an entry of the store is closed without its .tmp files


@dataclass
class TrainingState:
    """Everything that a training goes on from."""

    objective: torch.nn.Module
    optimiser: torch.optim.Optimizer
    parameters: list[torch.nn.Parameter]  # trainable, in the optimiser's order
    averaged: list[torch.Tensor]  # their exponential moving average; empty where none is kept
    history: list[tuple[int, float]] = field(default_factory=list)  # step, loss
    step: int = 0  # steps done


def save_checkpoint(state: TrainingState, directory: Path) -> None:
    """Write a checkpoint: tensors as safetensors, step and history in the file's header.

    Frozen weights are left out: they are what the training was given.
    """
    from safetensors.torch import save

    weights, frozen = state.objective.state_dict(), _frozen(state.objective)
    tensors = {f"model.{name}": x for name, x in weights.items() if name not in frozen}
    for number, average in enumerate(state.averaged):
        tensors[f"averaged.{number}"] = average
    for number, moments in state.optimiser.state_dict()["state"].items():
        for name, moment in moments.items():
            tensors[f"optimiser.{number}.{name}"] = moment
    tensors = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    header = {"step": str(state.step), "history": json.dumps(state.history)}
    store.write_atomic(directory / CHECKPOINT, save(tensors, header))


def restore_checkpoint(state: TrainingState, directory: Path) -> None:
    """Bring a state, in place, to the checkpoint of a folder; without one it stays as it is."""
    from safetensors import safe_open

    path = directory / CHECKPOINT
    if not path.exists():
        return
    with safe_open(path, "pt") as file:
        header = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    weights = {
        name.removeprefix("model."): tensor
        for name, tensor in tensors.items()
        if name.startswith("model.")
    }
    missing, unexpected = state.objective.load_state_dict(weights, strict=False)
    if unexpected or set(missing) != _frozen(state.objective):
        raise RuntimeError(f"{path}: is the checkpoint of another network")
    for number, average in enumerate(state.averaged):
        average.copy_(tensors[f"averaged.{number}"])
    groups = state.optimiser.state_dict()["param_groups"]
    moments = _moments(tensors, state.parameters)
    state.optimiser.load_state_dict({"state": moments, "param_groups": groups})
    state.history = [(int(step), float(loss)) for step, loss in json.loads(header["history"])]
    state.step = int(header["step"])


def _frozen(objective: torch.nn.Module) -> set[str]:
    """The names of the parameters that are not trained."""
    return {name for name, p in objective.named_parameters() if not p.requires_grad}


def _moments(
    tensors: dict[str, torch.Tensor], parameters: list[torch.nn.Parameter]
) -> dict[int, dict[str, Any]]:
    """The optimiser's state by parameter, each tensor in the memory layout of its parameter."""
    moments: dict[int, dict[str, Any]] = {}
    for name, tensor in tensors.items():
        if not name.startswith("optimiser."):
            continue
        _, number, moment = name.split(".")
        if moment != "step":
            tensor = torch.empty_like(parameters[int(number)]).copy_(tensor)
        moments.setdefault(int(number), {})[moment] = tensor
    return moments


def save_snapshot(state: TrainingState, directory: Path) -> None:
    """Write `step-N.safetensors`: the trainable weights, averaged where an average is kept.

    They stand under their names in the objective.
    """
    from safetensors.torch import save

    names = [name for name, p in state.objective.named_parameters() if p.requires_grad]
    weights = state.averaged or state.parameters
    tensors = {
        name: weight.detach().contiguous().cpu()
        for name, weight in zip(names, weights, strict=True)
    }
    store.write_atomic(directory / f"step-{state.step}.safetensors", save(tensors))
