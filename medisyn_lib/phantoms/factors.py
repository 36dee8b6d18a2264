"""The factors behind a phantom: their ranges, and how a value is drawn from each.

Lengths are in half images (a picture runs from -1 to 1), widths of blurs in image sides, angles in
radians. Signals, echoes (log) and densities are on the scale that the modality's module draws in.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from medisyn_lib.phantoms.drawing import Factors, Rng

__all__ = [
    "ANGLE",
    "LESION_SIZE",
    "SEED",
    "SIDE",
    "UNIT",
    "Choice",
    "Integers",
    "Range",
    "Uniform",
    "draw_factors",
]


@dataclass(frozen=True)
class Uniform:
    """A real number in [low, high)."""

    low: float
    high: float

    def draw(self, rng: Rng) -> float:
        """Draw one value."""
        return float(rng.uniform(self.low, self.high))


@dataclass(frozen=True)
class Integers:
    """A whole number among low, ..., high - 1."""

    low: int
    high: int

    def draw(self, rng: Rng) -> int:
        """Draw one value."""
        return int(rng.integers(self.low, self.high))


@dataclass(frozen=True)
class Choice:
    """One of several words."""

    words: tuple[str, ...]

    def draw(self, rng: Rng) -> str:
        """Draw one value."""
        return self.words[int(rng.integers(0, len(self.words)))]


Range = Uniform | Integers | Choice

SIDE = Choice(("left", "right"))
LESION_SIZE = Choice(("small", "large"))
UNIT = Uniform(0.0, 1.0)
ANGLE = Uniform(0.0, 2 * np.pi)
SEED = Integers(0, 2**31)


def draw_factors(rng: Rng, ranges: Mapping[str, Range]) -> Factors:
    """Draw one value from each range.

    Parameters
    ----------
    rng
        Source of all randomness.
    ranges
        The ranges by name. Their order fixes the random stream: each takes one number from `rng`, so a
        range that is moved, added or removed changes every phantom.

    Returns
    -------
    Factors
        The values by name, in the same order.
    """
    return {name: chosen.draw(rng) for name, chosen in ranges.items()}
