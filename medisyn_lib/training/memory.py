"""Memory that a loss and its gradients need beside the network, counted without computing them."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["activation_bytes"]


def activation_bytes(net: torch.nn.Module, loss: Callable[[], torch.Tensor]) -> int:
    """Count the most bytes that are live at once in a forward and backward pass, weights and gradients aside.

    Parameters
    ----------
    net : torch.nn.Module
        On the device `meta`, so that nothing is computed; its gradients are cleared.
    loss : callable
        Makes the loss of a batch, on that device.

    Notes
    -----
    Attention counts as plain matrix products, which fused attention does not store.
    """
    for parameter in net.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.zeros_like(parameter)
    with _LiveTensors(net) as live:
        loss().backward()
    net.zero_grad(set_to_none=True)
    return live.peak


class _LiveTensors(TorchDispatchMode):
    """Bytes of the tensors that operators make, as long as these live."""

    def __init__(self, net: torch.nn.Module) -> None:
        super().__init__()
        lasting = [*net.parameters(), *net.buffers()]
        lasting += [p.grad for p in net.parameters() if p.grad is not None]
        self.known = {tensor.untyped_storage()._cdata for tensor in lasting}
        self.now = self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if torch.is_tensor(leaf):
                self._note(leaf.untyped_storage())
        return out

    def _note(self, storage: torch.UntypedStorage) -> None:
        """Count a storage that is new, and discount it once it is gone."""
        name, size = storage._cdata, storage.nbytes()
        if name in self.known:
            return
        self.known.add(name)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._forget, name, size)

    def _forget(self, name: int, size: int) -> None:
        self.known.discard(name)
        self.now -= size
