"""A claim of a paper: its rule, what was measured and controlled, and the verdict that follows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from medisyn_lib.claims.rules import rule_sha

if TYPE_CHECKING:  # statistics brings numpy, which the command line need not wait for
    from medisyn_lib.statistics.estimates import Estimate

# From best to worst: a run that could not test something says so before anything else.
VERDICTS = ("reproduced", "partly", "not reproduced", "not testable here")
NOT_TESTABLE = VERDICTS[-1]
# "machine" stands for seconds, energy and memory; no rule uses them.
MEASURE_KINDS = ("estimate", "count", "machine")
CONTROL_KINDS = ("positive", "negative")


@dataclass(frozen=True)
class Measure:
    """One number of a claim.

    Attributes
    ----------
    name : str
        Unique within the claim.
    kind : str
        One of `MEASURE_KINDS`.
    value, ci_low, ci_high : float or None
        The number and its 95% interval; None where there is none.
    n : int
        Number of observations behind it.
    seeds : int
        Number of training seeds that it rests on.
    unit : str
        May be empty.
    encoder : str or None
        The encoder of the features that it was computed from.
    """

    name: str
    kind: str
    value: float | None
    ci_low: float | None
    ci_high: float | None
    n: int
    seeds: int
    unit: str
    encoder: str | None


@dataclass(frozen=True)
class Control:
    """An effect planted to be seen (positive) or a null that must show none (negative).

    Attributes
    ----------
    name : str
        Unique within the claim.
    kind : str
        One of `CONTROL_KINDS`.
    expected : str
        What must be seen, in words.
    value : float or None
        What was measured.
    passed : bool
        Whether it is as expected.
    """

    name: str
    kind: str
    expected: str
    value: float | None
    passed: bool


@dataclass(frozen=True)
class Claim:
    """One claim of a paper; `make_claim` makes it.

    Attributes
    ----------
    id : str
        Short name.
    statement, source : str
        What is claimed, and where.
    rule : str
        The rule of the verdict, fixed before the data.
    rule_sha : str
        The rule's fingerprint, `rules.rule_sha`.
    verdict : str
        One of `VERDICTS`.
    primary : str
        Name of the measure that the rule is about.
    detectable : float or None
        The smallest difference that the test could have seen.
    measures : tuple of Measure
        All that was measured.
    controls : tuple of Control
        All that was controlled.

    Raises
    ------
    ValueError
        If the parts contradict each other: see `_faults`.
    """

    id: str
    statement: str
    source: str
    rule: str
    rule_sha: str
    verdict: str
    primary: str
    detectable: float | None
    measures: tuple[Measure, ...]
    controls: tuple[Control, ...]

    def __post_init__(self) -> None:
        for fault in self._faults():
            raise ValueError(f"claim {self.id!r}: {fault}")

    @property
    def primary_measure(self) -> Measure:
        """The measure that the rule is about."""
        return next(measure for measure in self.measures if measure.name == self.primary)

    def _faults(self) -> Iterator[str]:
        """What breaks the contract of a claim."""
        primary = [m for m in self.measures if m.name == self.primary and m.kind != "machine"]
        if not primary:
            yield f"primary measure {self.primary!r} must be one of its measures and not of kind machine"
        if len({m.name for m in self.measures}) < len(self.measures):
            yield "two measures have one name"
        for measure in self.measures:
            yield from _faults_of_measure(measure)
        for control in self.controls:
            if control.kind not in CONTROL_KINDS or not isinstance(control.passed, bool):
                yield f"control {control.name!r} must be positive or negative, and passed or not"
        if self.verdict not in VERDICTS or self.rule_sha != rule_sha(self.rule):
            yield "verdict or rule_sha is not as the rule says"
        without_interval = any(_lacks_interval(measure) for measure in primary)
        all_passed = all(control.passed for control in self.controls)
        if self.verdict != NOT_TESTABLE and (without_interval or not all_passed):
            yield f"verdict {self.verdict!r} needs an interval and passed controls"


def measure(
    name: str,
    estimate: Estimate,
    *,
    kind: str = "estimate",
    unit: str = "",
    seeds: int = 1,
    encoder: str | None = None,
) -> Measure:
    """Make a measure of an estimate and its interval."""
    return Measure(
        name=name,
        kind=kind,
        value=estimate.value,
        ci_low=estimate.ci_low,
        ci_high=estimate.ci_high,
        n=estimate.n,
        seeds=seeds,
        unit=unit,
        encoder=encoder,
    )


def count(name: str, value: float, *, kind: str = "count", unit: str = "") -> Measure:
    """Make a measure that needs no interval: a count, or with kind "machine" seconds, energy or memory."""
    return Measure(
        name=name,
        kind=kind,
        value=float(value),
        ci_low=None,
        ci_high=None,
        n=1,
        seeds=1,
        unit=unit,
        encoder=None,
    )


def judge(passed: bool | None, partly: bool = False, controls: Sequence[Control] = ()) -> str:
    """Turn a rule's outcome into a verdict.

    Parameters
    ----------
    passed : bool or None
        Whether the rule is met; None where it cannot be decided.
    partly : bool
        Whether a rule that is not met is met in part.
    controls : sequence of Control
        Any failed one makes the claim not testable.
    """
    if passed is None or not all(control.passed for control in controls):
        return NOT_TESTABLE
    if passed:
        return "reproduced"
    return "partly" if partly else "not reproduced"


def worst_verdict(verdicts: Iterable[str]) -> str:
    """Return the worst verdict, in the order of VERDICTS; `not testable here` where there is none."""
    return max(verdicts, key=VERDICTS.index, default=NOT_TESTABLE)


def make_claim(
    *,
    id: str,
    statement: str,
    source: str,
    rule: str,
    passed: bool | None,
    partly: bool = False,
    primary: str,
    detectable: float | None,
    measures: Sequence[Measure],
    controls: Sequence[Control] = (),
) -> Claim:
    """Make a claim with the verdict that its rule and controls give.

    Parameters
    ----------
    passed, partly : bool or None, bool
        The rule's outcome, as of `judge`; it cannot be decided where the primary measure lacks an interval.
    id, statement, source, rule, primary, detectable, measures, controls
        As of `Claim`.

    Raises
    ------
    ValueError
        As `Claim`.
    """
    without_interval = {measure.name for measure in measures if _lacks_interval(measure)}
    outcome = None if primary in without_interval else passed
    return Claim(
        id=id,
        statement=statement,
        source=source,
        rule=rule,
        rule_sha=rule_sha(rule),
        verdict=judge(outcome, partly, controls),
        primary=primary,
        detectable=detectable,
        measures=tuple(measures),
        controls=tuple(controls),
    )


def _lacks_interval(measure: Measure) -> bool:
    return measure.kind == "estimate" and measure.ci_low is None


def _faults_of_measure(measure: Measure) -> Iterator[str]:
    if measure.kind not in MEASURE_KINDS:
        yield f"measure {measure.name!r} is of unknown kind {measure.kind!r}"
    limits = (measure.ci_low, measure.value, measure.ci_high)
    numbers = [number for number in limits if number is not None]
    if not all(map(math.isfinite, numbers)) or numbers != sorted(numbers):
        yield f"measure {measure.name!r} must be finite and inside its interval, got {numbers}"
