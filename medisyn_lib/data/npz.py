"""Source `npz:DIR`: every top-level *.npz of a folder, in the layout of MedMNIST.

A file holds `{split}_images` uint8 (n, h, w) or (n, h, w, 3), `{split}_labels` integers (n,) or
(n, 1) for train, val and test; optional `class_names`, `{split}_source_ids` (the patients) and
`identity_known` (0 or 1). Other arrays are ignored. The file's stem is the modality.

Source: the layout of MedMNIST v2 (Yang et al. 2023, doi:10.1038/s41597-022-01721-8).
"""

from __future__ import annotations

import csv
import math
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from medisyn_lib.data.samples import SPLITS, Row, check_rows, check_text, hash_files, icdr_grade, slug
from medisyn_lib.errors import InputError
from medisyn_lib.paths import resolve_out

HELP = "npz:DIR - every top-level *.npz of a folder in MedMNIST layout, file stem = modality"
CODE = ("medisyn_lib.modalities", "medisyn_lib.data.samples", "medisyn_lib.data.npz")
MAX_BYTES = 16 * 2**30  # unpacked, of one array of images; they are read one image at a time
MAX_TABLE_BYTES = 2**30  # unpacked, of one array of labels or names, read whole


@dataclass(frozen=True)
class Archive:
    """One npz file, the modality that it holds and, where they come from elsewhere, its class names."""

    path: Path
    modality: str
    class_names: tuple[str, ...] | None = None


def archives(rest: str) -> list[Archive]:
    """The npz files of a folder. Raises InputError where the folder or any npz file is missing."""
    folder = resolve_out(rest)
    if not rest or not folder.is_dir():
        raise InputError(f"data source 'npz:{rest}': no such folder: give one that holds npz files")
    found = sorted(folder.glob("*.npz"))
    if not found:
        raise InputError(f"data source 'npz:{rest}': no npz file there: put one <modality>.npz a modality in it")
    return [Archive(path, path.stem) for path in found]


def preflight(rest: str) -> None:
    """Check every file down to its bytes. Raises InputError naming the file, the array and the mend."""
    preflight_archives(archives(rest))


def fingerprint(rest: str) -> str:
    """SHA-256 over the files' names and bytes, and over `panel.csv`, which says what the patient ids are worth."""
    found = archives(rest)
    extra = [path for path in [found[0].path.parent / "panel.csv"] if path.is_file()]
    return hash_files([archive.path for archive in found] + extra)


def rows(rest: str) -> list[Row]:
    """All images of the folder without their pixels."""
    return rows_of(archives(rest))


def images(rest: str, chosen: Sequence[Row]) -> Iterator[np.ndarray]:
    """The pixels of chosen rows, uint8 (h, w) or (h, w, 3), in the rows' order, which must be that of `rows`."""
    return images_of(archives(rest), chosen)


def preflight_archives(found: Sequence[Archive]) -> None:
    """Check files and the CRC of every array."""
    rows_of(found)
    for archive in found:
        with zipfile.ZipFile(archive.path) as file:
            try:
                bad = file.testzip()
            except (zlib.error, zipfile.BadZipFile, EOFError, RuntimeError) as error:
                raise InputError(f"{archive.path} is damaged ({error}): copy or download it again") from error
        if bad:
            raise InputError(f"{archive.path}: the array {bad} is damaged: copy or download the file again")


def rows_of(found: Sequence[Archive]) -> list[Row]:
    """The rows of several files, checked."""
    result = []
    for archive in found:
        own = _archive_rows(archive)
        check_rows(own, str(archive.path))
        result += own
    return result


def images_of(found: Sequence[Archive], chosen: Sequence[Row]) -> Iterator[np.ndarray]:
    """Pixels of chosen rows, read from the packed arrays in one pass, one image in memory at a time."""
    for archive in found:
        for split in SPLITS:
            prefix = f"{archive.path.stem}/{split}/"
            wanted = [int(row.place.removeprefix(prefix)) for row in chosen if row.place.startswith(prefix)]
            if wanted:
                yield from _stream(archive.path, f"{split}_images", wanted)


