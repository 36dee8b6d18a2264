"""The arms of the comparison of generalist and specialists, as result tables name them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from medisyn_lib.pipeline.arm_images import ArmImages

REAL = "real"
OTHER_PATIENTS = "other patients"  # real images of the calibration patients: the floor
BLURRED = "blurred"  # those, blurred
AUTOENCODED = "first stage"  # the real images through the autoencoder and back
GENERALIST = "generalist"
SECOND_SAMPLE = "generalist, other seeds"  # the same network and captions, from other noise
UNDERTRAINED = "an eighth of the steps"  # the generalist after an eighth of its training
SPECIALIST = "specialist"  # has seen its modality as often as the generalist has
LONG_SPECIALIST = "long specialist"  # has seen as many images as the generalist in all
OWN_BEST = "own best"  # a specialist at the checkpoint that suits it best


class ArmKey(NamedTuple):
    """Whose images they are."""

    arm: str
    modality: str
    split: int  # number of the evaluation split, one per training seed


Arms = dict[ArmKey, "ArmImages"]  # which may hold further modalities, too
