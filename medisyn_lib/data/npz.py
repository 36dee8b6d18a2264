"""npz:DIR and medmnist:NAMES: npz files in MedMNIST layout, of a folder or from the official package.

A file holds what MedMNIST v2's do (doi:10.1038/s41597-022-01721-8): `{split}_images` uint8 (n, h, w) or
(n, h, w, 3), `{split}_labels` integers (n,) or (n, 1) for train, val and test; optional `class_names`,
`{split}_source_ids` (the patients) and `identity_known` (0 or 1). Other arrays are ignored. MedMNIST
publishes no patient ids, so each of its images is its own patient, identity unknown.
"""

import contextlib
import csv
import itertools
import math
import re
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from medisyn_lib.data.records import hash_files, source_folder
from medisyn_lib.data.rows import UNKNOWN, Row, check_rows, check_text, require
from medisyn_lib.data.splits import SPLITS
from medisyn_lib.errors import InputError
from medisyn_lib.modalities import MODALITIES
from medisyn_lib.runtime.paths import store_dir

MAX_BYTES = 16 * 2**30  # unpacked, of one array of images; they are read one image at a time
MAX_TABLE_BYTES = 2**30  # unpacked, of one array of labels or names, read whole
OPTIONAL = ("class_names", "identity_known", *(f"{split}_source_ids" for split in SPLITS))
RESOLUTIONS = ("28", "64", "128", "224")
MODALITY_OF = {name: key for key, row in MODALITIES.items() for name in row.medmnist} | {
    "tissuemnist": "tissuemnist"
}
ICDR = [finding.key for finding in MODALITIES["fundus"].findings]


def archives(source: str) -> Iterator[tuple[Path, str, Sequence[str] | None]]:
    """Path, modality and, where they are known, class names of each file. Raises InputError without any.

    MedMNIST's are downloaded and verified by the official package where they are not there yet.
    """
    if not source.startswith("medmnist:"):
        found = sorted(source_folder(source).glob("*.npz"))
        require(
            found,
            f"data source {source!r}: no npz file there: put one <modality>.npz a modality in it",
        )
        yield from ((path, path.stem, None) for path in found)
        return
    import medmnist

    names, size = checked_name(source)
    root = store_dir() / "medmnist"
    root.mkdir(parents=True, exist_ok=True)
    for name in names:
        info = medmnist.INFO[name]
        try:
            # The class fetches and verifies the file of all splits; val is the smallest to open.
            getattr(medmnist, info["python_class"])("val", download=True, root=str(root), size=size)
        except RuntimeError as error:
            mend = f"check the network or put the official file into {root}"
            raise InputError(
                f"data source {source!r}: {name} could not be downloaded: {mend}"
            ) from error
        labels = [info["label"][key] for key in sorted(info["label"], key=int)]
        yield root / f"{name}{'' if size == 28 else f'_{size}'}.npz", MODALITY_OF[name], labels


def checked_name(source: str) -> tuple[list[str], int]:
    """Names and size out of `medmnist:NAME[,NAME...][@SIZE]`. Raises InputError naming what is unknown."""
    words, _, size = source.removeprefix("medmnist:").partition("@")
    names, where = words.replace(" ", "").lower().split(","), f"data source {source!r}"
    for name in names:
        require(
            name != "chestmnist", f"{where}: {name} has several labels an image: choose another set"
        )
        require(
            name in MODALITY_OF, f"{where}: no set {name!r}: choose among {', '.join(MODALITY_OF)}"
        )
    require(len(set(names)) == len(names), f"{where}: a name stands there twice: keep one")
    require(
        size in ("", *RESOLUTIONS),
        f"{where}: no size {size!r}: choose among {', '.join(RESOLUTIONS)}",
    )
    return names, int(size or 28)


def fingerprint(source: str) -> str:
    """SHA-256 over the npz files and `panel.csv`, which says what the patient ids are worth."""
    paths = [path for path, _, _ in archives(source)]
    return hash_files(
        [*paths, *sorted({panel for path in paths for panel in path.parent.glob("panel.csv")})]
    )


def rows(source: str) -> list[Row]:
    """All images of the files without their pixels."""
    return [row for archive in archives(source) for row in archive_rows(*archive)]


def images(chosen: Sequence[Row]) -> Iterator[np.ndarray]:
    """The pixels of chosen rows, uint8 (h, w) or (h, w, 3): one pass over an array, one image in memory at a time."""
    for (path, split), own in itertools.groupby(
        chosen, key=lambda row: (row["place"], row["split"])
    ):
        numbers = [int(row["image_id"].rpartition("/")[2]) for row in own]
        with _opened(Path(path)) as file, file.open(f"{split}_images.npy") as member:
            shape, fortran, _, start = _header(file, f"{split}_images")
            if fortran:
                yield from np.lib.format.read_array(member, allow_pickle=False)[numbers]
                continue
            length = math.prod(shape[1:])
            for number in numbers:
                member.seek(start + number * length)
                yield np.frombuffer(member.read(length), np.uint8).reshape(shape[1:])


