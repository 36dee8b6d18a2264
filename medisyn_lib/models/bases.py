"""A base: a pretrained pipeline that a study's generators are fine-tuned from, found and checked by its files alone.

It is a StableDiffusionPipeline, as Stable Diffusion 1.5 and 2.1 are: a folder, or a hub id, whose files are then
downloaded. `?whole` behind it trains its whole denoiser in place of low-rank adapters.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from medisyn_lib.errors import InputError
from medisyn_lib.runtime.paths import resolve_out

__all__ = ["PARTS", "PREDICTIONS", "WHOLE", "Base", "base_label", "find_base", "split_base"]

WHOLE = "?whole"
KIND = "StableDiffusionPipeline"
INDEX = "model_index.json"
PREDICTIONS = ("epsilon", "v_prediction", "flow_prediction")  # what a denoiser may predict
PARTS = {
    "tokenizer": ("CLIPTokenizer", "CLIPTokenizerFast"),
    "text_encoder": ("CLIPTextModel",),
    "vae": ("AutoencoderKL",),
    "unet": ("UNet2DConditionModel",),
}
NETWORKS = ("text_encoder", "vae", "unet")
SETTINGS = [INDEX, "scheduler/*.json", "tokenizer/*", *(f"{part}/config.json" for part in NETWORKS)]


class Shape(NamedTuple):
    """What a base was made for."""

    pixels: int  # of an image side
    tokens: int  # of a prompt


@dataclass(frozen=True)
class Base:
    """A checked base.

    Attributes
    ----------
    name : str
        Its folder's name, or its hub id.
    folder : Path
        Where its files lie.
    whole : bool
        Whether all of its denoiser is trained, in place of adapters.
    """

    name: str
    folder: Path
    whole: bool = False

    @property
    def label(self) -> str:
        """Its name and how it is trained, without the folders that lead to it."""
        return self.name + (WHOLE if self.whole else "")

    @cached_property
    def fingerprint(self) -> str:
        """The SHA-256 of the files that it is loaded from."""
        total = hashlib.sha256()
        for part in (*PARTS, "scheduler"):
            for path in sorted((self.folder / part).glob("*")):
                with path.open("rb") as stream:
                    sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
                total.update(f"{part}/{path.name} {sha256}\n".encode())
        return total.hexdigest()

    def key(self) -> dict[str, Any]:
        """Return what it is, whatever it is called on this machine."""
        return {"base": self.fingerprint}

    def config(self, part: str) -> dict[str, Any]:
        """Return the settings of one part; the scheduler's are `scheduler`."""
        name = "scheduler_config.json" if part == "scheduler" else "config.json"
        return json.loads((self.folder / part / name).read_text("utf-8"))

    def variant(self, part: str) -> str | None:
        """Return `fp16` where a part's weights are there in half precision only."""
        names = [path.name for path in (self.folder / part).glob("*.safetensors")]
        return "fp16" if all(".fp16" in name for name in names) else None

    @property
    def downscale(self) -> int:
        """How many pixels of the image side make one of its latents."""
        return 2 ** (len(self.config("vae")["block_out_channels"]) - 1)

    @property
    def shape(self) -> Shape:
        """The image size and the number of tokens that it was made for."""
        settings = self.folder / "tokenizer" / "tokenizer_config.json"
        tokens = json.loads(settings.read_text("utf-8"))["model_max_length"]
        sample = self.config("unet").get("sample_size") or 0
        return Shape(sample * self.downscale, tokens)

    @property
    def size(self) -> int:
        """Bytes of its networks in float32."""
        total = 0
        for part in NETWORKS:
            half = 2 if self.variant(part) else 1
            files = (self.folder / part).glob("*.safetensors")
            left_out = "non_ema" if half == 2 else ".fp16"
            total += half * sum(path.stat().st_size for path in files if left_out not in path.name)
        return total


def split_base(text: str) -> tuple[str, bool]:
    """Split what was given for a base: its folder or hub id, and whether the whole denoiser is trained."""
    return text.removesuffix(WHOLE), text.endswith(WHOLE)


def base_label(text: str) -> str:
    """Return what was given for a base without the folders that lead to it; empty stays empty."""
    model, whole = split_base(text)
    local = resolve_out(model)
    name = local.name if model and local.is_dir() else model
    return name + (WHOLE if whole else "")


