"""What DICOM and NIfTI have in common: how the user wants them read, and how a picture of them is named."""

import contextlib
import logging
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medisyn_lib.data.prepare.intensities import Window
from medisyn_lib.data.prepare.labels import KEPT_COLUMNS
from medisyn_lib.data.prepare.pictures import Picture
from medisyn_lib.data.prepare.pseudonyms import pseudonym
from medisyn_lib.data.rows import check_text, require
from medisyn_lib.data.splits import SPLITS, is_split
from medisyn_lib.data.values import as_whole_number
from medisyn_lib.errors import InputError

__all__ = ["MAX_SIDE", "Choices", "Origin", "check_spacing", "picture_of", "reading"]

MAX_SIDE = 8192  # pixels of an image or voxels of a volume, a side
MAX_RATIO = 20  # of the sides of a pixel or voxel


@dataclass(frozen=True)
class Choices:
    """How the user wants their files read.

    Attributes
    ----------
    salt
        The secret that patients, studies and files are named with.
    modality
        What captions call the images: a key of `modalities.toml`, or words of one's own.
    window
        For all images that are not in colour; None for the rule: of CT soft tissue, of others percentiles.
    labels
        What the user states of each file, by path; None where nothing is, and then all files are taken.
    slices
        So many of each volume.
    """

    salt: bytes
    modality: str
    window: Window | None = None
    labels: Mapping[Path, dict[str, Any]] | None = None
    slices: int = 5


@dataclass(frozen=True)
class Origin:
    """Where a picture comes from, by names that must not get out.

    Attributes
    ----------
    path
        Its file.
    image
        What tells it from all others of the folder.
    patient
        The patient; "" where only a group is known.
    group
        The finest group that is surely of one patient: the patient, else the study or the volume.
    study
        The study; "" where unknown.
    slice_number
        Of a volume; None of a single image.
    """

    path: Path
    image: str
    patient: str
    group: str
    study: str = ""
    slice_number: int | None = None


def picture_of(origin: Origin, choices: Choices) -> Picture:
    """Return a picture whose names are pseudonyms, with what the user's table states of its file."""
    line = (choices.labels or {}).get(origin.path.resolve(), {})
    patient = line.get("patient_id") or origin.patient
    group = patient or origin.group
    columns = {name: line[name] for name in KEPT_COLUMNS if line.get(name)}
    for name in ("count", "grade"):
        if name in columns:
            columns[name] = as_whole_number(columns[name], f"--labels, {origin.path}: {name}")
    if origin.study:
        columns["study_id"] = pseudonym(choices.salt, "study", origin.study)
    for name in ("text", "finding"):
        if line.get(name):
            check_text(line[name], f"--labels, {origin.path}: {name}")
    split = line.get("split", "")
    require(
        not split or is_split(split),
        f"--labels, {origin.path}: split {split!r} is unknown: "
        f"write {', '.join(SPLITS)} into the table or leave it empty",
    )
    return Picture(
        place=str(origin.path),
        name=f"{pseudonym(choices.salt, 'image', origin.image)}.png",
        modality=line.get("modality") or choices.modality,
        finding=line.get("finding", ""),
        patient_id=pseudonym(choices.salt, "patient" if patient else "group", group),
        identity_known=bool(patient),
        split=split,
        text=line.get("text", ""),
        slice_number=origin.slice_number,
        columns=columns,
    )


@contextlib.contextmanager
def reading(path: Path | str, remedy: str) -> Iterator[None]:
    """Turn whatever a decoder raises inside into an InputError that names the file and the remedy.

    Damaged bytes raise errors of many kinds, some of them only when a value is looked at. Their text is left
    out, as it may quote what a header says of a person; so are warnings and the decoders' own log.
    """
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # what matters is checked
            yield
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{path} cannot be read ({type(error).__name__}): {remedy}") from error
    finally:
        logging.disable(disabled)


def check_spacing(path: Path | str, row_spacing: float, column_spacing: float) -> None:
    """Raise InputError where pixels are so long or so wide that the spacing must be wrong."""
    ends = sorted((abs(row_spacing), abs(column_spacing)))
    require(
        ends[0] == 0 or ends[1] <= MAX_RATIO * ends[0],
        f"{path} has pixels of {row_spacing:g} x {column_spacing:g}: correct the spacing in its header",
    )
