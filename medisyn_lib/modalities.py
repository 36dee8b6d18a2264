"""The 6 specialties and 10 imaging modalities, read from `modalities.toml`, and the captions made from them."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

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
    """One imaging modality: its specialty, its names in captions, its findings, how it looks."""

    key: str
    specialty: str
    names: tuple[str, ...]
    findings: tuple[Finding, ...]
    looks_like: str


TEMPLATES = ("{name}, {finding}", "{name} showing {finding}", "{finding} on {name}")


def _read_table() -> dict[str, Modality]:
    """The table beside this module; where a finding has phrases with attributes, captions take only those."""
    found = {}
    for key, row in tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8")).items():
        findings = tuple(
            Finding(name, words[0], tuple(w for w in words if "{" in w) or tuple(words))
            for name, words in row["findings"].items()
        )
        found[key] = Modality(key, row["specialty"], tuple(row["names"]), findings, row["looks_like"])
    return found


MODALITIES: dict[str, Modality] = _read_table()
SPECIALTIES: tuple[str, ...] = tuple(dict.fromkeys(row.specialty for row in MODALITIES.values()))


def finding_of(modality: str, key: str) -> Finding:
    """The finding `key` of a modality; an unknown modality or key is given a plain generic one."""
    row = MODALITIES.get(modality)
    for finding in row.findings if row else ():
        if finding.key == key:
            return finding
    words = key.replace("_", " ")
    return Finding(key, words, (words,))


def modality_names(modality: str) -> tuple[str, ...]:
    """The names a modality goes by in captions; an unknown key is spelt with blanks."""
    row = MODALITIES.get(modality)
    return row.names if row else (modality.replace("_", " "),)


def caption(
    modality: str,
    finding: str,
    attributes: Mapping[str, object] | None = None,
    *,
    rng: np.random.Generator | None = None,
) -> str:
    """One caption of an image, in the table's words.

    `attributes` may hold side, lesion_size, count and grade; a phrase whose placeholder has no
    value gives way to the finding's plain name. With `rng` template, name and phrase are drawn
    among the paraphrases; without it the first of each is taken.
    """
    known = {k: v for k, v in (attributes or {}).items() if v not in (None, "", -1)}
    if isinstance(known.get("count"), int | np.integer):
        count = int(known["count"])  # type: ignore[call-overload]
        known["count"] = COUNT_WORDS[count] if count < len(COUNT_WORDS) else str(count)

    def pick(options: tuple[str, ...]) -> str:
        return options[int(rng.integers(len(options)))] if rng else options[0]

    entry = finding_of(modality, finding)
    try:
        phrase = pick(entry.phrases).format(**known)
    except KeyError:
        phrase = entry.name
    return pick(TEMPLATES).format(name=pick(modality_names(modality)), finding=phrase)
