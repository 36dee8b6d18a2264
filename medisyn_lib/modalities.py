"""The 6 specialties and 10 imaging modalities, read from `modalities.toml`, and the captions made from them."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

COUNT_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


@dataclass(frozen=True)
class Finding:
    """One class of a modality.

    `name` is the plain phrase. `phrases` are paraphrases whose {side}, {lesion_size}, {count} and
    {grade} are filled from an image's attributes; where an attribute is unknown, `name` is used.
    """

    key: str
    name: str
    phrases: tuple[str, ...]


@dataclass(frozen=True)
class Modality:
    """One imaging modality: its specialty, its names in captions, its findings, how it looks, its MedMNIST sets."""

    key: str
    specialty: str
    names: Sequence[str]
    findings: tuple[Finding, ...]
    looks_like: str
    medmnist: Sequence[str] = ()


TEMPLATES = ("{name}, {finding}", "{name} showing {finding}", "{finding} on {name}")


def _read_table() -> dict[str, Modality]:
    """The table beside this module; where a finding has phrases with attributes, captions take only those."""
    found = {}
    for key, row in tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8")).items():
        findings = tuple(
            Finding(name, words[0], tuple(w for w in words if "{" in w) or tuple(words))
            for name, words in row["findings"].items()
        )
        found[key] = Modality(key, **row | {"findings": findings})
    return found


MODALITIES: dict[str, Modality] = _read_table()
SPECIALTIES: tuple[str, ...] = tuple(dict.fromkeys(row.specialty for row in MODALITIES.values()))


def caption(
    modality: str,
    finding: str,
    attributes: Mapping[str, Any] | None = None,
    *,
    rng: np.random.Generator | None = None,
) -> str:
    """One caption of an image, in the table's words; an unknown modality or finding is spelt with blanks.

    `attributes` may hold side, lesion_size, count and grade; a phrase whose placeholder has no
    value gives way to the finding's plain name. With `rng` template, name and phrase are drawn
    among the paraphrases; without it the first of each is taken.
    """
    known = {k: v for k, v in (attributes or {}).items() if v not in (None, "", -1)}
    if 0 <= known.get("count", -1) < len(COUNT_WORDS):
        known["count"] = COUNT_WORDS[known["count"]]
    words = modality.replace("_", " "), finding.replace("_", " ")
    row = MODALITIES.get(modality, Modality(modality, "", words[:1], (), ""))
    entry = {own.key: own for own in row.findings}.get(
        finding, Finding(finding, words[1], words[1:])
    )

    def pick(options: Sequence[str]) -> str:
        return options[int(rng.integers(len(options)))] if rng else options[0]

    try:
        phrase = pick(entry.phrases).format(**known)
    except KeyError:
        phrase = entry.name
    return pick(TEMPLATES).format(name=pick(row.names), finding=phrase)
