"""Reads the readers' answer files, checked against the study's key."""

from __future__ import annotations

import contextlib
import json
import math
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medisyn_lib.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

FORMAT, KEY = "medisyn-reader-study/2", "key.json"
PAIRS = ("pair", "control")  # kinds of item that show two images
GRADES = (1, 2, 3, 4, 5)
ANSWERS_TO_PAIR: dict[str, tuple[Any, ...]] = {"choice": ("A", "B")}
ANSWERS_TO_IMAGE: dict[str, tuple[Any, ...]] = {"realism": GRADES, "alignment": GRADES}
NAMED = 5  # items that a complaint lists


def load(path: Path) -> dict[str, Any]:
    """Return the content of a key or answer file. Raises InputError where it is none."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
        content = json.loads(path.read_text("utf-8"))
        if content["format"] == FORMAT:
            return dict(content)
    fault = "absent, damaged or no file of a reader study; take what `readers new` or a page wrote"
    raise InputError(f"{path}: {fault}")


def fault_of(content: dict[str, Any], key: dict[str, Any], files: int) -> str:
    """Return what is wrong with an answer file; empty if nothing.

    Parameters
    ----------
    content : dict
        The answer file.
    key : dict
        The study's key.
    files : int
        How many answer files name the same reader.
    """
    shown = key["readers"].get(str(content.get("reader")))
    if content.get("study") != key["study"]:
        return f"belongs to {content.get('study')}, not to {key['study']}"
    if shown is None or not isinstance(content.get("answers"), dict):
        return f"comes from an unknown reader {content.get('reader')!r}"
    if not content.get("consent"):
        return f"holds no consent of {content['reader']}: leave it out, or ask the reader"
    if files > 1:
        return f"is one of {files} files of {content['reader']}: keep one"
    missing, edited = _faulty_items(content["answers"], shown, key)
    if edited:
        which = f"{len(edited)} items ({', '.join(edited[:NAMED])})"
        return f"was edited, or its page, in {which}: ask the reader again"
    if missing:
        which = f"{len(missing)} of {len(shown)} answers ({', '.join(missing[:NAMED])})"
        return f"lacks {which}: finish the page"
    return ""


def _faulty_items(
    answers: dict[str, Any], shown: dict[str, Any], key: dict[str, Any]
) -> tuple[list[str], list[str]]:
    """Return the tokens of items that lack an answer, and of those that are not as they were shown."""
    missing, edited = [], sorted(answers.keys() - shown.keys())
    for token, item in shown.items():
        is_pair = key["items"][item["item"]]["kind"] in PAIRS
        allowed = ANSWERS_TO_PAIR if is_pair else ANSWERS_TO_IMAGE
        answer = answers.get(token)
        if not isinstance(answer, dict) or not allowed.keys() <= answer.keys():
            missing.append(token)
        elif answer.get("shown") != item["shown"]:
            edited.append(token)
        elif any(answer[name] not in values for name, values in allowed.items()):
            edited.append(token)
    return missing, edited


def read(folder: Path) -> pd.DataFrame:
    """Read all files in `answers/` of a study's folder.

    Returns
    -------
    DataFrame
        A row for each answer, training items left out: `reader`, `item`, `again` (1 where the item was shown
        before), `kind`, `modality`; of pairs `first` (was chosen), `truth` (the first is the synthetic one), `right`;
        of single images `realism`, `alignment`; `seconds` that it took (NaN where the file does not say).

    Raises
    ------
    InputError
        Says what is wrong with each faulty file, or that there is none.
    """
    import pandas as pd

    key = load(folder / KEY)
    files = {path.name: load(path) for path in sorted((folder / "answers").glob("*.json"))}
    if not files:
        fault = "no answer file in answers/; put the readers' JSON files there"
        raise InputError(f"reader study {folder}: {fault}")
    _check(folder, files, key)
    rows = []
    for content in files.values():
        for token, shown in key["readers"][content["reader"]].items():
            item = key["items"][shown["item"]]
            if not item["training"]:
                rows.append(_row(content, token, shown, item))
    return pd.DataFrame(rows)


def _check(folder: Path, files: dict[str, dict[str, Any]], key: dict[str, Any]) -> None:
    """Raise InputError with what is wrong with each faulty file."""
    files_of_reader = Counter(str(content.get("reader")) for content in files.values())
    faults = []
    for name, content in files.items():
        fault = fault_of(content, key, files_of_reader[str(content.get("reader"))])
        if fault:
            faults.append(f"{name} {fault}")
    if faults:
        raise InputError(f"reader study {folder}: {'; '.join(faults)}")


def _row(
    content: dict[str, Any], token: str, shown: dict[str, Any], item: dict[str, Any]
) -> dict[str, Any]:
    """Return one answer as a row of the table."""
    answer = content["answers"][token]
    row = {
        "reader": content["reader"],
        "item": shown["item"],
        "again": shown["again"],
        "kind": item["kind"],
    }
    if item["kind"] in PAIRS:
        row["first"] = answer["choice"] == "A"
        row["truth"] = shown["flip"]
        row["right"] = row["first"] == shown["flip"]
    else:
        row["realism"] = answer["realism"]
        row["alignment"] = answer["alignment"]
    row["modality"] = item["modality"]
    seconds = answer.get("seconds")
    is_time = type(seconds) in (int, float) and 0 <= seconds < math.inf
    row["seconds"] = seconds if is_time else math.nan
    return row