def archive_rows(path: Path, modality: str, class_names: Sequence[str] | None = None) -> list[Row]:
    """The rows of one file, checked; raises InputError naming the file, the array and the mend."""
    with _opened(path) as file:
        labels = {split: _labels(file, split) for split in SPLITS}
        found = {name: _array(file, name) for name in OPTIONAL if f"{name}.npy" in file.NameToInfo}
    needed = 1 + max(int(values.max(initial=-1)) for values in labels.values())
    names = class_names or found.get("class_names", [f"class {number}" for number in range(needed)])
    findings = _findings(path, modality, np.asarray(names), needed)
    result = []
    for split, values in labels.items():
        ids = found.get(f"{split}_source_ids")
        if ids is not None and ids.shape != values.shape:
            raise InputError(
                f"{path}: {split}_source_ids has shape {ids.shape}: give each of {len(values)} images one"
            )
        known = ids is not None and bool(np.all(found.get("identity_known", _panel_says(path))))
        own = UNKNOWN | {
            "split": split,
            "modality": modality,
            "place": str(path),
            "identity_known": known,
        }
        for number, finding in enumerate(findings[label] for label in values):
            image = f"{path.stem}/{split}/{number}"
            patient = image if ids is None else f"{path.stem}/{ids[number]}"
            grade = ICDR.index(finding) if modality == "fundus" and finding in ICDR else -1
            result.append(
                own | {"image_id": image, "patient_id": patient, "finding": finding, "grade": grade}
            )
    return check_rows(result, str(path), findings)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """An npz file; what else than InputError is raised while it is read says that the file is damaged."""
    require(
        zipfile.is_zipfile(path),
        f"{path} is not an npz file that can be read: save it again with numpy.savez",
    )
    try:
        with zipfile.ZipFile(path) as file:
            yield file
    except InputError:
        raise
    except Exception as error:  # zipfile, zlib, numpy and the tokenizer that it reads headers with: each its own kind
        raise InputError(
            f"{path} is damaged ({error!r:.80}): copy it again or save it with numpy.savez"
        ) from error


def _header(file: zipfile.ZipFile, name: str) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    """Shape, Fortran order, dtype and first byte of an array, held against the size that the zip file states."""
    where, there = f"{file.filename}: the array {name}", f"{name}.npy" in file.NameToInfo
    require(
        there,
        f"{file.filename} has no array {name}: add it (an empty one will do for val and test)",
    )
    with file.open(f"{name}.npy") as member:
        np.lib.format.read_magic(member)
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(
            member
        )  # 2.0 is for structures alone
        start = member.tell()
    stated, promised = file.getinfo(f"{name}.npy").file_size, math.prod(shape) * dtype.itemsize
    limit = MAX_BYTES if name.endswith("_images") else MAX_TABLE_BYTES
    require(
        not dtype.hasobject,
        f"{where} holds Python objects, which may run code: save it as plain numbers",
    )
    require(
        stated <= limit, f"{where} unpacks to over {limit >> 30} GiB: split the file or drop images"
    )
    require(
        start + promised == stated,
        f"{where} is longer or shorter than its header says: save the file again",
    )
    return shape, fortran, dtype, start


def _array(file: zipfile.ZipFile, name: str) -> np.ndarray:
    _header(file, name)
    with file.open(f"{name}.npy") as member:
        return np.asarray(np.lib.format.read_array(member, allow_pickle=False))


def _labels(file: zipfile.ZipFile, split: str) -> np.ndarray:
    """Labels (n,) of one split, after the shapes and dtypes of images and labels were checked."""
    shape, _, dtype, _ = _header(file, f"{split}_images")
    labels = _array(file, f"{split}_labels")
    where, many = f"{file.filename}: {split}", (*shape, 0)[0]
    require(
        dtype == np.uint8,
        f"{where}_images has dtype {dtype}, not uint8: scale them to 0-255 and save as uint8",
    )
    fits = (
        len(shape) >= 3
        and shape[3:] in ((), (3,))
        and all(1 <= side <= 8192 for side in shape[1:3])
    )
    require(
        fits,
        f"{where}_images has shape {shape}: it must be (n, h, w) or (n, h, w, 3) with sides of 1 to 8192",
    )
    paired, size = labels.shape in ((many,), (many, 1)), labels.size
    require(
        paired,
        f"{where}_labels has {size} labels for {many} images: give one label an image, (n,) or (n, 1)",
    )
    whole = labels.dtype.kind in "iu" or not size
    require(
        whole, f"{where}_labels has dtype {labels.dtype}, not integers: number the classes from 0"
    )
    low, high = (labels.min(), labels.max()) if size else (0, 0)
    require(
        0 <= low <= high < 10_000,
        f"{where}_labels has labels from {low} to {high}: number the classes from 0",
    )
    return labels.reshape(-1).astype(np.int64)


def _findings(path: Path, modality: str, names: np.ndarray, needed: int) -> list[str]:
    """The findings' keys of the names of classes: lower case, all but letters and digits as single underscores."""
    texts = not names.size or (names.dtype.kind == "U" and names.ndim == 1)
    require(
        texts, f"{path}: class_names must be a list of texts: save numpy.array([...]) of strings"
    )
    for name in names.tolist():
        check_text(name, f"{path}: class_names entry {name!r}")
    findings = [re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") for name in names.tolist()]
    there, twice = len(findings), len({*findings} - {""}) < len(findings)
    require(
        needed <= there,
        f"{path}: label {needed - 1} is out of range: there are {there} class_names",
    )
    require(
        not twice, f"{path}: class_names has a name twice or without a letter or digit: rename it"
    )
    icdr = dict(zip("01234", ICDR, strict=True)) if modality == "fundus" else {}
    return [icdr.get(name, name) for name in findings]


def panel(folder: Path) -> dict[str, dict[str, str]] | None:
    """The rows of the `panel.csv` beside npz files, by file name; None where there is none."""
    if not (path := folder / "panel.csv").is_file():
        return None
    with path.open(newline="", encoding="utf-8") as text:
        return {str(line.get("file")): line for line in csv.DictReader(text)}


def _panel_says(path: Path) -> bool:
    """Whether the panel of a file's folder says that its source ids are true patients; yes where there is none."""
    known = panel(path.parent)
    return known is None or "source_ids = patient" in (known.get(path.name, {}).get("notes") or "")
