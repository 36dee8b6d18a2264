"""What a pilot with other patients and seeds froze: the primary measure and the margins."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from medisyn_lib.evaluation.fidelity import frechet_distance, kernel_distance, project
from medisyn_lib.runtime.provenance import run_name

if TYPE_CHECKING:
    import numpy as np

    from medisyn_lib.pipeline.study import Study

PILOT = Path(__file__).with_name("pilot.json")


@dataclass(frozen=True)
class Pilot:
    """What was frozen for a profile and its data; the defaults are those without a pilot.

    Attributes
    ----------
    primary
        `KID`, or `FD_pc` for the Frechet distance within the axes.
    margins
        Of the log-ratio of the primary measure, by modality; None where the pilot did not see the
        effect of training half as long.
    axes
        Principal axes (d, c) of real features; None without a pilot.
    """

    primary: str = "KID"
    margins: Mapping[str, float | None] = field(default_factory=dict)
    axes: np.ndarray | None = None

    @property
    def encoder_named(self) -> str:
        """The primary measure with the name of its encoder."""
        return f"{self.primary}_efflite0"


def load_pilot(study: Study) -> Pilot:
    """Read what `benchmarks/pilot.py` froze for this profile and data, if anything."""
    from safetensors.numpy import load_file

    name = run_name(study.profile, study.source)
    run = json.loads(PILOT.read_text("utf-8"))["runs"].get(name)
    if not run:
        return Pilot()
    axes = load_file(PILOT.with_suffix(".safetensors"))[name]
    return Pilot(run["primary"], run["margins"], axes)


def primary_measure(pilot: Pilot) -> Callable[..., float]:
    """Give the frozen primary measure, a function of `real=` and `synthetic=`."""
    if pilot.primary == "KID":
        return kernel_distance
    axes = pilot.axes
    if axes is None:
        raise ValueError(f"primary measure {pilot.primary!r} needs axes")

    def frechet_within_axes(*, real: np.ndarray, synthetic: np.ndarray) -> float:
        return frechet_distance(real=project(real, axes), synthetic=project(synthetic, axes))

    return frechet_within_axes
