"""What is written behind a source `folder:` or `hub:`: `folder:DIR@chest_xray?map=holdout:test&words=40`.

First comes the modality, where no column names it, then options. They are part of the source's name, so every
notebook takes them with `data`, and what is cached under one set of them is not read under another.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from medisyn_lib.data.rows import require
from medisyn_lib.data.splits import SPLITS
from medisyn_lib.runtime.paths import resolve_out

__all__ = ["SourceOptions", "parse", "with_options"]

OPTIONS = re.compile(r"(?P<source>.*?)\?(?P<options>(?:map|words|config)=.*)")
MODALITY = re.compile(r"(?P<source>.*)@(?P<modality>[a-z][a-z0-9_]*)")
WORDS = (1, 1000)  # of a caption
WRITTEN = "write SOURCE?map=OTHER:train&words=40&config=NAME, each of them once at most"


class SourceOptions(NamedTuple):
    """A source, and how it is to be read.

    Attributes
    ----------
    source
        The source without all that is written behind it.
    modality
        What its images are; empty where its name does not say so.
    split_map
        What the source's own names of splits mean, beside those that are known.
    words
        How many words of a caption are kept; None for all.
    config
        Which configuration of a dataset of the hub is read; empty for its only one.
    """

    source: str
    modality: str = ""
    split_map: Mapping[str, str] = {}
    words: int | None = None
    config: str = ""


def parse(source: str) -> SourceOptions:
    """Read what is written behind a source. Raises InputError for an option that is not as it must be."""
    found = OPTIONS.fullmatch(source)
    if not found:
        return SourceOptions(*_without_modality(source))
    where = f"data source {source!r}"
    stated: dict[str, str] = {}
    for item in found["options"].split("&"):
        name, _, value = item.partition("=")
        is_new = name in ("map", "words", "config") and name not in stated
        require(is_new and value, f"{where}: option {item!r} is not read: {WRITTEN}")
        stated[name] = value
    return SourceOptions(
        *_without_modality(found["source"]),
        _split_map(stated.get("map", ""), where),
        _words(stated.get("words", ""), where),
        stated.get("config", ""),
    )


def _without_modality(source: str) -> tuple[str, str]:
    """A source without its modality, and that modality. A folder whose own name ends so stays whole."""
    kind, _, place = source.partition(":")
    found = MODALITY.fullmatch(source)
    is_whole = kind == "folder" and resolve_out(place).is_dir()
    if kind not in ("hub", "folder") or not found or is_whole:
        return source, ""
    return found["source"], found["modality"]


def _split_map(text: str, where: str) -> dict[str, str]:
    """What names of splits mean, out of `holdout:test,extra:train`."""
    meaning = {}
    for pair in filter(None, text.split(",")):
        name, _, split = pair.rpartition(":")
        require(
            name and split in SPLITS,
            f"{where}: the split map says {pair!r}: say of a name whether it is {', '.join(SPLITS)}",
        )
        meaning[name] = split
    return meaning


def _words(text: str, where: str) -> int | None:
    """How many words of a caption are kept."""
    if not text:
        return None
    low, high = WORDS
    is_number = text.isascii() and text.isdigit() and low <= int(text) <= high
    require(is_number, f"{where}: words={text}: give a number from {low} to {high}")
    return int(text)


def with_options(
    source: str, *, split_map: Mapping[str, str] | None = None, words: int | None = None
) -> str:
    """Write options behind a source that has none of these yet; nothing where there is none to write."""
    options = []
    if split_map:
        options.append("map=" + ",".join(f"{name}:{split}" for name, split in split_map.items()))
    if words is not None:
        options.append(f"words={words}")
    if not options:
        return source
    return source + ("&" if OPTIONS.fullmatch(source) else "?") + "&".join(options)
