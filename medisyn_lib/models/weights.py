"""Weights as safetensors files, written and read back by name; the shipped autoencoder's."""

from __future__ import annotations

from pathlib import Path

import torch

SHIPPED = Path(__file__).parent / "shipped"  # what the package ships; cards beside it


def save_weights(model: torch.nn.Module, path: Path) -> None:
    """Write a module's parameters and buffers as one safetensors file."""
    from safetensors.torch import save_file

    tensors = {
        name: tensor.detach().contiguous().cpu() for name, tensor in model.state_dict().items()
    }
    save_file(tensors, path)


def load_weights(model: torch.nn.Module, path: Path, prefix: str = "") -> None:
    """Read a module's weights; every name, less `prefix`, and every shape must match.

    Raises
    ------
    RuntimeError
        If they do not.
    """
    from safetensors.torch import load_file

    tensors = load_file(path)
    model.load_state_dict({name.removeprefix(prefix): x for name, x in tensors.items()})


def shipped_weights() -> Path:
    """Return the file of the phantom-trained autoencoder (its card is `shipped/README.md`)."""
    return SHIPPED / "autoencoder.safetensors"
