"""What a data source holds: counts by split, stored sizes, images that are in two splits, what can be tested."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image

from medisyn_lib.data.pixels import has_colour_marks, stored_size
from medisyn_lib.data.rows import Row
from medisyn_lib.data.sources import checked_rows, fingerprint, load, rows, source_module
from medisyn_lib.data.splits import SPLITS
from medisyn_lib.modalities import MODALITIES

if TYPE_CHECKING:
    import datasets
    import pandas

__all__ = ["NearDuplicate", "check_source", "near_duplicates", "testable"]

MIN_TEST_PATIENTS = 20
PHANTOMS_CHECKED = 150  # per split and modality: phantoms have no end
THUMBNAIL = (16, 16)  # pixels, to compare images by


class NearDuplicate(NamedTuple):
    """Two images in different splits that look the same."""

    first: str  # image_id
    second: str  # image_id
    score: float  # correlation in [-1, 1]


class StoredImages(NamedTuple):
    """What the images of one modality are like as they are stored."""

    sizes: list[tuple[int, int]]  # width and height in pixels
    marked: list[bool]  # whether marks in colour are burnt in


def testable(source: str | datasets.Dataset) -> dict[str, str]:
    """Say of each modality why it cannot be tested.

    A modality is not testable with fewer than 20 test patients or with a class that has no test image.

    Parameters
    ----------
    source
        A data source, or a dataset that holds test images; of a dataset only the classes that occur
        in it count.

    Returns
    -------
    dict
        The reason by modality, "" where it can be tested.
    """
    if source == "phantom":  # as many patients as one asks for
        return dict.fromkeys(MODALITIES, "")
    import pandas

    if isinstance(source, str):
        table = pandas.DataFrame(rows(source))
    else:
        table = source.remove_columns("image").to_pandas()
    by_modality = table.groupby("modality", sort=False)
    return {str(name): _why_not_testable(images) for name, images in by_modality}


def _why_not_testable(images: pandas.DataFrame) -> str:
    """The reasons against one modality, joined; "" where there is none."""
    test = images[images["split"] == "test"]
    patients = test["patient_id"].nunique()
    empty = sorted({*images["finding"]} - {*test["finding"]})
    reasons = []
    if patients < MIN_TEST_PATIENTS:
        reasons.append(f"{patients} test patients, at least {MIN_TEST_PATIENTS} are needed")
    if empty:
        reasons.append(f"no test image of {', '.join(empty)}")
    return "; ".join(reasons)


def check_source(source: str) -> list[dict[str, Any]]:
    """Count what a source holds.

    Of phantoms 150 per split and modality are examined.

    Parameters
    ----------
    source
        The data source.

    Returns
    -------
    list of dict
        One row for each modality: images by split; `patients` and `classes` as train/val/test; `empty`
        classes; whether the patients' `identity` is known; `near_duplicates`, pairs of images in
        different splits; `sizes`, the smallest and largest width x height as stored; `marked`, how many
        images seem to have marks burnt in (`pixels.has_colour_marks`); and why it is `not_testable`.

    Raises
    ------
    InputError
        As `sources.preflight` and `sources.load` do.
    """
    table = checked_rows(source, fingerprint(source))
    dataset, reasons = _all_splits(source, table), testable(source)
    modality_of = dict(zip(dataset["image_id"], dataset["modality"], strict=True))
    leaks = Counter(modality_of[pair.first] for pair in near_duplicates(dataset))
    stored = _stored_images(source, table)
    by_modality = dataset.remove_columns("image").to_pandas().groupby("modality", sort=False)
    return [
        {
            "modality": name,
            **_counts(images),
            "near_duplicates": leaks[name],
            "sizes": _size_range(stored[name].sizes),
            "marked": sum(stored[name].marked),
            "not_testable": reasons[name],
        }
        for name, images in by_modality
    ]


def _all_splits(source: str, table: Sequence[Row]) -> datasets.Dataset:
    """All images of a source; of phantoms, which have no end, some of each split."""
    import datasets

    present = {row["split"] for row in table} or set(SPLITS)
    limit = None if table else PHANTOMS_CHECKED
    parts = [load(source, split, per_modality=limit) for split in SPLITS if split in present]
    return datasets.concatenate_datasets(parts)


def _stored_images(source: str, table: Sequence[Row]) -> Mapping[str, StoredImages]:
    """What a finite source's images are like as stored, by modality."""
    stored: dict[str, StoredImages] = defaultdict(lambda: StoredImages([], []))
    if table:
        for row, image in zip(table, source_module(source).images(table), strict=True):
            stored[row["modality"]].sizes.append(stored_size(image))
            stored[row["modality"]].marked.append(has_colour_marks(image))
    return stored


