"""A study: one profile on one data source."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medisyn_lib.data import sources
from medisyn_lib.profiles import PROFILES, Profile
from medisyn_lib.runtime.paths import resolve_out
from medisyn_lib.runtime.provenance import collect, data_label, run_name

if TYPE_CHECKING:
    import datasets
MODELS_CODE = (
    "medisyn_lib.models.networks",
    "medisyn_lib.training.batches",
    "medisyn_lib.training.loop",
    "medisyn_lib.training.schedules",
)


@dataclass(frozen=True)
class Study:
    """A profile and a data source: everything that a trained generator follows from, but its seed."""

    profile: str
    source: str
    retrain: bool = False  # the first stage from random weights instead of the shipped ones

    @cached_property
    def settings(self) -> Profile:
        """The profile's row of the table."""
        return PROFILES[self.profile]

    @property
    def scale(self) -> str:
        """Data, profile and size in words, for the title of every figure."""
        return f"{data_label(self.source)}, profile {self.profile}, {self.settings.size} pixels"

    def folder(self, out: str) -> Path:
        """Where a notebook writes: `out`, or build/<profile>-<data> where that is empty."""
        return resolve_out(out or f"build/{run_name(self.profile, self.source)}")

    def provenance(self, seconds: float, flops: float) -> dict[str, Any]:
        """The `provenance` of a result of this study (`medisyn_lib.provenance.collect`)."""
        return collect(
            self.profile,
            self.source,
            self.settings.seeds,
            sources.fingerprint(self.source),
            seconds,
            flops,
        )

    def images(self, role: str) -> datasets.Dataset:
        """The images of a role, as many a modality as the profile says."""
        return sources.load(
            self.source,
            role=role,
            size=self.settings.size,
            per_modality=self.settings.images_of(role),
        )


def data_settings(study: Study, role: str) -> dict[str, object]:
    """What a step over a source's images depends on."""
    n, size = study.settings.images_of(role), study.settings.size
    return {"data": sources.fingerprint(study.source), "role": role, "images": n, "size": size}
