"""From a rule to a verdict, the result files that hold both, and the scorecard read from them."""

from __future__ import annotations

import hashlib
import json
import math
import re
import subprocess
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medisyn_lib.errors import InputError
from medisyn_lib.paths import project_root
from medisyn_lib.provenance import git
from medisyn_lib.store import write_atomic

if TYPE_CHECKING:  # statistics brings numpy, which the command line need not wait for
    from medisyn_lib.statistics import Estimate

# From best to worst: a run that could not test something says so before anything else.
VERDICTS = ("reproduced", "partly", "not reproduced", "not testable here")
NOT_TESTABLE = VERDICTS[-1]
MEASURE_KINDS = ("estimate", "count", "machine")  # machine: seconds, energy, memory; no rule uses them
# The claims that the notebooks test, so that the scorecard can name one that was not run.
NOTEBOOKS: dict[str, str] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))


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


@dataclass(frozen=True)
class Result:
    """What one notebook found: a result file's content."""

    provenance: dict[str, Any]
    verdict: str
    claims: tuple[Claim, ...]


def measure(
    name: str, estimate: Estimate, *, kind: str = "estimate", unit: str = "", seeds: int = 1, encoder: str | None = None
) -> Measure:
    """A measure from an estimate and its interval."""
    return Measure(name, kind, estimate.value, estimate.ci_low, estimate.ci_high, estimate.n, seeds, unit, encoder)


def count(name: str, value: float, *, kind: str = "count", unit: str = "") -> Measure:
    """A measure that needs no interval: a count, or with kind "machine" seconds, energy or memory."""
    return Measure(name, kind, float(value), None, None, 1, 1, unit, None)


def rule_sha(rule: str) -> str:
    """The first 16 hex digits of SHA-256 of a rule's letters and digits, however it is wrapped."""
    return hashlib.sha256(_letters(rule).encode()).hexdigest()[:16]


def _letters(text: str) -> str:
    # Comment signs, quotes and line ends fall away: what is left is the same in a notebook and its pair.
    return re.sub(r"[\W_]+", "", text)


def judge(passed: bool | None, partly: bool = False, controls: Sequence[Control] = ()) -> str:
    """The verdict of a rule: `passed` is None where it cannot be decided; any failed control voids it."""
    if passed is None or not all(control.passed for control in controls):
        return NOT_TESTABLE
    return "reproduced" if passed else "partly" if partly else "not reproduced"


def worst(verdicts: Iterable[str]) -> str:
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
    verdict, sha = judge(None if of["primary"] in bare else passed, partly, controls), rule_sha(of["rule"])
    return Claim(verdict=verdict, rule_sha=sha, measures=tuple(measures), controls=tuple(controls), **of)


def write_result(
    path: Path, provenance: Mapping[str, Any], claims: Sequence[Claim], main: Sequence[str] | None = None
) -> None:
    """Writes a result file, whole or not at all; its verdict is the worst of the `main` claims' (ids; all)."""
    chosen = [c.verdict for c in claims if main is None or c.id in main]
    content = {"provenance": dict(provenance), "verdict": worst(chosen), "claims": [asdict(c) for c in claims]}
    write_atomic(path, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_result(path: Path) -> Result:
    """A result file's content, checked. Raises InputError that names the file and what is wrong."""
    try:
        content = json.loads(path.read_text("utf-8"))
        for entry in content["claims"]:
            entry["measures"] = tuple(Measure(**m) for m in entry["measures"])
            entry["controls"] = tuple(Control(**c) for c in entry["controls"])
        claims = tuple(Claim(**entry) for entry in content["claims"])
        result = Result(dict(content["provenance"]), content["verdict"], claims)
        if result.verdict not in VERDICTS:
            raise ValueError(f"unknown verdict {result.verdict!r}")
        return result
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        wrong = f"{type(error).__name__} {error}".replace("\n", " ")
        raise InputError(f"result file {path}: {wrong}; run its notebook again") from error


def rule_committed_before_result(rule: str, result: Path) -> bool | None:
    """Whether git held the rule, in the paired notebook of the result's name, before it first held the result under it.

    A result not committed yet is compared with HEAD. None where there is no git history to ask.
    """
    folder, place, source = project_root() / "notebooks", result.resolve(), f"./{result.stem}.py"
    try:
        shallow, top, _ = git(folder, "rev-parse", "--is-shallow-repository", "--show-toplevel", "HEAD").splitlines()
        if shallow == "true":
            return None
        finding = ["log", "--reverse", "--format=%H", f"-S{rule_sha(rule)}", "--", str(place)]
        commits = git(folder, *finding).split() if place.is_relative_to(top) else []
    except (OSError, subprocess.SubprocessError):
        return None
    try:
        before = git(folder, "show", f"{commits[0]}^:{source}" if commits else f"HEAD:{source}")
    except subprocess.SubprocessError:
        return False  # neither the notebook nor perhaps any commit came before the result
    return _letters(rule) in _letters(before)


def scorecard(results_dir: Path) -> list[dict[str, str]]:
    """One row of words a claim, from the result files in a folder; a claim without one is `not run`."""
    rows = []
    for name, statement in NOTEBOOKS.items():
        if (path := results_dir / f"{name}.json").is_file():
            for claim in read_result(path).claims:
                said = {True: "yes", False: "no", None: "unknown"}[rule_committed_before_result(claim.rule, path)]
                rows.append({"notebook": name, **_words(claim), "rule first": said})
        else:
            rows.append({"notebook": name, "claim": statement, "verdict": "not run"})
    return rows


def published(notebook: str) -> str:
    """What the committed full runs found in a notebook, a line a claim, for its reader to lay beside what it says."""
    files = sorted((project_root() / "results").glob(f"*/{notebook}.json"))
    found = [(path.parent.name, claim) for path in files for claim in read_result(path).claims]
    return "\n".join(f"{run}, {in_a_line(claim)}" for run, claim in found) or "no full run is committed"


def in_a_line(claim: Claim, said: str = "") -> str:
    """A claim, its verdict or what is `said` of it instead, its primary measure with interval and n."""
    line = "{claim}: {said} ({measure} {value}, 95% interval {interval}, n = {n})"
    return line.format_map(_words(claim) | {"said": said or claim.verdict})


def _words(claim: Claim) -> dict[str, str]:
    primary = claim.primary_measure
    numbers = (primary.value, primary.ci_low, primary.ci_high, claim.detectable)
    value, low, high, detectable = ("none" if number is None else f"{number:.3g}" for number in numbers)
    words = {"claim": claim.statement, "source": claim.source, "verdict": claim.verdict, "measure": primary.name}
    words["value"] = value if primary.value is None else f"{value} {primary.unit}".strip()
    words["interval"] = "none" if "none" in (low, high) else f"{low} to {high}"
    words |= {"n": str(primary.n), "seeds": str(primary.seeds), "detectable": detectable}
    return words | {"controls": f"{sum(c.passed for c in claim.controls)} of {len(claim.controls)}"}


def scorecard_markdown(rows: Sequence[Mapping[str, str]]) -> str:
    """The scorecard's rows as one Markdown table."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    columns.sort(key=lambda column: column not in ("notebook", "claim", "verdict"))
    lines = [columns, ["---"] * len(columns)]
    lines += [[row.get(column, "").replace("|", "\\|") for column in columns] for row in rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
