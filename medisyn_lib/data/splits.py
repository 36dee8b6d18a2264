"""Splits and roles: each patient is assigned once, by a stable hash.

`first_stage` is the role of the autoencoder's images, the "first stage" of a latent diffusion model
(Rombach et al. 2022, arXiv:2112.10752).
"""

import hashlib
from collections.abc import Mapping

from medisyn_lib.data.rows import require

__all__ = [
    "GENERATOR_FRACTION",
    "ROLES",
    "SPLITS",
    "SPLIT_OF_ROLE",
    "deal_split",
    "is_split",
    "role_of",
    "split_named",
    "stable_fraction",
]

SPLITS = ("train", "val", "test")
SPLIT_OF_ROLE = {
    "first_stage": "train",
    "generator": "train",
    "evaluator": "train",
    "calibration": "val",
    "test": "test",
}
ROLES = tuple(SPLIT_OF_ROLE)
SPLIT_NAMES = {  # what people call the splits, in lower case
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "development": "val",
    "test": "test",
    "testing": "test",
}
GENERATOR_FRACTION = 0.7  # of the train patients; the others belong to the evaluator
TRAIN_BELOW, VAL_BELOW = (
    0.7,
    0.8,
)  # of a patient's number, where a source has no splits; the rest is test


def stable_fraction(*words: object) -> float:
    """Hash words to a number in [0, 1): the same on every machine, in every run."""
    digest = hashlib.blake2b("/".join(map(str, words)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def role_of(split: str, patient_id: str) -> str:
    """Return the role of a patient of a finite source; train patients are divided 70:30."""
    if split == "val":
        return "calibration"
    if split == "test":
        return "test"
    return "generator" if stable_fraction("role", patient_id) < GENERATOR_FRACTION else "evaluator"


def is_split(name: str, split_map: Mapping[str, str] | None = None) -> bool:
    """Say whether a name means a split: by the user's own map, or as a known synonym, whatever its case."""
    return name in (split_map or {}) or name.lower() in SPLIT_NAMES


def split_named(name: str, where: str, split_map: Mapping[str, str] | None = None) -> str:
    """Return which split a name means: by the user's own map, else a known synonym, whatever its case.

    Raises
    ------
    InputError
        For a name that is neither; `where` says where it stands.
    """
    shown = name if name.isprintable() else "NAME"
    require(
        is_split(name, split_map),
        f"{where}: split {name!r} is unknown: write {', '.join(SPLITS)}, "
        f"or say which it is with --split-map {shown}=test, in a notebook with SOURCE?map={shown}:test",
    )
    return (split_map or {}).get(name) or SPLIT_NAMES[name.lower()]


def deal_split(patient_id: str) -> str:
    """Return the split of a patient where a source has none: 70% train, 10% val, 20% test."""
    number = stable_fraction("split", patient_id)
    if number < TRAIN_BELOW:
        return "train"
    return "val" if number < VAL_BELOW else "test"
