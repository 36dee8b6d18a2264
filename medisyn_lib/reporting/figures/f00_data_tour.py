"""Figures of notebook 00."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medisyn_lib.reporting.drawing import NOT_CLINICAL, classes, contact_sheet
from medisyn_lib.reporting.render import FigureSpec, draw

if TYPE_CHECKING:
    import pandas as pd
    from IPython.display import Image

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


def modalities(chosen: pd.DataFrame, tiles: np.ndarray, study: Study, folder: Path) -> Image | None:
    """Draw a contact sheet, one row per modality, of images with `modality` and `caption`."""
    import pandas as pd

    table = pd.DataFrame(
        {
            "row": chosen["modality"].factorize()[0],
            "column": chosen.groupby("modality", sort=False).cumcount(),
            "row_label": chosen["modality"].str.replace("_", " "),
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
