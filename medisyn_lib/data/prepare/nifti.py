"""NIfTI: some axial slices of each volume, by one rule, as 8-bit images.

A volume is brought to the axes right, anterior, superior (nibabel's nearest canonical orientation). Of the middle
half of its slices from below to above, `slices` at equal distances are taken and shown as radiologists do:
anterior on top, the patient's right on the left. Values stay in floating point until the last step: the same
limits for the whole volume, its 1st and 99th percentile or a window, then pixels are made square, then 8 bits.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image

from medisyn_lib.data.prepare.imaging import (
    MAX_SIDE,
    Choices,
    Origin,
    check_spacing,
    picture_of,
    reading,
)
from medisyn_lib.data.prepare.intensities import (
    Window,
    percentile_window,
    square_pixels,
    to_bytes,
)
from medisyn_lib.data.prepare.pictures import Contents, Picture, files_below
from medisyn_lib.data.rows import require
from medisyn_lib.errors import InputError

if TYPE_CHECKING:
    import nibabel

__all__ = ["contents", "decode", "slice_numbers"]

ENDINGS = (".nii", ".nii.gz")
MAX_VOXELS = 2**29  # of a volume: 2 GiB in 32 bits
REMEDY = "copy it again or drop it"
SUBJECT = re.compile(r"(?:^|[/_])sub-([A-Za-z0-9]+)")  # as BIDS names subjects


class Volume(NamedTuple):
    """A volume in canonical orientation."""

    values: np.ndarray  # float32 (x, y, z): right, anterior, superior
    spacing: tuple[float, float, float]  # between voxels, in millimetres as a rule
    window: Window | None  # by its percentiles; None where it has no contrast


def contents(folder: Path, choices: Choices) -> Contents:
    """Find the volumes of a folder and the slices that are taken of each; no voxel is read yet.

    The patient is the one that the user's table names, else BIDS' `sub-LABEL` in the path; else the volume stands
    in, identity unknown.

    Raises
    ------
    InputError
        For a volume that is damaged, in colour or of more than three dimensions, or a folder without any.
    """
    left_out: Counter[str] = Counter()
    pictures: list[Picture] = []
    for path in files_below(folder):
        if not path.name.lower().endswith(ENDINGS):
            left_out["files that are not NIfTI"] += 1
        elif choices.labels is not None and path.resolve() not in choices.labels:
            left_out["files that the table does not list"] += 1
        else:
            pictures += _pictures(folder, path, choices)
    require(pictures, f"{folder} holds no NIfTI volume (.nii, .nii.gz): name the folder that does")
    unknown = sum(not picture.identity_known for picture in pictures)
    notes = [f"{unknown} slices name no patient: their volume stands in, identity unknown"]
    return Contents(pictures, left_out, notes if unknown else [])


def _pictures(folder: Path, path: Path, choices: Choices) -> Iterator[Picture]:
    with reading(path, REMEDY):
        depth = _shape(path, _opened(path))[2]
    name = path.relative_to(folder).as_posix()
    subject = SUBJECT.search(name)
    patient = subject.group(1) if subject else ""
    for number in slice_numbers(depth, choices.slices):
        origin = Origin(
            path, f"{name}/{number}", patient, group=name, study=name, slice_number=number
        )
        yield picture_of(origin, choices)


def slice_numbers(depth: int, count: int) -> list[int]:
    """Return which of `depth` slices are taken: `count` at equal distances in the middle half, all different."""
    positions = depth / 4 + (np.arange(count) + 0.5) * depth / 2 / count
    return sorted({int(position) for position in positions})


def _opened(path: Path) -> nibabel.Nifti1Image:
    """A volume in canonical orientation; its voxels are still on the disk."""
    import nibabel

    with nibabel.imageglobals.LoggingOutputSuppressor():  # it mends headers and tells the log
        image: Any = nibabel.load(path)
    if image.ndim == 4 and image.shape[3] == 1:
        image = image.slicer[..., 0]
    return nibabel.as_closest_canonical(image) if image.ndim == 3 else image


def _shape(path: Path, image: nibabel.Nifti1Image) -> tuple[int, ...]:
    """The shape of a volume. Raises InputError for what is not one volume of numbers."""
    shape = tuple(map(int, image.shape))
    sizes = " x ".join(map(str, shape))
    require(
        len(shape) == 3,
        f"{path} has {len(shape)} dimensions ({sizes}), not 3: save the volume that you want by itself",
    )
    require(
        all(1 <= side <= MAX_SIDE for side in shape) and math.prod(shape) <= MAX_VOXELS,
        f"{path} has {sizes} voxels: at most {MAX_SIDE} a side and {MAX_VOXELS} in all are read",
    )
    require(
        image.get_data_dtype().kind in "iuf",
        f"{path} has voxels of type {image.get_data_dtype()}: save them as real numbers",
    )
    return shape


@lru_cache(maxsize=1)
def _volume(path: Path, size: int, modified: int) -> Volume:
    """A volume's voxels; slices of one volume are read one after another, so the last one is cached."""
    image = _opened(path)
    _shape(path, image)
    values = np.asarray(image.dataobj, np.float32)
    spacing = tuple(float(size) for size in image.header.get_zooms()[:3])
    return Volume(values, (spacing[0], spacing[1], spacing[2]), percentile_window(values))


def decode(picture: Picture, window: Window | None = None) -> Image.Image:
    """Decode one slice to 8 bits grey.

    Parameters
    ----------
    picture
        Of `contents`.
    window
        In the unit of the volume's values; None for its percentiles.

    Raises
    ------
    InputError
        For a volume that is cut short or without contrast.
    """
    path = Path(picture.place)
    with reading(path, REMEDY):
        volume = _volume(path, path.stat().st_size, path.stat().st_mtime_ns)
        window = window or volume.window
        if window is None:
            raise InputError(f"{path} has no contrast, all its values are equal: drop it")
        column_spacing, row_spacing, _ = volume.spacing
        check_spacing(path, row_spacing, column_spacing)
        plane = volume.values[::-1, ::-1, picture.slice_number].T
        grey = to_bytes(square_pixels(plane, row_spacing, column_spacing), window)
    return Image.fromarray(grey)
