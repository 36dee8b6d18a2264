"""What one changed word does to an image: prompts that differ in one thing, the same seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medisyn_lib.evaluation.attributes import AttributeEvaluator, recover
from medisyn_lib.evaluation.prompt_pairs import normal_finding
from medisyn_lib.phantoms import IMAGES_PER_PATIENT, draw
from medisyn_lib.pipeline.samples import sample_prompts
from medisyn_lib.statistics.estimates import Estimate
from medisyn_lib.statistics.intervals import cluster_proportion, paired_proportions

if TYPE_CHECKING:
    import pandas as pd

FIRST_SEED = 10_000  # of the pairs' images: seeds that no other images of a notebook have
PHANTOM_SEED = 4  # of the phantoms with two findings
TAKES_AWAY = ("side", "negation")  # kinds of change after which the subject should be gone
TWO_FINDINGS = "two findings"


@dataclass(frozen=True)
class WordEffect:
    """How often the subject of one kind of pair is seen before and after the change, and the difference.

    The difference is positive where the change did what it says.
    """

    kind: str
    before: Estimate
    after: Estimate
    difference: Estimate


def second_finding_seen(
    evaluator: AttributeEvaluator, pixels: np.ndarray, pairs: pd.DataFrame
) -> np.ndarray:
    """Say whether the second finding of each pair is seen in its image, bool (n,).

    It is where the classifier, the first finding left aside, prefers it to every other finding of the
    modality, "normal" included. `pixels` is uint8 (n, h, w, 3), `pairs` of `prompt_pairs`.
    """
    class_modality, class_finding = np.array(evaluator.classifier.classes).T
    same_modality = class_modality == pairs["modality"].to_numpy()[:, None]
    not_the_first = class_finding != pairs["finding"].to_numpy()[:, None]
    scores = evaluator.classifier.scores(pixels)
    scores = np.where(same_modality & not_the_first, scores, -np.inf)
    return class_finding[scores.argmax(1)] == pairs["subject"].to_numpy()


def subject_seen(
    evaluator: AttributeEvaluator, pixels: np.ndarray, pairs: pd.DataFrame
) -> np.ndarray:
    """Say whether the subject of each pair is seen in its image, (n,) of true and false."""
    import pandas as pd

    requested = pd.DataFrame(
        {"image": range(len(pairs)), "modality": pairs["modality"], "value": pairs["subject"]}
    )
    requested["attribute"] = np.where(pairs["kind"] == "side", "side", "finding")
    recovered = recover(evaluator, pixels, requested).set_index("image")["correct"]
    correct = recovered.reindex(requested["image"])
    second = second_finding_seen(evaluator, pixels, pairs)
    return np.where(pairs["kind"] == TWO_FINDINGS, second, correct)


def effect(
    kind: str, before: np.ndarray, after: np.ndarray, patients: np.ndarray | pd.Series
) -> WordEffect:
    """Return proportions before and after a change and their paired difference, intervals by patient."""
    before, after = before.astype(float), after.astype(float)
    if kind in TAKES_AWAY:
        difference = paired_proportions(before, after, patients)
    else:
        difference = paired_proportions(after, before, patients)
    return WordEffect(
        kind,
        cluster_proportion(before, patients),
        cluster_proportion(after, patients),
        difference,
    )


def word_effects(
    generator: str, evaluator: AttributeEvaluator, pairs: pd.DataFrame, side: int
) -> dict[str, WordEffect]:
    """Sample both prompts of each pair from one seed and measure what the change does.

    Parameters
    ----------
    generator
        A pipeline folder or hub id.
    evaluator
        Recovers the subject of each pair.
    pairs
        Of `prompt_pairs`.
    side
        Of the images that the evaluator takes, in pixels.

    Returns
    -------
    dict
        The effect of each kind of change.
    """

    def seen(column: str) -> np.ndarray:
        prompts = list(pairs[column])
        images = sample_prompts(generator, prompts, first_seed=FIRST_SEED, side=side)
        return subject_seen(evaluator, np.array(images), pairs)

    table = pairs.assign(before=seen("first_prompt"), after=seen("changed_prompt"))
    return {
        str(kind): effect(
            str(kind), part["before"].to_numpy(), part["after"].to_numpy(), part["patient"]
        )
        for kind, part in table.groupby("kind", sort=False)
    }


def drawn_second_finding(
    evaluator: AttributeEvaluator, pairs: pd.DataFrame, size: int
) -> WordEffect:
    """Draw a second finding into phantoms that have one: does the evaluator see it?

    No image with two findings is there to learn or to judge by. What the second finding adds to the
    same patient without any is added to the image of the first.
    """
    joined = pairs[pairs["kind"] == TWO_FINDINGS]
    one_finding, two_findings = [], []
    for number, pair in enumerate(joined.itertuples()):
        modality = str(pair.modality)
        healthy = _phantom(modality, normal_finding(modality), number, size)
        first = _phantom(modality, str(pair.finding), number, size)
        second = _phantom(modality, str(pair.subject), number, size)
        one_finding.append(first.astype(np.uint8))
        two_findings.append(np.clip(first + second - healthy, 0, 255).astype(np.uint8))
    before = second_finding_seen(evaluator, np.array(one_finding), joined)
    after = second_finding_seen(evaluator, np.array(two_findings), joined)
    return effect(f"{TWO_FINDINGS}, drawn", before, after, np.arange(len(joined)))


def _phantom(modality: str, finding: str | None, patient: int, size: int) -> np.ndarray:
    """Draw one patient's first image with a finding, int (size, size, 3), so that images can be added."""
    index = IMAGES_PER_PATIENT * patient
    pixels, _ = draw(modality, seed=PHANTOM_SEED, index=index, size=size, finding=finding)
    return pixels.astype(int)
