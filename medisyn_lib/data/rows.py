"""What a source states of an image, one row each, and the checks on it.

A check that fails raises an InputError: one line that names the fault and the remedy.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from medisyn_lib.errors import InputError

__all__ = [
    "SUBGROUPS",
    "UNKNOWN",
    "WORDS",
    "Row",
    "check_images_are_unique",
    "check_rows",
    "check_text",
    "require",
]

Row = dict[str, Any]  # image_id, patient_id, identity_known, split, place and the keys of UNKNOWN
WORDS = {"modality": "image", "finding": "unlabelled", "side": "", "lesion_size": ""}
SUBGROUPS = ("sex", "age_group", "site", "scanner", "view")  # whom and what an image shows besides
UNKNOWN: Row = {  # what a source does not state
    "text": "",
    **WORDS,
    "count": -1,
    "grade": -1,
    **dict.fromkeys(SUBGROUPS, ""),
}
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
FORMULA_STARTS = "=+-@"
MIN_TRAIN_IMAGES = 2  # of a modality


def require(condition: object, fault: str) -> None:
    """Raise InputError with the fault, one line, where a condition on the input does not hold."""
    if not condition:
        raise InputError(fault)


def check_text(text: str, where: str) -> None:
    """Check a text that comes from outside.

    Parameters
    ----------
    text
        A caption, a name or a word of metadata.
    where
        Names the text in errors.

    Raises
    ------
    InputError
        Where the text is empty, holds control characters or begins as a spreadsheet's formula does.
    """
    require(text.strip(), f"{where} is empty: write one")
    require(
        text.lstrip()[0] not in FORMULA_STARTS,
        f"{where} begins as a spreadsheet's formula does: begin with a letter",
    )
    require(
        not CONTROL.search(text),
        f"{where} holds control characters: replace line breaks and tabs by blanks",
    )


def check_rows(rows: list[Row], where: str, findings: Iterable[str] = ()) -> list[Row]:
    """Check the rows of a source.

    A class that is empty in val or test is no error: `medisyn_lib.data.check` reports it.

    Parameters
    ----------
    rows
        One for each image.
    where
        Names the source in errors.
    findings
        Classes that must be there besides those of the rows.

    Returns
    -------
    list of Row
        The same rows.

    Raises
    ------
    InputError
        For an image that is listed twice, a patient in two splits, or a class without train images.
    """
    require(rows, f"{where} holds no image: add some")
    check_images_are_unique(rows, where)
    _check_patients_have_one_split(rows, where)
    for modality in dict.fromkeys(row["modality"] for row in rows):
        of_modality = [row for row in rows if row["modality"] == modality]
        _check_train_images(of_modality, f"{where}: {modality}", findings)
    return rows


def check_images_are_unique(rows: Sequence[Row], where: str) -> None:
    """Raise InputError where an image is listed twice; `where` names the source."""
    name, times = Counter(row["image_id"] for row in rows).most_common(1)[0]
    require(times == 1, f"{where}: the image {name!r} is listed twice: keep one of them")


def _check_patients_have_one_split(rows: Sequence[Row], where: str) -> None:
    split_of: dict[str, str] = {}
    for row in rows:
        patient, split = row["patient_id"], row["split"]
        first = split_of.setdefault(patient, split)
        require(
            split == first,
            f"{where}: patient {patient!r} is in {first} and in {split}: "
            "keep all images of a patient in one split",
        )


def _check_train_images(rows: Sequence[Row], where: str, findings: Iterable[str]) -> None:
    """Check that a modality has train images, and that each of its classes does."""
    trained = [row["finding"] for row in rows if row["split"] == "train"]
    patients = len({row["patient_id"] for row in rows})
    require(
        len(trained) >= MIN_TRAIN_IMAGES,
        f"{where} needs at least {MIN_TRAIN_IMAGES} train images, got {len(trained)} "
        f"(of {len(rows)} images of {patients} patients): add images",
    )
    for finding in sorted({*findings, *(row["finding"] for row in rows)}):
        require(
            finding in trained,
            f"{where} class {finding!r} has no train image: add some or drop it",
        )
