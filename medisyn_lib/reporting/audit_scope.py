"""What an audit has measured and what it has not, in sentences that the report and its JSON share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from medisyn_lib.claims.claim import Claim, Measure
from medisyn_lib.claims.results import Result

COPY_RATE, FLAGGED = "copy_rate", "share_flagged"  # measures of claim 05
MEASURED = {
    "training": "Whether classifiers recover the modality and the finding that a prompt names.",
    "alignment": "Whether classifiers recover the side, size, count and grade that a prompt names, and single words.",
    "memorization": "Whether more images lie close to a training image than images of other patients do: whole images, "
    "also mirrored, cropped, brighter or darker, noisy or compressed.",
    "augmentation": "Whether the images improve classifiers that have few real ones.",
}
EXTRACTION = "Whether asking for the captions of training images brings those images back."
MEMBERSHIP = (
    "Whether the generator's losses tell who was in its training set (membership inference)."
)
NEVER = (
    "Copies of a part of an image, such as a lesion, and copies changed in other ways than those named.",
    "What an image says of a person: attributes that can be inferred, or links with other data.",
    "What the generator would make of other prompts or seeds, or after more training.",
    "Whether physicians can tell the images from real ones, or would decide otherwise by them.",
)
NO_PRIVACY = (
    "No differential privacy is claimed. The limit speaks of these images; it bounds nothing that one patient's data "
    "contribute to the generator."
)


class Scope(NamedTuple):
    """What was measured, what was not, a sentence each."""

    measured: list[str]
    not_measured: list[str]


class CopyLimit(NamedTuple):
    """How many copies there may be: proportions in [0, 1], None where the controls allow no number."""

    upper_limit: float | None
    flagged: float | None
    images: int


def scope(results: Mapping[str, Result]) -> Scope:
    """Say what results, by claim as in `audit.CLAIMS`, have measured, and what they have not."""
    measured = [MEASURED[name] for name in results]
    not_measured = [text for name, text in MEASURED.items() if name not in results]
    names = {measure.name for result in results.values() for measure in _measures(result)}
    for text, is_measured in (
        (EXTRACTION, "share_flagged_extraction" in names),
        (MEMBERSHIP, "membership_auc_generalist" in names),
    ):
        (measured if is_measured else not_measured).append(text)
    return Scope(measured, [*not_measured, *NEVER])


def copy_limit(results: Mapping[str, Result]) -> CopyLimit | None:
    """Return how many copies there may be; None where copying was not tested."""
    for claim in results["memorization"].claims if "memorization" in results else ():
        rate, flagged = _named(claim, COPY_RATE), _named(claim, FLAGGED)
        if rate is not None:
            limit = rate.ci_high if all(control.passed for control in claim.controls) else None
            return CopyLimit(limit, flagged.value if flagged else None, rate.n)
    return None


def _measures(result: Result) -> list[Measure]:
    return [measure for claim in result.claims for measure in claim.measures]


def _named(claim: Claim, name: str) -> Measure | None:
    return next((measure for measure in claim.measures if measure.name == name), None)
