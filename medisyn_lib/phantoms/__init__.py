"""Digital phantoms of ten modalities: the embedded data source. They are drawn, not patients.

One module a modality, named after its key, with one function or two:

- `draw_image(rng, patient, size) -> (array, dict)`: one acquisition of a patient, float in [0, 1], grey (size, size) or
  colour (size, size, 3), and the factors of this image;
- `draw_patient(rng, finding) -> dict`: the factors that all its images share, where they are more than `drawing.toml`.

Factors are plain numbers and words. `CAPTION_FACTORS` of them reach the captions; `side` is the patient's.
"""

import importlib
import zlib
from typing import Any

import numpy as np

from medisyn_lib.errors import InputError
from medisyn_lib.modalities import MODALITIES
from medisyn_lib.phantoms.drawing import tabled_patient

IMAGES_PER_PATIENT = 3
SIZES = (32, 256)  # smallest and largest side in pixels
CAPTION_FACTORS = ("side", "lesion_size", "count", "grade")


def draw_patient(modality: str, rng: np.random.Generator, finding: str) -> dict[str, Any]:
    """The factors that all images of one patient of a modality share, its finding among them."""
    own = getattr(importlib.import_module(f"medisyn_lib.phantoms.{modality}"), "draw_patient", None)
    return {
        "finding": finding,
        **(own(rng, finding) if own else tabled_patient(rng, modality, finding)),
    }


def draw(
    modality: str, *, seed: int, index: int, size: int = 64, finding: str | None = None
) -> tuple[np.ndarray, dict[str, Any]]:
    """Image number `index` of a modality's endless series, and every factor behind it.

    The image is uint8 (size, size, 3), of patient `index // IMAGES_PER_PATIENT`; its factors are the same at any size.
    `finding` overrides the patient's own. Raises InputError for an unknown modality, finding or size.
    """
    if modality not in MODALITIES:
        raise InputError(f"unknown modality {modality!r}: choose one of {', '.join(MODALITIES)}")
    if not SIZES[0] <= size <= SIZES[1]:
        raise InputError(f"phantom size must be {SIZES[0]} to {SIZES[1]} pixels, got {size}")
    module = importlib.import_module(f"medisyn_lib.phantoms.{modality}")
    keys = [f.key for f in MODALITIES[modality].findings]
    if finding is not None and finding not in keys:
        raise InputError(
            f"unknown finding {finding!r} of {modality}: choose one of {', '.join(keys)}"
        )
    patient_index, code = index // IMAGES_PER_PATIENT, zlib.crc32(modality.encode())
    patient_rng = np.random.default_rng([seed, code, 0, patient_index])
    own = keys[int(patient_rng.integers(len(keys)))]
    patient = draw_patient(modality, patient_rng, finding or own)
    image, factors = module.draw_image(np.random.default_rng([seed, code, 1, index]), patient, size)
    if image.ndim == 2:
        image = np.repeat(image[:, :, None], 3, axis=2)
    pixels = np.rint(np.clip(image, 0.0, 1.0) * 255.0).astype(np.uint8)
    return pixels, {"patient_id": f"{modality}-{seed}-{patient_index}", **patient, **factors}
