"""Figures of notebook 05."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medisyn_lib.data.pixels import load_pixels
from medisyn_lib.evaluation.memorization.conformal import FALSE_ALARM_RATE
from medisyn_lib.reporting.drawing import NOT_CLINICAL, contact_sheet, curves
from medisyn_lib.reporting.render import FigureSpec, draw

if TYPE_CHECKING:
    from IPython.display import Image

    from medisyn_lib.evaluation.memorization.closest_matches import ClosestPairs, Gallery
    from medisyn_lib.evaluation.memorization.detectors import Detector
    from medisyn_lib.evaluation.memorization.images import RealImages
    from medisyn_lib.evaluation.memorization.overfitting import TrainingPoint
    from medisyn_lib.evaluation.memorization.set_tests import PowerPoint
    from medisyn_lib.evaluation.memorization.worked_example import WorkedExample
    from medisyn_lib.pipeline.judged import JudgedGenerator
    from medisyn_lib.pipeline.study import Study

DISTANCES = FigureSpec(
    "05_distances",
    curves,
    shows="How near images lie to a training image: held-out real ones, synthetic ones, planted copies, by detector.",
    columns={"reference": "upright"},
    labels={"drawstyle": "steps-post"},
)
NEIGHBOURS = FigureSpec(
    "05_neighbours",
    contact_sheet,
    shows="How a copy is found: a planted copy and another image beside the training images nearest to them.",
)
RANKS = FigureSpec(
    "05_ranks",
    curves,
    shows="How a copy is found: the distances of both images to their nearest training images, with the threshold.",
)
DETECTION = FigureSpec(
    "05_detection",
    curves,
    shows="How small a fraction of planted copies in a set is noticed.",
)
PAIRS = FigureSpec(
    "05_pairs",
    contact_sheet,
    shows="The most suspicious matches of the generator and of a model that was overfitted so as to copy.",
)
NEAREST = FigureSpec(
    "05_nearest",
    contact_sheet,
    shows="Images of the generator, those flagged as copies first, each above its nearest training image.",
)
LENGTH = FigureSpec(
    "05_length",
    curves,
    shows="Proportion of images flagged as copies against how often a model saw its training images.",
)
GALLERY_COLUMNS = 8
SHOWN_RANKS = (
    1,
    2,
    3,
    5,
    10,
)  # neighbours in the worked example; the last one there is, is always shown
BINS = np.linspace(0, 1, 26)  # of distance ratios


def worked_example(
    examples: Mapping[str, WorkedExample], real: RealImages, judged: JudgedGenerator, folder: Path
) -> Image | None:
    """Show each image, by name, beside some of the training images that lie nearest to it."""
    import pandas as pd

    first = next(iter(examples.values()))
    last = len(first.row)
    ranks = [rank for rank in SHOWN_RANKS if rank < last] + [last]
    places = np.array(ranks) - 1
    rows, tiles = [], []
    for line, (name, example) in enumerate(examples.items()):
        label = f"{name}\nratio {example.relative[0]:.2f}"
        heads = ["image", *(f"nearest {rank}" for rank in ranks)]
        rows += [(line, column, label, head) for column, head in enumerate(heads)]
        tiles += [example.pixels[None], load_pixels(real.training, example.row[places])]
    table = pd.DataFrame(rows, columns=["row", "column", "row_label", "column_label"])
    table["title"] = (
        f"Two images and the nearest of {len(real.training)} training images, by pixels "
        f"({judged.scale}); {NOT_CLINICAL}"
    )
    shows_real = judged.study.source != "phantom"
    return draw(NEIGHBOURS, table, folder / "figures", np.concatenate(tiles), real=shows_real)


def ranks(
    examples: Mapping[str, WorkedExample], threshold: float, judged: JudgedGenerator, folder: Path
) -> Image | None:
    """Draw each image's distances to its nearest training images over the last of them.

    `threshold` flags an image by this detector alone; NaN for none.
    """
    import pandas as pd

    parts = []
    for name, example in examples.items():
        order = np.arange(1, len(example.row) + 1)
        parts.append(pd.DataFrame({"group": name, "x": order, "y": example.relative}))
    table = pd.concat(parts)
    table["reference"] = threshold
    table["reference_label"] = "flagged, if the first lies below"
    table["xlabel"] = "training images, the nearest first"
    table["ylabel"] = "distance, the last one = 1"
    table["title"] = f"Distances to the nearest training images, by pixels ({judged.scale})"
    return draw(RANKS, table, folder / "figures")


def distances(
    ratios: Mapping[str, np.ndarray],
    copies: Mapping[str, np.ndarray],
    thresholds: np.ndarray,
    detectors: Sequence[Detector],
    real: RealImages,
    judged: JudgedGenerator,
    folder: Path,
) -> Image | None:
    """Draw histograms of distance ratios, one panel per detector.

    Parameters
    ----------
    ratios : float (n, l) of the groups `held out` and `synthetic`
    copies : float (n, l) of the planted copies, by distortion; they are one group
    thresholds : float (l,), at which a detector flags an image alone; NaN for none
    """
    import pandas as pd

    groups = {**ratios, "planted copies": np.concatenate(list(copies.values()))}
    rows = []
    for group, ratio in groups.items():
        for place, detector in enumerate(detectors):
            counts = np.histogram(np.clip(ratio[:, place], 0, 1), BINS)[0]
            for left, count in zip(BINS[:-1], counts, strict=True):
                rows.append((detector.name, group, left, count / counts.sum(), thresholds[place]))
    table = pd.DataFrame(rows, columns=["panel", "group", "x", "y", "reference"])
    table["reference_label"] = f"flagged by this look alone, {FALSE_ALARM_RATE:.0%} false alarms"
    table["xlabel"] = "nearest / tenth nearest distance"
    table["ylabel"] = "proportion of images per bin"
    table["title"] = (
        f"Distance to the nearest training image over that to the tenth nearest ({judged.scale}, "
        f"{len(real.training)} training images, n = {len(ratios['synthetic'])} synthetic, "
        f"{len(ratios['held out'])} held out)"
    )
    return draw(DISTANCES, table, folder / "figures")


def detection(
    power: Sequence[PowerPoint],
    n_images: int,
    copies: Mapping[str, np.ndarray],
    real: RealImages,
    judged: JudgedGenerator,
    folder: Path,
) -> Image | None:
    """Draw the power of the rule on sets of `n_images` against their contamination.

    Parameters
    ----------
    copies : float (n, l), ratios of the planted copies, by distortion
    """
    import pandas as pd

    rows = []
    for point in power:
        percent = 100 * point.contamination
        estimate = point.power
        rows.append((point.distortion, percent, estimate.value, estimate.ci_low, estimate.ci_high))
    table = pd.DataFrame(rows, columns=["group", "x", "y", "low", "high"])
    table["xlabel"] = "copies in the set (%)"
    table["ylabel"] = "proportion of sets that break the rule"
    table["xscale"] = "log"
    table["reference"] = 0.9
    table["reference_label"] = "asked for at 5% and 10%"
    n_copies = min(len(ratio) for ratio in copies.values())
    table["title"] = (
        f"How often copies among {n_images} images are noticed; 95% intervals over "
        f"{power[0].power.n} draws ({judged.scale}, {n_copies} copies of each kind, "
        f"{len(real.held_out)} held-out patients)"
    )
    return draw(DETECTION, table, folder / "figures")


def pairs(
    synthetic: ClosestPairs,
    overfitted: ClosestPairs,
    real: RealImages,
    judged: JudgedGenerator,
    folder: Path,
) -> Image | None:
    """Show the closest matches of the generator above, those of the overfitted model below."""
    import pandas as pd

    strips = {
        "synthetic": synthetic.images,
        "nearest\ntraining image": synthetic.training,
        "overfitted\nto 64 images": overfitted.images,
        "nearest of\nthe 64": overfitted.training,
    }
    rows = []
    for row, (label, tiles) in enumerate(strips.items()):
        for column in range(len(tiles)):
            rows.append((row, column, label))
    table = pd.DataFrame(rows, columns=["row", "column", "row_label"])
    table["title"] = (
        f"The most suspicious matches ({judged.scale}, {len(real.training)} training images); "
        f"{NOT_CLINICAL}"
    )
    tiles = np.concatenate(list(strips.values()))
    return draw(PAIRS, table, folder / "figures", tiles, real=judged.study.source != "phantom")


def nearest(
    gallery: Gallery, real: RealImages, judged: JudgedGenerator, folder: Path
) -> Image | None:
    """Show judged images above their nearest training images; the table says which, how near and whether flagged."""
    import pandas as pd

    place = np.arange(len(gallery.table))
    block, column = np.divmod(place, GALLERY_COLUMNS)
    parts = []
    for below, label in enumerate(("synthetic", "nearest\ntraining image")):
        part = gallery.table.assign(row=2 * block + below, column=column, row_label=label)
        parts.append(part)
    table = pd.concat(parts, ignore_index=True)
    table["title"] = (
        f"{int(gallery.table['flagged'].sum())} flagged and the nearest other images ({judged.scale}, "
        f"{len(real.training)} training images); {NOT_CLINICAL}"
    )
    tiles = np.concatenate(gallery.pairs)
    return draw(NEAREST, table, folder / "figures", tiles, real=judged.study.source != "phantom")


def length(points: Sequence[TrainingPoint], study: Study, folder: Path) -> Image | None:
    """Draw what is flagged against passes over the training images."""
    import pandas as pd

    rows = []
    for point in points:
        flagged = point.flagged
        rows.append((point.group, point.passes, flagged.value, flagged.ci_low, flagged.ci_high))
    table = pd.DataFrame(rows, columns=["group", "x", "y", "low", "high"])
    n_images = [point.flagged.n for point in points]
    table["xlabel"] = "passes over the training images"
    table["ylabel"] = "proportion of images flagged"
    table["xscale"] = "log"
    table["reference"] = FALSE_ALARM_RATE
    table["reference_label"] = "false-alarm rate"
    table["title"] = (
        f"Share flagged against training length; exact 95% intervals ({study.scale}, "
        f"n = {min(n_images)} to {max(n_images)} images a point)"
    )
    return draw(LENGTH, table, folder / "figures")
