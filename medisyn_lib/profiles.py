"""How large a run is, read from `profiles.toml`: optimiser steps, n and seeds, never seconds.

The defaults are those of `quick`; a profile of the table names only what differs.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class AlignmentSettings:
    """Notebook 04."""

    prompts: int = 40  # of each test of word changes
    guidance_prompts: int = 15  # of each guidance scale
    study_pairs: int = 70  # shown to a reader
    simulated_studies: int = 500


@dataclass(frozen=True)
class MemorizationSettings:
    """Notebook 05."""

    calibration_images: int = 1000  # set the threshold
    test_images: int = 1200  # held out, of other patients
    planted_copies: int = 500  # of each distortion
    reidentification_steps: int = 80
    overfit_steps: int = 320  # of the control that is overfitted to 64 images
    further_overfit_sizes: tuple[int, ...] = ()  # of more sets of images to overfit to


@dataclass(frozen=True)
class AugmentationSettings:
    """Notebook 06."""

    tasks: int = 3  # modalities
    smallest_n: int = 10  # real images
    largest_n: int = 40
    synthetic_images: int = 100  # a task
    draws: int = 8  # of the real images
    steps: int = 80  # of every classifier
    own_generator_steps: int = (
        0  # of a generator that sees the same n images alone; 0: none is trained
    )


@dataclass(frozen=True)
class GradingSettings:
    """Notebook 07."""

    images: int = 900  # of each role
    steps: int = 300  # of the grading network
    draws: int = 12  # of the graders
    synthetic_images: int = 100


@dataclass(frozen=True)
class Profile:
    """The settings of one run size; counts of images are per modality."""

    size: int = 64  # pixels of an image side
    images: int = 600  # the generator may train on
    evaluator_images: int = 700  # the evaluators train on
    held_out: int = 60  # real test images, and prompts taken from their captions
    autoencoder_steps: int = 300  # to fine-tune the shipped autoencoder on another source
    autoencoder_scratch_steps: int = 1500  # to train it from scratch
    text_steps: int = 250
    denoiser_steps: int = 1900
    # On two cores small batches win: many steps matter more than full arithmetic.
    denoiser_batch: int = 16
    denoiser_widths: tuple[int, ...] = (96, 160)
    evaluator_steps: int = 1500
    specialists: tuple[str, ...] = ("chest_xray", "fundus", "blood_smear")
    # Of these also one with the generalist's own number of steps, first seed.
    long_specialists: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (0,)
    quality_images: int = 60  # 02, 03: test images, and prompts, for each training seed
    eleventh_steps: int = 32  # 03: to add a modality
    # Of `full` 8 to 20 read alike (96.5 to 96.7% of findings, n = 600), at equal distances.
    sampling_steps: int = 10
    # On calibration patients 3 and 6 read alike (57% and 56% of findings, n = 300).
    guidance: float = 4.0
    modality_floor: float = 0.95  # claim 01: fraction of prompts whose modality is recovered
    finding_margin: float = 0.15  # claim 01: how far below real images finding accuracy may lie
    alignment: AlignmentSettings = field(default_factory=AlignmentSettings)
    memorization: MemorizationSettings = field(default_factory=MemorizationSettings)
    augmentation: AugmentationSettings = field(default_factory=AugmentationSettings)
    grading: GradingSettings = field(default_factory=GradingSettings)

    def images_of(self, role: str) -> int:
        """How many images per modality a role of the data has."""
        if role == "evaluator":
            return self.evaluator_images
        return self.images if role in ("generator", "first_stage") else self.held_out


GROUPS = {
    "alignment": AlignmentSettings,
    "memorization": MemorizationSettings,
    "augmentation": AugmentationSettings,
    "grading": GradingSettings,
}


def _filled(row: Mapping[str, Any], kind: type = Profile) -> Any:
    """A table's row as settings: lists as tuples, sub-tables as the settings of their notebook."""
    values = {}
    for name, value in row.items():
        if isinstance(value, dict):
            values[name] = _filled(value, GROUPS[name])
        else:
            values[name] = tuple(value) if isinstance(value, list) else value
    if unknown := sorted(values.keys() - {known.name for known in fields(kind)}):
        raise ValueError(f"profiles.toml: {unknown[0]!r} is no setting of {kind.__name__}")
    return kind(**values)


TABLE: dict[str, dict[str, Any]] = tomllib.loads(
    Path(__file__).with_suffix(".toml").read_text("utf-8")
)
PROFILES: dict[str, Profile] = {name: _filled(row) for name, row in TABLE.items()}
