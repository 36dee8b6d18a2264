"""The gallery of an audit's report: judged images beside their nearest training images, as a run has left them."""

from __future__ import annotations

import base64
import csv
import io
from pathlib import Path
from typing import NamedTuple

from medisyn_lib.errors import InputError

FIGURE = "05_nearest"
REAL = ".real"  # ends the name of a figure that shows real images


class GalleryPair(NamedTuple):
    """A judged image and its nearest training image, each a PNG in base64, with what is known of the pair."""

    image: str
    training: str
    name: str  # of the file, or the seed
    modality: str
    flagged: bool
    ratio: float  # distance to the nearest training image over that to the tenth nearest
    detector: str


def read_gallery(out: Path, *, real: bool) -> list[GalleryPair]:
    """Read the pairs that notebook 05 has left below a run's folder, the most suspicious first.

    Parameters
    ----------
    out : Path
        The run's folder.
    real : bool
        Whether those with real images are wanted, or those without.

    Returns
    -------
    list of GalleryPair
        Empty where there are none of the kind.

    Raises
    ------
    InputError
        Where table and pictures do not fit each other.
    """
    table = out / "figures" / f"{FIGURE}{REAL if real else ''}.csv"
    if not table.is_file():
        return []
    with table.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    pictures = _tiles(table.with_suffix(".tiles.png"))
    half = len(rows) // 2
    if len(rows) != len(pictures) or len(rows) != 2 * half:
        raise InputError(
            f"{table}: {len(rows)} rows for {len(pictures)} pictures; run its notebook again"
        )
    return [
        GalleryPair(
            pictures[place],
            pictures[half + place],
            row["image"],
            row["modality"],
            row["flagged"] == "True",
            float(row["ratio"]),
            row["detector"],
        )
        for place, row in enumerate(rows[:half])
    ]


def _tiles(path: Path) -> list[str]:
    """The square pictures that stand in one column of a file, each as PNG in base64."""
    import PIL.Image

    column = PIL.Image.open(path).convert("RGB")
    side = column.width
    found = []
    for top in range(0, column.height, side):
        buffer = io.BytesIO()
        column.crop((0, top, side, top + side)).save(buffer, "PNG")
        found.append(base64.b64encode(buffer.getvalue()).decode())
    return found
