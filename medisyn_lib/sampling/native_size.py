"""The size of the images that a pipeline draws, as its settings state it; nothing is loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

__all__ = ["native_side"]

DENOISERS = ("unet", "transformer")


def native_side(model: str) -> int | None:
    """Return the side in pixels that a pipeline folder draws by default; None where it is not stated."""
    latents = [_config(model, name).get("sample_size") for name in DENOISERS]
    side = next((size for size in latents if isinstance(size, int)), None)
    channels = _config(model, "vae").get("block_out_channels")
    if side is None or not isinstance(channels, list):
        return side
    return int(side * 2 ** (len(channels) - 1))


def _config(model: str, component: str) -> dict[str, Any]:
    """A component's settings; empty where there are none."""
    try:
        return dict(json.loads((Path(model) / component / "config.json").read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return {}
