"""How large a run is, read from `profiles.toml`: optimiser steps, n and seeds, never seconds."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Profile:
    """The settings of one run size, by default those of `quick`; counts of images are a modality's."""

    size: int = 64  # pixels of an image side
    images: int = 600  # the generator may train on
    evaluator_images: int = 700  # the evaluators train on
    held_out: int = 60  # real test images, and prompts drawn from their captions
    first_stage_steps: int = 300  # to adapt the shipped first stage to another source
    retrain_steps: int = 1500  # to train it anew
    text_steps: int = 250
    denoiser_steps: int = 1900
    denoiser_batch: int = 16  # on two cores small batches win: many steps matter more than full arithmetic
    denoiser_widths: tuple[int, ...] = (96, 160)
    evaluator_steps: int = 1500
    specialists: tuple[str, ...] = ("chest_xray", "fundus", "blood_smear")
    long_specialists: tuple[str, ...] = ()  # of these also one with the generalist's own number of steps, first seed
    seeds: tuple[int, ...] = (0,)
    quality_images: int = 60  # 02, 03: test images, and prompts, for each training seed
    eleventh_steps: int = 32  # 03: to add a modality
    sampling_steps: int = 10  # of `full` 8 to 20 read alike (96.5 to 96.7% of findings, n = 600), at equal distances
    guidance: float = 4.0  # on calibration patients 3 and 6 read alike (57% and 56% of findings, n = 300)
    modality_floor: float = 0.95  # claim 01: share of prompts whose modality is read back
    grading: tuple[int, int, int, int] = (900, 300, 12, 100)  # 07: images a role, steps, draws of graders, synthetic
    probes: tuple[int, int, int, int] = (40, 15, 70, 500)  # 04: prompts a test, a guidance; pairs; simulated studies
    # 06: tasks; smallest and largest n; synthetic images, draws, optimiser steps; steps of a generator of its own
    augmentation: tuple[int, ...] = (3, 10, 40, 100, 8, 80, 0)
    # 05: images that calibrate, and that test; planted copies of a kind; steps to learn patients, and to over-train
    copies: tuple[int, int, int, int, int] = (1000, 1200, 500, 80, 320)
    overtrained: tuple[int, ...] = ()  # 05: sizes of further sets of images, besides 64, to over-train on
    finding_margin: float = 0.15  # claim 01: how far below real images the finding may be read back

    def images_of(self, role: str) -> int:
        """How many images a modality a role of the data has."""
        if role == "evaluator":
            return self.evaluator_images
        return self.images if role in ("generator", "first_stage") else self.held_out


TABLE: dict[str, dict[str, Any]] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
PROFILES = {
    name: Profile(**dict[str, Any]({key: tuple(x) if isinstance(x, list) else x for key, x in row.items()}))
    for name, row in TABLE.items()
}
