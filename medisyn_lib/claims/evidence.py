"""What a run can show: which of the four kinds of evidence its results are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medisyn_lib.claims.claim import CONFIRMATORY, DEMONSTRATION, EXPLORATORY, SIMULATION

if TYPE_CHECKING:
    from medisyn_lib.pipeline.judged import JudgedGenerator
    from medisyn_lib.pipeline.study import Study


def evidence_of_training(study: Study) -> str:
    """Return the evidence of a claim about what this study trains.

    Profiles that train for minutes demonstrate. Real images have been looked at while the protocol was
    made, so they explore; phantoms confirm where they are of a seed that no other profile has.
    """
    if study.settings.demonstrates:
        return DEMONSTRATION
    if study.source == "phantom" and study.settings.phantom_seed:
        return CONFIRMATORY
    return EXPLORATORY


def evidence_about(judged: JudgedGenerator) -> str:
    """Return the evidence of a claim about a finished generator: it explores, however small the run."""
    return evidence_of_training(judged.study) if judged.is_trained_here else EXPLORATORY


def evidence_of_simulation(study: Study) -> str:
    """Return the evidence of a claim about simulated graders."""
    return DEMONSTRATION if study.settings.demonstrates else SIMULATION
