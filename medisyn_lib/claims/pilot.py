"""What a pilot with other patients and seeds froze: the primary measure and the margins."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medisyn_lib.evaluation.fidelity import frechet_distance, kernel_distance, project
from medisyn_lib.runtime.provenance import run_name

if TYPE_CHECKING:
    from medisyn_lib.pipeline.study import Study

PILOT = Path(__file__).with_name("pilot.json")


def load_pilot(study: Study) -> dict[str, Any]:
    """What was frozen for this profile and data: `primary`, `margins`, `axes` (d, c) and more; empty where nothing was.

    From other patients and seeds, by `python benchmarks/pilot.py`.
    """
    from safetensors.numpy import load_file

    name = run_name(study.profile, study.source)
    frozen = json.loads(PILOT.read_text("utf-8"))["runs"].get(name)
    return frozen | {"axes": load_file(PILOT.with_suffix(".safetensors"))[name]} if frozen else {}


def primary_measure(frozen: Mapping[str, Any]) -> Callable[..., float]:
    """The frozen primary measure of `real=`, `synthetic=`: KID, or Frechet distance within the frozen axes."""
    if frozen.get("primary", "KID") == "KID":
        return kernel_distance
    axes = frozen["axes"]
    return lambda *, real, synthetic: frechet_distance(
        real=project(real, axes), synthetic=project(synthetic, axes)
    )
