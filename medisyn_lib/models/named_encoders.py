"""Loaders of the encoders that have a name of their own; importing this registers them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

from medisyn_lib.models.encoder_weights import NAMED, OPEN_CLIP_FILES, local_folder
from medisyn_lib.models.encoders import LOADERS, Encoder, register

TRUNK = (
    "visual.trunk."  # begins the names of the vision network's tensors in a checkpoint of OpenCLIP
)


@register("dinov2")
def _load_dinov2(place: str) -> Encoder:
    """DINOv2, of photographs."""
    return _from_transformers("dinov2", place)


@register("rad-dino")
def _load_rad_dino(place: str) -> Encoder:
    """RAD-DINO, of chest X-rays."""
    return _from_transformers("rad-dino", place)


@register("biomedclip")
def _load_biomedclip(place: str) -> Encoder:
    """The vision network of BiomedCLIP, one of timm, without its projection to the space of the texts."""
    import timm
    import torch

    folder = _checked_folder("biomedclip", place)
    weights, settings = (folder / name for name in OPEN_CLIP_FILES)
    content = json.loads(settings.read_text("utf-8"))
    vision, expects = content["model_cfg"]["vision_cfg"], content["preprocess_cfg"]
    net = timm.create_model(vision["timm_model_name"], num_classes=0)
    tensors = torch.load(weights, map_location="cpu", weights_only=True)
    net.load_state_dict(
        {
            name.removeprefix(TRUNK): tensor
            for name, tensor in tensors.items()
            if name.startswith(TRUNK)
        }
    )
    return Encoder(
        f"biomedclip-{_digest(weights)}",
        vision["image_size"],
        expects["mean"],
        expects["std"],
        net.eval().requires_grad_(False),
    )


def _from_transformers(name: str, place: str) -> Encoder:
    """An encoder that is a folder of transformers."""
    folder = _checked_folder(name, place)
    return replace(
        LOADERS["hf"](str(folder)), name=f"{name}-{_digest(folder / NAMED[name].files[0])}"
    )


def _checked_folder(name: str, place: str) -> Path:
    if place:
        raise ValueError("it has one set of weights, so that nothing follows its name")
    return local_folder(NAMED[name])


def _digest(file: Path) -> str:
    """The start of a file's SHA-256."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:8]
