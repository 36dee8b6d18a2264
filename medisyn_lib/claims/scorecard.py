"""The scorecard, read from result files, and a notebook's own claims in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from medisyn_lib.claims.claim import DEMONSTRATION, NOT_RUN, Claim, Control, Measure
from medisyn_lib.claims.preregistration import rule_committed_before_result
from medisyn_lib.claims.results import read_result
from medisyn_lib.claims.statements import NOTEBOOKS
from medisyn_lib.runtime import store
from medisyn_lib.runtime.paths import project_root

RULE_FIRST = {True: "yes", False: "no", None: "unknown"}
CARD_HEADING = "## Verdicts"
FIRST_COLUMNS = ("notebook", "found", "verdict", "evidence", "problem", "claim")
NONE = "none"


def scorecard(results_dir: Path) -> list[dict[str, str]]:
    """List every claim of the result files in a folder.

    Returns
    -------
    list of dict
        A row of words per claim, by column; a notebook without a result file has the problem `not run`.
    """
    rows = []
    for name, statement in NOTEBOOKS.items():
        path = results_dir / f"{name}.json"
        if not path.is_file():
            rows.append({"notebook": name, "claim": statement, "verdict": NONE, "problem": NOT_RUN})
            continue
        for claim in read_result(path).claims:
            rule_first = RULE_FIRST[rule_committed_before_result(claim.rule_sha, path)]
            rows.append({"notebook": name, **_words(claim), "rule first": rule_first})
    return rows


def published(notebook: str) -> str:
    """Say what the committed runs found in a notebook, a line per claim, for its reader to compare with."""
    lines = []
    for path in sorted((project_root() / "results").glob(f"*/{notebook}.json")):
        for claim in read_result(path).claims:
            lines.append(f"{path.parent.name}: {in_a_line(claim)}")
    return "\n".join(lines) or "no run is committed yet"


def in_a_line(claim: Claim) -> str:
    """Say what was found of a claim: verdict or problem, evidence, one sentence."""
    return f"{claim.id}: {claim.outcome} ({claim.evidence}). {claim.summary}"


def findings_of(claims: Sequence[Claim]) -> str:
    """Say what was found: a line per control, with what it showed, and a sentence per claim."""
    lines = []
    for control in _all_controls(claims):
        outcome = "passed" if control.passed else "FAILED"
        shown = f"{_number(control.value)}, expected: {control.expected}"
        lines.append(f"{control.kind} control {control.name}: {outcome} ({shown})")
    return "\n".join([*lines, *(in_a_line(claim) for claim in claims)])


def verdicts(claims: Sequence[Claim]) -> str:
    """Say in words that hold from machine to machine what was controlled, claimed and decided.

    Of a demonstration, where minutes of training decide, only what is controlled and claimed.
    """
    shown = [claim for claim in claims if claim.evidence == DEMONSTRATION]
    judged = [claim for claim in claims if claim.evidence != DEMONSTRATION]
    lines = []
    for control in _all_controls(claims):
        outcome = f"expected {control.expected}"
        if any(control in claim.controls for claim in judged):
            outcome = "passed" if control.passed else "FAILED"
        lines.append(f"{control.kind} control {control.name}: {outcome}")
    lines += [f"{claim.id}: {claim.outcome} ({claim.evidence})" for claim in judged]
    for claim in shown:
        what = f"{len(claim.measures)} measures, primary {claim.primary}"
        lines.append(f"{claim.id}: {claim.evidence}, shown and not judged ({what})")
    return "\n".join(lines)


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
    passed = sum(control.passed for control in claim.controls)
    return {
        "found": claim.summary,
        "verdict": claim.verdict or NONE,
        "evidence": claim.evidence,
        "problem": claim.problem or NONE,
        "claim": claim.statement,
        "source": claim.source,
        "measure": primary.name,
        "value": value if primary.value is None else f"{value} {primary.unit}".strip(),
        "interval": _interval(primary),
        "n": str(primary.n),
        "seeds": str(primary.seeds),
        "detectable": _number(claim.detectable),
        "controls": f"{passed} of {len(claim.controls)}",
    }


def _interval(measure: Measure) -> str:
    """A measure's interval in words; a limit may be open."""
    if measure.ci_low is None and measure.ci_high is None:
        return NONE
    if measure.ci_low is None:
        return f"at most {_number(measure.ci_high)}"
    if measure.ci_high is None:
        return f"at least {_number(measure.ci_low)}"
    return f"{_number(measure.ci_low)} to {_number(measure.ci_high)}"


def _number(value: float | None) -> str:
    return NONE if value is None else f"{value:.3g}"
