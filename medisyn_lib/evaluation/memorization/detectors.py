"""Detectors of copies: descriptions of images by which a copy lies near its original, and the search by them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from medisyn_lib.data import sources
from medisyn_lib.evaluation import neighbours
from medisyn_lib.evaluation.memorization import window_descriptors
from medisyn_lib.evaluation.memorization.window_descriptors import centre_window, query_windows
from medisyn_lib.models import encoders, named_encoders
from medisyn_lib.models.tensors import in_batches, to_tensor
from medisyn_lib.pipeline.artifacts import UNKEYED, Artifact, Pixels
from medisyn_lib.pipeline.index import Index
from medisyn_lib.pipeline.reidentification import Reidentification, reidentification_of
from medisyn_lib.runtime.device import to_device
from medisyn_lib.training import reidentification

if TYPE_CHECKING:
    import datasets

    from medisyn_lib.pipeline.study import Study

# The nearest is compared with the tenth nearest, so that a crowded modality raises no alarm.
NEAREST = 10
SMALL_INDEX = 20  # of an index below 200 images it is compared with the n/20-th nearest
QUERIES_AT_ONCE = 2048  # 90 windows of each are 106 MB
ENCODER_SIDE = 128  # pixels: smaller images are not enlarged for EfficientNet-Lite0


@dataclass(frozen=True)
class Detector:
    """A way to compare images: the training images' index, and what describes queries.

    `describe` makes float32 (q, d), or (q, v, d) for v views of each, of uint8 images (q, h, w, 3).
    """

    name: str
    index: Index
    describe: Callable[[np.ndarray], np.ndarray]


class Matches(NamedTuple):
    """What q images match, by each of l detectors.

    Attributes
    ----------
    ratio : float64 (q, l), distance to the nearest training image over that to the tenth nearest, in
        [0, 1]: near 0 for a copy, near 1 for an image that resembles many
    row : int (q, l), the nearest training image's row in the index
    """

    ratio: np.ndarray
    row: np.ndarray


def copy_detectors(
    study: Study, images: datasets.Dataset, encoder: str = "efflite0"
) -> list[Detector]:
    """Index training images for each detector of copies.

    Parameters
    ----------
    images : training images
    encoder : name of an encoder of photographs, as of `models.encoders` or `models.encoder_weights`

    Returns
    -------
    Pixels; the encoder; and, where enough true patients are known, re-identification.
    """
    ids = hashlib.sha256("\n".join(images["image_id"]).encode()).hexdigest()
    settings = {
        "data": sources.fingerprint(study.source),
        "images": ids,
        "size": study.settings.size,
    }
    detectors = [
        pixel_detector(images, settings),
        photograph_detector(images, settings, encoder),
    ]
    encoder_of_patients = reidentification_of(study)
    if encoder_of_patients is not None:
        detectors.append(_reidentification_detector(images, settings, encoder_of_patients))
    return detectors


def pixel_detector(images: datasets.Dataset, settings: Mapping[str, Any]) -> Detector:
    """Index training images by the pixels of their centre; `settings` say which images they are."""
    index = Index(
        {**settings, "detector": "pixels"},
        None,
        images=images,
        describe=centre_window,
        describe_code=(window_descriptors,),
    )
    return Detector("pixels", index, query_windows)


def photograph_detector(
    images: datasets.Dataset, settings: Mapping[str, Any], encoder: str
) -> Detector:
    """Index training images by an encoder of photographs; `settings` say which images they are."""
    describe = photograph_encoder(encoder)
    weights = encoder if encoder == "efflite0" else encoders.load_encoder(encoder).name
    index = Index(
        {**settings, "detector": weights},
        None,
        images=images,
        describe=describe,
        describe_code=(encoders,) if encoder == "efflite0" else (encoders, named_encoders),
    )
    return Detector(encoder, index, describe)


def _reidentification_detector(
    images: datasets.Dataset, settings: Mapping[str, Any], encoder: Reidentification
) -> Detector:
    embed = encoder.load()

    def describe_with_mirror(pixels: np.ndarray) -> np.ndarray:
        return np.stack([embed(pixels), embed(pixels[:, :, ::-1])], axis=1)

    index = Index(
        {**settings, "detector": "reidentification"},
        encoder,
        images=images,
        describe=embed,
        describe_code=(reidentification,),
    )
    return Detector("reidentification", index, describe_with_mirror)


def photograph_encoder(encoder: str) -> Callable[[np.ndarray], np.ndarray]:
    """Make a function that embeds uint8 images (n, h, w, 3) as unit vectors, float32 (n, d).

    It raises InputError where the encoder's weights are missing (`encoders.features`).
    """
    net: Any = None
    if encoder == "efflite0":
        net = encoders.efflite0()
        net.reset_classifier(0)

    def at_own_size(pixels: np.ndarray) -> np.ndarray:
        device = to_device(net)
        return net(to_tensor(np.array(pixels)).to(device)).cpu().numpy()

    def describe(pixels: np.ndarray) -> np.ndarray:
        if net is not None and pixels.shape[1] <= ENCODER_SIDE:
            vectors = in_batches(at_own_size, pixels, 32)
        else:
            vectors = encoders.features(pixels, encoder).values
        length = np.linalg.norm(vectors, axis=1, keepdims=True)
        return (vectors / np.maximum(length, 1e-9)).astype(np.float32)

    return describe


def match(
    detectors: Sequence[Detector], pixels: np.ndarray, rows: np.ndarray | None = None
) -> Matches:
    """Search for images in every detector's index; what was found is cached.

    Parameters
    ----------
    pixels : uint8 (q, h, w, 3)
    rows : int (n,), to search only these rows of the index; all, if None
    """
    matches = [_match_one(detector, pixels, rows) for detector in detectors]
    ratio = np.stack([found.ratio for found in matches], axis=1)
    row = np.stack([found.row for found in matches], axis=1)
    return Matches(ratio, row)


@dataclass(frozen=True, eq=False)
class Search(Artifact):
    """The nearest training images of queries, by one detector: `distance.npy` and `row.npy`."""

    step = "matches"
    code = (neighbours, window_descriptors)
    index: Index
    queries: Pixels
    rows: tuple[int, ...] | None  # search only these rows of the index
    describe: Callable[[np.ndarray], np.ndarray] = field(metadata=UNKEYED, kw_only=True)
    nearest: int = NEAREST
    small_index: int = SMALL_INDEX

    def make(self, folder: Path) -> None:
        """Search, exactly."""
        index = self.index.array()
        if self.rows is not None:
            index = index[list(self.rows)]
        k = min(self.nearest, max(2, len(index) // self.small_index))
        pixels, found = self.queries.array, []
        for start in range(0, len(pixels), QUERIES_AT_ONCE):
            described = self.describe(pixels[start : start + QUERIES_AT_ONCE])
            found.append(neighbours.nearest(described, index, k))
        np.save(folder / "distance.npy", np.concatenate([part.distance for part in found]))
        np.save(folder / "row.npy", np.concatenate([part.row for part in found]))


def nearest_training(
    detector: Detector, queries: Pixels, rows: tuple[int, ...] | None = None
) -> neighbours.Neighbours:
    """Return the training images nearest to each of q queries, by one detector; fields (q, k).

    `rows` are the only ones of the index that are searched, and what the neighbours' rows count in.
    """
    search = Search(detector.index, queries, rows, describe=detector.describe)
    folder = search.folder
    return neighbours.Neighbours(np.load(folder / "distance.npy"), np.load(folder / "row.npy"))


def _match_one(detector: Detector, pixels: np.ndarray, rows: np.ndarray | None) -> Matches:
    """Search in one detector's index: fields (q,)."""
    within = None if rows is None else tuple(rows.tolist())
    distance, row = nearest_training(detector, Pixels(pixels), within)
    ratio = distance[:, 0] / np.maximum(distance[:, -1], 1e-12)
    return Matches(ratio, row[:, 0] if rows is None else rows[row[:, 0]])
