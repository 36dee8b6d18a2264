"""The 6 specialties and 10 imaging modalities, read from `modalities.toml`, and the captions made from them."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["MODALITIES", "SPECIALTIES", "TEMPLATES", "Finding", "Modality", "caption"]

COUNT_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
TEMPLATES = ("{name}, {finding}", "{name} showing {finding}", "{finding} on {name}")


@dataclass(frozen=True)
class Finding:
    """One class of a modality.

    Attributes
    ----------
    key
        Its name in data and results.
    name
        The plain phrase.
    phrases
        Paraphrases for captions. {side}, {lesion_size}, {count} and {grade} in them are filled from an
        image's attributes; where one of these is unknown, `name` is used instead. A finding that has
        such phrases has no others, so that its captions name what is known.
    """

    key: str
    name: str
    phrases: tuple[str, ...]


@dataclass(frozen=True)
class Modality:
    """One imaging modality.

    Attributes
    ----------
    key
        Its name in data and results.
    specialty
        The medical specialty that it is listed under.
    names
        What captions call it.
    findings
        Its classes.
    appearance
        A real image of it, in words.
    medmnist
        The sets of MedMNIST v2 that hold it.
    """

    key: str
    specialty: str
    names: Sequence[str]
    findings: tuple[Finding, ...]
    appearance: str
    medmnist: Sequence[str] = ()


def _finding(key: str, words: Sequence[str]) -> Finding:
    """A finding from its row of the table: the plain phrase first, then paraphrases."""
    with_attributes = tuple(phrase for phrase in words if "{" in phrase)
    return Finding(key, words[0], with_attributes or tuple(words))


def _read_table() -> dict[str, Modality]:
    """The table beside this module."""
    table = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
    modalities = {}
    for key, row in table.items():
        findings = tuple(_finding(name, words) for name, words in row.pop("findings").items())
        modalities[key] = Modality(key, findings=findings, **row)
    return modalities


MODALITIES: dict[str, Modality] = _read_table()
SPECIALTIES: tuple[str, ...] = tuple(dict.fromkeys(row.specialty for row in MODALITIES.values()))


def caption(
    modality: str,
    finding: str,
    attributes: Mapping[str, Any] | None = None,
    *,
    rng: np.random.Generator | None = None,
) -> str:
    """Make one caption of an image, in the table's words.

    Parameters
    ----------
    modality, finding
        Their keys; an unknown one is spelt with blanks.
    attributes
        May hold side, lesion_size, count and grade. A phrase whose placeholder has no value gives way
        to the finding's plain name.
    rng
        Draws finding, template and name among the paraphrases; without it the first of each is taken.

    Returns
    -------
    str
        Such as "abdominal CT, three small hypodense liver lesions".
    """
    row = MODALITIES.get(modality) or _unlisted_modality(modality)
    entry = next((one for one in row.findings if one.key == finding), _unlisted_finding(finding))

    def pick(options: Sequence[str]) -> str:
        return options[int(rng.integers(len(options)))] if rng else options[0]

    # The order of these three fixes the random stream.
    phrase = _filled(pick(entry.phrases), entry.name, attributes or {})
    template = pick(TEMPLATES)
    name = pick(row.names)
    return template.format(name=name, finding=phrase)


def _unlisted_modality(key: str) -> Modality:
    words = key.replace("_", " ")
    return Modality(key, specialty="", names=(words,), findings=(), appearance="")


def _unlisted_finding(key: str) -> Finding:
    words = key.replace("_", " ")
    return Finding(key, words, (words,))


def _filled(phrase: str, name: str, attributes: Mapping[str, Any]) -> str:
    """A phrase with its placeholders filled; the plain `name` where an attribute is unknown."""
    stated = {key: value for key, value in attributes.items() if value not in (None, "", -1)}
    count = stated.get("count", -1)
    if 0 <= count < len(COUNT_WORDS):
        stated["count"] = COUNT_WORDS[count]
    try:
        return phrase.format(**stated)
    except KeyError:
        return name
