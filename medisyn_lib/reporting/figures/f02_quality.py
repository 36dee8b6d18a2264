"""Figures of notebook 02."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medisyn_lib.pipeline.arms import (
    AUTOENCODED,
    GENERALIST,
    OTHER_PATIENTS,
    SPECIALIST,
    UNDERTRAINED,
    Arms,
)
from medisyn_lib.reporting.drawing import NOT_CLINICAL, contact_sheet, forest
from medisyn_lib.reporting.panels import readable
from medisyn_lib.reporting.render import FigureSpec, draw

if TYPE_CHECKING:
    import datasets
    import pandas as pd
    from IPython.display import Image

    from medisyn_lib.claims.claim import Claim
    from medisyn_lib.pipeline.study import Study

SIDE_BY_SIDE = FigureSpec(
    "02_side_by_side",
    contact_sheet,
    shows="Real images, and the same prompts and seeds sampled from the generalist and a specialist.",
)
MEASURES = FigureSpec(
    "02_measures",
    forest,
    shows="Distance from, and overlap with, held-out real images: generalist, specialists, controls and floors.",
)
LOG_RATIOS = FigureSpec(
    "02_log_ratios",
    forest,
    shows="How far generalist and specialist are from real images, as a log-ratio, with the margin of non-inferiority.",
)
MEASURED_ARMS = [OTHER_PATIENTS, AUTOENCODED, UNDERTRAINED, GENERALIST, SPECIALIST]
PROPORTIONS = ["precision", "recall", "coverage"]  # end at 0 and 1; density only at 0


def side_by_side(
    arms: Arms,
    split: datasets.Dataset,
    modalities: Sequence[str],
    study: Study,
    folder: Path,
) -> Image | None:
    """Show real images of each modality and what generalist and specialist make of their captions.

    The prompts are the first of each modality, not chosen by eye. Where only numbers are left of a study of several
    days, and no weights, it is said that the pictures are not here.
    """

    from medisyn_lib.evaluation.shown_images import (
        PROMPTS_APART,
        SHOWN_ARMS,
        SHOWN_PROMPTS,
        shown_images,
    )
    from medisyn_lib.pipeline.paired_samples import rows_of

    shown = shown_images(arms, modalities)
    if not all(part.can_be_shown for parts in shown.values() for part in parts):
        print(
            "no pictures: of these generators the checkout holds numbers alone, the store no weights"
        )
        return None
    pictures = {
        (name, arm): part.of(name)
        for arm, parts in shown.items()
        for part in parts
        for name in part.arm.modalities
    }
    columns = min(SHOWN_PROMPTS, len(rows_of(split, modalities[0])) // PROMPTS_APART or 1)
    lines = [(name, arm) for name in modalities for arm in SHOWN_ARMS]
    table = _prompts_shown(split, lines, columns, PROMPTS_APART)
    tiles = [pictures[line][:columns] for line in lines]
    table["title"] = (
        "Real images, and the same prompts and seeds by generalist and specialist "
        f"({study.scale}); {NOT_CLINICAL}"
    )
    real = study.source != "phantom"
    return draw(SIDE_BY_SIDE, table, folder / "figures", np.concatenate(tiles), real=real)


def _prompts_shown(
    split: datasets.Dataset, lines: Sequence[tuple[str, str]], columns: int, apart: int
) -> pd.DataFrame:
    """The cells of a contact sheet with a line for each modality and arm: every `apart`-th prompt of the modality."""
    import pandas as pd

    from medisyn_lib.pipeline.paired_samples import rows_of

    cells = []
    for row, (name, arm) in enumerate(lines):
        label = f"{readable(name)}\n{arm}"
        rows = rows_of(split, name)
        for column in range(columns):
            prompt = split["caption"][int(rows[apart * column])]
            cells.append((row, column, label, prompt))
    return pd.DataFrame(cells, columns=["row", "column", "row_label", "prompt"])


def measures(measured: pd.DataFrame, study: Study, folder: Path) -> Image | None:
    """Draw five arms' distances and overlaps with their intervals, a panel per measure."""
    table = measured[measured["group"].isin(MEASURED_ARMS)]
    table = table.sort_values(
        "group", key=lambda column: column.map(MEASURED_ARMS.index), kind="stable"
    )
    table["xlabel"] = table["panel"].str.split("_").str[0]
    proportion = table["xlabel"].isin(PROPORTIONS)
    from_zero = proportion | (table["xlabel"] == "density")
    table["low"] = table["low"].clip(lower=0).where(from_zero, table["low"])
    table["high"] = table["high"].clip(upper=1).where(proportion, table["high"])
    table["title"] = (
        "Distance from, and overlap with, held-out real images; 95% intervals by patient "
        f"({study.scale}, n = {measured['n'].min()} images a side and modality, "
        "one training seed)"
    )
    return draw(MEASURES, table, folder / "figures")


def log_ratio_table(claims: Sequence[Claim]) -> pd.DataFrame:
    """Tabulate each modality's effect at each budget, with simultaneous limits and the label that the rule counts."""
    import pandas as pd

    from medisyn_lib.claims import c02_quality  # brings torch

    margin = c02_quality.RULE.thresholds["margin"]
    rows = []
    for claim in claims:
        measures = {one.name: one for one in claim.measures}
        for name, label in c02_quality.labels(measures).items():
            one = measures[c02_quality.EFFECT + name]
            numbers = (one.value, one.ci_low, one.ci_high, math.log(margin))
            rows.append((name, claim.id.replace("-", " "), *numbers, one.n, label))
    columns = ["label", "group", "value", "low", "high", "reference", "n", "found"]
    return pd.DataFrame(rows, columns=columns).astype({"reference": float})


def log_ratios(ratios: pd.DataFrame, study: Study, folder: Path) -> Image | None:
    """Draw `log_ratio_table`: the figure that the verdict is read from."""
    over_seeds = ", one training seed"
    if len(study.settings.seeds) > 1:
        over_seeds = " and training seed"
    table = ratios.drop(columns="found").assign(
        reference_label="margin",
        xlabel="log-ratio of KID, generalist to specialist (above 0: generalist worse)",
        title=(
            "Generalist against specialists, same prompts and seeds; simultaneous 95% limits by patient"
            f"{over_seeds} ({study.scale}, n = {ratios['n'].min()} images a side and modality)"
        ),
    )
    return draw(LOG_RATIOS, table, folder / "figures")
