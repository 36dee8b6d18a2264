"""Reads the readers' answer files, checked against the study's key."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medisyn_lib.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

FORMAT, KEY = "medisyn-reader-study/1", "key.json"
PAIRS = ("pair", "control")  # kinds of item that show two images
GRADES = (1, 2, 3, 4, 5)


def load(path: Path) -> dict[str, Any]:
    """A key or answer file. Raises InputError where it is none."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
        content = json.loads(path.read_text("utf-8"))
        if content["format"] == FORMAT:
            return dict(content)
    raise InputError(
        f"{path}: absent, damaged or no file of a reader study; take what `readers new` or a page wrote"
    )


def fault_of(content: dict[str, Any], key: dict[str, Any], files: int) -> str:
    """What is wrong with an answer file, one of `files` that name its reader; "" if nothing."""
    asked, given = key["readers"].get(str(content.get("reader"))), content.get("answers")
    if content.get("study") != key["study"]:
        return f"belongs to {content.get('study')}, not to {key['study']}"
    if asked is None or not isinstance(given, dict):
        return f"comes from an unknown reader {content.get('reader')!r}"
    if files > 1:
        return f"is one of {files} files of {content['reader']}: keep one"
    edited, missing = sorted(given.keys() - asked.keys()), []
    for token, item in asked.items():
        pair, answer = key["items"][item["item"]]["kind"] in PAIRS, given.get(token)
        allowed = {"choice": ("A", "B")} if pair else {"realism": GRADES, "alignment": GRADES}
        if not isinstance(answer, dict) or not allowed.keys() <= answer.keys():
            missing.append(token)
        elif answer.get("shown") != item["shown"] or any(
            answer[name] not in allowed[name] for name in allowed
        ):
            edited.append(token)
    if edited:
        return f"was edited, or its page, in {len(edited)} items ({', '.join(edited[:5])}): ask the reader again"
    return (
        f"lacks {len(missing)} of {len(asked)} answers ({', '.join(missing[:5])}): finish the page"
        * bool(missing)
    )


def read(folder: Path) -> pd.DataFrame:
    """Rows reader, item, again (1: shown twice), kind, modality, first (was chosen), truth, right, realism, alignment.

    Of all files in `answers/` of a study's folder; raises InputError that says what is wrong with each file.
    """
    import pandas as pd

    key, files = (
        load(folder / KEY),
        {p.name: load(p) for p in sorted((folder / "answers").glob("*.json"))},
    )
    if not files:
        raise InputError(
            f"reader study {folder}: no answer file in answers/; put the readers' JSON files there"
        )
    seen = Counter(str(content.get("reader")) for content in files.values())
    faults = {
        name: fault_of(content, key, seen[str(content.get("reader"))])
        for name, content in files.items()
    }
    if wrong := [f"{name} {fault}" for name, fault in faults.items() if fault]:
        raise InputError(f"reader study {folder}: {'; '.join(wrong)}")
    rows = []
    for content in files.values():
        for token, place in key["readers"][content["reader"]].items():
            item, given = key["items"][place["item"]], content["answers"][token]
            row = {
                "reader": content["reader"],
                "item": place["item"],
                "again": place["again"],
                "kind": item["kind"],
            }
            if item["kind"] in PAIRS:
                first = given["choice"] == "A"
                row |= {"first": first, "truth": place["flip"], "right": first == place["flip"]}
            else:
                row |= {name: given[name] for name in ("realism", "alignment")}
            rows.append(row | {"modality": item["modality"]})
    return pd.DataFrame(rows)
