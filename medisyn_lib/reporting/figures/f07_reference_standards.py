"""Figures of notebook 07.

Tables come from `evaluation` with columns of estimates; titles name the phantoms' size, draws and n.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medisyn_lib.evaluation.grading.discrepancies import mode_draws
from medisyn_lib.reporting.drawing import curves, forest
from medisyn_lib.reporting.estimate_tables import expand_estimates
from medisyn_lib.reporting.render import FigureSpec, draw
from medisyn_lib.statistics.estimates import Estimate

if TYPE_CHECKING:
    import pandas as pd
    from IPython.display import Image

    from medisyn_lib.pipeline.grading_network import GradedImages
    from medisyn_lib.pipeline.study import Study

MODES = FigureSpec(
    "07_modes",
    forest,
    shows="Which errors make majority and adjudication differ (simulated graders).",
)
KAPPAS = FigureSpec(
    "07_kappas",
    forest,
    shows="Graders and algorithm judged by three references.",
)
ROC = FigureSpec(
    "07_roc",
    curves,
    shows="The same algorithm and the same graders under two references.",
)
TUNING = FigureSpec(
    "07_tuning",
    curves,
    shows="Algorithms by the grades that tuned them, and what adjudicated grades gain at equal cost.",
)
CORRELATION = FigureSpec(
    "07_correlation",
    curves,
    shows="What adjudication gains as graders' errors become alike.",
)
SYNTHETIC = FigureSpec(
    "07_synthetic",
    forest,
    shows="What synthetic images beside phantoms do to the algorithm, by the reference that tuned it.",
)
REFERENCE_PANEL = "reference: share with the true grade"
ALGORITHM_PANEL = "algorithm: kappa with the truth"
JUDGES = {
    "truth": "tuned on majority, judged by the truth",
    "majority": "tuned on majority, judged by majority",
    "adjudicated": "tuned and judged by adjudication",
    "difference": "adjudication minus majority",
}
DRAWS_AND_PATIENTS = "95% intervals over draws of graders and patients"


def modes(table: pd.DataFrame, study: Study, folder: Path) -> Image | None:
    """Draw each mode's proportion of the discrepancies, as of `discrepancies.mode_table`, beside the published one."""
    draws = mode_draws(study.settings.grading.draws)
    n = table["estimate"].iloc[-1].n
    made_of = _scale(study, f"{draws} draws", f"n = {n} discrepancies in test images")
    figure = expand_estimates(table, "estimate").assign(
        reference_label="published share",
        xlabel="proportion of the images whose majority and adjudicated grade differ",
        title=f"Which error made majority and adjudication differ; {DRAWS_AND_PATIENTS} {made_of}",
    )
    return draw(MODES, figure, folder / "figures")


def kappas(table: pd.DataFrame, study: Study, folder: Path) -> Image | None:
    """Draw graders and algorithms with each reference, as of `single_graders.with_references`."""
    made_of = _scale(study, f"n = {study.settings.grading.images}")
    figure = expand_estimates(table, "estimate").assign(
        xlabel="quadratic-weighted kappa with each reference",
        title=f"Graders and algorithm judged by three references; 95% intervals by patient {made_of}",
    )
    return draw(KAPPAS, figure, folder / "figures")


def roc(table: pd.DataFrame, study: Study, folder: Path) -> Image | None:
    """Draw the algorithm's ROC curve near the graders' points, as of `single_graders.roc_table`."""
    made_of = _scale(study, _test_images(study))
    x = [1 - specificity.value for specificity in table["specificity"]]
    figure = table.assign(x=x)[["panel", "group", "loose", "x", "sensitivity"]]
    figure = expand_estimates(figure, "sensitivity", value="y")
    near_graders = figure["x"].between(0, 0.5) & (figure["y"] >= 0.6)
    figure = figure[figure["loose"] | near_graders].assign(
        xlabel="1 - specificity, mild or worse",
        ylabel="sensitivity, mild or worse",
        title="The same algorithm and the same ten graders under two references; "
        f"95% intervals of the sensitivity by patient {made_of}",
    )
    return draw(ROC, figure, folder / "figures")


def tuning(table: pd.DataFrame, study: Study, folder: Path) -> Image | None:
    """Draw algorithms by the size and the reference of their tuning set, as of `tuning_tables.cost_table`."""
    made_of = _scale(study, _test_images(study))
    draws = study.settings.grading.draws
    figure = expand_estimates(table, "estimate", value="y").assign(
        xlabel="images in the tuning set",
        ylabel=table["panel"],
        title="Algorithms by the grades that tuned them; right: paired gain over the ophthalmologists' majority at "
        f"equal cost; 95% intervals over {draws} draws of graders and patients {made_of}",
    )
    return draw(TUNING, figure, folder / "figures")


def correlation_panels(references: pd.DataFrame, algorithms: pd.DataFrame) -> pd.DataFrame:
    """Join what adjudication gains the reference and the algorithm: columns panel, x, group, estimate."""
    import pandas as pd

    parts = {REFERENCE_PANEL: references, ALGORITHM_PANEL: algorithms}
    joined = [part.assign(panel=panel) for panel, part in parts.items()]
    return pd.concat(joined, ignore_index=True)[["panel", "x", "group", "estimate"]]


def correlation(table: pd.DataFrame, study: Study, folder: Path) -> Image | None:
    """Draw what adjudication gains by the correlation of errors, as of `correlation_panels`."""
    made_of = _scale(study, f"{study.settings.grading.draws} draws", _test_images(study))
    of_reference = table["panel"] == REFERENCE_PANEL
    figure = expand_estimates(table, "estimate", value="y").assign(
        xlabel="correlation of graders' errors",
        ylabel=np.where(of_reference, "gain in proportion of images", "gain in kappa"),
        title=f"What adjudication by three specialists gains; {DRAWS_AND_PATIENTS} {made_of}",
    )
    return draw(CORRELATION, figure, folder / "figures")


def synthetic(
    gains: Mapping[str, Estimate],
    study: Study,
    folder: Path,
    training: GradedImages,
    synthetic_images: GradedImages,
) -> Image | None:
    """Draw what synthetic images gain under each reference, as of `synthetic_training.synthetic_gains`.

    `training` are the phantoms that the network was trained on, `synthetic_images` those that joined them.
    """
    import pandas as pd

    made_of = _scale(study, f"{study.settings.grading.draws} draws", _test_images(study))
    counts = (
        f"{len(synthetic_images.grades)} synthetic images beside {len(training.grades)} phantoms"
    )
    rows = [(JUDGES[judge], estimate) for judge, estimate in gains.items()]
    table = pd.DataFrame(rows, columns=["label", "estimate"])
    figure = expand_estimates(table, "estimate").assign(
        xlabel="gain in quadratic-weighted kappa by synthetic images in the training",
        title=f"{counts}, by the reference; {DRAWS_AND_PATIENTS} {made_of}",
    )
    return draw(SYNTHETIC, figure, folder / "figures")


def _scale(study: Study, *counts: str) -> str:
    """The end of a title: phantoms, profile and counts; graders are simulated on phantoms whatever the study's data."""
    return f"({', '.join([replace(study, source='phantom').scale, *counts])})"


def _test_images(study: Study) -> str:
    return f"n = {study.settings.grading.images} test images"
