"""The same picture in two places that must not share one: in different splits, or with generator and evaluators."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image

from medisyn_lib.data.look_alikes import SIDE
from medisyn_lib.data.pixels import centre_square

if TYPE_CHECKING:
    import pandas

__all__ = ["Copies", "count_copies", "warnings_of"]

LEAST_CORRELATION = (
    0.95  # of two images less their modality's mean image; independent phantoms stay below
)
WHERE = {
    "copies_across_splits": "lie in different splits",
    "copies_across_roles": "are divided between the generator's patients and the evaluators'",
}
MEAN_OF = 500  # images of a modality, evenly chosen
AT_ONCE = 1000  # pairs


class Copies(NamedTuple):
    """How often a modality has the same picture where it must not.

    Attributes
    ----------
    across_splits : pairs of pictures in different splits
    across_roles : pairs of pictures in one split, one with the generator's patients, one with the evaluators'
    example : the image ids of one of these pairs; empty where there is none
    """

    across_splits: int
    across_roles: int
    example: tuple[str, ...]


def count_copies(
    opened: Callable[[np.ndarray], Iterable[Image.Image | np.ndarray]],
    images: pandas.DataFrame,
    look_alikes: np.ndarray,
) -> Copies:
    """Count which look-alikes of one modality are copies of one picture.

    Their grey images of 64 pixels, less the mean image of their modality, correlate at 0.95 or more. So do copies
    with JPEG quality 75, and with 20% more brightness; no two of some 300,000 pairs of independent phantoms did.

    Parameters
    ----------
    opened
        Opens the images at some numbers, in ascending order. It is not called where nothing looks alike.
    images
        Of the modality; its index holds their numbers.
    look_alikes
        Numbers of two images each, in different splits or roles, int (k, 2).
    """
    if not len(look_alikes):
        return Copies(0, 0, ())
    evenly = np.unique(np.linspace(0, len(images) - 1, MEAN_OF).astype(int))
    some = images.index.to_numpy()[evenly]
    needed = np.union1d(some, look_alikes)
    grey = np.stack([_grey(image) for image in opened(needed)])
    mean = _unit_vectors(grey[np.searchsorted(needed, some)]).mean(0)
    parts = range(0, len(look_alikes), AT_ONCE)
    is_same = np.concatenate(
        [
            _show_one_picture(grey, mean, np.searchsorted(needed, look_alikes[start:][:AT_ONCE]))
            for start in parts
        ]
    )
    copies = look_alikes[is_same]
    split = [images["split"].loc[copies[:, place]].to_numpy() for place in (0, 1)]
    across = int(np.count_nonzero(split[0] != split[1]))
    example = images["image_id"].loc[copies[0]] if len(copies) else ()
    return Copies(across, len(copies) - across, tuple(example))


def warnings_of(row: Mapping[str, Any]) -> list[str]:
    """Say in a line each where a modality, by its row of `check_source`, has copies where it must not."""
    lines = []
    for column, where in WHERE.items():
        count = row.get(column, 0)
        if count:
            lines.append(
                f"{row['modality']}: {count} pairs of copies {where}, such as {row['copy_example']}: "
                "give copies one patient_id, or drop them"
            )
    return lines


def _grey(image: Image.Image | np.ndarray) -> np.ndarray:
    """The grey levels of an image, the mean of its channels, uint8 (4096,)."""
    square = np.asarray(centre_square(image, SIDE))
    return np.rint(square.mean(axis=2, dtype=np.float32)).astype(np.uint8).ravel()


def _show_one_picture(grey: np.ndarray, mean: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Which pairs of rows of grey images show one picture, bool (k,)."""
    first, second = (_unit_vectors(grey[rows]) - mean for rows in pairs.T)
    return _correlation(first, second) >= LEAST_CORRELATION


def _unit_vectors(grey: np.ndarray) -> np.ndarray:
    """Grey images as vectors (n, d) of mean 0 and length 1."""
    vectors = grey.astype(np.float32)
    vectors -= vectors.mean(axis=1, keepdims=True)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)


def _correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The cosine of the angle between rows; of images that both show nothing else than the mean 1."""
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.where(lengths > 1e-9, (a * b).sum(1) / np.maximum(lengths, 1e-9), 1.0)
