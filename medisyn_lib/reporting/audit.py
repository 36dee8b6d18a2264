"""The audit of someone else's generator: which claims can be tested on it, and what their verdicts mean."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from medisyn_lib.claims.claim import (
    CONTRADICTED,
    INCONCLUSIVE,
    NEEDS_PEOPLE,
    NOT_RUN,
    PARTLY,
    SUPPORTED,
    Claim,
)
from medisyn_lib.claims.results import Result
from medisyn_lib.errors import InputError

RULE_BROKEN = 1  # exit codes of `medisyn audit`
COULD_NOT_TELL = 3


@dataclass(frozen=True)
class AuditedNotebook:
    """A notebook that judges a generator from elsewhere.

    `claim` is its word in `--claims`; `figures` are those of its figures that show the generator,
    as those of models trained here do not.
    """

    claim: str
    figures: tuple[str, ...]
    judges_finished_images: bool = False  # a folder of images, whose generator cannot be asked
    takes_seed: bool = False
    takes_encoder: bool = False


@dataclass(frozen=True)
class UnsuitedNotebook:
    """A notebook that an audit leaves out: why, and how its question could be answered."""

    why: str
    how: str


@dataclass(frozen=True)
class Outcome:
    """What a claim's outcome means for the generator: the command's exit code, and words."""

    exit_code: int
    words: str


AUDITED = {
    "01_training": AuditedNotebook("training", ("01_prompts", "01_read_back")),
    "04_text_alignment": AuditedNotebook(
        "alignment",
        ("04_pairs", "04_read_back", "04_by_modality", "04_word_by_word", "04_guidance"),
    ),
    "05_memorization": AuditedNotebook(
        "memorization",
        ("05_distances", "05_detection", "05_pairs"),
        judges_finished_images=True,
        takes_seed=True,
        takes_encoder=True,
    ),
    "06_augmentation": AuditedNotebook(
        "augmentation", ("06_images", "06_learning", "06_ratio", "06_gain")
    ),
}
CLAIMS = {notebook.claim: stem for stem, notebook in AUDITED.items()}
UNSUITED = {
    "02_quality": UnsuitedNotebook(
        why="It needs specialists: models for one modality each, made like this generator and "
        "shown each modality as often. Nobody can train those for it from outside.",
        how="`medisyn reproduce 02 --generator ... --data ...` trains this project's own "
        "specialists on the data and samples the same prompts with them and with this generator; "
        "their training differed, so read it as a comparison of models, not as the claim. "
        "For the claim, train specialists with the generator's own recipe and compare them as "
        "the notebook does (`medisyn_lib.evaluation.fidelity`, "
        "`medisyn_lib.statistics.noninferiority`).",
    ),
    "03_compute_efficiency": UnsuitedNotebook(
        why="It needs what training this generator and its specialists took, counted in the same way. Of a "
        "generator made elsewhere that is not known here.",
        how="`medisyn reproduce 03 --data ...` measures it for models that this project trains "
        "on the data; `medisyn_lib.training.flops` counts the operations of any other PyTorch "
        "model.",
    ),
    "07_reference_standards": UnsuitedNotebook(
        why="It judges graders and the reference that is made of their grades, not a generator.",
        how="`papermill notebooks/07_reference_standards.ipynb out.ipynb -p grades GRADES.csv` "
        "judges a table of real grades.",
    ),
}
NOT_OF_FINISHED_IMAGES = (
    "it draws prompts of its own, and a folder of finished images cannot be asked: "
    "give a diffusers pipeline"
)
NOT_WITH_A_SEED = "it draws from seeds that are fixed: leave --seed out"
NOT_WITH_AN_ENCODER = "its encoders are fixed: leave --encoder out"
OUTCOMES = {
    SUPPORTED: Outcome(0, "supported"),
    PARTLY: Outcome(COULD_NOT_TELL, "supported in part"),
    INCONCLUSIVE: Outcome(COULD_NOT_TELL, "could not be told"),
    CONTRADICTED: Outcome(RULE_BROKEN, "contradicted"),
}
WITHOUT_VERDICT = {
    NEEDS_PEOPLE: Outcome(0, "needs people"),
    NOT_RUN: Outcome(0, "not run"),
}


def outcome_of(claim: Claim) -> Outcome:
    """Return what a claim's verdict means or, where it has none, its problem.

    What needs people, or has nothing to be tested on, counts neither way.
    """
    if claim.verdict is not None:
        return OUTCOMES[claim.verdict]
    named = Outcome(COULD_NOT_TELL, claim.problem or claim.evidence)
    return WITHOUT_VERDICT.get(claim.problem or "", named)


def choose_claims(
    requested: str | None,
    *,
    finished_images: bool = False,
    seed: bool = False,
    encoder: bool = False,
) -> dict[str, str]:
    """Decide which claims are tested.

    Parameters
    ----------
    requested : str or None
        Names out of `CLAIMS`, separated by commas; None for all that can be tested.
    finished_images : bool
        Whether a folder of images is judged, which has no model to ask.
    seed : bool
        Whether a seed was chosen for the images that are sampled.
    encoder : bool
        Whether an encoder was chosen.

    Returns
    -------
    dict of str to str
        For each of `CLAIMS` why it is not tested; empty where it is.

    Raises
    ------
    InputError
        For a requested claim that is unknown or cannot be tested.
    """
    unfit = {}
    for notebook in AUDITED.values():
        reason = _reason_against(notebook, finished_images, seed, encoder)
        if reason:
            unfit[notebook.claim] = reason
    if requested is None:
        names = [name for name in CLAIMS if name not in unfit]
    else:
        names = requested.replace(" ", "").split(",")
    for name in names:
        if name not in CLAIMS:
            choice = ", ".join(CLAIMS)
            raise InputError(f"--claims {name!r} is unknown: choose among {choice}")
        if name in unfit:
            raise InputError(f"--claims {name!r} {unfit[name]}")
    return {name: "" if name in names else unfit.get(name, "was not asked for") for name in CLAIMS}


def _reason_against(
    notebook: AuditedNotebook, finished_images: bool, seed: bool, encoder: bool
) -> str:
    """Return why a notebook cannot judge what is given; empty where it can."""
    if seed and not notebook.takes_seed:
        return NOT_WITH_A_SEED
    if encoder and not notebook.takes_encoder:
        return NOT_WITH_AN_ENCODER
    if finished_images and not notebook.judges_finished_images:
        return NOT_OF_FINISHED_IMAGES
    return ""


def sentences(result: Result) -> list[str]:
    """Say what a result shows of the generator, a line for each of its claims."""
    return [f"{outcome_of(claim).words}: {claim.summary}" for claim in result.claims]


def exit_code(results: Iterable[Result]) -> int:
    """Return the command's exit code: a claim contradicted outweighs all else, then one that could not be told."""
    claims = [claim for result in results for claim in result.claims]
    codes = {outcome_of(claim).exit_code for claim in claims}
    if not any(claim.verdict for claim in claims):
        return COULD_NOT_TELL
    return RULE_BROKEN if RULE_BROKEN in codes else max(codes)
