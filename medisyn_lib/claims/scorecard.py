"""The scorecard, read from result files, and a notebook's own claims in words."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from medisyn_lib.claims.claim import Claim, Control
from medisyn_lib.claims.preregistration import rule_committed_before_result
from medisyn_lib.claims.results import read_result
from medisyn_lib.claims.statements import NOTEBOOKS
from medisyn_lib.runtime import store
from medisyn_lib.runtime.paths import project_root

RULE_FIRST = {True: "yes", False: "no", None: "unknown"}
CARD_HEADING = "## Verdicts"
FIRST_COLUMNS = ("notebook", "claim", "verdict")


def scorecard(results_dir: Path) -> list[dict[str, str]]:
    """List every claim of the result files in a folder.

    Returns
    -------
    list of dict
        A row of words per claim, by column; the statement of a notebook without a result file is `not run`.
    """
    rows = []
    for name, statement in NOTEBOOKS.items():
        path = results_dir / f"{name}.json"
        if not path.is_file():
            rows.append({"notebook": name, "claim": statement, "verdict": "not run"})
            continue
        for claim in read_result(path).claims:
            rule_first = RULE_FIRST[rule_committed_before_result(claim.rule, path)]
            rows.append({"notebook": name, **_words(claim), "rule first": rule_first})
    return rows


def published(notebook: str) -> str:
    """Say what the committed full runs found in a notebook, a line per claim, for its reader to compare with."""
    lines = []
    for path in sorted((project_root() / "results").glob(f"*/{notebook}.json")):
        for claim in read_result(path).claims:
            lines.append(f"{path.parent.name}, {in_a_line(claim)}")
    return "\n".join(lines) or "no full run is committed"


def measured(claims: Sequence[Claim]) -> str:
    """Say what is controlled and claimed, whatever the outcome: a line per control and per claim."""
    lines = [
        f"{control.kind} control {control.name}: expected {control.expected}"
        for control in _all_controls(claims)
    ]
    for claim in claims:
        lines.append(f"{claim.id}: measures {len(claim.measures)}, primary {claim.primary}")
    return "\n".join(lines)


def decided(claims: Sequence[Claim], *, in_simulation: Collection[str] = ()) -> str:
    """Say how controls and claims came out, a line each; `in_simulation` names claims that hold there at most."""
    lines = []
    for control in _all_controls(claims):
        outcome = "passed" if control.passed else "FAILED"
        lines.append(f"control {control.name}: {outcome} (expected {control.expected})")
    for claim in claims:
        scope = ", in simulation" if claim.id in in_simulation else ""
        lines.append(f"{claim.id}: {claim.verdict}{scope}")
    return "\n".join(lines)


def in_a_line(claim: Claim, said: str = "") -> str:
    """Say a claim, its verdict or what is `said` of it instead, its primary measure with interval and n."""
    words = _words(claim)
    outcome = said or claim.verdict
    measure = f"{words['measure']} {words['value']}"
    interval = f"95% interval {words['interval']}"
    return f"{claim.statement}: {outcome} ({measure}, {interval}, n = {words['n']})"


def scorecard_markdown(rows: Sequence[Mapping[str, str]]) -> str:
    """Lay the scorecard's rows out as one Markdown table."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    columns.sort(key=lambda column: column not in FIRST_COLUMNS)
    lines = [columns, ["---"] * len(columns)]
    for row in rows:
        lines.append([row.get(column, "").replace("|", "\\|") for column in columns])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def add_to_model_card(card: Path, table: str) -> None:
    """Put the scorecard, a Markdown table, at the end of a model card in place of an older one; no card, no change."""
    if not card.is_file():
        return
    about = card.read_text("utf-8").partition(f"\n{CARD_HEADING}")[0]
    store.write_atomic(card, f"{about}\n{CARD_HEADING}\n\n{table}")


def _all_controls(claims: Sequence[Claim]) -> list[Control]:
    """The controls of all claims, one that several rest on once."""
    return list({control.name: control for claim in claims for control in claim.controls}.values())


def _words(claim: Claim) -> dict[str, str]:
    """A claim as columns of the scorecard."""
    primary = claim.primary_measure
    value = _number(primary.value)
    interval = "none"
    if primary.ci_low is not None and primary.ci_high is not None:
        interval = f"{_number(primary.ci_low)} to {_number(primary.ci_high)}"
    passed = sum(control.passed for control in claim.controls)
    return {
        "claim": claim.statement,
        "source": claim.source,
        "verdict": claim.verdict,
        "measure": primary.name,
        "value": value if primary.value is None else f"{value} {primary.unit}".strip(),
        "interval": interval,
        "n": str(primary.n),
        "seeds": str(primary.seeds),
        "detectable": _number(claim.detectable),
        "controls": f"{passed} of {len(claim.controls)}",
    }


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.3g}"
