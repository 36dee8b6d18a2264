"""Figures of notebook 03."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medisyn_lib.pipeline.arms import SPECIALIST
from medisyn_lib.reporting.drawing import curves
from medisyn_lib.reporting.render import FigureSpec, draw

if TYPE_CHECKING:
    import pandas as pd
    from IPython.display import Image

    from medisyn_lib.evaluation.efficiency import BreakEven
    from medisyn_lib.evaluation.training_costs import SuiteCosts
    from medisyn_lib.pipeline.study import Study

FRONTIER = FigureSpec(
    "03_frontier",
    curves,
    shows="Quality against the operations of training: the generalist for all modalities, a specialist for one.",
)
BREAK_EVEN = FigureSpec(
    "03_break_even",
    curves,
    shows="From how many modalities on one generalist is cheaper than a model each.",
)
ELEVENTH = FigureSpec(
    "03_eleventh",
    curves,
    shows="What an eleventh modality costs: the generalist trained on, or a new specialist.",
)
BREAK_EVEN_POINTS = 41  # of each line


def frontier(points: pd.DataFrame, n: int, study: Study, folder: Path) -> Image | None:
    """Draw each modality's distance against training compute.

    Parameters
    ----------
    points
        Of `evaluation.quality_curves.curve_points`.
    n
        Images per point.
    study, folder
        Whose results these are, and where they are written.
    """
    names = {"modality": "panel", "model": "group", "TFLOP": "x", "KID": "y"}
    table = points.rename(columns=names)
    table["loose"] = table["group"] == SPECIALIST
    table["xlabel"] = "training compute (TFLOP)"
    table["ylabel"] = "KID (EfficientNet-Lite0)"
    table["xscale"] = "log"
    table["title"] = (
        "Quality against compute: the generalist for all modalities, and a specialist for this "
        f"one; 95% intervals by patient ({study.scale}, n = {n} images a point, one training seed)"
    )
    return draw(FRONTIER, table, folder / "figures")


def break_even(even: BreakEven, costs: SuiteCosts, study: Study, folder: Path) -> Image | None:
    """Draw the cost of specialists and of a generalist by the number of modalities served.

    The shared autoencoder is the same for both and left out.
    """
    import pandas as pd

    served = np.linspace(0, costs.modalities, BREAK_EVEN_POINTS)
    level = np.ones_like(served)
    lines = {
        "specialists, one for each": served * np.mean(costs.mean_specialist),
        "generalist, all of its training": level * costs.checkpoints[-1],
    }
    if np.isfinite(even.flops_to_match):
        lines["generalist, to the specialists' quality"] = level * even.flops_to_match
    table = pd.concat(
        pd.DataFrame({"x": served, "y": flops / 1e12, "group": group})
        for group, flops in lines.items()
    )
    table["xlabel"] = "modalities served (n)"
    table["ylabel"] = "training compute (TFLOP)"
    table["title"] = (
        f"From how many modalities on one generalist is cheaper ({study.scale}, "
        f"training seeds: {len(study.settings.seeds)})"
    )
    return draw(BREAK_EVEN, table.assign(low=np.nan, high=np.nan), folder / "figures")


def eleventh(learning: pd.DataFrame, study: Study, folder: Path) -> Image | None:
    """Draw `evaluation.added_modality.distances_while_learning`."""
    names = {"model": "group", "images seen": "x", "KID": "y"}
    table = learning.drop(columns="n").rename(columns=names)
    table["xlabel"] = "images seen in the new training"
    table["ylabel"] = "KID (EfficientNet-Lite0)"
    table["title"] = (
        "Adding an eleventh modality: the generalist trained on, or a new specialist; "
        f"95% intervals by patient ({study.scale}, n = {learning['n'].max()} images a point)"
    )
    return draw(ELEVENTH, table, folder / "figures")
