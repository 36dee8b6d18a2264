"""Claims made for tests: a verdict as ordered, by a rule that says so whatever was measured."""

from __future__ import annotations

from typing import Any

from medisyn_lib.claims.claim import (
    EXPLORATORY,
    SUPPORTED,
    Claim,
    Control,
    Judgement,
    Measures,
    make_claim,
    measure,
)
from medisyn_lib.claims.rules import Rule
from medisyn_lib.statistics.estimates import Estimate

RULE = Rule(
    "r", "s", "the modality is recovered from 95% or more, by the lower limit", {"least": 0.95}
)
SEEN = Control("real_images", "positive", "at the ceiling", 0.97, True)


def a_claim(
    verdict: str | None = SUPPORTED,
    *,
    problem: str | None = None,
    summary: str = "Found so.",
    rule: Rule = RULE,
    **changed: Any,
) -> Claim:
    """Return a claim with this verdict, or problem; `changed` are arguments of `make_claim`."""

    def decide(_: Measures) -> Judgement:
        return Judgement(verdict, summary, problem)

    estimate = Estimate(0.97, 0.95, 0.99, 400)
    given: dict[str, Any] = {
        "id": "c",
        "source": "arXiv 2405.09806 v7",
        "evidence": EXPLORATORY,
        "primary": "recovered",
        "detectable": 0.02,
        "measures": [measure("recovered", estimate, unit="share", encoder="efflite0")],
        "controls": [SEEN],
    }
    return make_claim(rule, decide, **(given | changed))
