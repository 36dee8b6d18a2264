"""What a reader's page looks like: a stored picture of one, and the first pairs that it shows."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from PIL.Image import Image


def stored_picture() -> Image:
    """Open a picture of a page in a browser, at the width of a desk and of a phone."""
    from PIL import Image

    return Image.open(Path(__file__).with_name("page.png"))


class ShownPairs(NamedTuple):
    """Pairs as a reader sees them.

    `modalities` has a name per pair; `tiles` is uint8 (2 n, h, w, 3), images A and B of each in turn.
    """

    modalities: list[str]
    tiles: np.ndarray


def first_pairs(page: Path, most: int = 7) -> ShownPairs:
    """Take the first pairs, at most that many, from a reader's page."""
    content = re.search(r'id="study">(.*?)</script>', page.read_text("utf-8"), re.DOTALL)
    if content is None:
        raise ValueError(f"{page} is no page of a reader study")
    items = json.loads(content[1])["items"]
    pairs: list[Mapping[str, Any]] = [item for item in items if item["kind"] == "pair"][:most]
    tiles = [decoded(uri) for pair in pairs for uri in pair["images"]]
    return ShownPairs([pair["modality"] for pair in pairs], np.stack(tiles))


def decoded(data_uri: str) -> np.ndarray:
    """Decode a data URI of an image: uint8 (h, w, 3)."""
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data_uri.split(",")[1]))))
