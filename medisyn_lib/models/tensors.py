"""Images as tensors and back, and functions applied batch by batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch


def to_tensor(pixels: np.ndarray) -> torch.Tensor:
    """uint8 (n, h, w, 3) to float32 (n, 3, h, w) in [-1, 1], channels last in memory."""
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)
    return images.contiguous(memory_format=torch.channels_last)


def to_pixels(images: torch.Tensor) -> np.ndarray:
    """float (n, 3, h, w) in [-1, 1] to uint8 (n, h, w, 3); values beyond are clipped."""
    levels = images.float().clamp(-1.0, 1.0).add(1.0).mul(127.5).round()
    return levels.byte().permute(0, 2, 3, 1).cpu().numpy()


def in_batches(part: Callable[[Any], np.ndarray], rows: Any, batch: int) -> np.ndarray:
    """What `part` makes of some rows at a time, without gradients, as one array."""
    with torch.inference_mode():
        return np.concatenate(
            [part(rows[start : start + batch]) for start in range(0, len(rows), batch)]
        )
