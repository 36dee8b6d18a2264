"""A claim of a paper: its rule, what was measured and controlled, and what follows on three axes.

`evidence` says what a run can show, `problem` what stood in the way, `verdict` what was found. The verdict
follows from measures and controls alone: `decisions.replay` repeats it from a result file.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from medisyn_lib.claims.rules import letters, rule_of_fingerprint

if TYPE_CHECKING:  # statistics brings numpy, which the command line need not wait for
    from medisyn_lib.claims.rules import Rule
    from medisyn_lib.statistics.estimates import Estimate

SUPPORTED, PARTLY, INCONCLUSIVE, CONTRADICTED = VERDICTS = (
    "supported",
    "partly supported",
    "inconclusive",
    "contradicted",
)
# What a run can show. A demonstration, trained for minutes, is shown and never judged.
CONFIRMATORY, EXPLORATORY, SIMULATION, DEMONSTRATION = EVIDENCE = (
    "confirmatory",
    "exploratory",
    "simulation",
    "demonstration",
)
CONTROL_FAILED, BELOW_FLOOR, NEEDS_PEOPLE, NOT_RUN = PROBLEMS = (
    "control failed",
    "below quality floor",
    "needs people",
    "not run",
)
# "machine" stands for seconds, energy and memory; no rule uses them.
MEASURE_KINDS = ("estimate", "count", "machine")
CONTROL_KINDS = ("positive", "negative")
TESTABLE = "modalities_testable"  # name of the count of modalities with enough test patients


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
        The number and its interval, of 95% unless `unit` says otherwise; None where there is none.
    n : int
        Number of observations behind it.
    seeds : int
        Number of training seeds that it rests on.
    unit : str
        May be empty.
    encoder : str or None
        The encoder of the features that it was computed from, or the reader of the images.
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

    def above(self, bound: float) -> bool:
        """Say whether the interval's lower limit is at or above a bound; False without one."""
        return self.ci_low is not None and self.ci_low >= bound

    def below(self, bound: float) -> bool:
        """Say whether the interval's upper limit is below a bound; False without one."""
        return self.ci_high is not None and self.ci_high < bound


Measures = Mapping[str, Measure]  # by name


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


class Judgement(NamedTuple):
    """What a rule says of measures: a verdict or none, one plain sentence, and a problem or none."""

    verdict: str | None
    summary: str
    problem: str | None = None


Decide = Callable[[Measures], Judgement]


