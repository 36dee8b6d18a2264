"""Text alignment: does a classifier recover the modality and the finding that a caption names?

The classifier was trained on evaluator patients only. It judges real images, synthetic images of the
same captions, and images against captions that are not theirs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from medisyn_lib.data import check
from medisyn_lib.evaluation.subgroups import Subgroups, by_subgroup, stated_columns
from medisyn_lib.pipeline.denoisers import UntrainedDenoiser
from medisyn_lib.pipeline.samples import sample_prompts
from medisyn_lib.pipeline.study import Study
from medisyn_lib.statistics.estimates import Estimate
from medisyn_lib.statistics.intervals import cluster_proportion, paired_proportions
from medisyn_lib.training.pair_classifier import PairClassifier

if TYPE_CHECKING:
    import datasets
    import pandas as pd

UNTRAINED_NETWORKS = 5  # each has its own accidental answer to a word
UNTRAINED_STRIDE = 25  # every such network draws one caption in this many


class JudgedModalities(NamedTuple):
    """The modalities that a verdict is about, and how many of them have enough test patients for one."""

    names: list[str]
    testable: int


def judged_modalities(images: datasets.Dataset) -> JudgedModalities:
    """Choose the modalities of held-out images that have enough test patients.

    Where all have too few, all are kept to be shown, and nothing is decided (`testable` is 0).
    """
    reasons = check.testable(images)
    testable = [name for name, reason in reasons.items() if not reason]
    return JudgedModalities(testable or list(reasons), len(testable))


def classify(
    classifier: PairClassifier, pixels: np.ndarray, requested: datasets.Dataset
) -> pd.DataFrame:
    """Classify images and compare modality and finding with the requested ones.

    Parameters
    ----------
    classifier
        Judges the images.
    pixels
        uint8 (n, h, w, 3).
    requested
        n rows with the modality, finding and patient that each image should show.

    Returns
    -------
    DataFrame
        One row per image: `modality`, `finding`, `patient`, and whether the classifier agrees:
        `modality_correct`, and `finding_correct` among the findings of that modality.
    """
    import pandas as pd

    modality, finding = requested["modality"][:], requested["finding"][:]
    scores = classifier.scores(pixels)
    return pd.DataFrame(
        {
            "modality": modality,
            "finding": finding,
            "patient": requested["patient_id"][:],
            "modality_correct": classifier.modality_right(scores, modality),
            "finding_correct": classifier.finding_right(scores, modality, finding),
        }
    )


def classify_all(
    classifier: PairClassifier,
    requested: datasets.Dataset,
    *,
    real: np.ndarray,
    synthetic: np.ndarray,
) -> dict[str, pd.DataFrame]:
    """Classify `real` and `synthetic` images of the same captions, and synthetic ones against `deranged` captions."""
    return {
        "real": classify(classifier, real, requested),
        "synthetic": classify(classifier, synthetic, requested),
        "deranged": classify(classifier, synthetic, derange(requested)),
    }


def classify_untrained(
    study: Study, classifier: PairClassifier, held_out: datasets.Dataset
) -> pd.DataFrame:
    """Classify images of untrained denoisers, a few captions each; column `network` says which one."""
    import pandas as pd

    parts = []
    for seed in range(UNTRAINED_NETWORKS):
        denoiser = UntrainedDenoiser(study.denoiser_origin, seed)
        untrained = study.generator(seed=seed, after=0, denoiser=denoiser)
        first = UNTRAINED_STRIDE // UNTRAINED_NETWORKS * seed
        requested = held_out.select(range(first, len(held_out), UNTRAINED_STRIDE))
        images = sample_prompts(untrained, requested["caption"][:])
        parts.append(classify(classifier, images, requested).assign(network=seed))
    return pd.concat(parts, ignore_index=True)


def derange(images: datasets.Dataset, *, seed: int = 0) -> datasets.Dataset:
    """Give each row the caption and labels of another patient of its modality.

    Patients are shuffled, and their rows shifted by as many as the largest patient has: nobody keeps
    a caption of their own.
    """
    modality, patient = np.asarray(images["modality"][:]), np.asarray(images["patient_id"][:])
    shuffled = np.random.default_rng(seed).permutation(len(patient))
    place_of = {name: shuffled[row] for row, name in enumerate(patient)}
    donor = np.arange(len(modality))
    for name in np.unique(modality):
        rows = np.flatnonzero(modality == name)
        places = [place_of[patient[row]] for row in rows]
        rows = rows[np.argsort(places, kind="stable")]
        images_per_patient = np.unique(patient[rows], return_counts=True)[1]
        donor[rows] = np.roll(rows, max(images_per_patient))
    return images.select(donor.tolist())


def chance_accuracy(requested: datasets.Dataset) -> float:
    """Return the accuracy of findings if captions of a modality were shuffled.

    Within a modality it is the sum of squared proportions of the findings.
    """
    import pandas as pd

    table = pd.DataFrame({"modality": requested["modality"][:], "finding": requested["finding"][:]})
    agreement = table.groupby("modality")["finding"].agg(
        lambda findings: (findings.value_counts(normalize=True) ** 2).sum()
    )
    weights = table["modality"].value_counts(normalize=True)
    return float((agreement * weights).sum())


def accuracy(table: pd.DataFrame, column: str, level: float = 0.95) -> Estimate:
    """Return the proportion of rows in which a column of correct or not is true; interval by patient."""
    correct, patients = table[column].to_numpy(float), table["patient"].to_numpy()
    return cluster_proportion(correct, patients, level)


def finding_gap(*, real: pd.DataFrame, synthetic: pd.DataFrame, level: float = 0.95) -> Estimate:
    """Return finding accuracy of synthetic minus real images of the same captions, paired, by patient."""
    return paired_proportions(
        synthetic["finding_correct"].to_numpy(float),
        real["finding_correct"].to_numpy(float),
        real["patient"].to_numpy(),
        level,
    )


def finding_gap_by_subgroup(
    requested: datasets.Dataset, *, real: pd.DataFrame, synthetic: pd.DataFrame
) -> Subgroups:
    """Return `finding_gap` by sex, age group, ... of the patients whose captions were requested."""
    groups = stated_columns(requested)
    differences = synthetic["finding_correct"].to_numpy(float) - real["finding_correct"]
    rows = by_subgroup(differences, requested["patient_id"][:], groups, proportion=False)
    return Subgroups(
        "finding recovered, synthetic less real", "difference in accuracy", [*groups], rows
    )


def accuracy_by_modality(*, real: pd.DataFrame, synthetic: pd.DataFrame) -> pd.DataFrame:
    """Tabulate accuracies of the tables of `classify`.

    Returns
    -------
    DataFrame
        One row per modality, `images` (real or synthetic) and `what` (modality or finding): `share`
        is the accuracy, `low` to `high` its 95% interval by patient, `n` the number of images.
    """
    import pandas as pd

    rows = []
    for images, table in (("real", real), ("synthetic", synthetic)):
        for modality, part in table.groupby("modality", sort=False):
            for what in ("modality", "finding"):
                found = accuracy(part, f"{what}_correct")
                rows.append(
                    {
                        "modality": modality,
                        "images": images,
                        "what": what,
                        "share": found.value,
                        "low": found.ci_low,
                        "high": found.ci_high,
                        "n": found.n,
                    }
                )
    return pd.DataFrame(rows)
