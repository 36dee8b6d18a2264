"""Result files: what one notebook found, written whole and read back checked."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from medisyn_lib.claims.claim import Claim, Control, Measure
from medisyn_lib.errors import InputError
from medisyn_lib.runtime.store import write_atomic


@dataclass(frozen=True)
class Result:
    """What one notebook found: a result file's content.

    Attributes
    ----------
    provenance : dict
        Where it comes from, `runtime.provenance.collect`.
    claims : tuple of Claim
        All its claims.
    """

    provenance: dict[str, Any]
    claims: tuple[Claim, ...]


def write_result(path: Path, provenance: Mapping[str, Any], claims: Sequence[Claim]) -> None:
    """Write a result file, whole or not at all.

    Parameters
    ----------
    path : Path
        The JSON file.
    provenance : mapping
        As of `Result`.
    claims : sequence of Claim
        All claims of the notebook.
    """
    content = {"provenance": dict(provenance), "claims": [asdict(claim) for claim in claims]}
    write_atomic(path, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_result(path: Path) -> Result:
    """Read a result file and check it.

    Raises
    ------
    InputError
        If it is not a result file; the message names the file and the fault.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
        claims = tuple(_claim(entry) for entry in content["claims"])
        return Result(dict(content["provenance"]), claims)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        fault = f"{type(error).__name__} {error}".replace("\n", " ")
        raise InputError(f"result file {path}: {fault}; run its notebook again") from error


def _claim(entry: dict[str, Any]) -> Claim:
    """A claim from its JSON object."""
    measures = tuple(Measure(**measure) for measure in entry["measures"])
    controls = tuple(Control(**control) for control in entry["controls"])
    return Claim(**(entry | {"measures": measures, "controls": controls}))
