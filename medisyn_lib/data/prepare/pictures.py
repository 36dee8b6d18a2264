"""What a reader finds before any pixel is decoded: pictures with what is stated of them, and what it leaves out."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from medisyn_lib.data.rows import WORDS, require
from medisyn_lib.modalities import MODALITIES, caption

__all__ = ["Contents", "Picture", "files_below", "record_of"]


@dataclass(frozen=True)
class Picture:
    """One image of a prepared folder.

    Attributes
    ----------
    place
        The file that its pixels are in; errors name it.
    name
        Of its file in the prepared folder.
    modality, finding
        Keys, or words of one's own.
    patient_id
        Of the patient, or of the finest group that is known; "" where nothing is.
    identity_known
        Whether `patient_id` is a true patient.
    split
        train, val or test; "" where patients are to be assigned by a stable hash.
    text
        The caption; "" for one made from modality and finding.
    slice_number
        Of a volume; None of a file that is one image.
    columns
        Further columns of the metadata, such as sex or scanner.
    """

    place: str
    name: str
    modality: str
    finding: str = ""
    patient_id: str = ""
    identity_known: bool = False
    split: str = ""
    text: str = ""
    slice_number: int | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Contents:
    """What a folder holds.

    Attributes
    ----------
    pictures
        In the order in which they are written.
    left_out
        How many files or images were left out, by reason.
    notes
        Sentences for the person who prepares the folder.
    """

    pictures: list[Picture]
    left_out: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)


def record_of(picture: Picture) -> dict[str, Any]:
    """Return a picture's line of `metadata.csv`.

    A caption that is made takes its paraphrases by a hash of the image's name, so it is the same in every run.
    """
    record: dict[str, Any] = {
        "file_name": f"images/{picture.name}",
        "text": picture.text or _caption(picture),
        "modality": picture.modality,
        "finding": picture.finding or WORDS["finding"],
        "patient_id": picture.patient_id,
        "identity_known": int(picture.identity_known),
        "split": picture.split,
    }
    return record | dict(picture.columns)


def _caption(picture: Picture) -> str:
    """A caption from modality and finding; of an image without a finding the modality's name alone."""
    digest = hashlib.sha256(picture.name.encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:8], "big"))
    if picture.finding:
        return caption(picture.modality, picture.finding, picture.columns, rng=rng)
    modality = MODALITIES.get(picture.modality)
    names = modality.names if modality else (picture.modality.replace("_", " "),)
    return str(names[int(rng.integers(len(names)))])


def files_below(folder: Path) -> Iterator[Path]:
    """Yield all files of a folder and its folders, in order of their names.

    Hidden files are left out, as archives made on a Mac hold one beside each image.

    Raises
    ------
    InputError
        For a link that leads out of the folder.
    """
    home = folder.resolve()
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if any(part.startswith((".", "__MACOSX")) for part in parts) or not path.is_file():
            continue
        require(
            not path.is_symlink() or path.resolve().is_relative_to(home),
            f"{path} leads out of the folder: copy the file into it",
        )
        yield path
