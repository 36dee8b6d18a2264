"""npz:DIR and medmnist:NAMES: npz files in MedMNIST layout, of a folder or from the official package.

A file holds what those of MedMNIST v2 do (Yang et al. 2023, doi:10.1038/s41597-022-01721-8):
`{split}_images` uint8 (n, h, w) or (n, h, w, 3), `{split}_labels` integers (n,) or (n, 1) for train, val
and test; optional `class_names`, `{split}_source_ids` (the patients) and `identity_known` (0 or 1). Other
arrays are ignored. MedMNIST publishes no patient ids, so each of its images is its own patient, identity
unknown.
"""

import csv
import itertools
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from medisyn_lib.data import npz_arrays
from medisyn_lib.data.findings import plain_key
from medisyn_lib.data.records import hash_files, source_folder
from medisyn_lib.data.rows import UNKNOWN, Row, check_rows, check_text, require
from medisyn_lib.data.splits import SPLITS
from medisyn_lib.data.values import as_text
from medisyn_lib.errors import InputError
from medisyn_lib.modalities import MODALITIES
from medisyn_lib.runtime.paths import store_dir

__all__ = [
    "MODALITY_OF",
    "Archive",
    "archive_rows",
    "archives",
    "checked_name",
    "fingerprint",
    "images",
    "panel",
    "rows",
]

RESOLUTIONS = ("28", "64", "128", "224")
MODALITY_OF = {name: key for key, row in MODALITIES.items() for name in row.medmnist}
MODALITY_OF["tissuemnist"] = "tissuemnist"  # kidney cells, none of the ten modalities
ICDR = [finding.key for finding in MODALITIES["fundus"].findings]


class Archive(NamedTuple):
    """One npz file of a source."""

    path: Path
    modality: str
    class_names: Sequence[str] | None = (
        None  # None where the file itself names them or nothing does
    )


def archives(source: str) -> Iterator[Archive]:
    """Yield the npz files of a source.

    Those of MedMNIST are downloaded and verified by the official package where they are not there yet.

    Raises
    ------
    InputError
        Without any file, or where the download fails.
    """
    if source.startswith("medmnist:"):
        yield from _medmnist_archives(source)
        return
    paths = sorted(source_folder(source).glob("*.npz"))
    require(
        paths,
        f"data source {source!r}: no npz file there: put one <modality>.npz per modality in it",
    )
    yield from (Archive(path, path.stem) for path in paths)


def _medmnist_archives(source: str) -> Iterator[Archive]:
    """The official files of a source `medmnist:`, downloaded where they are missing."""
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
            remedy = f"check the network or put the official file into {root}"
            raise InputError(
                f"data source {source!r}: {name} could not be downloaded: {remedy}"
            ) from error
        labels = [info["label"][key] for key in sorted(info["label"], key=int)]
        suffix = "" if size == 28 else f"_{size}"
        yield Archive(root / f"{name}{suffix}.npz", MODALITY_OF[name], labels)


def checked_name(source: str) -> tuple[list[str], int]:
    """Read names and side in pixels out of `medmnist:NAME[,NAME...][@SIZE]`.

    Raises InputError that names what is unknown.
    """
    words, _, size = source.removeprefix("medmnist:").partition("@")
    names = words.replace(" ", "").lower().split(",")
    where = f"data source {source!r}"
    for name in names:
        require(
            name != "chestmnist",
            f"{where}: {name} has several labels per image: choose another set",
        )
        require(
            name in MODALITY_OF, f"{where}: no set {name!r}: choose among {', '.join(MODALITY_OF)}"
        )
    require(len(set(names)) == len(names), f"{where}: a name is listed twice: keep one")
    require(
        size in ("", *RESOLUTIONS),
        f"{where}: no size {size!r}: choose among {', '.join(RESOLUTIONS)}",
    )
    return names, int(size or 28)


def fingerprint(source: str) -> str:
    """Hash the npz files and `panel.csv`, which says what the patient ids are worth (SHA-256)."""
    paths = [archive.path for archive in archives(source)]
    panels = {panel_path for path in paths for panel_path in path.parent.glob("panel.csv")}
    return hash_files([*paths, *sorted(panels)])


def rows(source: str) -> list[Row]:
    """Return all images of the files without their pixels."""
    return [row for archive in archives(source) for row in archive_rows(archive)]


