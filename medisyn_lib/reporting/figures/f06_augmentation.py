"""Figures of notebook 06."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medisyn_lib.evaluation.utility import arms
from medisyn_lib.evaluation.utility.classical_augmentation import augmented_views
from medisyn_lib.evaluation.utility.images import Images, TaskImages
from medisyn_lib.reporting.drawing import NOT_CLINICAL, contact_sheet, curves, forest
from medisyn_lib.reporting.panels import readable
from medisyn_lib.reporting.render import FigureSpec, draw
from medisyn_lib.statistics.estimates import Estimate

if TYPE_CHECKING:
    import pandas as pd
    from IPython.display import Image

    from medisyn_lib.pipeline.judged import JudgedGenerator

IMAGES = FigureSpec(
    "06_images",
    contact_sheet,
    shows="A classifier's real images, the same after classical augmentation, and synthetic ones.",
)
TOY = FigureSpec(
    "06_toy",
    curves,
    shows="A toy: what synthetic images add to few and to many real ones, by what their generator knows.",
    columns={"n": "x", "auroc": "y", "arm": "group"},
    labels={"xlabel": "real images n", "ylabel": "AUROC", "xscale": "log"},
)
LEARNING = FigureSpec(
    "06_learning",
    curves,
    shows="Classifiers by the number of real images, with and without synthetic ones.",
)
RATIO = FigureSpec(
    "06_ratio",
    curves,
    shows="What synthetic images add to n real ones, by how many there are for each real one.",
)
GAIN = FigureSpec(
    "06_gain",
    forest,
    shows="The gain from synthetic images at the smallest n, with its controls.",
)

COLUMNS = 8  # of the contact sheet
SMALLEST_ERROR = 1e-3  # what lies below is drawn there, as the axis is logarithmic


def images(
    tasks: Mapping[str, TaskImages],
    synthetic: Mapping[str, Sequence[Images]],
    judged: JudgedGenerator,
    folder: Path,
) -> Image | None:
    """Draw real images of each task, the same augmented, and the first synthetic ones; nothing without tasks."""
    import pandas as pd

    rows: list[tuple[int, int, str]] = []
    tiles: list[np.ndarray] = []
    for task, of_task in tasks.items():
        real = of_task.real.pixels[: 3 * COLUMNS : 3]  # every third: other patients
        shown = {
            "real": real,
            "real, augmented": augmented_views(real)[:, 1],
            "synthetic": synthetic[task][0].pixels[:COLUMNS],
        }
        for name, pixels in shown.items():
            row, label = len(tiles) // COLUMNS, f"{readable(task)}\n{name}"
            rows += [(row, column, label) for column in range(COLUMNS)]
            blank = np.full((COLUMNS - len(pixels), *real.shape[1:]), 255, np.uint8)
            tiles += [*pixels, *blank]
    if not rows:
        return None
    table = pd.DataFrame(rows, columns=["row", "column", "row_label"])
    table["title"] = (
        "Real images of the classifier, the same after classical augmentation, and synthetic images "
        f"({judged.scale}); {NOT_CLINICAL}"
    )
    shows_real = judged.study.source != "phantom"
    return draw(IMAGES, table, folder, np.array(tiles), real=shows_real)


def toy(table: pd.DataFrame, folder: Path) -> Image | None:
    """Draw the table of `toy_classifiers.toy_curves`."""
    title = "A toy: a classifier of two classes, trained on n real images alone, and on n real and n synthetic ones"
    return draw(TOY, table.assign(title=title), folder)


def learning(
    table: pd.DataFrame, judged: JudgedGenerator, folder: Path, test_images: int
) -> Image | None:
    """Draw the table of `learning_curves.learning_curves` as errors, 1 - AUROC; nothing of an empty one."""
    import pandas as pd

    if table.empty:
        return None
    drawn = pd.DataFrame(
        {
            "panel": table["task"],
            "group": table["kind"].replace(arms.MIXED_AUGMENTED, f"{arms.MIXED_AUGMENTED} 1:1"),
            "x": table["n"],
            "y": np.maximum(1 - table["auroc"], SMALLEST_ERROR),
            "low": np.maximum(1 - table["high"], SMALLEST_ERROR),
            "high": np.maximum(1 - table["low"], SMALLEST_ERROR),
        }
    )
    drawn["xscale"] = "log"
    drawn["yscale"] = "log"
    drawn["xlabel"] = "training images n"
    drawn["ylabel"] = "1 - AUROC (lower is better)"
    drawn["title"] = (
        "Classifiers by their training images (mixed: n real and n synthetic; right end: real images, those "
        f"that the generator saw included: n + N); {_intervals(judged, test_images)}"
    )
    return draw(LEARNING, drawn, folder)


def _intervals(judged: JudgedGenerator, test_images: int) -> str:
    """What the intervals of a curve are over, in words."""
    draws = judged.study.settings.augmentation.draws
    return (
        f"95% intervals over at least {draws} draws and test patients "
        f"({judged.scale}, at least {test_images} test images)"
    )


def gain_by_ratio(
    table: pd.DataFrame, judged: JudgedGenerator, folder: Path, test_images: int
) -> Image | None:
    """Draw the table of `gains.gains_by_ratio`; nothing of an empty one."""
    import pandas as pd

    if table.empty:
        return None
    drawn = pd.DataFrame(
        {
            "panel": table["task"],
            "group": "n = " + table["n"].astype(str),
            "x": table["ratio"],
            "y": table["gain"],
            "low": table["low"],
            "high": table["high"],
        }
    )
    drawn["xscale"] = "log"
    drawn["xlabel"] = "synthetic images per real one"
    drawn["ylabel"] = "gain in AUROC"
    drawn["title"] = (
        "What synthetic images add to n real ones, both augmented, at equal steps; "
        f"paired {_intervals(judged, test_images)}"
    )
    return draw(RATIO, drawn, folder)


def gains(
    contrasts: Mapping[str, Mapping[str, Mapping[str, Estimate]]],
    judged: JudgedGenerator,
    folder: Path,
    test_images: int,
) -> Image | None:
    """Draw the contrasts of `gains.contrasts`, by scenario and family, and by task; nothing where there are none."""
    import pandas as pd

    rows = [
        (scenario, task, name, estimate.value, estimate.ci_low, estimate.ci_high)
        for scenario, of_scenario in contrasts.items()
        for task, of_task in of_scenario.items()
        for name, estimate in of_task.items()
    ]
    if not rows:
        return None
    table = pd.DataFrame(rows, columns=["panel", "label", "group", "value", "low", "high"])
    settings = judged.study.settings.augmentation
    n, draws = settings.smallest_n, arms.DECISIVE_FACTOR * settings.draws
    table["xlabel"] = f"gain in AUROC over {n} real images, augmented"
    table["title"] = (
        f"The primary contrast (mixed 1:1, augmented) with its controls, at n = {n}; paired 95% intervals over "
        f"draws and test patients ({judged.scale}, {draws} draws, of networks {settings.network_draws}, "
        f"at least {test_images} test images)"
    )
    return draw(GAIN, table, folder)
