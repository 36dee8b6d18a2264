"""The one place where device, precision and torch's random state are chosen."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from accelerate import Accelerator


def accelerator() -> Accelerator:
    """Accelerate as launched: any number of processes, GPU or CPU; `training.fit` chooses the precision."""
    from accelerate import Accelerator

    return Accelerator(mixed_precision="no")


def autocast_dtype() -> torch.dtype | None:
    """bfloat16 where this machine computes in it, else None: slower there, not different in kind.

    oneDNN also takes bfloat16 where AVX-512 lacks the instructions for it, and then imitates it at
    half the speed of float32: both must say yes.
    """
    if torch.cuda.is_available():
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else None
    native = torch.ops.mkldnn._is_mkldnn_bf16_supported() and torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if native else None


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Weights made inside start from `seed`; torch's own random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(seed)
        yield