def images(chosen: Sequence[Row]) -> Iterator[np.ndarray]:
    """Yield the pixels of rows, uint8 (h, w) or (h, w, 3): one pass over an array, one image at a time."""
    for (path, split), group in itertools.groupby(chosen, lambda row: (row["place"], row["split"])):
        numbers = [int(row["image_id"].rpartition("/")[2]) for row in group]
        with npz_arrays.opened(Path(path)) as file:
            yield from npz_arrays.read_images(file, split, numbers)


def archive_rows(archive: Archive) -> list[Row]:
    """Return the rows of one file, checked.

    Raises InputError that names the file, the array and the remedy.
    """
    path, modality, class_names = archive
    result: list[Row] = []
    with npz_arrays.opened(path) as file:
        labels = {split: npz_arrays.read_labels(file, split) for split in SPLITS}
        needed = 1 + max(int(numbers.max(initial=-1)) for numbers in labels.values())
        stated_names = _class_names(file, needed)
        source_ids = {split: _source_ids(file, split, len(labels[split])) for split in SPLITS}
        flag = _identity_flag(file)
    findings = _findings(path, modality, np.asarray(class_names or stated_names), needed)
    for split, numbers in labels.items():
        ids = source_ids[split]
        identity_known = ids is not None and _are_patients(flag, path)
        for number, label in enumerate(numbers):
            finding = findings[label]
            image_id = f"{path.stem}/{split}/{number}"
            source_id = "" if ids is None else as_text(ids[number])
            patient_id = f"{path.stem}/{source_id}" if source_id else image_id
            is_graded = modality == "fundus" and finding in ICDR
            result.append(
                UNKNOWN
                | {
                    "split": split,
                    "modality": modality,
                    "place": str(path),
                    "identity_known": identity_known and bool(source_id),
                    "image_id": image_id,
                    "patient_id": patient_id,
                    "finding": finding,
                    "grade": ICDR.index(finding) if is_graded else -1,
                }
            )
    return check_rows(result, str(path), findings)


def _class_names(file: zipfile.ZipFile, needed: int) -> np.ndarray | list[str]:
    """The names of the classes that the file states, else their numbers."""
    if npz_arrays.has_array(file, "class_names"):
        return npz_arrays.read_array(file, "class_names")
    return [f"class {number}" for number in range(needed)]


def _source_ids(file: zipfile.ZipFile, split: str, images: int) -> list[object] | None:
    """The ids of the images' patients in one split; None where the file states none."""
    name = f"{split}_source_ids"
    if not npz_arrays.has_array(file, name):
        return None
    ids = npz_arrays.read_array(file, name)
    require(
        ids.shape == (images,),
        f"{file.filename}: {name} has shape {ids.shape}: give each of {images} images one",
    )
    return list(ids.tolist())


def _identity_flag(file: zipfile.ZipFile) -> bool | None:
    """Whether the file states that source ids are true patients; None where it states nothing."""
    if not npz_arrays.has_array(file, "identity_known"):
        return None
    return bool(np.all(npz_arrays.read_array(file, "identity_known")))


def _are_patients(flag: bool | None, path: Path) -> bool:
    """Whether source ids are true patients: as the file states, else the panel beside it, else yes."""
    if flag is not None:
        return flag
    stated = panel(path.parent)
    if stated is None:
        return True
    return "source_ids = patient" in (stated.get(path.name, {}).get("notes") or "")


def panel(folder: Path) -> dict[str, dict[str, str]] | None:
    """Read the `panel.csv` beside npz files: its rows by file name; None where there is none."""
    path = folder / "panel.csv"
    if not path.is_file():
        return None
    with path.open(newline="", encoding="utf-8") as text:
        return {str(line.get("file")): line for line in csv.DictReader(text)}


def _findings(path: Path, modality: str, names: np.ndarray, needed: int) -> list[str]:
    """The findings' keys of the names of classes: lower case, all but letters and digits as underscores."""
    require(
        not names.size or (names.dtype.kind == "U" and names.ndim == 1),
        f"{path}: class_names must be a list of texts: save numpy.array([...]) of strings",
    )
    for name in names.tolist():
        check_text(name, f"{path}: class_names entry {name!r}")
    findings = [plain_key(name) for name in names.tolist()]
    require(
        needed <= len(findings),
        f"{path}: label {needed - 1} is out of range: there are {len(findings)} class_names",
    )
    require(
        len({*findings} - {""}) == len(findings),
        f"{path}: class_names has a name twice or without a letter or digit: rename it",
    )
    if modality != "fundus":
        return findings
    grades = dict(zip("01234", ICDR, strict=True))
    return [grades.get(name, name) for name in findings]
