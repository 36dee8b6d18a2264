"""What a measure accepts as features, and features within a few axes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from medisyn_lib.errors import InputError
from medisyn_lib.models.encoders import FeatureSet

Features = FeatureSet | np.ndarray
ROWS_PER_AXIS = 5  # at the least, so that a covariance within the axes can be estimated


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


def project(features: Features, axes: np.ndarray) -> FeatureSet:
    """Return features within axes, as those of an encoder of its own.

    Parameters
    ----------
    features : FeatureSet or np.ndarray
        (n, d), n >= 5 c.
    axes : np.ndarray
        (d, c), such as principal axes.

    Raises
    ------
    InputError
        If the width differs or the rows are too few.
    """
    width, number = axes.shape
    if np.shape(features)[1:] != (width,) or len(features) < ROWS_PER_AXIS * number:
        raise InputError(
            f"components: axes {axes.shape} need that width and {ROWS_PER_AXIS} rows a column, "
            f"got {np.shape(features)}"
        )
    values = np.asarray(features, np.float64).dot(axes)
    return FeatureSet(values, f"{encoder_of(features)}-pc{number}")
