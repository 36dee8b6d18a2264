"""Figures of notebook 04."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medisyn_lib.reporting.drawing import NOT_CLINICAL, contact_sheet, curves, forest
from medisyn_lib.reporting.render import FigureSpec, draw
from medisyn_lib.reporting.tables import contact_sheet_table, interval_columns

if TYPE_CHECKING:
    import pandas as pd
    from IPython.display import Image

    from medisyn_lib.evaluation.attribute_accuracy import AttributeAccuracy, ModalityAccuracy
    from medisyn_lib.evaluation.guidance_sweep import GuidancePoint
    from medisyn_lib.evaluation.word_changes import WordEffect
    from medisyn_lib.pipeline.judged import JudgedGenerator

READ_BACK = FigureSpec(
    "04_read_back",
    forest,
    shows="Each attribute of the prompt recovered, from real images (the ceiling) to deranged captions (chance).",
)
BY_MODALITY = FigureSpec(
    "04_by_modality",
    forest,
    shows="Findings and other attributes recovered, by modality.",
)
WORD_BY_WORD = FigureSpec(
    "04_word_by_word",
    forest,
    shows="Prompts that differ in one word or part, same seed: what is seen before and after the change.",
)
GUIDANCE_TOY = FigureSpec(
    "04_guidance_toy",
    curves,
    shows="A toy: where guidance takes the samples of one finding, and how alike they become.",
    labels={"drawstyle": "steps-post", "xlabel": "image (one number)", "ylabel": "density"},
)
GUIDED_IMAGES = FigureSpec(
    "04_guided_images",
    contact_sheet,
    shows="Prompts sampled from the same noise at several guidance scales.",
)
GUIDANCE = FigureSpec(
    "04_guidance",
    curves,
    shows="Stronger guidance: how surely the prompt is followed, and what that costs in diversity.",
)
PAIRS = FigureSpec(
    "04_pairs",
    contact_sheet,
    shows="The first pairs of one reader's study: which is synthetic, A or B?",
)
TOLD_APART = FigureSpec(
    "04_told_apart",
    forest,
    shows="How often readers tell synthetic from real images, with the margin of equivalence. Simulated unless said.",
)
RATINGS = FigureSpec(
    "04_ratings",
    forest,
    shows="How real images look to readers, and how well captions fit. Simulated readers unless said.",
)
AGREEMENT = FigureSpec(
    "04_agreement",
    forest,
    shows="How far readers agree, with each other and with themselves. Simulated readers unless said.",
)
RECOVERED = FigureSpec(
    "04_recovered",
    forest,
    shows="How often the analysis of a reader study covers the skill that was planted in simulated readers.",
)

TOY_RANGE, TOY_BINS = (-4.0, 4.0), 64  # of the histograms
TOY_NAMES: dict[float, str] = {0: "without text (0)", 1: "text alone (1)"}
LABEL_WIDTH = 22  # characters of a prompt in a line


def recovered_attributes(
    accuracies: Sequence[AttributeAccuracy], images: int, judged: JudgedGenerator, folder: Path
) -> Image | None:
    """Draw the accuracy of each attribute in each set of images, of that many images each."""
    import pandas as pd

    requested = {row.attribute: row.accuracy.n for row in accuracies if row.images == "real"}
    rows = []
    for row in accuracies:
        label = f"{row.attribute} (n = {requested.get(row.attribute, 0)})"
        rows.append({"label": label, "group": row.images, **interval_columns(row.accuracy)})
    table = pd.DataFrame(rows)
    table["xlabel"] = "proportion of named attributes recovered"
    table["title"] = (
        f"Attributes of the prompt recovered, 95% intervals by patient ({judged.scale}, n = {images} images)"
    )
    return draw(READ_BACK, table, folder / "figures")


def by_modality(
    accuracies: Sequence[ModalityAccuracy], judged: JudgedGenerator, folder: Path
) -> Image | None:
    """Draw the accuracy of findings, and of the other attributes together, of each modality."""
    import pandas as pd

    rows = []
    for row in accuracies:
        names = {"label": row.modality, "group": row.images, "panel": row.what}
        rows.append({**names, **interval_columns(row.accuracy)})
    table = pd.DataFrame(rows).drop(columns="n")
    table["xlabel"] = "proportion recovered"
    table["title"] = (
        f"Findings and other attributes recovered, by modality, 95% intervals by patient ({judged.scale})"
    )
    return draw(BY_MODALITY, table, folder / "figures")


def word_by_word(
    effects: Mapping[str, WordEffect],
    drawn: WordEffect | None,
    judged: JudgedGenerator,
    folder: Path,
) -> Image | None:
    """Draw how often what a change is about is seen before and after it, one row per kind of change.

    The last row is of second findings `drawn` into phantoms, if there are any.
    """
    import pandas as pd

    shown = list(effects.values())
    if drawn is not None:
        shown.append(drawn)
    rows = []
    for effect in shown:
        label = f"{effect.kind} (n = {effect.before.n})"
        before, after = interval_columns(effect.before), interval_columns(effect.after)
        rows.append({"label": label, "group": "first prompt", **before})
        rows.append({"label": label, "group": "changed prompt", **after})
    table = pd.DataFrame(rows).drop(columns="n")
    table["xlabel"] = "proportion of images in which what the change is about is seen"
    table["title"] = (
        f"Prompts that differ in one thing, same seed; 95% intervals by patient ({judged.scale})"
    )
    return draw(WORD_BY_WORD, table, folder / "figures")


def guidance_toy(scales: Sequence[float], folder: Path) -> Image | None:
    """Draw the samples of `guidance_toy.guided_samples` at each scale as histograms."""
    import pandas as pd

    from medisyn_lib.evaluation.guidance_toy import guided_samples

    bins = np.linspace(*TOY_RANGE, TOY_BINS + 1)
    parts = []
    for scale in scales:
        density = np.histogram(guided_samples(scale), bins, density=True)[0]
        name = TOY_NAMES.get(scale, f"guidance {scale:g}")
        parts.append(pd.DataFrame({"group": name, "x": bins[:-1], "y": density}))
    table = pd.concat(parts)
    table["title"] = (
        "A toy: images of two findings lie around -1 and 1; sampled is the second one, by a perfect denoiser"
    )
    return draw(GUIDANCE_TOY, table, folder / "figures")


def guided_images(
    images: Mapping[float, np.ndarray],
    prompts: Sequence[str],
    judged: JudgedGenerator,
    folder: Path,
) -> Image | None:
    """Show images uint8 (n, k, h, h, 3) of n prompts, one row each, by guidance scale."""
    tiles = np.concatenate(list(images.values()), 1)
    n_columns = tiles.shape[1]
    scales = np.repeat(list(images), n_columns // len(images))
    table = contact_sheet_table([textwrap.fill(text, LABEL_WIDTH) for text in prompts], n_columns)
    table["prompt"] = [prompts[row] for row in table["row"]]
    table["column_label"] = [f"guidance {scales[column]:g}" for column in table["column"]]
    table["title"] = f"The same prompts and noises at each scale ({judged.scale}); {NOT_CLINICAL}"
    tiles = tiles.reshape(-1, *tiles.shape[2:])
    real = judged.study.source != "phantom"
    return draw(GUIDED_IMAGES, table, folder / "figures", tiles, real=real)


def guidance(
    points: Sequence[GuidancePoint], judged: JudgedGenerator, folder: Path
) -> Image | None:
    """Draw accuracy and diversity over the guidance scale; a scale stored with the generator is named."""
    import pandas as pd

    rows = []
    for point in points:
        for panel, estimate in (
            ("named attributes recovered", point.accuracy),
            ("diversity, real images = 1", point.diversity),
        ):
            columns = interval_columns(estimate)
            rows.append({"x": point.scale, "panel": panel, **columns})
    table = pd.DataFrame(rows).rename(columns={"value": "y"}).drop(columns="n")
    table["xlabel"] = "guidance scale"
    table["ylabel"] = table["panel"]
    table["xscale"] = "log"
    default = f"; its own guidance {judged.guidance:g}" if judged.guidance else ""
    table["title"] = (
        f"Guidance: alignment and diversity; 95% intervals by patient ({judged.scale}, "
        f"n = {points[0].diversity.n} prompts, three images each{default}; distances by EfficientNet-Lite0)"
    )
    return draw(GUIDANCE, table, folder / "figures")


def pairs(
    modalities: Sequence[str], tiles: np.ndarray, judged: JudgedGenerator, folder: Path
) -> Image | None:
    """Draw pairs of a reader's page, one column each; `tiles` has images A and B in turn."""
    import pandas as pd

    number = np.arange(len(tiles))
    table = pd.DataFrame({"row": number % 2, "column": number // 2})
    table["row_label"] = np.where(table["row"] == 0, "A", "B")
    table["column_label"] = [modalities[pair].replace(" ", "\n") for pair in table["column"]]
    table["title"] = (
        f"Which is synthetic, A or B? First pairs of one reader ({judged.scale}); {NOT_CLINICAL}"
    )
    real = judged.study.source != "phantom"
    return draw(PAIRS, table, folder / "figures", tiles, real=real)


def reader_study_title(correct: np.ndarray, judged: JudgedGenerator, *, simulated: bool) -> str:
    """Return the title of the figures of a reader study with answers (readers, pairs)."""
    who = "simulated readers" if simulated else "answers of real readers"
    size = f"{len(correct)} readers, {correct.shape[1]} pairs"
    return f"Reader study, {who} ({size}; {judged.scale}; 95% intervals)"


def reader_study(tables: Mapping[str, pd.DataFrame], folder: Path) -> list[Image | None]:
    """Draw a reader study's figures from its tables by name: telling apart, ratings, agreement."""
    specs = (TOLD_APART, RATINGS, AGREEMENT)
    return [draw(spec, tables[spec.name], folder / "figures") for spec in specs]


def recovered_skill(recovery: pd.DataFrame, studies: int, folder: Path) -> Image | None:
    """Draw how often planted skill is covered: `readers`, `skill`, `value`, `low`, `high`."""
    import pandas as pd

    table = pd.DataFrame(
        {
            "label": [f"{readers} readers" for readers in recovery["readers"]],
            "group": recovery["skill"],
            "value": recovery["value"],
            "low": recovery["low"],
            "high": recovery["high"],
        }
    )
    table["reference"] = 0.95
    table["reference_label"] = "95%"
    table["xlabel"] = "proportion of studies whose 95% interval holds the planted accuracy"
    table["title"] = (
        f"Planted skill recovered by the analysis (n = {studies} simulated studies each, 70 pairs)"
    )
    return draw(RECOVERED, table, folder / "figures")
