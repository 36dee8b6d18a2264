"""How images are stored: file format, size and sharpness, and where two groups differ in these.

Such a difference can be told without looking at what an image shows, and every measure of distance takes
it for one of content.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from medisyn_lib.data import sources
from medisyn_lib.data.pixels import centre_square, file_format, is_blank, stored_size
from medisyn_lib.data.rows import Row

__all__ = [
    "Storage",
    "advice",
    "differences",
    "examine",
    "of_finished",
    "of_sampled",
    "of_source",
    "sharpness",
]

EXAMINED = 400  # images of a group, evenly chosen
PHANTOMS_EXAMINED = 20  # per modality
SIDE = 64  # pixels at which sharpness is compared
LOSSY = ("JPEG", "MPO", "WEBP", "JPEG2000", "AVIF", "GIF")  # formats that change the pixels
FORMAT_GAP = 0.05  # smallest difference that is named, of the proportion of a lossy format
SIZE_RATIO = 1.1  # of the median sizes
SHARPNESS_RATIO = 1.25  # of the median sharpness
REMEDY = (
    "measures may tell the groups apart by that alone: `medisyn data unify SOURCE DIR --out OUT` "
    "brings both to one size and format"
)
SHARPER = 0.75  # and so often is an image of one group sharper than one of the other


class Storage(NamedTuple):
    """How the images of a group are stored.

    Attributes
    ----------
    formats : how many have which file format; "array" stands for pixels that are no file
    sides : int (n,), the shorter side in pixels; empty where it is not fixed
    sharpness : by modality, float (m,), as of `sharpness`
    blank : how many are of one colour
    """

    formats: Mapping[str, int]
    sides: np.ndarray
    sharpness: Mapping[str, np.ndarray]
    blank: int = 0


def sharpness(image: Image.Image | np.ndarray) -> float:
    """Measure how sharp an image is at 64 pixels: the deviation of its Laplacian over that of its grey levels."""
    grey = np.asarray(centre_square(image, SIDE).convert("L"), np.float64)
    middle = grey[1:-1, 1:-1]
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    return float((around - 4 * middle).std() / max(grey.std(), 1e-6))


def examine(
    images: Iterable[Image.Image | np.ndarray], modalities: Iterable[str], *, any_size: bool = False
) -> Storage:
    """Examine images and the modality of each; with `any_size` their size is no property of theirs."""
    formats: Counter[str] = Counter()
    sides, by_modality, blank = [], dict[str, list[float]](), 0
    for image, modality in zip(images, modalities, strict=True):
        formats[file_format(image)] += 1
        sides.append(min(stored_size(image)))
        if is_blank(np.asarray(centre_square(image, SIDE))[None])[0]:
            blank += 1
        else:
            by_modality.setdefault(modality, []).append(sharpness(image))
    values = {name: np.array(found) for name, found in by_modality.items()}
    return Storage(formats, np.array([] if any_size else sides), values, blank)


def of_source(source: str) -> Storage:
    """Examine some images of a data source. Raises InputError as `sources.rows` and `sources.load` do."""
    if source == "phantom":
        drawn = sources.load(source, "test", per_modality=PHANTOMS_EXAMINED)
        pixels = (np.asarray(row["image"]) for row in drawn.select_columns("image"))
        return examine(pixels, drawn["modality"][:], any_size=True)
    chosen = _evenly(sources.rows(source))
    images = sources.source_module(source).images(chosen)
    return examine(images, (row["modality"] for row in chosen))


def of_sampled(side: int | None) -> Storage:
    """Return how a pipeline's images are, which were never files; their sharpness is not known beforehand."""
    return Storage({"sampled": 1}, np.array([] if side is None else [side]), {})


def of_finished(folder: str) -> Storage:
    """Examine all of a folder's finished images. Raises InputError as `sources.preflight_finished` does."""
    rows = sources.finished_rows(folder)
    return examine(sources.finished_images(folder, rows), (row["modality"] for row in rows))


def _evenly(rows: Sequence[Row]) -> list[Row]:
    places = np.unique(np.linspace(0, len(rows) - 1, EXAMINED).astype(int))
    return [rows[place] for place in places]


def advice(*, real: Storage, synthetic: Storage) -> list[str]:
    """Return the `differences` of two groups, each with what to do about it."""
    return [f"{line}; {REMEDY}" for line in differences(real=real, synthetic=synthetic)]


def differences(*, real: Storage, synthetic: Storage) -> list[str]:
    """Name where two groups differ in how they are stored, a line each; none where they do not.

    Named are a lossy file format that one group has more often by 5 points, a median size that differs
    by a tenth, and a median sharpness that differs by a quarter where three in four images of one group
    are sharper than those of the other. Sharpness is compared over the modalities that both have.
    """
    return list(_differences(real, synthetic))


def _differences(real: Storage, synthetic: Storage) -> Iterator[str]:
    if any(abs(_part(real, name) - _part(synthetic, name)) > FORMAT_GAP for name in LOSSY):
        yield f"file format: real images are {_in_words(real)}, synthetic ones {_in_words(synthetic)}"
    if len(real.sides) and len(synthetic.sides):
        sides = np.median(real.sides), np.median(synthetic.sides)
        if max(sides) > SIZE_RATIO * min(sides):
            yield f"size: real images have {sides[0]:.0f} pixels (median), synthetic ones {sides[1]:.0f}"
    shared = [name for name in real.sharpness if name in synthetic.sharpness]
    a, b = _pooled(real, shared), _pooled(synthetic, shared)
    if len(a) and len(b):
        levels = np.median(a), np.median(b)
        sharper = (a[:, None] > b).mean()
        apart = max(sharper, 1 - sharper) > SHARPER
        if apart and max(levels) > SHARPNESS_RATIO * min(levels):
            yield f"sharpness: real images have {levels[0]:.2f} (median), synthetic ones {levels[1]:.2f}"


def _part(group: Storage, name: str) -> float:
    """The proportion of a group's images that have a format."""
    return group.formats.get(name, 0) / max(sum(group.formats.values()), 1)


def _in_words(group: Storage) -> str:
    return ", ".join(f"{name} ({count})" for name, count in sorted(group.formats.items()))


def _pooled(group: Storage, modalities: Sequence[str]) -> np.ndarray:
    """The sharpness of all images of some modalities; of all where there are none to choose."""
    chosen = modalities or list(group.sharpness)
    return np.concatenate([np.empty(0), *(group.sharpness[name] for name in chosen)])
