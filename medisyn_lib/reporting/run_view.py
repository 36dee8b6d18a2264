"""A run as its page shows it: what was found, by which figures, and what it took."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medisyn_lib.claims.claim import NOT_RUN, VERDICTS, Claim
from medisyn_lib.claims.results import read_result
from medisyn_lib.claims.scorecard import scorecard
from medisyn_lib.reporting import web_pages
from medisyn_lib.reporting.figure_views import FigureView
from medisyn_lib.reporting.notebook_pages import ExecutedNotebook

SUPERSCRIPTS = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
UNKNOWN = ""  # an empty cell
TIMES = "\u00d7"


@dataclass(frozen=True)
class Finding:
    """A claim and its row of the scorecard; without a claim a notebook that has left no result."""

    notebook: str
    row: Mapping[str, str]
    claim: Claim | None
    page: str  # of the notebook; empty where it has none

    @property
    def statement(self) -> str:
        """The claim in words."""
        return self.row["claim"]

    @property
    def outcome(self) -> str:
        """The verdict or, where there is none, why."""
        return self.claim.outcome if self.claim else NOT_RUN


@dataclass(frozen=True)
class MachineRow:
    """What one notebook ran on, in words."""

    notebook: str
    judged: str
    took: str
    seconds: str
    operations: str
    machine: str
    threads: str
    ended: str
    commit: str


@dataclass(frozen=True)
class RunView:
    """One run on a page."""

    name: str
    source: str
    findings: Sequence[Finding]
    figures: Sequence[FigureView]
    provenance: Sequence[MachineRow]
    provenance_in_full: Mapping[str, Mapping[str, Any]]

    @property
    def told(self) -> list[Finding]:
        """The claims of which something was found."""
        return [finding for finding in self.findings if finding.outcome != NOT_RUN]

    @property
    def untold(self) -> list[Finding]:
        """The claims that were not run."""
        return [finding for finding in self.findings if finding.outcome == NOT_RUN]

    @property
    def about(self) -> str:
        """The run in a sentence."""
        times = [str(one["time"]) for one in self.provenance_in_full.values() if one.get("time")]
        ended = f", last result {minutes_of(max(times))} UTC" if times else ""
        return f"Run {self.name}, data {self.source}{ended}."

    @property
    def tally(self) -> dict[str, int]:
        """How many claims had each outcome: verdicts first, what was not run last."""
        counts = Counter(finding.outcome for finding in self.findings)
        others = [outcome for outcome in counts if outcome not in (*VERDICTS, NOT_RUN)]
        order = [*VERDICTS, *others, NOT_RUN]
        return {outcome: counts[outcome] for outcome in order if outcome in counts}

    @property
    def numbers_with_figures(self) -> set[str]:
        """Numbers of the notebooks that have figures here."""
        return {figure.number for figure in self.figures}


def run_view(
    name: str,
    source: str,
    results: Path,
    notebooks: Mapping[str, ExecutedNotebook],
    figures: Sequence[FigureView],
) -> RunView:
    """Collect a run from its folder of result files.

    Parameters
    ----------
    name, source : str
        Of the run, such as `quick-phantom`, and its data source.
    results : Path
        The folder with its result files; a notebook without one is said to have left none.
    notebooks : mapping of str to ExecutedNotebook
        By number, those that have a page.
    figures : sequence of FigureView
        The run's.
    """
    provenances = {
        path.stem: read_result(path).provenance
        for path in sorted(results.glob("[0-9][0-9]_*.json"))
    }
    stems = sorted({*provenances, *(notebook.stem for notebook in notebooks.values())})
    rows = [
        _machine_row(stem, provenances.get(stem, {}), notebooks.get(stem[:2])) for stem in stems
    ]
    return RunView(
        name=name,
        source=source,
        findings=_findings(results, notebooks),
        figures=figures,
        provenance=[row for row in rows if row.took or row.ended],
        provenance_in_full=provenances,
    )


def _findings(results: Path, notebooks: Mapping[str, ExecutedNotebook]) -> list[Finding]:
    """Return every claim of a run beside its row of the scorecard."""
    findings = []
    seen: Counter[str] = Counter()
    for row in scorecard(results):
        stem = row["notebook"]
        path = results / f"{stem}.json"
        claim = read_result(path).claims[seen[stem]] if path.is_file() else None
        seen[stem] += 1
        notebook = notebooks.get(stem[:2])
        page = f"{web_pages.PAGES}/{notebook.file}" if notebook else ""
        findings.append(Finding(stem, row, claim, page))
    return findings


def _machine_row(
    stem: str, provenance: Mapping[str, Any], notebook: ExecutedNotebook | None
) -> MachineRow:
    """Say what one notebook ran on; what was not recorded is empty."""
    processor = provenance.get("gpu") or provenance.get("cpu_capability")
    machine = [str(word) for word in (provenance.get("system"), processor) if word]
    return MachineRow(
        notebook=stem,
        judged=str(provenance.get("generator") or UNKNOWN),
        took=in_words(notebook.took if notebook else None),
        seconds=in_words(provenance.get("seconds")),
        operations=power_of_ten(provenance.get("flops")),
        machine=", ".join(machine) or UNKNOWN,
        threads=str(provenance.get("threads") or UNKNOWN),
        ended=minutes_of(str(provenance.get("time") or UNKNOWN)),
        commit=str(provenance.get("commit") or UNKNOWN),
    )


def minutes_of(time: str) -> str:
    """Return an ISO 8601 time to the minute: `2026-11-30 21:41`."""
    return time[:16].replace("T", " ")


def in_words(seconds: float | None) -> str:
    """Say a duration: `42 s`, `35 min`, `2 h 5 min`; nothing where nobody measured it."""
    if seconds is None:
        return UNKNOWN
    if seconds < 90:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def power_of_ten(value: float | None) -> str:
    """Write a count of operations as a power of ten; nothing where there was none to count."""
    if not value:
        return UNKNOWN
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa} {TIMES} 10{str(int(exponent)).translate(SUPERSCRIPTS)}"
