"""Sets of image and label: which column is the label, what the modality calls it, and which modality it is.

Such a set has no captions; they are made from the modality's templates, as those of `npz:` are. Where no column
names the modality, the source does: `hub:OWNER/NAME@chest_xray`, `folder:DIR@chest_xray`.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from medisyn_lib.data.rows import require
from medisyn_lib.data.source_options import parse
from medisyn_lib.data.values import as_text, is_missing
from medisyn_lib.modalities import MODALITIES

__all__ = [
    "TEXTS",
    "Completion",
    "completion",
    "finding_key",
    "plain_key",
]

TEXTS = ("text", "caption")  # columns of captions
LABEL_COLUMNS = (
    "finding",
    "label",
    "labels",
    "class",
    "diagnosis",
    "dx",
)  # the first that is there
ICDR = [finding.key for finding in MODALITIES["fundus"].findings]
GRADES = {
    **dict(zip("01234", ICDR, strict=True)),
    "mild": "mild_npdr",
    "moderate": "moderate_npdr",
    "severe": "severe_npdr",
    "proliferative_dr": "pdr",
    "proliferate_dr": "pdr",
}


class Completion(NamedTuple):
    """What is added to the records of a table, so that each has a caption or what one is made of."""

    label: str  # the label's column; "" where the table has captions
    modality: str  # that the source's name states; "" where it states none

    def completed(self, record: Mapping[str, Any], where: str) -> dict[str, Any]:
        """Return a record with its modality and, for a label, its finding; without a label it has a text.

        Raises InputError for a label that is missing or no name.
        """
        modality = as_text(record.get("modality")) or self.modality
        if not self.label:
            return {"text": "", **record, "modality": modality}
        label = record.get(self.label)
        require(
            not is_missing(label),
            f"{where}: {self.label} is missing, and captions are made of it: "
            "name the finding, or save the set without this image",
        )
        finding = finding_key(modality, as_text(label))
        require(
            re.search("[a-z]", finding),
            f"{where}: {self.label} {label!r} is no name of a finding: put names in the place of numbers",
        )
        return {**record, "modality": modality, "finding": finding}


def plain_key(name: str) -> str:
    """Return a name in lower case, all but letters and digits as underscores."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def finding_key(modality: str, name: str) -> str:
    """Return the key of a class by its name: the modality's own where it has one, else the name's letters and digits.

    Grades 0 to 4 of a fundus photograph are those of the ICDR scale.
    """
    key = plain_key(name)
    if modality == "fundus":
        return GRADES.get(key, key)
    row = MODALITIES.get(modality)
    for finding in row.findings if row else ():
        if name.strip().lower() in (finding.name, *finding.phrases):
            return finding.key
    return key


def completion(source: str, columns: Sequence[str], class_labels: Sequence[str]) -> Completion:
    """Say what the records of a table lack, and choose the label where it has no captions.

    Parameters
    ----------
    source
        Its name may state a modality; it names the table in errors.
    columns
        All that the table has.
    class_labels
        Those whose values are classes with names.

    Raises
    ------
    InputError
        Where there are no captions and no column, or more than one, may be the label, or nothing names the
        modality.
    """
    plain, modality = parse(source)[:2]
    if any(name in columns for name in TEXTS):
        return Completion("", modality)
    lacks = f"data source {source!r} has no column text or caption"
    named = [column for column in LABEL_COLUMNS if column in columns]
    chosen = named[:1] or list(class_labels)
    require(chosen, f"{lacks}, and none that is a label: add one")
    require(
        len(chosen) == 1,
        f"{lacks}, and several labels ({', '.join(chosen)}): call the one that counts finding",
    )
    require(
        modality or "modality" in columns,
        f"{lacks}; for captions made from {chosen[0]}, name the modality: {plain}@chest_xray, say",
    )
    return Completion(chosen[0], modality)
