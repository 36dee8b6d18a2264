"""The one place where device, precision and torch's random state are chosen.

Training and sampling use the device that Accelerate was launched on. What judges images - the
classifiers, the feature encoders, re-identification - stays on the CPU in float32, so that it
judges alike on every machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch.utils.hooks import RemovableHandle


def accelerator() -> Accelerator:
    """Accelerate as launched: any number of processes, on GPUs or CPUs.

    Its own mixed precision stays off: `compute_dtype` and `autocast` choose the precision.
    """
    from accelerate import Accelerator

    return Accelerator(mixed_precision="no")


def compute_dtype() -> torch.dtype:
    """Return bfloat16 where this machine computes in it, else float32.

    Without bfloat16 a machine is slower, not different in kind. oneDNN also accepts bfloat16 where
    AVX-512 lacks the instructions, and then emulates it at half the speed of float32: on a CPU both
    must confirm it. CUDA emulates it on older cards, too.
    """
    if torch.cuda.is_available():
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        supported_by_onednn = torch.ops.mkldnn._is_mkldnn_bf16_supported()
        native = supported_by_onednn and torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if native else torch.float32


def autocast(
    device: torch.device, dtype: torch.dtype | None = None, *, cache_weights: bool = True
) -> torch.autocast:
    """Compute in `dtype` within a `with` block, where an operator allows it.

    Parameters
    ----------
    device : torch.device
        Where the computation runs.
    dtype : torch.dtype, optional
        By default `compute_dtype()`; float32 leaves everything as it is.
    cache_weights : bool
        Whether weights are converted once per block; a CUDA graph needs False.
    """
    dtype = dtype or compute_dtype()
    if dtype == torch.float32:
        return torch.autocast(device.type, enabled=False, cache_enabled=cache_weights)
    return torch.autocast(device.type, dtype, cache_enabled=cache_weights)


def widen_group_norms(net: torch.nn.Module) -> list[RemovableHandle]:
    """Have every group norm of a network convert its input to float32: a CPU takes five times as long in bfloat16."""

    def widen(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
        return inputs[0].float()

    norms = [module for module in net.modules() if isinstance(module, torch.nn.GroupNorm)]
    return [norm.register_forward_pre_hook(widen) for norm in norms]


@contextmanager
def fast_inference(nets: Iterable[torch.nn.Module]) -> Iterator[None]:
    """Within a `with` block compute without gradients, these networks on a CPU in what it is fastest in.

    On a GPU they compute in float32: bfloat16 samples no faster there (docs/gpu.md).
    """
    device = accelerator().device
    dtype = compute_dtype() if device.type == "cpu" else torch.float32
    hooks = (
        [hook for net in nets for hook in widen_group_norms(net)] if dtype != torch.float32 else []
    )
    try:
        with torch.inference_mode(), autocast(device, dtype):
            yield
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch for a `with` block; its own random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(seed)
        yield
