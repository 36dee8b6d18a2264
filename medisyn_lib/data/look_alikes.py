"""Images that look the same: small grey copies of them, compared block by block, so that 100,000 fit into memory."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from PIL import Image

from medisyn_lib.data.pixels import centre_square

__all__ = [
    "NO_MATCHES",
    "SIDE",
    "THUMBNAIL",
    "Matches",
    "across_groups",
    "closest",
    "thumbnail",
    "vectors",
]

SIDE = 64  # pixels that an image is brought to first, whatever its size
THUMBNAIL = (16, 16)  # pixels, to compare images by
BLOCK = 256  # images that are compared with all others at once


class Matches(NamedTuple):
    """Pairs of images by their numbers, and how alike they are."""

    first: np.ndarray  # int (k,)
    second: np.ndarray  # int (k,)
    scores: np.ndarray  # float (k,), correlation in [-1, 1]


NO_MATCHES = Matches(np.empty(0, int), np.empty(0, int), np.empty(0, np.float32))


def thumbnail(image: Image.Image | np.ndarray) -> np.ndarray:
    """Return a small grey copy of an image's centre square as uint8 (256,)."""
    grey = centre_square(image, SIDE).convert("L")
    return np.asarray(grey.resize(THUMBNAIL, Image.Resampling.BOX)).ravel()


def vectors(thumbnails: np.ndarray) -> np.ndarray:
    """Return unit vectors, float32 (n, 256), whose products are correlations.

    Brightness and contrast are taken away, then what all images have in common. An image in which nothing is
    left has a vector of zeros.

    Parameters
    ----------
    thumbnails
        Of one modality, uint8 (n, 256).
    """
    rows = thumbnails.astype(np.float32)
    rows -= rows.mean(axis=1, keepdims=True)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)
    rows -= rows.mean(axis=0)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return rows


def across_groups(unit: np.ndarray, groups: np.ndarray, threshold: float) -> Iterator[Matches]:
    """Yield the pairs of images in different groups whose correlation reaches a threshold.

    Parameters
    ----------
    unit
        Of `vectors`, (n, 256).
    groups
        The split or role of each, (n,); the first of a pair is in the one whose name comes first.
    threshold
        In [-1, 1].

    Yields
    ------
    Matches
        Of one block of images at a time.
    """
    for one, other in itertools.combinations(np.unique(groups), 2):
        first, second = np.flatnonzero(groups == one), np.flatnonzero(groups == other)
        if len(first) > len(
            second
        ):  # long blocks of few images are quicker than short ones of many
            large, small = first, second
        else:
            large, small = second, first
        against = unit[large].T
        for start in range(0, len(small), BLOCK):
            block = small[start : start + BLOCK]
            scores = unit[block] @ against
            a, b = np.nonzero(scores >= threshold)
            pair = (block[a], large[b]) if small is first else (large[b], block[a])
            yield Matches(*pair, scores[a, b])


def closest(some: Matches, more: Matches, most: int) -> Matches:
    """Return the pairs of both, of more than `most` those with the highest scores."""
    pairs = Matches(*map(np.concatenate, zip(some, more, strict=True)))
    surplus = len(pairs.scores) - most
    if surplus <= 0:
        return pairs
    kept = np.sort(np.argpartition(pairs.scores, surplus)[surplus:])
    return Matches(pairs.first[kept], pairs.second[kept], pairs.scores[kept])
