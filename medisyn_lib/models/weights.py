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


def load_weights(
    model: torch.nn.Module, path: Path, prefix: str = "", *, trained_alone: bool = False
) -> None:
    """Read a module's weights; every name, less `prefix`, and every shape must match.

    Parameters
    ----------
    model : torch.nn.Module
        Changed in place.
    path : Path
        The safetensors file.
    prefix : str
        What stands before every name in the file.
    trained_alone : bool
        Whether the file holds the trainable weights alone; the frozen ones stay.

    Raises
    ------
    RuntimeError
        If they do not match.
    """
    from safetensors.torch import load_file

    tensors = {name.removeprefix(prefix): x for name, x in load_file(path).items()}
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    if trained_alone and tensors.keys() != trained:
        raise RuntimeError(f"{path}: holds other weights than are trained")
    model.load_state_dict(tensors, strict=not trained_alone)


def shipped_weights() -> Path:
    """Return the file of the phantom-trained autoencoder (its card is `shipped/README.md`)."""
    return SHIPPED / "autoencoder.safetensors"
