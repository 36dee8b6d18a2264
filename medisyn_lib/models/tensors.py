"""Images as tensors and back, and functions applied batch by batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from medisyn_lib.runtime.device import full_float32, halving, images_at_once


def to_tensor(pixels: np.ndarray) -> torch.Tensor:
    """Return uint8 (n, h, w, 3) as float32 (n, 3, h, w) in [-1, 1], channels last in memory."""
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)
    return images.contiguous(memory_format=torch.channels_last)


def to_pixels(images: torch.Tensor) -> np.ndarray:
    """Return float (n, 3, h, w) in [-1, 1] as uint8 (n, h, w, 3); values beyond are clipped."""
    levels = images.float().clamp(-1.0, 1.0).add(1.0).mul(127.5).round()
    return levels.byte().permute(0, 2, 3, 1).cpu().numpy()


def in_batches(function: Callable[[Any], np.ndarray], items: Any, batch: int) -> np.ndarray:
    """Apply a function to `batch` items at a time, without gradients; join what it returns.

    Parameters
    ----------
    function : callable
        From a slice of `items` to an array (k, ...), a row per item.
    items : sequence or np.ndarray
        At least one.
    batch : int
        Items at a time on the CPU (`device.images_at_once`).
    """

    def joined(size: int) -> np.ndarray:
        starts = range(0, len(items), size)
        return np.concatenate([function(items[start : start + size]) for start in starts])

    with torch.inference_mode(), full_float32():
        return halving(joined, images_at_once(batch))