def find_base(text: str, size: int) -> Base:
    """Find and check a base; a hub id's files are downloaded, its settings first.

    Parameters
    ----------
    text : str
        A folder (a relative one lies below the project's root) or a hub id; `?whole` may follow.
    size : int
        Pixels of the side of the images that it is to be trained on.

    Raises
    ------
    InputError
        Where it cannot be had, is of another kind, lacks a part, or does not fit the size; and where
        adapters are to be trained and peft is not installed.
    """
    model, whole = split_base(text)
    where = f"base {model!r}"
    if not whole and importlib.util.find_spec("peft") is None:
        fault = "its adapters are trained with peft, which is not installed"
        raise InputError(f"{where}: {fault}; pip install peft, or write {model}{WHOLE}")
    local = resolve_out(model)
    if local.is_dir():
        base = Base(local.name, local, whole)
        _check_settings(base, where, size)
    else:
        base = Base(model, _downloaded(model, where, SETTINGS), whole)
        _check_settings(base, where, size)
        weights = [f"{part}/*.safetensors" for part in NETWORKS]
        folder = _downloaded(model, where, weights, besides=["*non_ema*", "*.fp16.*"])
        if not all(any(folder.glob(pattern)) for pattern in weights):
            _downloaded(model, where, weights, besides=["*non_ema*"])  # in half precision only
    _check_weights(base, where)
    return base


def _check_settings(base: Base, where: str, size: int) -> None:
    """Check all but the weights."""
    index = _read(base.folder / INDEX, where)
    if index.get("_class_name") != KIND:
        raise InputError(
            f"{where}: is a {index.get('_class_name')}; give a {KIND}, as Stable Diffusion 1.5 and 2.1 are"
        )
    for part, kinds in PARTS.items():
        is_of = (index.get(part) or [None, None])[1]
        if is_of not in kinds:
            raise InputError(f"{where}: its {part} is a {is_of}; give one with a {kinds[0]}")
        file = "tokenizer_config.json" if part == "tokenizer" else "config.json"
        _read(base.folder / part / file, where)
    _read(base.folder / "scheduler" / "scheduler_config.json", where)
    try:
        _check_fit(base, where, size)
    except (KeyError, TypeError) as error:
        raise InputError(f"{where}: its settings lack {error}; save it again") from error


def _check_fit(base: Base, where: str, size: int) -> None:
    """Check that the parts fit each other, and the images."""
    unet, vae, text = (base.config(part) for part in ("unet", "vae", "text_encoder"))
    predicts = base.config("scheduler").get("prediction_type", "epsilon")
    if predicts not in PREDICTIONS:
        raise InputError(
            f"{where}: its denoiser predicts {predicts}; give one of {', '.join(PREDICTIONS)}"
        )
    channels = {unet["in_channels"], unet["out_channels"], vae["latent_channels"]}
    if len(channels) > 1:
        fault = f"its denoiser takes {unet['in_channels']} channels, its autoencoder makes"
        raise InputError(f"{where}: {fault} {vae['latent_channels']}; give one for text alone")
    if unet["cross_attention_dim"] != text["hidden_size"]:
        fault = f"its denoiser reads texts of width {unet['cross_attention_dim']}, its text encoder"
        raise InputError(f"{where}: {fault} writes {text['hidden_size']}; the parts do not fit")
    tokens, positions = base.shape.tokens, text["max_position_embeddings"]
    if tokens > positions:
        fault = f"its tokenizer writes {tokens} tokens, its text encoder reads {positions}"
        raise InputError(f"{where}: {fault}; the parts do not fit")
    cell = max(8, base.downscale)
    if size % cell:
        fault = f"its images have sides that {cell} divides, and the profile's have {size} pixels"
        raise InputError(f"{where}: {fault}; choose another profile")


def _check_weights(base: Base, where: str) -> None:
    """Check that every network has weights that can be read without unpickling."""
    for part in NETWORKS:
        if not any((base.folder / part).glob("*.safetensors")):
            fault = f"its {part} has no weights as safetensors"
            raise InputError(f"{where}: {fault}; save it with safe_serialization=True")


def _read(path: Path, where: str) -> dict[str, Any]:
    """A settings file. Raises InputError where it is missing or damaged."""
    name = f"{path.parent.name}/{path.name}" if path.name != INDEX else INDEX
    try:
        content = json.loads(path.read_text("utf-8"))
    except OSError as error:
        fault = f"has no {name}; give a whole pipeline folder, of a StableDiffusionPipeline"
        raise InputError(f"{where}: {fault}") from error
    except ValueError as error:
        raise InputError(f"{where}: its {name} is damaged; save it again") from error
    if not isinstance(content, dict):
        raise InputError(f"{where}: its {name} is damaged; save it again")
    return content


def _downloaded(model: str, where: str, patterns: list[str], besides: Sequence[str] = ()) -> Path:
    """The folder of a hub id's files of some patterns, `besides` left out, downloaded where they are not here yet."""
    from huggingface_hub import snapshot_download

    try:
        here = snapshot_download(model, allow_patterns=patterns, ignore_patterns=list(besides))
        return Path(here)
    except Exception as error:  # offline, missing, gated, no certificate: each raises its own kind
        remedy = "check the name and the network, or give a folder"
        if "gated" in f"{type(error).__name__} {error}".lower():
            remedy = "it is gated: accept its terms on its page, then log in with `hf auth login`"
        kind = type(error).__name__
        raise InputError(f"{where}: could not be had from the hub ({kind}): {remedy}") from error