def _stream(path: Path, name: str, wanted: Sequence[int]) -> Iterator[np.ndarray]:
    """Images of ascending numbers out of one packed array."""
    shape, _, fortran = _header(path, name)
    with zipfile.ZipFile(path) as file, file.open(f"{name}.npy") as member:
        _read_header(member)
        if fortran:
            whole = np.frombuffer(member.read(), np.uint8).reshape(shape, order="F")
            yield from (np.ascontiguousarray(whole[number]) for number in wanted)
            return
        length, position = math.prod(shape[1:]), 0
        for number in wanted:
            for _ in range(number - position):
                member.read(length)
            yield np.frombuffer(member.read(length), np.uint8).reshape(shape[1:])
            position = number + 1


def _read_header(member: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(member)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(member)


def _header(path: Path, name: str) -> tuple[tuple[int, ...], np.dtype, bool]:
    """Shape, dtype and order of an array from its header alone, held against the size that the zip file states."""
    with zipfile.ZipFile(path) as file:
        try:
            size = file.getinfo(f"{name}.npy").file_size
            with file.open(f"{name}.npy") as member:
                shape, fortran, dtype = _read_header(member)
        except KeyError:
            raise InputError(f"{path} has no array {name}: add it (an empty one will do for val and test)") from None
        except (ValueError, EOFError, zlib.error, zipfile.BadZipFile, RuntimeError) as error:
            raise InputError(
                f"{path}: the array {name} cannot be read: save the file again with numpy.savez"
            ) from error
    if dtype.hasobject:
        raise InputError(f"{path}: the array {name} holds Python objects, which may run code: save it as plain numbers")
    limit = MAX_BYTES if name.endswith("_images") else MAX_TABLE_BYTES
    if max(size, math.prod(shape) * dtype.itemsize) > limit:
        raise InputError(f"{path}: the array {name} unpacks to over {limit >> 30} GiB: split the file or shrink images")
    if math.prod(shape) * dtype.itemsize > size:
        raise InputError(f"{path}: the array {name} is shorter than its header says: save the file again")
    return shape, dtype, fortran


def _table(path: Path, name: str) -> np.ndarray:
    """A small array, read whole after its header was checked."""
    _header(path, name)
    try:
        with np.load(path, allow_pickle=False) as file:
            return np.asarray(file[name])
    except (ValueError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: the array {name} is damaged: copy or download the file again") from error


def _archive_rows(archive: Archive) -> list[Row]:
    path = archive.path
    try:
        with zipfile.ZipFile(path) as file:
            members = [Path(name).stem for name in file.namelist()]
            largest = max(file.infolist(), key=lambda member: member.file_size, default=None)
    except (zipfile.BadZipFile, OSError) as error:
        raise InputError(f"{path} is not an npz file that can be read: save it again with numpy.savez") from error
    if largest is not None and largest.file_size > MAX_BYTES:
        raise InputError(f"{path}: {largest.filename} unpacks to over {MAX_BYTES >> 30} GiB: split the file or drop it")
    if len(set(members)) != len(members):
        raise InputError(f"{path} holds an array twice: save it again with numpy.savez")
    labels = {split: _labels(path, split) for split in SPLITS}
    names = _class_names(archive, members, max(int(values.max(initial=-1)) for values in labels.values()) + 1)
    findings = [_finding(archive.modality, name) for name in names]
    known = _identity_known(path, members)
    result = []
    for split, values in labels.items():
        ids = _source_ids(path, split, members, len(values))
        for number, label in enumerate(values):
            place = f"{path.stem}/{split}/{number}"
            result.append(
                Row(
                    image_id=place,
                    patient_id=f"{path.stem}/{ids[number]}" if ids is not None else place,
                    split=split,
                    modality=archive.modality,
                    finding=findings[label],
                    place=place,
                    grade=icdr_grade(archive.modality, findings[label]),
                    identity_known=known and ids is not None,
                )
            )
    absent = [name for name in findings if not any(row.finding == name and row.split == "train" for row in result)]
    if absent and result:
        raise InputError(f"{path}: class {absent[0]!r} has no train image: add some or take it out of class_names")
    return result


def _labels(path: Path, split: str) -> np.ndarray:
    """Labels (n,) of one split, after the shapes and dtypes of images and labels were checked."""
    shape, dtype, _ = _header(path, f"{split}_images")
    where = f"{path}: {split}_images"
    if dtype != np.uint8:
        raise InputError(f"{where} has dtype {dtype}, not uint8: scale the images to 0-255 and save them as uint8")
    if len(shape) not in (3, 4) or (len(shape) == 4 and shape[3] != 3):
        raise InputError(f"{where} has shape {shape}: it must be (n, h, w) or (n, h, w, 3)")
    if min(shape[1:3]) < 1 or max(shape[1:3]) > 8192:
        raise InputError(f"{where} has images of {shape[1]} x {shape[2]} pixels: sides must be 1 to 8192")
    values = _table(path, f"{split}_labels")
    where = f"{path}: {split}_labels"
    if values.ndim == 2 and values.shape[1] > 1:
        raise InputError(f"{where} has shape {values.shape}: one label an image is needed, (n,) or (n, 1)")
    if values.size and values.dtype.kind not in "iu":
        raise InputError(f"{where} has dtype {values.dtype}, not integers: number the classes from 0")
    if values.shape[:1] != shape[:1]:
        raise InputError(f"{where} has {values.size} labels for {shape[0]} images: give each image one label")
    if values.size and not 0 <= int(values.min()) <= int(values.max()) < 10_000:
        raise InputError(f"{where} has labels from {values.min()} to {values.max()}: number the classes from 0")
    return values.reshape(len(values)).astype(np.int64)


def _class_names(archive: Archive, members: Sequence[str], needed: int) -> list[str]:
    """The names of the classes, at least as many as the labels need."""
    if archive.class_names is not None:
        names = list(archive.class_names)
    elif "class_names" in members:
        values = _table(archive.path, "class_names")
        if values.dtype.kind != "U" or values.ndim != 1:
            raise InputError(f"{archive.path}: class_names must be a list of texts: save numpy.array([...]) of strings")
        names = values.tolist()
    else:
        return [f"class {number}" for number in range(needed)]
    if needed > len(names):
        raise InputError(f"{archive.path}: label {needed - 1} is out of range: there are {len(names)} class_names")
    if len({slug(name) for name in names} - {""}) != len(names):
        raise InputError(f"{archive.path}: class_names has a name twice or without a letter or digit: rename it")
    for name in names:
        check_text(name, f"{archive.path}: class_names entry {name!r}")
    return names


def _finding(modality: str, name: str) -> str:
    """The finding's key of a class name; fundus classes named 0 to 4 are ICDR grades."""
    from medisyn_lib.modalities import MODALITIES

    key = slug(name)
    if modality == "fundus" and key in tuple("01234"):
        return MODALITIES["fundus"].findings[int(key)].key
    return key


def _source_ids(path: Path, split: str, members: Sequence[str], count: int) -> list[str] | None:
    if f"{split}_source_ids" not in members:
        return None
    values = _table(path, f"{split}_source_ids")
    if values.shape != (count,):
        raise InputError(f"{path}: {split}_source_ids has shape {values.shape} for {count} images: give each image one")
    return [str(value) for value in values.tolist()]


def _identity_known(path: Path, members: Sequence[str]) -> bool:
    """Whether the source ids are true patients: the file says so, else `panel.csv` beside it, else yes."""
    if "identity_known" in members:
        return bool(np.all(_table(path, "identity_known")))
    panel = path.parent / "panel.csv"
    if panel.is_file():
        with panel.open(newline="", encoding="utf-8") as file:
            notes = {line.get("file"): line.get("notes") or "" for line in csv.DictReader(file)}
        return "source_ids = patient" in notes.get(path.name, "")
    return True
