"""Digital phantoms of ten modalities: the embedded data source. They are drawn, not patients.

One module per modality, named after its key, with two functions:

- `draw_patient(rng, finding) -> dict`: the factors that all images of a patient share;
- `draw_image(rng, patient, size) -> (array, dict)`: one acquisition of that patient, float in [0, 1],
  grey (size, size) or colour (size, size, 3), and the factors of this image.

Factors are plain numbers and words. `CAPTION_FACTORS` of them reach the captions; `side` is the patient's.
"""

import importlib
import zlib
from types import ModuleType
from typing import Any

import numpy as np

from medisyn_lib.errors import InputError
from medisyn_lib.modalities import MODALITIES

__all__ = ["CAPTION_FACTORS", "IMAGES_PER_PATIENT", "SIZES", "draw", "draw_patient"]

IMAGES_PER_PATIENT = 3
SIZES = (32, 256)  # smallest and largest side in pixels
CAPTION_FACTORS = ("side", "lesion_size", "count", "grade")
PATIENT_STREAM, IMAGE_STREAM = 0, 1  # of a modality's random numbers


def draw_patient(modality: str, rng: np.random.Generator, finding: str) -> dict[str, Any]:
    """Draw the factors that all images of one patient share, the finding among them."""
    return {"finding": finding, **_module_of(modality).draw_patient(rng, finding)}


def draw(
    modality: str, *, seed: int, index: int, size: int = 64, finding: str | None = None
) -> tuple[np.ndarray, dict[str, Any]]:
    """Draw one image of a modality's endless series.

    Parameters
    ----------
    modality
        Key of `MODALITIES`.
    seed
        Seed of the series, 0 or more.
    index
        Number of the image in the series; it is of patient `index // IMAGES_PER_PATIENT`.
    size
        Image side in pixels, 32 to 256.
    finding
        Overrides the patient's own finding; the anatomy stays.

    Returns
    -------
    image : np.ndarray
        uint8 (size, size, 3).
    factors : dict
        Every factor behind the image; they are the same at any size.

    Raises
    ------
    InputError
        For an unknown modality, finding or size.
    """
    findings = _checked_findings(modality, size, finding)
    code = zlib.crc32(modality.encode())
    patient_index = index // IMAGES_PER_PATIENT
    patient_rng = np.random.default_rng([seed, code, PATIENT_STREAM, patient_index])
    image_rng = np.random.default_rng([seed, code, IMAGE_STREAM, index])
    patient_finding = findings[int(patient_rng.integers(len(findings)))]
    patient = draw_patient(modality, patient_rng, finding or patient_finding)
    image, factors = _module_of(modality).draw_image(image_rng, patient, size)
    if image.ndim == 2:
        image = np.repeat(image[:, :, None], 3, axis=2)
    pixels = np.rint(np.clip(image, 0.0, 1.0) * 255.0).astype(np.uint8)
    return pixels, {"patient_id": f"{modality}-{seed}-{patient_index}", **patient, **factors}


def _module_of(modality: str) -> ModuleType:
    """The module that draws a modality."""
    return importlib.import_module(f"medisyn_lib.phantoms.{modality}")


def _checked_findings(modality: str, size: int, finding: str | None) -> list[str]:
    """Keys of a modality's findings, after the arguments of `draw` were checked."""
    if modality not in MODALITIES:
        raise InputError(f"unknown modality {modality!r}: choose one of {', '.join(MODALITIES)}")
    if not SIZES[0] <= size <= SIZES[1]:
        raise InputError(f"phantom size must be {SIZES[0]} to {SIZES[1]} pixels, got {size}")
    findings = [known.key for known in MODALITIES[modality].findings]
    if finding is not None and finding not in findings:
        choices = ", ".join(findings)
        raise InputError(f"unknown finding {finding!r} of {modality}: choose one of {choices}")
    return findings
