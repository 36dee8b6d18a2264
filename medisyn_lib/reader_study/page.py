"""A reader's page: one self-contained HTML file, and the key to what it shows."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

import numpy as np

from medisyn_lib.data.pixels import centre_square
from medisyn_lib.modalities import MODALITIES
from medisyn_lib.reader_study.answers import FORMAT, PAIRS
from medisyn_lib.reader_study.items import Item
from medisyn_lib.reader_study.texts import as_html

TEMPLATES = Path(__file__).parent


class Showing(NamedTuple):
    """One showing of an item: when, of which item, and whether it came before (1) or not (0)."""

    time: float
    item: int
    again: int


def data_uri(pixels: np.ndarray, side: int) -> str:
    """Return an image as a PNG data URI whose length depends on its side alone.

    Parameters
    ----------
    pixels : (h, w, 3) uint8 array
        Its centre square is shown.
    side : int
        Pixels.
    """
    buffer = io.BytesIO()
    # Compressed, smooth images would be shorter.
    centre_square(pixels, side).save(buffer, "PNG", compress_level=0)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def reader_page(
    study: str, reader: str, items: Sequence[Item], seed: int, texts: Mapping[str, str]
) -> tuple[str, dict[str, Any]]:
    """Make a reader's page, whose order and sides are the reader's own; training items come first.

    Parameters
    ----------
    study, reader : str
        Their names.
    items : sequence of Item
        With images.
    seed : int
        Of order and sides.
    texts : mapping
        As of `texts.read_texts`.

    Returns
    -------
    html : str
        The page.
    key : dict
        By token: `item`, `flip` (the second image comes first), `again`, and `shown`, a CRC-32 that
        tells an edited page and is no signature.
    """
    rng = np.random.default_rng([seed, zlib.crc32(reader.encode())])
    flips = rng.integers(2, size=len(items))
    entries, key = [], {}
    for number, showing in enumerate(_order(items, rng), 1):
        token = f"{number:03d}"
        item = items[showing.item]
        flip = bool(flips[showing.item] ^ showing.again)
        entry = _entry(item)
        images = item["images"][::-1] if flip else item["images"]
        check = zlib.crc32("\n".join([*entry.values(), *images]).encode())
        more: dict[str, Any] = {"grey": item.get("grey", False)}
        if item["training"]:
            more["truth"] = _truth(item, flip)
        key[token] = {
            "item": showing.item,
            "flip": flip,
            "again": showing.again,
            "shown": check,
        }
        entries.append({"token": token, **entry, **more, "images": images})
    content = {"format": FORMAT, "study": study, "reader": reader, "items": entries}
    return _html(content, texts), key


def _order(items: Sequence[Item], rng: np.random.Generator) -> list[Showing]:
    """Return all showings in a random order; what comes twice is in the first half, then in the second.

    Training items come before all others, in their own order.
    """
    times = rng.random((len(items), 2))
    times /= [[2 if item["repeat"] else 1, 2] for item in items]
    times[:, 0] -= [item["training"] for item in items]
    showings = []
    for number, item in enumerate(items):
        showings.append(Showing(times[number, 0], number, 0))
        if item["repeat"]:
            showings.append(Showing(times[number, 1] + 0.5, number, 1))
    return sorted(showings)


def _entry(item: Item) -> dict[str, str]:
    """Return what the page says of an item, in words."""
    name = item["modality"]
    words = MODALITIES[name].names[0] if name in MODALITIES else name.replace("_", " ")
    is_pair = item["kind"] in PAIRS
    return {
        "kind": "pair" if is_pair else "rating",
        "modality": words[:1].upper() + words[1:],
        "caption": "" if is_pair else item["caption"],
    }


def _truth(item: Item, flip: bool) -> str:
    """Return what a reader is told after a training item."""
    if item["kind"] == "pair":
        return f"Image {'A' if flip else 'B'} is the synthetic one."
    if item["kind"] == "mismatched":
        return "This image is real, and the description is of another image: it should score low."
    return "This image is synthetic, made from this description."


def _html(content: dict[str, Any], texts: Mapping[str, str]) -> str:
    """Return the page, whose policy allows its own style and script alone, by their hashes."""
    parts = {}
    for kind in ("html", "css", "js"):
        parts[kind] = (TEMPLATES / f"page.{kind}").read_text("utf-8")
    for kind in ("css", "js"):
        digest = hashlib.sha256(parts[kind].encode()).digest()
        parts[f"{kind}_hash"] = base64.b64encode(digest).decode()
    # Escaped, no caption ends the element that holds it.
    escaped = json.dumps(content).replace("<", "\\u003c")
    words = {name: as_html(text) for name, text in texts.items()}
    return Template(parts["html"]).substitute(parts, study=escaped, **words)
