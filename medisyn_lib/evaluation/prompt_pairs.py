"""Pairs of prompts that differ in one word or part, made from the attributes of held-out images.

Four kinds: "side" (the other side), "negation" ("no" before the finding), "two findings" (a second
finding joined by "and") and "paraphrase" (other words for the same). The first prompt of a pair is one
that training knows. The `subject` of a pair is what the change is about: the side first named, the
finding that "no" denies, the second finding, the finding in other words.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from medisyn_lib.evaluation.attributes import CAPTION_ATTRIBUTES, AttributeEvaluator
from medisyn_lib.modalities import MODALITIES, caption

if TYPE_CHECKING:
    import datasets
    import pandas as pd

# Findings of a modality that may occur together, though no training image has two.
COEXISTING: dict[str, tuple[str, ...]] = {
    "chest_xray": ("pneumonia", "pleural_effusion", "cardiomegaly"),
    "ct": ("liver_lesion", "renal_mass"),
    "brain_mri": ("tumour", "white_matter_lesions"),
    "retinal_oct": ("drusen", "dme", "cnv"),
    "endoscopy": ("polyp", "colitis"),
}
OTHER_SIDE = {"left": "right", "right": "left"}


class PromptPair(NamedTuple):
    """Two prompts of one held-out image (its row)."""

    kind: str
    image: int
    first_prompt: str
    changed_prompt: str
    subject: str


def finding_names(modality: str) -> dict[str, str]:
    """Return the plain phrase of each finding of a modality by its key; none of an unknown modality."""
    if modality not in MODALITIES:
        return {}
    return {finding.key: finding.name for finding in MODALITIES[modality].findings}


def normal_finding(modality: str) -> str | None:
    """Return the key of the modality's finding that says there is none; None where it has no such."""
    if modality not in MODALITIES:
        return None
    first = MODALITIES[modality].findings[0].key
    return first if first in ("normal", "no_dr") else None


def plain_caption(row: Mapping[str, Any], **changes: str) -> str:
    """Return the plainest caption of an image's attributes, some of them changed."""
    known = {name: row[name] for name in CAPTION_ATTRIBUTES}
    return caption(row["modality"], row["finding"], known | changes)


def side_pairs(
    image: int, row: Mapping[str, Any], evaluator: AttributeEvaluator
) -> Iterator[PromptPair]:
    """Change the side that the plain caption names, where the evaluator tells both sides apart."""
    side, first = row["side"], plain_caption(row)
    heads = {f"{row['modality']}\tside\t{name}" for name in OTHER_SIDE}
    if side and side in first and heads <= evaluator.heads.keys():
        changed = plain_caption(row, side=OTHER_SIDE[side])
        yield PromptPair("side", image, first, changed, side)


def negation_pairs(image: int, row: Mapping[str, Any]) -> Iterator[PromptPair]:
    """Deny the finding, in a modality where nothing to find is a finding, too."""
    modality, finding = row["modality"], row["finding"]
    normal = normal_finding(modality)
    if normal is not None and finding != normal and finding in finding_names(modality):
        first = plain_caption(row)
        changed = first.replace(", ", ", no ", 1)
        yield PromptPair("negation", image, first, changed, finding)


def second_finding_pairs(
    image: int, row: Mapping[str, Any], evaluator: AttributeEvaluator
) -> Iterator[PromptPair]:
    """Join each other finding that may occur together with the image's own and that is a known class."""
    modality, finding = row["modality"], row["finding"]
    together = COEXISTING.get(modality, ())
    if finding not in together:
        return
    for second in together:
        if second != finding and (modality, second) in evaluator.classifier.classes:
            first = plain_caption(row)
            changed = f"{first} and {finding_names(modality)[second]}"
            yield PromptPair("two findings", image, first, changed, second)


def paraphrase_pairs(image: int, row: Mapping[str, Any]) -> Iterator[PromptPair]:
    """Draw template, name and phrase of the image's caption anew, where that changes its words."""
    known = {name: row[name] for name in CAPTION_ATTRIBUTES}
    rng = np.random.default_rng([1, image])
    changed = caption(row["modality"], row["finding"], known, rng=rng)
    if changed != row["caption"]:
        yield PromptPair("paraphrase", image, row["caption"], changed, row["finding"])


def pairs_of_image(
    image: int, row: Mapping[str, Any], evaluator: AttributeEvaluator
) -> Iterator[PromptPair]:
    """Make all pairs that an image allows."""
    yield from side_pairs(image, row, evaluator)
    yield from negation_pairs(image, row)
    yield from second_finding_pairs(image, row, evaluator)
    yield from paraphrase_pairs(image, row)


def prompt_pairs(
    held_out: datasets.Dataset,
    evaluator: AttributeEvaluator,
    modalities: Sequence[str],
    per_kind: int,
) -> pd.DataFrame:
    """Make pairs of prompts from held-out images, spread evenly over them.

    Parameters
    ----------
    held_out
        Images with caption and attributes.
    evaluator
        Says which sides and findings can be recovered.
    modalities
        Those to take images of.
    per_kind
        How many pairs of each kind, at most.

    Returns
    -------
    DataFrame
        The fields of `PromptPair`, and the image's `modality`, `patient` and `finding`; kinds in
        alphabetical order.
    """
    import pandas as pd

    every: list[PromptPair] = []
    records = held_out.remove_columns("image").to_pandas().to_dict("records")
    for image, row in enumerate(records):
        if row["modality"] in modalities:
            every += pairs_of_image(image, row, evaluator)
    table = pd.DataFrame(every, columns=list(PromptPair._fields))
    chosen = [spread_evenly(part, per_kind) for _, part in table.groupby("kind")]
    table = pd.concat(chosen, ignore_index=True)
    for column, source in (
        ("modality", "modality"),
        ("patient", "patient_id"),
        ("finding", "finding"),
    ):
        table[column] = np.array(held_out[source][:])[table["image"]]
    return table


def spread_evenly(table: pd.DataFrame, most: int) -> pd.DataFrame:
    """Take at most that many rows of a table, at equal distances from its first to its last."""
    places = np.linspace(0, len(table) - 1, min(most, len(table))).astype(int)
    return table.iloc[places]


def captions_naming_two(captions: Sequence[str]) -> int:
    """Count the captions that name two findings of COEXISTING, once for each modality of which they do."""
    count = 0
    for modality, together in COEXISTING.items():
        phrases = [finding_names(modality)[finding] for finding in together]
        for text in captions:
            named = [phrase for phrase in phrases if phrase in text]
            count += len(named) > 1
    return count


def examples(pairs: pd.DataFrame) -> str:
    """Show the last pair of each kind, one per line."""
    lines = []
    for kind, part in pairs.groupby("kind"):
        last = part.iloc[-1]
        lines.append(f"{kind} (n = {len(part)}): {last['first_prompt']} | {last['changed_prompt']}")
    return "\n".join(lines)
