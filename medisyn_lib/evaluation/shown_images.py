"""A few images of each arm, for the contact sheet of notebook 02."""

from __future__ import annotations

import base64
import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medisyn_lib.phantoms import IMAGES_PER_PATIENT
from medisyn_lib.pipeline.arm_images import ArmImages, SampledImages
from medisyn_lib.pipeline.arms import GENERALIST, REAL, SPECIALIST, ArmKey, Arms
from medisyn_lib.pipeline.parts import Part

SHOWN_ARMS = (REAL, GENERALIST, SPECIALIST)
SHOWN_PROMPTS = 8  # columns of the contact sheet
PROMPTS_APART = IMAGES_PER_PATIENT  # so that each prompt is another phantom patient's


@dataclass(frozen=True, eq=False)
class ShownImages(Part):
    """A few images of each modality of an arm, for a contact sheet; of phantoms alone a checkout may hold them."""

    step = "shown"
    code = (sys.modules[__name__],)
    arm: ArmImages
    every: int  # images apart
    columns: int  # of each modality, at most

    def measure(self) -> dict[str, str]:
        """Return by modality a compressed array, base64."""
        found = {}
        for name, pixels in self.arm.images().items():
            file = io.BytesIO()
            np.savez_compressed(file, np.ascontiguousarray(pixels[:: self.every][: self.columns]))
            found[name] = base64.b64encode(file.getvalue()).decode("ascii")
        return found

    def of(self, modality: str) -> np.ndarray:
        """Return a modality's images, uint8 (columns, h, w, 3)."""
        data = io.BytesIO(base64.b64decode(self.value[modality]))
        with np.load(data, allow_pickle=False) as arrays:
            return arrays["arr_0"]

    @property
    def may_be_published(self) -> bool:
        """Whether they show phantoms."""
        return self.arm.split.images.source == "phantom"

    @property
    def can_be_shown(self) -> bool:
        """Whether it takes no training to show them."""
        if self.is_stored or not isinstance(self.arm, SampledImages):
            return True
        return all(one.is_stored for one in self.arm.generator.upstream())


def shown_images(arms: Arms, modalities: Sequence[str]) -> dict[str, list[ShownImages]]:
    """Return by arm the parts that hold the images of the contact sheet, of the first training seed."""
    return {
        arm: [
            ShownImages(images, PROMPTS_APART, SHOWN_PROMPTS)
            for images in dict.fromkeys(arms[ArmKey(arm, name, 0)] for name in modalities)
        ]
        for arm in SHOWN_ARMS
    }
