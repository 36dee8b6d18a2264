"""Splits and roles: patients dealt once, by a stable hash."""

import hashlib

SPLITS = ("train", "val", "test")
ROLES = ("first_stage", "generator", "evaluator", "calibration", "test")
SPLIT_OF_ROLE = dict(zip(ROLES, ("train", "train", "train", "val", "test"), strict=True))
GENERATOR_SHARE = 0.7  # of the train patients; the others belong to the evaluator


def stable_fraction(*words: object) -> float:
    """A number in [0, 1) that depends on the words alone: the same on every machine, in every run."""
    digest = hashlib.blake2b("/".join(map(str, words)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def role_of(split: str, patient_id: str) -> str:
    """The role of a patient of a finite source; train patients are dealt 70:30 by a stable hash."""
    if split != "train":
        return {"val": "calibration", "test": "test"}[split]
    return "generator" if stable_fraction("role", patient_id) < GENERATOR_SHARE else "evaluator"


def deal_split(patient_id: str) -> str:
    """The split of a patient where a source has none: 70% train, 10% val, 20% test by a stable hash."""
    number = stable_fraction("split", patient_id)
    return "train" if number < 0.7 else "val" if number < 0.8 else "test"
