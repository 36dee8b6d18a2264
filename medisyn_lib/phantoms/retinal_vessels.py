"""The vessel tree of the fundus phantom: trunks from the disc, branches, beading and new vessels.

Retinal coordinates are u and v: fovea at 0, nasal at positive u, the edge of the field at 1.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from medisyn_lib.phantoms.drawing import Array, Factors, Rng, stamp

__all__ = ["QUADRANTS", "Placing", "tangle", "vessel_density"]

QUADRANTS = ("superior_temporal", "superior_nasal", "inferior_temporal", "inferior_nasal")
Placing = Callable[[Array, Array], tuple[Array, Array]]  # retinal points to picture points


class _Vessels(NamedTuple):
    """Vessels as chains of points, each (vessels, points): the first half arteries, the others veins."""

    u: Array
    v: Array
    width: Array


def vessel_density(patient: Factors, place: Placing, size: int) -> Array:
    """Return the density of blood in the vessel tree.

    Veins are thick and dark, arteries thinner and brighter; there is none at the fovea.

    Parameters
    ----------
    patient
        Factors of the eye.
    place
        Maps retinal points to picture points.
    size
        Image side in pixels.

    Returns
    -------
    Array
        (size, size) float32.
    """
    rng = np.random.default_rng(patient["vessel_seed"])
    trunks = _trunks(rng, patient, size)
    branches = _sprouts(rng, trunks, 4, 0.45, size)
    twigs = _sprouts(rng, branches, 2, 0.22, size)
    density = np.zeros((size, size), np.float32)
    for vessels in (trunks, branches, twigs):
        density = np.maximum(density, _blood(vessels, place, size))
    return np.maximum(density, _beads(trunks, patient, place, size))


def _blood(vessels: _Vessels, place: Placing, size: int) -> Array:
    """Density of blood in some vessels, but for what lies at the fovea or outside the field."""
    u, v, width = vessels
    is_vein = np.broadcast_to(np.arange(len(u))[:, None] >= len(u) // 2, u.shape)
    shown = (u**2 + v**2 > 0.035) & (u**2 + v**2 < 1.3)
    x, y = place(u[shown], v[shown])
    thick = 0.78 * width[shown]
    shade = np.where(is_vein[shown], 0.8, 0.5) * np.minimum(1, 0.35 + thick * size / 2.5)
    return stamp(size, x, y, thick, thick, 0.0, shade)


def _beads(trunks: _Vessels, patient: Factors, place: Placing, size: int) -> Array:
    """Beads on the trunk veins of the quadrants with venous beading."""
    beaded = [4 + row for row, quadrant in enumerate(QUADRANTS) if patient[f"beading_{quadrant}"]]
    along = (np.linspace(0.12, 0.85, 9) * (trunks.u.shape[1] - 1)).astype(int)
    x, y = place(trunks.u[beaded][:, along], trunks.v[beaded][:, along])
    return stamp(size, x.ravel(), y.ravel(), 0.042, 0.042, 0.0, 0.95)


def _trunks(rng: Rng, patient: Factors, size: int) -> _Vessels:
    """Four arteries, then four veins, from the disc to each quadrant in the order of `QUADRANTS`."""
    s = np.linspace(0, 1, 12 + 5 * size // 8)
    trunks = []
    for vein in (0, 1):
        for up, nasal in ((-1, 0), (-1, 1), (1, 0), (1, 1)):
            wobble = sum(
                rng.normal(0, 0.014) * np.sin(np.pi * k * s + rng.uniform(0, 6)) for k in (2, 3, 5)
            )
            height = patient["arcade_height"] * rng.uniform(0.88, 1.1) * (1 - 0.1 * vein)
            u, v = _nasal_course(rng, s, up) if nasal else _arcade(rng, s, up, height)
            width = patient["vessel_width"] * (0.027 if vein else 0.019) * (1 - 0.55 * s)
            v = patient["disc_y"] + v + wobble * (s > 0)
            trunks.append((patient["disc_x"] + u, v, width))
    return _Vessels(*np.moveaxis(np.array(trunks), 1, 0))


def _nasal_course(rng: Rng, s: Array, up: int) -> tuple[Array, Array]:
    """A short trunk to the nasal side, from the disc (s = 0) on; `up` is -1 for the upper one."""
    u = 0.55 * s * rng.uniform(0.7, 1.1)
    v = up * (0.15 * s + rng.uniform(0.25, 0.6) * s**1.6)
    return u, v


def _arcade(rng: Rng, s: Array, up: int, height: float) -> tuple[Array, Array]:
    """A trunk that arches round the macula."""
    u = 0.05 * np.sin(np.pi * s) - rng.uniform(1.1, 1.4) * s**1.9
    v = up * height * np.sin(np.minimum(s, 1) * rng.uniform(1.7, 2.2))
    return u, v


def _sprouts(rng: Rng, parents: _Vessels, each: int, length: float, size: int) -> _Vessels:
    """Branches of vessels: `each` of about `length` from every parent."""
    u, v, width = parents
    parent = np.repeat(np.arange(len(u)), each)
    number = len(parent)
    at = (rng.uniform(0.15, 0.95, number) * (u.shape[1] - 1)).astype(int)
    heading = np.arctan2(v[parent, at + 1] - v[parent, at], u[parent, at + 1] - u[parent, at])
    heading = heading + rng.choice([-1, 1], number) * rng.uniform(0.45, 1.0, number)
    s = np.linspace(0, 1, 4 + int(0.5 * length * size))
    bend = rng.normal(0, 0.6, (number, 1)) * s
    bend = bend + 0.25 * np.sin(9 * s + rng.uniform(0, 6, (number, 1)))
    step = length * rng.uniform(0.6, 1.3, (number, 1)) / len(s)
    direction = heading[:, None] + bend
    return _Vessels(
        u[parent, at, None] + np.cumsum(np.cos(direction) * step, 1),
        v[parent, at, None] + np.cumsum(np.sin(direction) * step, 1),
        0.68 * width[parent, at, None] * (1 - 0.45 * s),
    )


def tangle(rng: Rng, centre: Array, reach: float, fronds: int, place: Placing, size: int) -> Array:
    """Draw a tuft of fine tortuous vessels.

    Parameters
    ----------
    rng
        Source of all randomness.
    centre
        Retinal point (2, 1) that the vessels come from.
    reach
        Length of a vessel, about, in half fields.
    fronds
        How many vessels there are.
    place
        Maps retinal points to picture points.
    size
        Image side in pixels.

    Returns
    -------
    Array
        Mask (size, size) in [0, 1].
    """
    s = np.linspace(0, 1, 40)
    wriggle = rng.uniform(0.5, 1.1) * np.sin(11 * s + rng.uniform(0, 6, (fronds, 1)))
    direction = rng.uniform(0, 2 * np.pi, (fronds, 1)) + wriggle
    length = reach * rng.uniform(0.6, 1.1, (fronds, 1))
    u = centre[0] + length * s * np.cos(direction)
    v = centre[1] + length * s * np.sin(direction)
    x, y = place(u, v)
    return stamp(size, x.ravel(), y.ravel(), 0.017, 0.017)