def _counts(images: pandas.DataFrame) -> dict[str, Any]:
    """Images, patients and classes of one modality by split."""
    by_class = images.groupby(["finding", "split"]).size().unstack(fill_value=0)
    by_class = by_class.reindex(columns=SPLITS, fill_value=0)
    patients = images.groupby("split")["patient_id"].nunique().reindex(SPLITS, fill_value=0)
    classes = [f"{name} {_by_split(numbers)}" for name, numbers in by_class.T.items()]
    empty = [
        f"{finding} in {split}"
        for split in ("val", "test")
        for finding in by_class.index[by_class[split] == 0]
    ]
    return {
        **{split: int(by_class[split].sum()) for split in SPLITS},
        "patients": _by_split(patients),
        "classes": ", ".join(classes),
        "empty": ", ".join(empty),
        "identity": "known" if images["identity_known"].all() else "unknown",
    }


def _by_split(numbers: pandas.Series) -> str:
    return "/".join(map(str, numbers))


def _size_range(sizes: Sequence[tuple[int, int]]) -> str:
    """The smallest and the largest of some sizes in words; phantoms have any."""
    if not sizes:
        return "any"
    smallest, largest = min(sizes), max(sizes)
    ends = [smallest] if smallest == largest else [smallest, largest]
    return " to ".join(f"{width} x {height}" for width, height in ends)


def near_duplicates(dataset: datasets.Dataset, threshold: float = 0.97) -> list[NearDuplicate]:
    """Find pairs of images of one modality in different splits that look the same.

    The score is the correlation of 16 x 16 grey images after the modality's mean image is taken away:
    what all images of a modality share, such as the round field of a fundus camera, does not count, nor
    do brightness and contrast. Neither a flipped nor a shifted copy is found. Score and threshold are
    our own choice: at 0.97 nearly all copies with noise of 8/255, JPEG quality 50 or 20% more brightness
    are found, and 1 pair in 9,000 independent phantoms is named falsely.

    Parameters
    ----------
    dataset
        Images of several splits, as `sources.load` gives them.
    threshold
        Least score of a pair, in [-1, 1].

    Returns
    -------
    list of NearDuplicate
        By modality.
    """
    table = dataset.remove_columns("image").to_pandas().reset_index()
    pairs: list[NearDuplicate] = []
    for _, images in table.groupby("modality", sort=False):
        chosen = dataset.select_columns("image").select(images["index"])
        vectors = _thumbnails(row["image"] for row in chosen)
        pairs += _close_pairs(
            vectors, images["image_id"].to_numpy(), images["split"].to_numpy(), threshold
        )
    return pairs


def _thumbnails(images: Iterable[Image.Image]) -> np.ndarray:
    """Small grey images of one modality as vectors (n, 256): scaled to length 1, less their mean."""
    small = [
        np.asarray(image.convert("L").resize(THUMBNAIL, Image.Resampling.BOX)).ravel()
        for image in images
    ]
    vectors = np.array(small, np.float32) - np.mean(small, axis=1, keepdims=True)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)
    return vectors - vectors.mean(axis=0)


def _close_pairs(
    vectors: np.ndarray, image_ids: np.ndarray, splits: np.ndarray, threshold: float
) -> list[NearDuplicate]:
    """The pairs of different splits whose cosine similarity reaches the threshold."""
    from sklearn.neighbors import radius_neighbors_graph

    graph = radius_neighbors_graph(vectors, 1 - threshold, mode="distance", metric="cosine").tocoo()
    return [
        NearDuplicate(image_ids[i], image_ids[j], round(1 - float(distance), 4))
        for i, j, distance in zip(graph.row, graph.col, graph.data, strict=True)
        if splits[i] < splits[j]
    ]
