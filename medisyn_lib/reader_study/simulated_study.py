"""A whole reader study with simulated readers, which stands in where no people have answered."""

from __future__ import annotations

from pathlib import Path

from medisyn_lib.reader_study import kit, simulate

# Of four readers, in standard deviations of the difference of two images.
SKILL = (0.6, 1.0, 1.4, 2.0)  # d'
BIAS = (-0.3, -0.1, 0.1, 0.3)  # towards the first image


def simulate_study(generator: str, source: str, folder: Path, *, pairs: int, margin: float) -> str:
    """Make a study of a generator in a folder, answered by simulated readers.

    Parameters
    ----------
    generator
        A pipeline folder, hub id or folder of images.
    source
        The data source of the real images.
    folder
        To write to.
    pairs
        Of a real and a synthetic image, for each reader.
    margin
        Of equivalence, a proportion.

    Returns
    -------
    str
        How many pairs which margin needs.
    """
    power = kit.new(
        generator, source, folder, readers=len(SKILL), pairs=pairs, margin=margin, seed=0
    )
    simulate.answer(folder, SKILL, BIAS, seed=0)
    return power
