"""The report of an audit as JSON, `report.json`, in the form that `audit.schema.json` publishes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medisyn_lib.claims.results import Result
from medisyn_lib.reporting import audit
from medisyn_lib.reporting.audit_scope import copy_limit, scope
from medisyn_lib.runtime.store import write_atomic

if TYPE_CHECKING:  # it brings numpy, which the command line need not wait for
    from medisyn_lib.evaluation.subgroups import Subgroups

RECORD = "report.json"
SCHEMA = Path(__file__).with_name("audit.schema.json")
SCHEMA_ID = "urn:medisyn-companion:audit:1"  # a change that breaks readers gets another number


def write_record(
    out: Path,
    generator: Mapping[str, str],
    results: Mapping[str, Result],
    untested: Mapping[str, str],
    subgroups: Mapping[str, Subgroups | None],
    noted: Sequence[str],
) -> Path:
    """Write `report.json`, which holds no image.

    Parameters
    ----------
    out : Path
        The run's folder.
    generator : mapping
        Its `name`, `kind` and `fingerprint`.
    results, untested : mapping
        By claim, as of `audit_report.write_report`.
    subgroups : mapping
        Tables of measures by subgroup, by claim.
    noted : sequence of str
        What else is to be known of the images.
    """
    limit, covered = copy_limit(results), scope(results)
    content = {
        "schema": SCHEMA_ID,
        "clinical_use": False,
        "differential_privacy_claimed": False,
        "generator": dict(generator),
        "exit_code": audit.exit_code(results.values()),
        "copies": limit and limit._asdict(),
        "results": {name: _result(name, result) for name, result in results.items()},
        "subgroups": {name: _subgroups(table) for name, table in subgroups.items() if table},
        "measured": covered.measured,
        "not_measured": covered.not_measured,
        "not_tested": {name: why for name, why in untested.items() if why},
        "notes": list(noted),
    }
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    write_atomic(out / RECORD, text + "\n")
    return out / RECORD


def _result(name: str, result: Result) -> dict[str, Any]:
    """A notebook's result with, of each claim, what it means for the generator."""
    claims = [asdict(claim) | {"outcome": audit.outcome_of(claim).words} for claim in result.claims]
    return {"notebook": audit.CLAIMS[name], "provenance": result.provenance, "claims": claims}


def _subgroups(table: Subgroups) -> dict[str, Any]:
    rows = [row.as_row() for row in table.rows]
    return {"measure": table.measure, "unit": table.unit, "rows": rows}
