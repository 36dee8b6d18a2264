"""Whether two runs found the same: verdicts, counts and estimates, within stated tolerances."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from medisyn_lib.claims.claim import DEMONSTRATION
from medisyn_lib.claims.results import Result, read_result
from medisyn_lib.errors import InputError

# By a measure's unit: what other arithmetic moves in a model trained in the same way. Where the two
# intervals allow more, more is allowed. Ends of intervals may differ by twice as much: near 0 or 1
# one image moves them by more than the proportion itself.
TOLERANCES = {
    "share": 0.05,
    "AUROC": 0.02,
    "kappa": 0.1,
    "log ratio": 0.2,
    "modalities": 2.0,
    "p": 1.0,
}
# Counts that models decide, so that they move as estimates do.
MOVING_COUNTS = ("modalities", "p")
RELATIVE_TOLERANCE = 0.1  # of a measure with any other unit
ROUNDING = 1e-6
FEW = 10
# Half the 95% interval of a proportion of one half, times the root of n.
HALF_WIDTH_OF_ONE = 1.96 / 2
INEXACT = ("value", "ci_low", "ci_high")


def results_of(folder: Path) -> dict[str, Result]:
    """Return the result files of a run's folder, or of its results/ itself, by name.

    Raises InputError where there is none.
    """
    place = folder / "results" if (folder / "results").is_dir() else folder
    results = {path.stem: read_result(path) for path in sorted(place.glob("[0-9][0-9]_*.json"))}
    if not results:
        fault = "holds no NN_name.json; name a folder that `reproduce` wrote"
        raise InputError(f"result folder {folder}: {fault}")
    return results


def compare(a: Path, b: Path) -> list[str]:
    """Return what differs between two result folders, a line each; empty where they agree.

    Evidence, problems, verdicts, rules, controls, n and counts must be equal; estimates lie within
    `TOLERANCES` or within the interval of their difference. Not looked at: provenance, summaries,
    measures of kind machine; of demonstrations, which train for minutes, problems and controls.
    """
    return _differences("", _tables(a), _tables(b))


def _tables(folder: Path) -> dict[str, Any]:
    """Return what must agree in a folder's results, as nested tables keyed by kind and name."""
    return {f"result {name}": _table(result) for name, result in results_of(folder).items()}


def _table(result: Result) -> dict[str, Any]:
    """Return what must agree in one result."""
    table: dict[str, Any] = {}
    for claim in result.claims:
        entry: dict[str, Any] = {
            "evidence": claim.evidence,
            "primary": claim.primary,
            "rule": claim.rule_sha,
        }
        if claim.evidence != DEMONSTRATION:  # else which control failed is chance
            entry |= {"verdict": claim.verdict, "problem": claim.problem}
            for control in claim.controls:
                entry[f"control {control.name} passed:"] = control.passed
        for measure in claim.measures:
            if measure.kind != "machine":
                entry[f"measure {measure.name}"] = asdict(measure)
        table[f"claim {claim.id}"] = entry
    return table


def _differences(where: str, a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    """Return a line for each entry of nested tables that differs or that one of them lacks."""
    lines = []
    for key in sorted(a.keys() | b.keys()):
        if key not in a or key not in b:
            lines.append(f"{where}{key} only in the {'first' if key in a else 'second'}")
        elif isinstance(a[key], dict) and isinstance(b[key], dict):
            name = key.partition(" ")[2]
            lines += _differences(f"{where}{name}: ", a[key], b[key])
        elif a[key] != b[key] and not _is_close(key, a, b):
            lines.append(f"{where}{key} {a[key]} / {b[key]}")
    return lines


def _is_close(key: str, a: dict[str, Any], b: dict[str, Any]) -> bool:
    """Say whether an entry is a number of an estimate that differs by no more than it may."""
    x, y = a[key], b[key]
    if key not in INEXACT or x is None or y is None:
        return False
    unit = _unit(a)
    if a["kind"] == "count" and unit not in MOVING_COUNTS:
        return False
    by_unit = TOLERANCES.get(unit, RELATIVE_TOLERANCE * max(abs(x), abs(y)))
    by_intervals = math.hypot(_half_width(a), _half_width(b))
    allowed = max(by_unit, by_intervals, ROUNDING)
    return abs(x - y) <= (allowed if key == "value" else 2 * allowed)


def _unit(measure: dict[str, Any]) -> str:
    """Return a measure's unit, without what it says of how the interval was made."""
    return str(measure["unit"]).partition(",")[0]


def _half_width(measure: dict[str, Any]) -> float:
    """Return half the interval of a measure, 0 where it has none.

    Those of two runs make up the interval of their difference. A proportion of fewer than ten,
    often too few patients for an interval, counts as uncertain as one half of n is; so does an AUROC
    of too few draws for one, which the rounding of a few steps of training can move by as much.
    """
    low, high = measure["ci_low"], measure["ci_high"]
    if low is not None and high is not None:
        return (high - low) / 2
    unit, n = _unit(measure), measure["n"]
    if n > 0 and (unit == "AUROC" or (unit == "share" and n < FEW)):
        return HALF_WIDTH_OF_ONE / math.sqrt(n)
    return 0.0
