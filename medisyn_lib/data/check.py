"""What a data source holds: counts by split, stored sizes, images that are in two splits, what can be tested."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image

from medisyn_lib.data import phantom
from medisyn_lib.data.copies import Copies, count_copies
from medisyn_lib.data.look_alikes import (
    NO_MATCHES,
    SIDE,
    THUMBNAIL,
    across_groups,
    closest,
    thumbnail,
    vectors,
)
from medisyn_lib.data.pixels import (
    centre_square,
    file_format,
    has_colour_marks,
    is_blank,
    is_transparent,
    stored_size,
)
from medisyn_lib.data.rows import SUBGROUPS, Row
from medisyn_lib.data.sources import load, rows, source_module
from medisyn_lib.data.splits import SPLITS, role_of
from medisyn_lib.modalities import MODALITIES

if TYPE_CHECKING:
    import datasets
    import pandas

__all__ = ["NearDuplicate", "check_source", "near_duplicates", "testable"]

MIN_TEST_PATIENTS = 20
PHANTOMS_CHECKED = 150  # per split and modality: phantoms have no end
THRESHOLD = 0.97  # least score of a near-duplicate
MOST_COMPARED = 100_000  # look-alikes of a modality that are compared closely, the closest ones


class NearDuplicate(NamedTuple):
    """Two images in different splits that look the same."""

    first: str  # image_id
    second: str  # image_id
    score: float  # correlation in [-1, 1]


class StoredImage(NamedTuple):
    """What an image is like as it is stored."""

    size: tuple[int, int]  # width and height in pixels
    format: str  # of its file
    is_marked: bool  # whether marks in colour are burnt in
    is_transparent: bool  # whether parts are transparent, and so loaded as black
    is_blank: bool  # whether it is of one colour


class Examined(NamedTuple):
    """All that is kept of a source's images once they were looked at, one after another."""

    table: pandas.DataFrame  # a row each, with the patient's role
    thumbnails: np.ndarray  # uint8 (n, 256)
    rows: Sequence[Row] = ()  # that find the images again; none of phantoms
    stored: Sequence[StoredImage] = ()  # one each; none of phantoms


