"""Result files: what one notebook found, written whole and read back checked."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medisyn_lib.errors import InputError
from medisyn_lib.runtime.store import write_atomic

if TYPE_CHECKING:  # statistics brings numpy, which the command line need not wait for
    pass
from medisyn_lib.claims.claim import VERDICTS, Claim, Control, Measure, worst_verdict


@dataclass(frozen=True)
class Result:
    """What one notebook found: a result file's content."""

    provenance: dict[str, Any]
    verdict: str
    claims: tuple[Claim, ...]


def write_result(
    path: Path,
    provenance: Mapping[str, Any],
    claims: Sequence[Claim],
    main: Sequence[str] | None = None,
) -> None:
    """Writes a result file, whole or not at all; its verdict is the worst of the `main` claims' (ids; all)."""
    chosen = [c.verdict for c in claims if main is None or c.id in main]
    content = {
        "provenance": dict(provenance),
        "verdict": worst_verdict(chosen),
        "claims": [asdict(c) for c in claims],
    }
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
