"""Weights as safetensors files, written and read back by name; the shipped autoencoder's."""

from __future__ import annotations

from pathlib import Path

import torch


def save_weights(model: torch.nn.Module, path: Path) -> None:
    """A module's parameters and buffers as one safetensors file."""
    from safetensors.torch import save_file

    save_file(
        {name: tensor.detach().contiguous().cpu() for name, tensor in model.state_dict().items()},
        path,
    )


def load_weights(model: torch.nn.Module, path: Path, prefix: str = "") -> None:
    """The inverse of `save_weights`; every name, less `prefix`, and every shape must match."""
    from safetensors.torch import load_file

    model.load_state_dict(
        {name.removeprefix(prefix): tensor for name, tensor in load_file(path).items()}
    )


def shipped_weights() -> Path:
    """The phantom-trained first stage inside this package (its card is `shipped/README.md`)."""
    return Path(__file__).parent / "shipped" / "autoencoder.safetensors"
