"""Figures of notebook 00."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medisyn_lib.data.pixels import load_pixels
from medisyn_lib.reporting.drawing import NOT_CLINICAL, classes, contact_sheet, forest
from medisyn_lib.reporting.panels import readable
from medisyn_lib.reporting.render import FigureSpec, draw
from medisyn_lib.reporting.tables import contact_sheet_table, interval_columns

if TYPE_CHECKING:
    from collections.abc import Mapping

    import datasets
    import pandas as pd
    from IPython.display import Image

    from medisyn_lib.evaluation.patient_leakage import SplitNeighbours
    from medisyn_lib.pipeline.study import Study

MODALITIES = FigureSpec(
    "00_modalities",
    contact_sheet,
    shows="Images of the generator's training set, several of each modality, each of another patient.",
)
CLASSES = FigureSpec(
    "00_classes",
    classes,
    shows="Training images of each finding, by modality.",
)
RECOGNISED = FigureSpec(
    "00_recognised",
    contact_sheet,
    shows="Images whose nearest other image is of the same patient, and the nearest of another patient.",
)
COINS = FigureSpec(
    "00_coins",
    forest,
    shows="A coin tossed for each patient, guessed from the nearest image, with a split by image and by patient.",
)
SHOWN_PATIENTS = 8  # columns of the contact sheet


def modalities(chosen: pd.DataFrame, tiles: np.ndarray, study: Study, folder: Path) -> Image | None:
    """Draw a contact sheet, one row per modality, of images with `modality` and `caption`."""
    import pandas as pd

    table = pd.DataFrame(
        {
            "row": chosen["modality"].factorize()[0],
            "column": chosen.groupby("modality", sort=False).cumcount(),
            "row_label": chosen["modality"].map(readable),
            "caption": chosen["caption"],
            "title": f"Images of the data source ({study.scale}); {NOT_CLINICAL}",
        }
    )
    real = study.source != "phantom"
    return draw(MODALITIES, table, folder / "figures", tiles, real=real)


def findings(images: pd.DataFrame, study: Study, folder: Path) -> Image | None:
    """Draw how many images each finding has, one bar per modality, from `modality` and `finding`."""
    counts = images.value_counts(["modality", "finding"], sort=False)
    table = counts.rename("images").reset_index()
    order = {name: place for place, name in enumerate(images["modality"].drop_duplicates())}
    table = table.sort_values("modality", key=lambda column: column.map(order), kind="stable")
    table["title"] = f"Training images a finding ({study.scale})"
    return draw(CLASSES, table, folder / "figures")


def recognised(
    images: datasets.Dataset, found: Mapping[str, SplitNeighbours], study: Study, folder: Path
) -> Image | None:
    """Show images of patients who are recognised, in the modality where most are; nothing where none is."""
    name = max(found, key=lambda key: found[key].recognised.mean(), default="")
    chosen = found[name].recognised if name else np.zeros(0, bool)
    if not chosen.any():
        return None
    places = _one_of_each(chosen, found[name].patient)[:SHOWN_PATIENTS]
    labels = ("an image", "nearest,\nsplit by image", "nearest,\nsplit by patient")
    rows = [
        kind[places] for kind in (found[name].image, found[name].by_image, found[name].by_patient)
    ]
    table = contact_sheet_table(labels, len(places))
    table["image"] = images.select(np.concatenate(rows).tolist())["image_id"][:]
    table["title"] = (
        f"{readable(name)}: the nearest other image is of the same patient for "
        f"{chosen.sum()} of {len(chosen)} images ({study.scale}); {NOT_CLINICAL}"
    )
    tiles = load_pixels(images, np.concatenate(rows))
    return draw(RECOGNISED, table, folder / "figures", tiles, real=study.source != "phantom")


def _one_of_each(chosen: np.ndarray, patient: np.ndarray) -> np.ndarray:
    """Places of the first image marked in a mask, bool (n,), of each patient, str (n,), in order."""
    places = np.flatnonzero(chosen)
    _, first = np.unique(patient[places], return_index=True)
    return places[np.sort(first)]


def coins(
    images: datasets.Dataset, found: Mapping[str, SplitNeighbours], study: Study, folder: Path
) -> Image | None:
    """Draw `coin_accuracy` less a half, which is chance, one row per modality; nothing without patients to compare."""
    import pandas as pd

    from medisyn_lib.evaluation.patient_leakage import coin_accuracy

    rows = []
    for name, of_modality in found.items():
        for split, estimate in coin_accuracy(images, of_modality).items():
            rows.append({"label": name, "group": split, **interval_columns(estimate)})
    table = pd.DataFrame(rows, columns=["label", "group", "value", "low", "high", "n"])
    if table.empty:
        return None
    most = table.pop("n").max()
    shown = ["value", "low", "high"]
    table[shown] = 100 * (table[shown] - 0.5)
    table["xlabel"] = "coins guessed beyond half of them (percentage points)"
    table["title"] = (
        "A coin tossed for each patient, guessed from the nearest image; 95% intervals by patient "
        f"({study.scale}, at most {most} images each)"
    )
    return draw(COINS, table, folder / "figures")
