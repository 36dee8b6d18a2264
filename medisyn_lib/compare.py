"""Whether two runs found the same: verdicts, counts and estimates, within stated tolerances."""

from __future__ import annotations

import math
from pathlib import Path

from medisyn_lib.claims import Claim, Measure, Result, read_result
from medisyn_lib.errors import InputError

# (absolute, relative) by a measure's unit: what other arithmetic moves in a model trained alike.
TOLERANCES = {
    "share": (0.05, 0.0),
    "points": (5.0, 0.0),
    "dB": (0.3, 0.0),
    "levels": (1.0, 0.0),
}
OTHERWISE = (1e-6, 0.1)


def results_of(folder: Path) -> dict[str, Result]:
    """The result files of a run's folder, or of its results/ itself, by name. Raises InputError for none."""
    place = folder / "results" if (folder / "results").is_dir() else folder
    found = {path.stem: read_result(path) for path in sorted(place.glob("[0-9][0-9]_*.json"))}
    if not found:
        raise InputError(f"result folder {folder}: holds no NN_name.json; name a folder that `reproduce` wrote")
    return found


def compare(a: Path, b: Path) -> list[str]:
    """What differs between two result folders, a line each; empty where they agree.

    Verdicts, rules, controls, n and counts must be equal, estimates and their intervals lie within
    TOLERANCES. Provenance and measures of kind machine are not looked at.
    """
    left, right = results_of(a), results_of(b)
    lines = _names("result", "", set(left), set(right))
    for name in sorted(left.keys() & right.keys()):
        one, other = left[name], right[name]
        if one.verdict != other.verdict:
            lines.append(f"{name}: verdict {one.verdict} / {other.verdict}")
        claims_a, claims_b = {c.id: c for c in one.claims}, {c.id: c for c in other.claims}
        lines += _names("claim", f"{name}: ", set(claims_a), set(claims_b))
        for key in sorted(claims_a.keys() & claims_b.keys()):
            lines += [f"{name}: {key}: {line}" for line in _claims(claims_a[key], claims_b[key])]
    return lines


def _names(what: str, where: str, a: set[str], b: set[str]) -> list[str]:
    return [f"{where}{what} {name} only in the {'first' if name in a else 'second'}" for name in sorted(a ^ b)]


def _claims(a: Claim, b: Claim) -> list[str]:
    lines = [
        f"{w} {x} / {y}" for w, x, y in (("verdict", a.verdict, b.verdict), ("primary", a.primary, b.primary)) if x != y
    ]
    if a.rule_sha != b.rule_sha:
        lines.append("the rules differ")
    controls_a, controls_b = ({c.name: c.passed for c in claim.controls} for claim in (a, b))
    lines += _names("control", "", set(controls_a), set(controls_b))
    for name in sorted(controls_a.keys() & controls_b.keys()):
        if controls_a[name] != controls_b[name]:
            lines.append(f"control {name} passed: {controls_a[name]} / {controls_b[name]}")
    measures_a, measures_b = ({m.name: m for m in claim.measures if m.kind != "machine"} for claim in (a, b))
    lines += _names("measure", "", set(measures_a), set(measures_b))
    for name in sorted(measures_a.keys() & measures_b.keys()):
        lines += [f"{name}: {line}" for line in _measures(measures_a[name], measures_b[name])]
    return lines


def _measures(a: Measure, b: Measure) -> list[str]:
    if (a.kind, a.unit, a.encoder, a.n, a.seeds) != (b.kind, b.unit, b.encoder, b.n, b.seeds):
        return ["kind, unit, encoder, n or seeds differ"]
    absolute, relative = (0.0, 0.0) if a.kind == "count" else TOLERANCES.get(a.unit, OTHERWISE)
    lines = []
    for what in ("value", "ci_low", "ci_high"):
        x, y = getattr(a, what), getattr(b, what)
        same = x == y if x is None or y is None else math.isclose(x, y, abs_tol=absolute, rel_tol=relative)
        if not same:
            lines.append(f"{what} {x} / {y}")
    return lines
