"""Whether two runs found the same: verdicts, counts and estimates, within stated tolerances."""

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from medisyn_lib.claims.claim import NOT_TESTABLE
from medisyn_lib.claims.results import Result, read_result
from medisyn_lib.errors import InputError

# By a measure's unit: what other arithmetic moves in a model trained alike, or more where the two intervals allow it.
# Ends of intervals may differ by twice as much: near 0 or 1 one image moves them by more than the share itself.
TOLERANCES = {"share": 0.05, "AUROC": 0.02, "kappa": 0.1, "log ratio": 0.2, "modalities": 2.0}
RELATIVE = 0.1  # of a measure with any other unit
INEXACT = ("value", "ci_low", "ci_high")


def results_of(folder: Path) -> dict[str, Result]:
    """The result files of a run's folder, or of its results/ itself, by name. Raises InputError for none."""
    place = folder / "results" if (folder / "results").is_dir() else folder
    found = {path.stem: read_result(path) for path in sorted(place.glob("[0-9][0-9]_*.json"))}
    if not found:
        raise InputError(
            f"result folder {folder}: holds no NN_name.json; name a folder that `reproduce` wrote"
        )
    return found


def compare(a: Path, b: Path) -> list[str]:
    """What differs between two result folders, a line each; empty where they agree.

    Verdicts, rules, controls, n and counts must be equal; estimates lie within TOLERANCES or within the interval of
    their difference. Not looked at: provenance, measures of kind machine, controls of what is not testable here.
    """
    tables = (
        {f"result {name}": _table(result) for name, result in results_of(run).items()}
        for run in (a, b)
    )
    return _differences("", *tables)


def _table(result: Result) -> dict[str, Any]:
    """What must agree in a result, as nested tables keyed by kind and name."""
    table: dict[str, Any] = {"verdict": result.verdict}
    for claim in result.claims:
        told = (
            claim.controls if claim.verdict != NOT_TESTABLE else ()
        )  # which of them failed is chance
        controls = {f"control {c.name} passed:": c.passed for c in told}
        measures = {f"measure {m.name}": asdict(m) for m in claim.measures if m.kind != "machine"}
        own = {"verdict": claim.verdict, "primary": claim.primary, "rule": claim.rule_sha}
        table[f"claim {claim.id}"] = own | controls | measures
    return table


def _differences(where: str, a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    lines = []
    for key in sorted(a.keys() | b.keys()):
        x, y = a.get(key), b.get(key)
        if key not in a or key not in b:
            lines.append(f"{where}{key} only in the {'first' if key in a else 'second'}")
        elif isinstance(x, dict) and isinstance(y, dict):
            lines += _differences(f"{where}{key.partition(' ')[2]}: ", x, y)
        elif x != y and not (
            key in INEXACT and a["kind"] != "count" and _close(x, y, a, b, key != "value")
        ):
            lines.append(f"{where}{key} {x} / {y}")
    return lines


def _close(
    x: float | None, y: float | None, a: dict[str, Any], b: dict[str, Any], is_end: bool
) -> bool:
    if x is None or y is None:
        return False
    allowed = TOLERANCES.get(a["unit"], RELATIVE * max(abs(x), abs(y)))
    return abs(x - y) <= max(allowed, math.hypot(_half_width(a), _half_width(b)), 1e-6) * (
        2 if is_end else 1
    )


def _half_width(measure: dict[str, Any]) -> float:
    """Half the interval of a measure, 0 where it has none: of two runs they make up the interval of the difference."""
    low, high = measure["ci_low"], measure["ci_high"]
    return 0.0 if low is None or high is None else (high - low) / 2
