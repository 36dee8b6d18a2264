"""Figures of notebook 01."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medisyn_lib.evaluation.image_physics import brightness
from medisyn_lib.reporting.drawing import NOT_CLINICAL, contact_sheet, curves, forest
from medisyn_lib.reporting.panels import readable
from medisyn_lib.reporting.render import FigureSpec, draw
from medisyn_lib.reporting.tables import contact_sheet_table

if TYPE_CHECKING:
    import datasets
    import pandas as pd
    from IPython.display import Image

    from medisyn_lib.pipeline.denoisers import StoredDenoiser
    from medisyn_lib.pipeline.judged import JudgedGenerator
    from medisyn_lib.pipeline.study import Study

LOSSES = FigureSpec(
    "01_losses",
    curves,
    shows="The loss of generalist and specialists while they train.",
    columns={"images_seen": "x", "loss": "y", "model": "group"},
    labels={"xlabel": "images seen in training", "ylabel": "flow-matching loss"},
)
PROGRESS = FigureSpec(
    "01_progress",
    contact_sheet,
    shows="One prompt and seed of each modality after an eighth, a quarter, a half and all of the training.",
)
FIRST_STAGE = FigureSpec(
    "01_first_stage",
    contact_sheet,
    shows="Held-out images, what the autoencoder makes of them (the best that a generator here can do), what differs.",
)
LOST_DETAIL = FigureSpec(
    "01_lost_detail",
    curves,
    shows="What the autoencoder loses of coarse and of fine detail.",
    columns={"fineness": "x", "lost": "y", "modality": "group"},
    labels={
        "xlabel": "fineness of detail (% of the finest that pixels can show)",
        "ylabel": "power of the difference\nover that of the image",
    },
)
PROMPTS = FigureSpec(
    "01_prompts",
    contact_sheet,
    shows="Synthetic images by prompt, not chosen by eye; pairs: beside the real image of the caption.",
)
READ_BACK = FigureSpec(
    "01_read_back",
    forest,
    shows="How often modality and finding of the prompt are recovered from synthetic images, and from real ones.",
    columns={"modality": "label", "share": "value", "images": "group", "what": "panel"},
    labels={"xlabel": "proportion of images recognised"},
)
TRIPLES_SHOWN = 2  # originals, reconstructions and differences per modality
MAGNIFIED = 3  # differences of brightness
PROMPTS_SHOWN = 4  # per modality
SMOOTHED = 9  # points of a loss curve


def reconstructions(
    original: np.ndarray, decoded: np.ndarray, modality: np.ndarray, study: Study, folder: Path
) -> Image | None:
    """Draw an image, its reconstruction and what differs, uint8 (n, h, w, 3) both, one row per modality."""
    names = list(dict.fromkeys(modality.tolist()))
    chosen = [row for name in names for row in _spread_rows(modality == name, TRIPLES_SHOWN)]
    before, after = original[chosen], decoded[chosen]
    difference = 128 + MAGNIFIED * (brightness(after) - brightness(before))
    grey = difference.round().clip(0, 255).astype(np.uint8)
    triples = [before, after, np.repeat(grey[..., None], 3, -1)]
    tiles = np.stack(triples, 1).reshape(-1, *original.shape[1:])
    labels = ("original", "decoded", f"difference x {MAGNIFIED}")
    columns = len(labels) * TRIPLES_SHOWN
    table = contact_sheet_table([readable(name) for name in names], columns)
    table["column_label"] = [labels[column % len(labels)] for column in table["column"]]
    table["title"] = f"Held-out images and their reconstructions ({study.scale}); {NOT_CLINICAL}"
    real = study.source != "phantom"
    return draw(FIRST_STAGE, table, folder / "figures", tiles, real=real)


def lost_detail(lost: pd.DataFrame, study: Study, folder: Path) -> Image | None:
    """Draw `reconstruction.lost_detail` of the modalities that lose least, most and, between them, the middle."""
    order = lost.groupby("modality", sort=False)["lost"].mean().sort_values(kind="stable").index
    chosen = list(dict.fromkeys([order[0], order[len(order) // 2], order[-1]]))
    table = lost[lost["modality"].isin(chosen)].sort_values(
        "modality", key=lambda names: names.map(chosen.index), kind="stable"
    )
    table["title"] = (
        f"What the autoencoder loses: {len(chosen)} of {len(order)} modalities, from the one that "
        f"loses least to the one that loses most ({study.scale}, held-out images)"
    )
    return draw(LOST_DETAIL, table, folder / "figures")


def training_history(denoisers: Mapping[str, StoredDenoiser], batch: int) -> pd.DataFrame:
    """Read the smoothed losses of trained denoisers (by name): images_seen, loss, model."""
    import pandas as pd

    parts = []
    for model, denoiser in denoisers.items():
        history = denoiser.history().rename(columns={"step": "images_seen"})
        history["images_seen"] *= batch
        history["loss"] = history["loss"].rolling(SMOOTHED, 1, center=True).mean()
        parts.append(history.assign(model=model))
    return pd.concat(parts)


def losses(history: pd.DataFrame, study: Study, folder: Path) -> Image | None:
    """Draw the curves of `training_history`."""
    title = f"Training of generalist and specialists ({study.scale})"
    return draw(LOSSES, history.assign(title=title), folder / "figures")


def progress(
    samples: Mapping[int, np.ndarray], names: Sequence[str], study: Study, folder: Path
) -> Image | None:
    """Draw one prompt per modality, one column per training step: uint8 (modalities, h, w, 3) by step."""
    import pandas as pd

    steps = list(samples)
    table = pd.DataFrame(
        {
            "row": np.tile(range(len(names)), len(steps)),
            "column": np.repeat(range(len(steps)), len(names)),
        }
    )
    table["row_label"] = [readable(names[row]) for row in table["row"]]
    table["column_label"] = [f"{steps[column]} steps" for column in table["column"]]
    table["title"] = f"Synthetic images of one prompt and seed while training ({study.scale})"
    return draw(PROGRESS, table, folder / "figures", np.concatenate(list(samples.values())))


def rows_shown(modality: np.ndarray) -> list[int]:
    """Choose four images of each modality, evenly spread over them: not chosen by eye."""
    names = dict.fromkeys(modality.tolist())
    return [row for name in names for row in _spread_rows(modality == name, PROMPTS_SHOWN)]


def _spread_rows(among: np.ndarray, count: int) -> list[int]:
    """Row numbers of `count` of the images marked in a mask, evenly spread: of several patients."""
    rows = np.flatnonzero(among)
    places = np.linspace(0, len(rows), count, endpoint=False).astype(int)
    return [int(row) for row in dict.fromkeys(rows[places].tolist())]


def prompts(
    real: np.ndarray,
    synthetic: np.ndarray,
    held_out: datasets.Dataset,
    shown: Sequence[int],
    judged: JudgedGenerator,
    folder: Path,
) -> Image | None:
    """Draw real and synthetic images, uint8 (n, h, w, 3), of some rows of the held-out captions.

    Each real image stands beside the synthetic one of its caption.
    """
    import pandas as pd

    requested = held_out.select(list(shown))
    twice = np.repeat(np.arange(len(shown)), 2)
    modality = np.array(requested["modality"][:])[twice]
    table = pd.DataFrame({"row": pd.factorize(modality)[0]})
    table["column"] = table.groupby("row").cumcount()
    table["row_label"] = [readable(name) for name in modality]
    table["column_label"] = np.where(table["column"] % 2, "synthetic", "real")
    table["prompt"] = np.array(requested["caption"][:])[twice]
    table["title"] = (
        f"Real images and synthetic ones of their captions ({judged.scale}); {NOT_CLINICAL}"
    )
    rows = list(shown)
    tiles = np.stack([real[rows], synthetic[rows]], 1).reshape(-1, *real.shape[1:])
    return draw(PROMPTS, table, folder / "figures", tiles, real=judged.study.source != "phantom")


def recovered_prompts(
    classified: Mapping[str, Mapping[str, pd.DataFrame]], judged: JudgedGenerator, folder: Path
) -> Image | None:
    """Draw `alignment.accuracy_by_modality` by each reader, of tables of real and synthetic images."""
    import pandas as pd

    from medisyn_lib.evaluation.alignment import accuracy_by_modality

    of_readers = []
    for reader, sets in classified.items():
        found = accuracy_by_modality(real=sets["real"], synthetic=sets["synthetic"])
        of_readers.append(found.assign(what=found["what"] + f", {reader} reader"))
        images = len(sets["real"])
    title = f"Prompts recovered by two readers, 95% intervals by patient ({judged.scale}, n = {images} images a side)"
    return draw(READ_BACK, pd.concat(of_readers).assign(title=title), folder / "figures")
