"""How large a run is, read from `profiles.toml`: optimiser steps, n and seeds, never seconds.

The defaults are those of `quick`; a profile of the table names only what differs. A notebook's own
settings are a group of their own: `profile.memorization.overfit_steps`.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from medisyn_lib.errors import InputError

__all__ = [
    "PROFILES",
    "AlignmentSettings",
    "AugmentationSettings",
    "GradingSettings",
    "MemorizationSettings",
    "Profile",
    "named_profile",
    "parse_profile",
]


@dataclass(frozen=True)
class AlignmentSettings:
    """Notebook 04: do images show what their prompts name?"""

    prompts: int = 40  # of each test of word changes
    guidance_prompts: int = 15  # of each guidance scale
    study_pairs: int = 70  # shown to a reader
    simulated_studies: int = 500


@dataclass(frozen=True)
class MemorizationSettings:
    """Notebook 05: are generated images copies of training images?"""

    calibration_images: int = 1000  # set the threshold
    test_images: int = 1200  # held out, of other patients
    planted_copies: int = 500  # of each distortion
    reidentification_steps: int = 80
    # Of the control that is overfitted to 64 images; after 320 or 600 steps it does not yet copy enough.
    overfit_steps: int = 1200
    further_overfit_sizes: tuple[int, ...] = ()  # of more sets of images to overfit to


@dataclass(frozen=True)
class AugmentationSettings:
    """Notebook 06: do synthetic images improve classifiers when data is limited?"""

    tasks: int = 3  # modalities
    smallest_n: int = 10  # real images
    largest_n: int = 40  # real images
    synthetic_images: int = 100  # per task
    draws: int = 8  # of the real images
    steps: int = 80  # of every softmax regression
    network_draws: int = 6  # of the real images, for networks that learn their features
    network_steps: int = 80  # of every such network
    # Of a generator that sees the same n images alone; 0: none is trained.
    own_generator_steps: int = 0


@dataclass(frozen=True)
class GradingSettings:
    """Notebook 07: how much do graders vary, and ways to resolve their disagreement?"""

    images: int = 900  # of each role
    steps: int = 300  # of the grading network
    draws: int = 12  # of the graders
    synthetic_images: int = 100


@dataclass(frozen=True)
class Profile:
    """The settings of one run size; steps are optimiser steps, counts of images are per modality."""

    size: int = 64  # pixels of an image side
    images: int = 600  # the generator may train on
    evaluator_images: int = 700  # the evaluators train on
    held_out: int = 60  # real test images, and prompts taken from their captions
    autoencoder_steps: int = 300  # to fine-tune the shipped autoencoder on another source
    autoencoder_scratch_steps: int = 1500  # to train it from scratch
    text_steps: int = 125
    denoiser_steps: int = 800
    # On two cores small batches win: many steps matter more than full arithmetic.
    denoiser_batch: int = 16
    # Whether denoisers from scratch are compiled first, on a CPU: minutes for the first, seconds for those after it,
    # and a C++ compiler; then steps in two thirds of the time.
    compiled: bool = False
    denoiser_widths: tuple[int, ...] = (64, 128, 192)  # channels at each resolution
    evaluator_steps: int = 1500
    encoder_steps: int = 550  # of the transformer, the second encoder
    specialists: tuple[str, ...] = ("chest_xray", "fundus", "blood_smear")
    # Of these also one with the generalist's own number of steps, first seed.
    long_specialists: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (0,)  # of training
    # Whether notebooks judge the shipped flagship unless told otherwise; if not, the one trained here.
    judges_flagship: bool = True
    quality_images: int = 60  # 02, 03: test images, and prompts, for each training seed
    choosing_images: int = (
        12  # 03: calibration images that choose a checkpoint, for each modality and seed
    )
    eleventh_steps: int = 32  # 03: to add a modality
    # Of `full` 8 to 20 are classified alike (96.5 to 96.7% of findings, n = 600), at equal distances.
    sampling_steps: int = 8
    # On calibration patients 3 and 6 are classified alike (57% and 56% of findings, n = 300).
    guidance: float = 4.0
    # Whether what is trained here is shown only: trained for minutes, it is never judged.
    demonstrates: bool = True
    # Of the phantoms. Those of 0 are looked at while choices are made; of any other, which one profile alone
    # has, nothing is seen before its run, so that they confirm.
    phantom_seed: int = 0
    alignment: AlignmentSettings = field(default_factory=AlignmentSettings)
    memorization: MemorizationSettings = field(default_factory=MemorizationSettings)
    augmentation: AugmentationSettings = field(default_factory=AugmentationSettings)
    grading: GradingSettings = field(default_factory=GradingSettings)

    def images_of(self, role: str) -> int:
        """Return how many images per modality a role of the data has."""
        if role == "evaluator":
            return self.evaluator_images
        return self.images if role in ("generator", "first_stage") else self.held_out


GROUPS = {
    "alignment": AlignmentSettings,
    "memorization": MemorizationSettings,
    "augmentation": AugmentationSettings,
    "grading": GradingSettings,
}


def parse_profile(row: Mapping[str, Any]) -> Profile:
    """Make a profile from its row of the table.

    Parameters
    ----------
    row
        Settings by name; a list becomes a tuple, a sub-table the settings of its notebook.

    Returns
    -------
    Profile
        With the defaults for what the row does not name.

    Raises
    ------
    ValueError
        For a setting that does not exist, by its name.
    """
    values: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, Mapping):
            kind = GROUPS.get(name)
            if kind is None:
                raise ValueError(f"profiles.toml: {name!r} is no setting of Profile")
            values[name] = kind(**_plain_settings(value, kind))
        else:
            values[name] = value
    return Profile(**_plain_settings(values, Profile))


def _plain_settings(row: Mapping[str, Any], kind: type) -> dict[str, Any]:
    """The settings of one class, lists as tuples. Raises ValueError for one that it does not have."""
    unknown = sorted(row.keys() - {known.name for known in fields(kind)})
    if unknown:
        raise ValueError(f"profiles.toml: {unknown[0]!r} is no setting of {kind.__name__}")
    return {name: tuple(value) if isinstance(value, list) else value for name, value in row.items()}


TABLE: dict[str, dict[str, Any]] = tomllib.loads(
    Path(__file__).with_suffix(".toml").read_text("utf-8")
)
PROFILES: dict[str, Profile] = {name: parse_profile(row) for name, row in TABLE.items()}


def named_profile(name: str) -> Profile:
    """Return a profile by its name. Raises InputError for an unknown one."""
    if name not in PROFILES:
        raise InputError(f"profile {name!r} is unknown: choose one of {', '.join(PROFILES)}")
    return PROFILES[name]
