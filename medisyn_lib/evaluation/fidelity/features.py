"""What a measure accepts as features."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from medisyn_lib.errors import InputError
from medisyn_lib.models.encoders import FeatureSet

Features = FeatureSet | np.ndarray


class Pair(NamedTuple):
    """Real and synthetic features, float64 (n, d) and (m, d)."""

    real: np.ndarray
    synthetic: np.ndarray


def encoder_of(features: ArrayLike | FeatureSet) -> str | None:
    """Return the name of the encoder that made features; None of a plain array."""
    return features.encoder if isinstance(features, FeatureSet) else None


def checked_pair(*, real: Features, synthetic: Features, unequal: bool = False) -> Pair:
    """Return both sets as arrays.

    Raises
    ------
    InputError
        If they are of two encoders, not finite, not (n, d) with n >= 2, of two widths, or, unless
        `unequal`, not as many.
    """
    encoders = encoder_of(real), encoder_of(synthetic)
    if encoders[0] != encoders[1]:
        raise InputError(
            f"features: real are of encoder {encoders[0]}, synthetic of {encoders[1]}; "
            "use one for both"
        )
    pair = Pair(np.asarray(real, np.float64), np.asarray(synthetic, np.float64))
    for name, values in pair._asdict().items():
        if values.ndim != 2 or len(values) < 2 or not np.isfinite(values).all():
            raise InputError(
                f"features: {name} must be finite, of shape (n, d) with n >= 2; got {values.shape}"
            )
    same_width = pair.real.shape[1] == pair.synthetic.shape[1]
    same_number = len(pair.real) == len(pair.synthetic)
    if not same_width or not (same_number or unequal):
        raise InputError(
            f"features: real are {pair.real.shape}, synthetic {pair.synthetic.shape}; "
            "take one width and n or say unequal=True"
        )
    return pair