class LookAlikes(NamedTuple):
    """Images of one modality that look the same."""

    across_splits: int  # pairs in different splits
    closest: np.ndarray  # int (k, 2): numbers of the closest pairs in different splits or roles


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

    Every image is opened once, look-alikes once more to tell copies from them, and nothing is written into the
    store. Of phantoms 150 per split and modality are examined.

    Parameters
    ----------
    source
        The data source.

    Returns
    -------
    list of dict
        One row for each modality: images by split; `patients` and `classes` as train/val/test; `empty`
        classes; whether the patients' `identity` is known; `subgroups`, patients by sex, age group, site,
        scanner and view, where any is stated; `near_duplicates`, pairs of look-alikes in different splits;
        `sizes`, the smallest and largest width x height as stored; `marked`, how many images seem to have
        marks burnt in (`pixels.has_colour_marks`); and why it is `not_testable`. Of a finite source also the
        files' `formats`; how many images are `transparent` in parts, which load as black, and how many
        `blank`, of one colour; and how often the same picture is in two splits (`copies_across_splits`) or
        with the generator's and the evaluators' patients (`copies_across_roles`), with a `copy_example`.

    Raises
    ------
    InputError
        As `sources.preflight` and `sources.load` do.
    """
    is_endless = source_module(source) is phantom
    examined = _phantoms(source) if is_endless else _examined(source)
    result = []
    for name, images in examined.table.groupby("modality", sort=False):
        pairs = _look_alikes(vectors(examined.thumbnails[images.index]), images)
        stored = [examined.stored[number] for number in images.index if examined.stored]
        result.append(
            {
                "modality": name,
                **_counts(images),
                "near_duplicates": pairs.across_splits,
                "sizes": _size_range([image.size for image in stored]),
                "marked": sum(image.is_marked for image in stored),
                "not_testable": "" if is_endless else _why_not_testable(images),
            }
        )
        if not is_endless:
            copies = _copies(source, examined.rows, images, pairs.closest)
            result[-1] |= _of_files(stored) | _of_copies(copies)
    return result


def _examined(source: str) -> Examined:
    """Look at all images of a finite source, one at a time, which also finds those that cannot be read."""
    table = rows(source)  # bad metadata are refused before pandas is imported
    import pandas

    thumbnails = np.empty((len(table), math.prod(THUMBNAIL)), np.uint8)
    stored = []
    for number, image in enumerate(source_module(source).images(table)):
        square = centre_square(image, SIDE)
        thumbnails[number] = thumbnail(square)
        stored.append(_stored(image, square))
    columns = [name for name in table[0] if name not in ("place", "text")]
    frame = pandas.DataFrame({name: [row[name] for row in table] for name in columns})
    frame["role"] = [role_of(row["split"], row["patient_id"]) for row in table]
    return Examined(frame, thumbnails, table, stored)


def _stored(image: Image.Image | np.ndarray, square: Image.Image) -> StoredImage:
    """What an image is like as it is stored; `square` is its centre."""
    return StoredImage(
        size=stored_size(image),
        format=file_format(image),
        is_marked=has_colour_marks(image),
        is_transparent=is_transparent(image),
        is_blank=bool(is_blank(np.asarray(square)[None])[0]),
    )


def _phantoms(source: str) -> Examined:
    """Look at some phantoms of each split; they have no end."""
    phantom.checked_name(source)
    import datasets

    parts = [load(source, split, per_modality=PHANTOMS_CHECKED) for split in SPLITS]
    whole = datasets.concatenate_datasets(parts)
    thumbnails = np.array([thumbnail(row["image"]) for row in whole.select_columns("image")])
    return Examined(whole.remove_columns("image").to_pandas(), thumbnails)


def _look_alikes(unit: np.ndarray, images: pandas.DataFrame) -> LookAlikes:
    """The look-alikes of one modality in different roles, and so also of those in different splits."""
    splits, numbers = images["split"].to_numpy(), images.index.to_numpy()
    across, kept = 0, NO_MATCHES
    for found in across_groups(unit, images["role"].to_numpy(), THRESHOLD):
        across += int(np.count_nonzero(splits[found.first] != splits[found.second]))
        kept = closest(kept, found, MOST_COMPARED)
    return LookAlikes(across, numbers[np.stack([kept.first, kept.second], axis=1)])


def _copies(
    source: str, table: Sequence[Row], images: pandas.DataFrame, pairs: np.ndarray
) -> Copies:
    """How many look-alikes of one modality are copies; they are opened once more."""

    def opened(numbers: np.ndarray) -> Iterator[Image.Image | np.ndarray]:
        yield from source_module(source).images([table[number] for number in numbers])

    return count_copies(opened, images, pairs)


def _of_files(stored: Sequence[StoredImage]) -> dict[str, Any]:
    """What is counted of the files of a modality."""
    formats = Counter(image.format for image in stored).most_common()
    return {
        "formats": ", ".join(f"{name} {count}" for name, count in formats),
        "transparent": sum(image.is_transparent for image in stored),
        "blank": sum(image.is_blank for image in stored),
    }


def _of_copies(copies: Copies) -> dict[str, Any]:
    return {
        "copies_across_splits": copies.across_splits,
        "copies_across_roles": copies.across_roles,
        "copy_example": " = ".join(copies.example),
    }


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
        **_subgroups(images),
    }


def _subgroups(images: pandas.DataFrame) -> dict[str, str]:
    """Patients by each column beyond the finding that says something; one may be in several groups."""
    parts = []
    for column in SUBGROUPS:
        patients = images.groupby(column)["patient_id"].nunique()
        groups = [f"{name or 'unknown'} {number}" for name, number in patients.items()]
        if any(patients.index):
            parts.append(f"{column}: {', '.join(groups)}")
    return {"subgroups": "; ".join(parts)} if parts else {}


def _by_split(numbers: pandas.Series) -> str:
    return "/".join(map(str, numbers))


def _size_range(sizes: Sequence[tuple[int, int]]) -> str:
    """The smallest and the largest of some sizes in words; phantoms have any."""
    if not sizes:
        return "any"
    smallest, largest = min(sizes), max(sizes)
    ends = [smallest] if smallest == largest else [smallest, largest]
    return " to ".join(f"{width} x {height}" for width, height in ends)


def near_duplicates(dataset: datasets.Dataset, threshold: float = THRESHOLD) -> list[NearDuplicate]:
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
        small = np.array([thumbnail(row["image"]) for row in chosen])
        ids = images["image_id"].to_numpy()
        for found in across_groups(vectors(small), images["split"].to_numpy(), threshold):
            pairs += [
                NearDuplicate(ids[i], ids[j], round(float(score), 4))
                for i, j, score in zip(*found, strict=True)
            ]
    return pairs
