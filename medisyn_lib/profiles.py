"""How large a run is: one table. It fixes optimiser steps, n and seeds, never seconds."""

from __future__ import annotations

from dataclasses import dataclass

from medisyn_lib.modalities import MODALITIES


@dataclass(frozen=True)
class Profile:
    """The settings of one run size; counts of images are a modality's."""

    size: int = 64  # pixels of an image side
    images: int = 600  # the generator may train on
    evaluator_images: int = 700  # the evaluators train on
    held_out: int = 60  # real test images, and prompts drawn from their captions
    first_stage_steps: int = 300  # to adapt the shipped first stage to another source
    retrain_steps: int = 1500  # to train it anew
    text_steps: int = 250
    denoiser_steps: int = 1400
    denoiser_batch: int = 16  # on two cores small batches win: many steps matter more than full arithmetic
    denoiser_widths: tuple[int, ...] = (96, 160)
    evaluator_steps: int = 1500
    specialists: tuple[str, ...] = ("chest_xray", "fundus", "blood_smear")
    seeds: tuple[int, ...] = (0,)
    sampling_steps: int = 12
    guidance: float = 4.0  # on calibration patients 3 and 6 read alike (57% and 56% of findings, n = 300)
    modality_floor: float = 0.95  # claim 01: share of prompts whose modality is read back
    grading: tuple[int, int, int, int] = (900, 300, 12, 100)  # 07: images a role, steps, draws of graders, synthetic
    finding_margin: float = 0.15  # claim 01: how far below real images the finding may be read back

    def images_of(self, role: str) -> int:
        """How many images a modality a role of the data has."""
        if role == "evaluator":
            return self.evaluator_images
        return self.images if role in ("generator", "first_stage") else self.held_out


PROFILES: dict[str, Profile] = {
    "tiny": Profile(
        images=24,
        evaluator_images=24,
        held_out=6,
        first_stage_steps=4,
        retrain_steps=8,
        text_steps=10,
        denoiser_steps=24,
        denoiser_widths=(64, 96),
        evaluator_steps=24,
        grading=(120, 8, 5, 5),
        specialists=("fundus",),
        sampling_steps=4,
    ),
    "quick": Profile(),
    "full": Profile(
        images=3000,
        evaluator_images=1500,
        held_out=300,
        first_stage_steps=4000,
        retrain_steps=40000,
        text_steps=600,
        denoiser_steps=12000,
        denoiser_batch=32,
        denoiser_widths=(128, 192),
        evaluator_steps=3000,
        grading=(4000, 1500, 20, 500),
        specialists=tuple(MODALITIES),
        seeds=(0, 1, 2),
        sampling_steps=20,
        finding_margin=0.05,
    ),
    "gpu": Profile(
        size=128,
        images=20000,
        evaluator_images=5000,
        held_out=1000,
        first_stage_steps=20000,
        retrain_steps=100000,
        text_steps=2000,
        denoiser_steps=100000,
        denoiser_batch=256,
        denoiser_widths=(320, 640, 960),
        evaluator_steps=10000,
        grading=(8000, 10000, 20, 5000),
        specialists=tuple(MODALITIES),
        seeds=(0, 1, 2),
        sampling_steps=20,
        finding_margin=0.05,
    ),
    "cluster": Profile(
        size=256,
        images=200000,
        evaluator_images=20000,
        held_out=1000,
        first_stage_steps=100000,
        retrain_steps=400000,
        text_steps=10000,
        denoiser_steps=400000,
        denoiser_batch=1024,
        denoiser_widths=(320, 640, 1280),
        evaluator_steps=20000,
        grading=(8000, 20000, 20, 5000),
        specialists=tuple(MODALITIES),
        seeds=(0, 1, 2),
        sampling_steps=20,
        finding_margin=0.05,
    ),
}
