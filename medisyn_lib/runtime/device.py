"""The one place where device, precision, images at a time and torch's random state are chosen.

Training, sampling and judging use the device that Accelerate was launched on. Random numbers are
drawn on the CPU, and results come back there. What judges images - classifiers, feature encoders,
re-identification, exact search - computes in float32 proper, so that machines differ by rounding.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar, cast

import torch

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch.utils.hooks import RemovableHandle

Result = TypeVar("Result")
# How many times as many images at a time as on the CPU networks take that do not train.
AT_ONCE = {"cpu": 1, "cuda": 4}


def accelerator() -> Accelerator:
    """Accelerate as launched: any number of processes, on GPUs or CPUs; within `alone` this one only.

    Its own mixed precision stays off: `compute_dtype` and `autocast` choose the precision.
    """
    from accelerate import Accelerator

    if _lone:
        return cast("Accelerator", _lone[-1])
    return Accelerator(mixed_precision="no")


class LoneProcess:
    """What this package uses of an `Accelerator`, of a process that works for itself."""

    num_processes, process_index, is_main_process = 1, 0, True

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def prepare_model(self, model: torch.nn.Module) -> torch.nn.Module:
        """Move a network to this process's device."""
        return model.to(self.device)

    def backward(self, loss: torch.Tensor) -> None:
        """Compute gradients."""
        loss.backward()

    def gather(self, values: torch.Tensor) -> torch.Tensor:
        """Return this process's own values."""
        return values

    def wait_for_everyone(self) -> None:
        """Wait for nobody."""


_lone: list[LoneProcess] = []


@contextmanager
def alone() -> Iterator[None]:
    """Within a `with` block, work as if this process, on its device, were the only one that was launched."""
    _lone.append(LoneProcess(accelerator().device))
    try:
        yield
    finally:
        _lone.pop()


def is_alone() -> bool:
    """Say whether this is within `alone`."""
    return bool(_lone)


def to_device(net: torch.nn.Module) -> torch.device:
    """Move a network to the device that Accelerate was launched on, and return that device."""
    device = accelerator().device
    net.to(device)
    return device


def images_at_once(on_cpu: int) -> int:
    """Return how many images a network takes at a time here, from how many it takes on the CPU."""
    return on_cpu * AT_ONCE.get(accelerator().device.type, 1)


def halving(compute: Callable[[int], Result], batch: int) -> Result:
    """Return `compute(batch)`; where a card lacks the memory, try half as many images, and so on.

    Raises
    ------
    torch.OutOfMemoryError
        If one image is too many.
    """
    while True:
        try:
            return compute(batch)
        except torch.OutOfMemoryError:
            if batch == 1:
                raise
        batch //= 2  # beyond the `except`: the error holds on to the tensors that fill the card
        torch.cuda.empty_cache()
        print(f"medisyn: card out of memory; {batch} images at a time instead", file=sys.stderr)


@contextmanager
def full_float32() -> Iterator[None]:
    """Within a `with` block, convolve float32 as such: a card may cut it to TensorFloat-32's 10 bits."""
    allowed = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = allowed


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
