"""Encoders that have a name of their own: where their weights lie on this machine, and how they come there.

Nothing is downloaded here. A folder of the encoder's name below `MEDISYN_ENCODERS` comes first, then the cache of the
Hugging Face hub.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from medisyn_lib.errors import InputError

__all__ = [
    "FOLDER_VARIABLE",
    "NAMED",
    "OPEN_CLIP_FILES",
    "TRANSFORMERS_FILES",
    "NamedEncoder",
    "fetch_command",
    "local_folder",
]

FOLDER_VARIABLE = "MEDISYN_ENCODERS"
TRANSFORMERS_FILES = ("model.safetensors", "config.json", "preprocessor_config.json")
OPEN_CLIP_FILES = ("open_clip_pytorch_model.bin", "open_clip_config.json")


@dataclass(frozen=True)
class NamedEncoder:
    """An encoder on the Hugging Face hub.

    Attributes
    ----------
    name : str
        What it is called here.
    repository : str
        OWNER/NAME.
    files : tuple of str
        What is needed of it, the weights first.
    """

    name: str
    repository: str
    files: tuple[str, ...]


_ENCODERS = (
    # Oquab et al., arXiv 2304.07193: photographs.
    NamedEncoder("dinov2", "facebook/dinov2-base", TRANSFORMERS_FILES),
    # Perez-Garcia et al., arXiv 2401.10815: chest X-rays.
    NamedEncoder("rad-dino", "microsoft/rad-dino", TRANSFORMERS_FILES),
    # Zhang et al., arXiv 2303.00915: figures of biomedical articles.
    NamedEncoder(
        "biomedclip", "microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224", OPEN_CLIP_FILES
    ),
)
NAMED = {encoder.name: encoder for encoder in _ENCODERS}


def fetch_command(encoder: NamedEncoder) -> str:
    """Return the command that fetches an encoder's files into the hub's cache where there is a network."""
    return f"hf download {encoder.repository} {' '.join(encoder.files)}"


def local_folder(encoder: NamedEncoder) -> Path:
    """Return the folder that holds an encoder's files.

    Raises
    ------
    InputError
        Where they are not on this machine, with the commands that fetch them.
    """
    from huggingface_hub import try_to_load_from_cache

    root = os.environ.get(FOLDER_VARIABLE)
    if root and all(Path(root, encoder.name, name).is_file() for name in encoder.files):
        return Path(root, encoder.name)
    cached = [try_to_load_from_cache(encoder.repository, name) for name in encoder.files]
    if all(isinstance(path, str) for path in cached):
        return Path(str(cached[0])).parent
    command = fetch_command(encoder)
    raise InputError(
        f"encoder {encoder.name!r}: its weights are not on this machine; run `{command}`, or elsewhere "
        f"`{command} --local-dir DIR/{encoder.name}`, bring DIR here and set {FOLDER_VARIABLE}=DIR"
    )
