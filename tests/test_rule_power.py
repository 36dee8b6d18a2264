"""The rules on simulated studies: at their bounds they are rarely wrong, away from them they see what is there."""

from __future__ import annotations

import pytest
import rule_power

STUDIES = 500
# Of 500 studies 33 false verdicts are the 97% bound of 5%, 439 detections that of 90%.
MOST_WRONG, LEAST_SEEN = 33, 439
CASES = {f"{case.claim} {case.truth}": case for case in rule_power.CASES}


@pytest.mark.parametrize("name", CASES)
def test_the_rule_is_rarely_wrong_and_sees_what_is_there(name: str) -> None:
    case = CASES[name]
    verdicts = rule_power.simulate(case, STUDIES)
    assert sum(verdicts.values()) == STUDIES
    for wrong in case.wrong:
        assert verdicts[wrong] <= MOST_WRONG, dict(verdicts)
    if case.wanted:
        assert verdicts[case.wanted] >= LEAST_SEEN, dict(verdicts)


def test_a_bound_that_is_too_lenient_would_be_noticed() -> None:
    """The rule of 02 on a truth beyond its margin, judged as if that were within it: the check can fail."""
    verdicts = rule_power.simulate(CASES["02 all equal"], 50)
    assert verdicts["supported"] + verdicts["partly supported"] > 33
