"""Arrays of an npz file, read without trust: what its header promises is held against its bytes first.

Whatever is wrong raises an InputError, one line that names the file, the array and the remedy.
"""

import contextlib
import math
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from medisyn_lib.data.rows import require
from medisyn_lib.errors import InputError

__all__ = ["has_array", "opened", "read_array", "read_images", "read_labels"]

MAX_BYTES = 16 * 2**30  # unpacked, of one array of images; they are read one image at a time
MAX_TABLE_BYTES = 2**30  # unpacked, of one array of labels or names, read whole
MAX_SIDE = 8192  # pixels
MAX_CLASSES = 10_000


class Header(NamedTuple):
    """What the first bytes of an array state."""

    shape: tuple[int, ...]
    fortran_order: bool
    dtype: np.dtype
    start: int  # the first byte of the values


@contextlib.contextmanager
def opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open an npz file; any other error than InputError inside says that the file is damaged."""
    require(
        zipfile.is_zipfile(path),
        f"{path} is not an npz file that can be read: save it again with numpy.savez",
    )
    try:
        with zipfile.ZipFile(path) as file:
            yield file
    except InputError:
        raise
    except (
        Exception
    ) as error:  # zipfile, zlib, numpy and its tokenizer of headers: each its own kind
        raise InputError(
            f"{path} is damaged ({error!r:.80}): copy it again or save it with numpy.savez"
        ) from error


def has_array(file: zipfile.ZipFile, name: str) -> bool:
    """Say whether a file holds an array."""
    return f"{name}.npy" in file.NameToInfo


def read_array(file: zipfile.ZipFile, name: str) -> np.ndarray:
    """Read an array whole, after its header was checked."""
    _header(file, name)
    with file.open(f"{name}.npy") as member:
        return np.asarray(np.lib.format.read_array(member, allow_pickle=False))


def read_labels(file: zipfile.ZipFile, split: str) -> np.ndarray:
    """Read the labels of one split.

    Parameters
    ----------
    file
        The open npz file.
    split
        train, val or test.

    Returns
    -------
    np.ndarray
        int64 (n,).

    Raises
    ------
    InputError
        Where the shapes or dtypes of images and labels are not those of the layout.
    """
    header = _header(file, f"{split}_images")
    labels = read_array(file, f"{split}_labels")
    where = f"{file.filename}: {split}"
    _check_images(header, where)
    _check_labels(labels, header.shape[0], where)
    return labels.reshape(-1).astype(np.int64)


def read_images(file: zipfile.ZipFile, split: str, numbers: Sequence[int]) -> Iterator[np.ndarray]:
    """Yield images of one split by their numbers, uint8 (h, w) or (h, w, 3).

    One image is in memory at a time; an array in Fortran order is read whole.
    """
    header = _header(file, f"{split}_images")
    with file.open(f"{split}_images.npy") as member:
        if header.fortran_order:
            yield from np.lib.format.read_array(member, allow_pickle=False)[list(numbers)]
            return
        length = math.prod(header.shape[1:])
        for number in numbers:
            member.seek(header.start + number * length)
            yield np.frombuffer(member.read(length), np.uint8).reshape(header.shape[1:])


def _header(file: zipfile.ZipFile, name: str) -> Header:
    """The header of an array, held against the size that the zip file states."""
    where = f"{file.filename}: the array {name}"
    require(
        has_array(file, name),
        f"{file.filename} has no array {name}: add it (an empty one will do for val and test)",
    )
    with file.open(f"{name}.npy") as member:
        np.lib.format.read_magic(member)
        # Version 2.0 of the format is for structures alone.
        header = Header(*np.lib.format.read_array_header_1_0(member), member.tell())
    stated = file.getinfo(f"{name}.npy").file_size
    promised = math.prod(header.shape) * header.dtype.itemsize
    limit = MAX_BYTES if name.endswith("_images") else MAX_TABLE_BYTES
    require(
        not header.dtype.hasobject,
        f"{where} holds Python objects, which may run code: save it as plain numbers",
    )
    require(
        stated <= limit, f"{where} unpacks to over {limit >> 30} GiB: split the file or drop images"
    )
    require(
        header.start + promised == stated,
        f"{where} is longer or shorter than its header says: save the file again",
    )
    return header


def _check_images(header: Header, where: str) -> None:
    """Check shape and dtype of an array of images."""
    shape, dtype = header.shape, header.dtype
    require(
        dtype == np.uint8,
        f"{where}_images has dtype {dtype}, not uint8: scale them to 0-255 and save as uint8",
    )
    is_grey_or_rgb = len(shape) >= 3 and shape[3:] in ((), (3,))
    require(
        is_grey_or_rgb and all(1 <= side <= MAX_SIDE for side in shape[1:3]),
        f"{where}_images has shape {shape}: "
        f"it must be (n, h, w) or (n, h, w, 3) with sides of 1 to {MAX_SIDE}",
    )


def _check_labels(labels: np.ndarray, images: int, where: str) -> None:
    """Check shape, dtype and range of the labels of some images."""
    size = labels.size
    require(
        labels.shape in ((images,), (images, 1)),
        f"{where}_labels has {size} labels for {images} images: "
        "give one label per image, (n,) or (n, 1)",
    )
    require(
        labels.dtype.kind in "iu" or not size,
        f"{where}_labels has dtype {labels.dtype}, not integers: number the classes from 0",
    )
    low, high = (labels.min(), labels.max()) if size else (0, 0)
    require(
        0 <= low <= high < MAX_CLASSES,
        f"{where}_labels has labels from {low} to {high}: number the classes from 0",
    )
