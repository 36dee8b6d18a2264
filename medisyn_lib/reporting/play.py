"""Playing with the flagship: a request, its images, what two classifiers see in them, the training phantoms nearest.

`play_widgets` has the controls of it; here is what a press of the button does, and the picture it makes.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from medisyn_lib.claims.words import plain_name
from medisyn_lib.evaluation.memorization.flagship_index import NearestPhantoms, nearest_phantoms
from medisyn_lib.modalities import MODALITIES, caption
from medisyn_lib.pipeline import flagship
from medisyn_lib.reporting.drawing import NOT_CLINICAL
from medisyn_lib.sampling.pipeline import load_pipeline, sample_images

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline
    from PIL import Image, ImageDraw

    from medisyn_lib.training.pair_classifier import PairClassifier

__all__ = [
    "NEAREST_SHOWN",
    "Guess",
    "Played",
    "Request",
    "attributes_named",
    "describe",
    "picture",
    "sample",
]

NEAREST_SHOWN = 3  # training phantoms beside each image
CLASSIFIERS = {
    "cnn": "convolutional network",
    "linear": "linear classifier",
}  # as notebook 01 calls them
TILE, GAP, LINE = (
    192,
    8,
    18,
)  # pixels of the picture: side of a tile, space between, height of a line
BAND = 17  # pixels, at the foot of a tile: where it says what it is not for
LETTERS = 110  # in a line of the picture


@dataclass(frozen=True)
class Request:
    """What is asked of the flagship.

    Attributes
    ----------
    modality, finding : str
        Keys of `MODALITIES`.
    attributes : mapping
        Of `attributes_named`; what is missing is left to the generator.
    text : str
        Free text, in place of the caption made from the fields above; empty for none.
    seed : int
        Of the first image, 0 or more; the next ones count on.
    guidance : float
        Guidance scale; 1 is none.
    steps : int
        Of the sampler, 1 or more.
    images : int
        How many.
    """

    modality: str = "chest_xray"
    finding: str = "pneumonia"
    attributes: Mapping[str, str | int] | None = None
    text: str = ""
    seed: int = 0
    guidance: float = 2.0
    steps: int = 10
    images: int = 2

    @property
    def prompt(self) -> str:
        """The free text, else the first caption of the table."""
        return self.text.strip() or caption(self.modality, self.finding, self.attributes)

    @property
    def seeds(self) -> list[int]:
        """Of the images."""
        return list(range(self.seed, self.seed + self.images))


class Guess(NamedTuple):
    """What a classifier sees in an image: its likeliest pair, and that pair's probability in [0, 1]."""

    modality: str
    finding: str
    probability: float


class Played(NamedTuple):
    """Images of a request and what is known of them.

    Attributes
    ----------
    request : Request
    images : uint8 (n, h, w, 3)
    guesses : by classifier, one of each image
    nearest : NearestPhantoms
    """

    request: Request
    images: np.ndarray
    guesses: dict[str, list[Guess]]
    nearest: NearestPhantoms


def attributes_named(modality: str, finding: str) -> tuple[str, ...]:
    """Return the attributes that the caption of a finding states: side, lesion_size or count, in its order."""
    (entry,) = (one for one in MODALITIES[modality].findings if one.key == finding)
    return tuple(dict.fromkeys(re.findall(r"{(\w+)}", entry.phrases[0])))


@lru_cache(1)
def _pipeline() -> DiffusionPipeline:
    """The flagship, loaded once."""
    return load_pipeline(str(flagship.folder()))


def sample(request: Request) -> np.ndarray:
    """Sample the images of a request, uint8 (n, 64, 64, 3). Raises InputError as `sample_images`."""
    return sample_images(
        _pipeline(),
        [request.prompt] * request.images,
        request.seeds,
        num_inference_steps=request.steps,
        guidance_scale=request.guidance,
    )


def describe(request: Request, images: np.ndarray, readers: Mapping[str, PairClassifier]) -> Played:
    """Say what classifiers see in images of a request, and find the training phantoms nearest to them."""
    guesses = {name: _guesses(reader, images) for name, reader in readers.items()}
    return Played(request, images, guesses, nearest_phantoms(images, NEAREST_SHOWN))


def _guesses(reader: PairClassifier, images: np.ndarray) -> list[Guess]:
    """The likeliest pair of each image."""
    scores = reader.scores(images).astype(np.float64)
    odds = np.exp(scores - scores.max(1, keepdims=True))
    best = scores.argmax(1)
    guesses = []
    for place, row in zip(best, odds, strict=True):
        modality, finding = reader.classes[place]
        guesses.append(Guess(modality, finding, float(1 / row.sum())))
    return guesses


def picture(played: Played) -> Image.Image:
    """Draw a row for each image: itself, the training phantoms nearest to it, what the classifiers see."""
    from PIL import Image, ImageDraw

    rows = [_row_lines(played, place) for place in range(len(played.images))]
    head = textwrap.wrap(f'"{played.request.prompt}"', LETTERS)
    row_height = LINE + TILE + LINE * len(rows[0]) + 2 * GAP
    width = (1 + NEAREST_SHOWN) * (TILE + GAP) + GAP
    height = LINE * len(head) + GAP + row_height * len(rows)
    sheet = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(sheet)
    _write(pen, head, GAP, 2)
    for place, lines in enumerate(rows):
        top = LINE * len(head) + GAP + row_height * place
        tiles = [played.images[place], *played.nearest.images[place]]
        for column, (tile, label) in enumerate(zip(tiles, _labels(played, place), strict=True)):
            left = GAP + column * (TILE + GAP)
            _write(pen, [label], left, top)
            sheet.paste(_tile(tile), (left, top + LINE))
        _write(pen, lines, GAP, top + LINE + TILE + 3)
    return sheet


def _labels(played: Played, place: int) -> list[str]:
    """What stands above the tiles of one row."""
    nearest = [f"training phantom {row}" for row in played.nearest.row[place]]
    return [f"synthetic, seed {played.request.seeds[place]}", *nearest]


def _row_lines(played: Played, place: int) -> list[str]:
    """What stands below one image."""
    seen = [
        f"{CLASSIFIERS.get(name, name)}: {_words(guesses[place])}"
        for name, guesses in played.guesses.items()
    ]
    ratio = played.nearest.ratio[place]
    return [*seen, f"distance to the nearest training phantom, of that to the tenth: {ratio:.2f}"]


def _words(guess: Guess) -> str:
    """A guess as it is shown."""
    pair = f"{plain_name(guess.modality)}, {plain_name(guess.finding)}"
    return f"{pair} ({guess.probability:.0%})"


def _tile(pixels: np.ndarray) -> Image.Image:
    """An image enlarged by whole pixels, with what it is not for at its foot."""
    from PIL import Image, ImageDraw

    tile = Image.fromarray(pixels).resize((TILE, TILE), Image.Resampling.NEAREST)
    pen = ImageDraw.Draw(tile)
    pen.rectangle((0, TILE - BAND, TILE, TILE), fill="black")
    _write(pen, [NOT_CLINICAL], 6, TILE - BAND, "white")
    return tile


def _write(
    pen: ImageDraw.ImageDraw, lines: Sequence[str], left: int, top: int, colour: str = "black"
) -> None:
    """Write lines of text."""
    from PIL import ImageFont

    font = ImageFont.load_default(13)
    for number, line in enumerate(lines):
        pen.text((left, top + LINE * number), line, fill=colour, font=font)
