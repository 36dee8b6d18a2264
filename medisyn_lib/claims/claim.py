"""From a rule to a verdict, the result files that hold both, and the scorecard read from them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # statistics brings numpy, which the command line need not wait for
    from medisyn_lib.statistics.estimates import Estimate
from medisyn_lib.claims.rules import rule_sha

# From best to worst: a run that could not test something says so before anything else.
VERDICTS = ("reproduced", "partly", "not reproduced", "not testable here")
NOT_TESTABLE = VERDICTS[-1]
MEASURE_KINDS = (
    "estimate",
    "count",
    "machine",
)  # machine: seconds, energy, memory; no rule uses them


@dataclass(frozen=True)
class Measure:
    """One number of a claim. `seeds` is how many training seeds it rests on; `encoder` may be None."""

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
    """An effect planted to be seen (positive) or a null that must show none (negative)."""

    name: str
    kind: str
    expected: str
    value: float | None
    passed: bool


@dataclass(frozen=True)
class Claim:
    """One claim of a paper: its rule, what was measured, the verdict that follows. ValueError where they clash."""

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
        for wrong in self._faults():
            raise ValueError(f"claim {self.id!r}: {wrong}")

    @property
    def primary_measure(self) -> Measure:
        """The measure that the rule is about."""
        return next(m for m in self.measures if m.name == self.primary)

    def _faults(self) -> Iterator[str]:
        """What breaks the contract of a claim."""
        primary = [m for m in self.measures if m.name == self.primary and m.kind != "machine"]
        if not primary:
            yield f"primary measure {self.primary!r} must be one of its measures and not of kind machine"
        if len({m.name for m in self.measures}) < len(self.measures):
            yield "two measures have one name"
        for m in self.measures:
            numbers = [x for x in (m.ci_low, m.value, m.ci_high) if x is not None]
            if m.kind not in MEASURE_KINDS:
                yield f"measure {m.name!r} is of unknown kind {m.kind!r}"
            if not all(map(math.isfinite, numbers)) or numbers != sorted(numbers):
                yield f"measure {m.name!r} must be finite and inside its interval, got {numbers}"
        for c in self.controls:
            if c.kind not in ("positive", "negative") or not isinstance(c.passed, bool):
                yield f"control {c.name!r} must be positive or negative, and passed or not"
        if self.verdict not in VERDICTS or self.rule_sha != rule_sha(self.rule):
            yield "verdict or rule_sha is not as the rule says"
        bare = any(m.kind == "estimate" and m.ci_low is None for m in primary)
        if self.verdict != NOT_TESTABLE and (bare or not all(c.passed for c in self.controls)):
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
    """A measure from an estimate and its interval."""
    return Measure(
        name,
        kind,
        estimate.value,
        estimate.ci_low,
        estimate.ci_high,
        estimate.n,
        seeds,
        unit,
        encoder,
    )


def count(name: str, value: float, *, kind: str = "count", unit: str = "") -> Measure:
    """A measure that needs no interval: a count, or with kind "machine" seconds, energy or memory."""
    return Measure(name, kind, float(value), None, None, 1, 1, unit, None)


def judge(passed: bool | None, partly: bool = False, controls: Sequence[Control] = ()) -> str:
    """The verdict of a rule: `passed` is None where it cannot be decided; any failed control voids it."""
    if passed is None or not all(control.passed for control in controls):
        return NOT_TESTABLE
    return "reproduced" if passed else "partly" if partly else "not reproduced"


def worst_verdict(verdicts: Iterable[str]) -> str:
    """The worst verdict, in the order of VERDICTS; `not testable here` where there is none."""
    return max(verdicts, key=VERDICTS.index, default=NOT_TESTABLE)


def make_claim(
    *, passed: bool | None, partly: bool = False, measures: Sequence[Measure], controls: Sequence[Control] = (),
    **of: Any,
) -> Claim:  # fmt: skip
    """A claim with the verdict that its rule and controls give; `of` are the other fields of `Claim`.

    `passed` is the rule's outcome, None where undecidable, as without the primary's interval. ValueError as of `Claim`.
    """
    bare = {m.name for m in measures if m.kind == "estimate" and m.ci_low is None}
    verdict, sha = (
        judge(None if of["primary"] in bare else passed, partly, controls),
        rule_sha(of["rule"]),
    )
    return Claim(
        verdict=verdict, rule_sha=sha, measures=tuple(measures), controls=tuple(controls), **of
    )
