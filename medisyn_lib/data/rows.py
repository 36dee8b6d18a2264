"""What a source states of an image, one row each, and its checks; what fails is one line with its mend."""

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

from medisyn_lib.errors import InputError

Row = dict[str, Any]  # image_id, patient_id, identity_known, split, place and the keys of UNKNOWN
WORDS = {"modality": "image", "finding": "unlabelled", "side": "", "lesion_size": ""}
UNKNOWN: Row = {
    "text": "",
    **WORDS,
    "count": -1,
    "grade": -1,
}  # what stands for what a source does not know
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def require(fine: object, fault: str) -> None:
    """Raise InputError with the fault, one line, where a check on the input does not hold."""
    if not fine:
        raise InputError(fault)


def check_text(text: str, where: str) -> None:
    """Raise InputError where a text is empty, holds control characters or begins as a formula; `where` names it."""
    require(text.strip(), f"{where} is empty: write one")
    require(
        text.lstrip()[0] not in "=+-@",
        f"{where} begins as a spreadsheet's formula does: begin with a letter",
    )
    require(
        not CONTROL.search(text),
        f"{where} holds control characters: replace line breaks and tabs by blanks",
    )


def check_rows(rows: list[Row], where: str, findings: Iterable[str] = ()) -> list[Row]:
    """The rows; raises InputError for a name that stands twice, a patient in two splits, a class without train images.

    `findings` are classes that must be there besides those of the rows. A class that is empty in val
    or test is no error: `check` reports it.
    """
    require(rows, f"{where} holds no image: add some")
    name, many = Counter(row["image_id"] for row in rows).most_common(1)[0]
    require(many == 1, f"{where}: the image {name!r} stands there twice: keep one of them")
    home: dict[str, str] = {}
    for row in rows:
        patient, split = row["patient_id"], row["split"]
        both = f"patient {patient!r} is in {home.setdefault(patient, split)} and in {split}"
        require(
            home[patient] == split, f"{where}: {both}: keep all images of a patient in one split"
        )
    for modality in dict.fromkeys(row["modality"] for row in rows):
        own = [row for row in rows if row["modality"] == modality]
        train = [row["finding"] for row in own if row["split"] == "train"]
        require(
            len(train) > 1,
            f"{where}: {modality} needs at least 2 train images, got {len(train)}: add images",
        )
        for finding in sorted({*findings, *(row["finding"] for row in own)}):
            require(
                finding in train,
                f"{where}: {modality} class {finding!r} has no train image: add some or drop it",
            )
    return rows
