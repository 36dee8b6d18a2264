"""The scorecard, read from result files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from medisyn_lib.runtime.paths import project_root

if TYPE_CHECKING:  # statistics brings numpy, which the command line need not wait for
    pass
from medisyn_lib.claims.claim import Claim
from medisyn_lib.claims.preregistration import rule_committed_before_result
from medisyn_lib.claims.results import read_result
from medisyn_lib.claims.statements import NOTEBOOKS


def scorecard(results_dir: Path) -> list[dict[str, str]]:
    """One row of words a claim, from the result files in a folder; a claim without one is `not run`."""
    rows = []
    for name, statement in NOTEBOOKS.items():
        if (path := results_dir / f"{name}.json").is_file():
            for claim in read_result(path).claims:
                said = {True: "yes", False: "no", None: "unknown"}[
                    rule_committed_before_result(claim.rule, path)
                ]
                rows.append({"notebook": name, **_words(claim), "rule first": said})
        else:
            rows.append({"notebook": name, "claim": statement, "verdict": "not run"})
    return rows


def published(notebook: str) -> str:
    """What the committed full runs found in a notebook, a line a claim, for its reader to lay beside what it says."""
    files = sorted((project_root() / "results").glob(f"*/{notebook}.json"))
    found = [(path.parent.name, claim) for path in files for claim in read_result(path).claims]
    return (
        "\n".join(f"{run}, {in_a_line(claim)}" for run, claim in found)
        or "no full run is committed"
    )


def in_a_line(claim: Claim, said: str = "") -> str:
    """A claim, its verdict or what is `said` of it instead, its primary measure with interval and n."""
    line = "{claim}: {said} ({measure} {value}, 95% interval {interval}, n = {n})"
    return line.format_map(_words(claim) | {"said": said or claim.verdict})


def _words(claim: Claim) -> dict[str, str]:
    primary = claim.primary_measure
    numbers = (primary.value, primary.ci_low, primary.ci_high, claim.detectable)
    value, low, high, detectable = (
        "none" if number is None else f"{number:.3g}" for number in numbers
    )
    words = {
        "claim": claim.statement,
        "source": claim.source,
        "verdict": claim.verdict,
        "measure": primary.name,
    }
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
