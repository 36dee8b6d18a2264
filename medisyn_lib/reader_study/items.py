"""The items of a reader study: which held-out patients it shows, as what, and with which words."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

import numpy as np

from medisyn_lib.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

# Items of each kind for one pair of a real and a synthetic image.
ITEMS_PER_PAIR = {
    "pair": 1.0,
    "control": 1 / 3,
    "real": 1 / 3,
    "synthetic": 1 / 3,
    "mismatched": 1 / 6,
}
TRAINING = {"pair": 2, "synthetic": 1, "mismatched": 1}  # items at the start that do not count
REPEATED = 6  # one item in so many of each kind comes twice
ATTRIBUTES = ["finding", "side", "lesion_size", "count", "grade"]


class Item(TypedDict):
    """One item; `repeat` says that it comes twice, `training` that it comes first and does not count.

    `rows` are those of the table of real images that it shows, `fits` is the fraction of the
    caption that is true of the first, `images` are data URIs.
    """

    kind: str
    modality: str
    caption: str
    rows: list[int]
    fits: float
    repeat: bool
    training: bool
    grey: NotRequired[bool]
    images: NotRequired[list[str]]


def draw_items(real: pd.DataFrame, counts: Mapping[str, int], seed: int) -> list[Item]:
    """Draw the items, those of `TRAINING` last; each takes patients of its own, modalities in turn while they last.

    Parameters
    ----------
    real : DataFrame
        Held-out real images: `patient_id`, `modality`, `caption` and `ATTRIBUTES`.
    counts : mapping of str to int
        How many items of each kind.
    seed : int
        Of the order of patients.

    Raises
    ------
    InputError
        Where there are too few patients.
    """
    patients = _one_image_each(real, seed)
    unused = {name: part.index.tolist() for name, part in patients.items()}
    turn = itertools.cycle(patients)
    items = []
    blocks = [(*count, False) for count in counts.items()]
    blocks += [(*count, True) for count in TRAINING.items()]
    for kind, number, training in blocks:
        for place in range(number):
            modality = _next_with_two(turn, unused)
            if not modality:
                present = sum(len(part) for part in patients.values())
                fault = f"{present} held-out patients are too few for {counts['pair']} pairs"
                mend = "give a smaller --pairs or a larger source"
                raise InputError(f"reader study: {fault}; {mend}")
            n_images = 2 if kind == "control" else 1
            rows = [unused[modality].pop() for _ in range(n_images)]
            item = _item(kind, modality, rows, patients[modality])
            item["training"] = training
            item["repeat"] = REPEATED * place < number and not training
            items.append(item)
    return items


def _one_image_each(real: pd.DataFrame, seed: int) -> dict[str, pd.DataFrame]:
    """Return an image of each patient, in random order, by modality."""
    shuffled = real.sample(frac=1, random_state=seed).drop_duplicates("patient_id")
    return {str(name): part for name, part in shuffled.groupby("modality", sort=False)}


def _next_with_two(turn: itertools.cycle[str], unused: Mapping[str, Sequence[int]]) -> str:
    """Return the next modality in turn with two patients left; empty where none has them."""
    for modality in itertools.islice(turn, len(unused)):
        if len(unused[modality]) > 1:
            return modality
    return ""


def _item(kind: str, modality: str, rows: list[int], patients: pd.DataFrame) -> Item:
    """Return an item that shows these rows; a mismatched one has the words of another finding."""
    shown = described = patients.loc[rows[0]]
    if kind == "mismatched":
        others = patients.drop(rows)
        described = others.iloc[np.argmax(others["finding"] != shown["finding"])]
    is_true: Any = shown == described
    stated = [name for name in ATTRIBUTES if described[name] not in ("", -1)]
    return {
        "kind": kind,
        "modality": modality,
        "caption": str(described["caption"]),
        "rows": rows,
        "fits": float(is_true[stated].mean()),
        "repeat": False,
        "training": False,
    }