@dataclass(frozen=True)
class Claim:
    """One claim of a paper; `make_claim` makes it.

    Attributes
    ----------
    id : str
        Short name.
    statement, source : str
        What is claimed, and where.
    rule, rule_sha : str
        The rule of the verdict, fixed before the data, and its fingerprint, `rules.Rule.sha`.
    evidence : str
        One of `EVIDENCE`.
    problem : str or None
        One of `PROBLEMS`.
    verdict : str or None
        One of `VERDICTS`.
    summary : str
        What was found, in one plain sentence.
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
    evidence: str
    problem: str | None
    verdict: str | None
    summary: str
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

    @property
    def outcome(self) -> str:
        """The verdict or, where there is none, why."""
        return self.verdict or self.problem or self.evidence

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
        known = rule_of_fingerprint(self.rule_sha)
        if known is not None and letters(known.text) != letters(self.rule):
            yield "its rule is not the one of its fingerprint"
        if self.evidence not in EVIDENCE:
            yield f"unknown evidence {self.evidence!r}"
        if self.problem not in (None, *PROBLEMS) or self.verdict not in (None, *VERDICTS):
            yield f"unknown problem {self.problem!r} or verdict {self.verdict!r}"
        yield from self._faults_of_verdict()

    def _faults_of_verdict(self) -> Iterator[str]:
        """Verdicts that stand where none may, or are missing where one must be."""
        failed = any(not control.passed for control in self.controls)
        if failed != (self.problem == CONTROL_FAILED):
            yield f"problem {self.problem!r} does not fit its controls"
        judged = self.problem in (None, BELOW_FLOOR) and self.evidence != DEMONSTRATION
        if judged != (self.verdict is not None):
            yield f"verdict {self.verdict!r} does not fit problem {self.problem!r}, {self.evidence}"
        if self.problem == BELOW_FLOOR and self.verdict in (SUPPORTED, PARTLY):
            yield f"verdict {self.verdict!r} below the quality floor"
        decided = self.verdict in (SUPPORTED, PARTLY, CONTRADICTED)
        if decided and lacks_interval(self.primary_measure):
            yield f"verdict {self.verdict!r} needs an interval"


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


def count(name: str, value: float, *, kind: str = "count", unit: str = "", n: int = 1) -> Measure:
    """Make a measure that needs no interval: a count, or with kind "machine" seconds, energy or memory."""
    return Measure(
        name=name,
        kind=kind,
        value=float(value),
        ci_low=None,
        ci_high=None,
        n=n,
        seeds=1,
        unit=unit,
        encoder=None,
    )


def judge(
    decide: Decide,
    measures: Measures,
    controls: Sequence[Control],
    *,
    primary: str,
    evidence: str,
) -> Judgement:
    """Turn measures and controls into a judgement.

    Parameters
    ----------
    decide : callable
        The rule, a pure function of the measures.
    measures : mapping of str to Measure
        By name.
    controls : sequence of Control
        Any failed one leaves no verdict: a measure that cannot see what was planted says nothing.
    primary : str
        Name of the measure that the rule is about: without an interval it decides nothing.
    evidence : str
        One of `EVIDENCE`; a demonstration has no verdict.
    """
    for control in controls:
        if not control.passed:
            what = control.name.replace("_", " ")
            said = (
                f"Nothing can be said: the control “{what}” failed (expected: {control.expected})."
            )
            return Judgement(None, said, CONTROL_FAILED)
    judgement = decide(measures)
    about = measures.get(primary)
    if judgement.verdict is not None and about is not None and lacks_interval(about):
        judgement = judgement._replace(verdict=INCONCLUSIVE)
    if evidence == DEMONSTRATION:
        return judgement._replace(verdict=None)
    return judgement


def make_claim(
    rule: Rule,
    decide: Decide,
    *,
    id: str,
    source: str,
    evidence: str,
    primary: str,
    detectable: float | None,
    measures: Sequence[Measure],
    controls: Sequence[Control] = (),
    statement: str | None = None,
) -> Claim:
    """Make a claim with the verdict that its rule and controls give.

    Parameters
    ----------
    rule : Rule
        Its words, numbers and, unless given, statement.
    decide : callable
        The same as a function.
    id, source, evidence, primary, detectable, measures, controls, statement
        As of `Claim`.

    Raises
    ------
    ValueError
        As `Claim`.
    """
    by_name = {one.name: one for one in measures}
    judgement = judge(decide, by_name, controls, primary=primary, evidence=evidence)
    return Claim(
        id=id,
        statement=statement or rule.statement,
        source=source,
        rule=rule.text,
        rule_sha=rule.sha,
        evidence=evidence,
        problem=judgement.problem,
        verdict=judgement.verdict,
        summary=judgement.summary,
        primary=primary,
        detectable=detectable,
        measures=tuple(measures),
        controls=tuple(controls),
    )


def untestable(measures: Measures) -> bool:
    """Say whether no modality has enough test patients, by the count that a claim keeps of them."""
    counted = measures.get(TESTABLE)
    return counted is not None and not counted.value


def lacks_interval(measure: Measure) -> bool:
    """Say whether a measure should have an interval and has none."""
    return measure.kind == "estimate" and measure.ci_low is None and measure.ci_high is None


def _faults_of_measure(measure: Measure) -> Iterator[str]:
    if measure.kind not in MEASURE_KINDS:
        yield f"measure {measure.name!r} is of unknown kind {measure.kind!r}"
    limits = (measure.ci_low, measure.value, measure.ci_high)
    numbers = [number for number in limits if number is not None]
    if not all(map(math.isfinite, numbers)) or numbers != sorted(numbers):
        yield f"measure {measure.name!r} must be finite and inside its interval, got {numbers}"
