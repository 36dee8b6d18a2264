"""Is a candidate no worse than a reference in most modalities? A margin from a pilot, then one test."""

from collections.abc import Callable, Mapping, Sequence
from math import ceil
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from medisyn_lib.errors import InputError
from medisyn_lib.statistics.estimates import Estimate, student
from medisyn_lib.statistics.jackknife import delete_group
from medisyn_lib.statistics.power import detectable_difference

# A modality's effects, one a seed, above 0 worse; the images' part of their mean's variance, its freedom; n.
Contrast = tuple[Sequence[float], float, int, int]


class Decision(NamedTuple):
    """What `decide` found; `passed` is None where too few modalities are testable."""

    passed: bool | None
    p_value: float
    effects: dict[str, Estimate]
    untestable: tuple[str, ...]
    detectable: float | None


def contrast(
    measure: Callable[..., float], sets: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]],
    clusters: Sequence[ArrayLike] | None = None, ratio: bool = True,
) -> Contrast:  # fmt: skip
    """Log-ratio, NaN if not positive (else difference), of `measure(real=, synthetic=)`, candidate to reference.

    `sets`, one a seed: real, candidate, reference, (n, d), paired by row; `clusters`: the rows' patients.
    """
    shapes = [[np.shape(side) for side in one] for one in sets]
    if not sets or any(len(set(one)) > 1 for one in shapes):
        raise InputError(
            f"contrast: {len(sets)} sets, of {shapes}; give three arrays of one shape a seed"
        )
    seed = np.repeat(np.arange(len(sets)), [len(real) for real, _, _ in sets])

    def effects(rows: np.ndarray, seed: np.ndarray) -> np.ndarray:
        parts = [rows[seed == number].swapaxes(0, 1) for number in range(len(sets))]
        found = np.array(
            [[measure(real=x, synthetic=side) for side in sides] for x, *sides in parts]
        )
        each = np.subtract(*(np.log(np.where(found > 0, found, np.nan)) if ratio else found).T)
        return np.append(each, each.mean())

    people = (
        None if clusters is None else np.concatenate([np.asarray(labels) for labels in clusters])
    )
    rows = np.concatenate([np.stack(one, 1) for one in sets])
    values, variances, freedom = delete_group(effects, [rows, seed], people)
    return values[:-1].tolist(), float(variances[-1]), freedom, len(rows)


def margin(degraded: Estimate, share: float = 0.2) -> float | None:
    """`share` of the lower bound of a degraded control's effect over its floor; None if that may be nought."""
    return None if degraded.ci_low is None or degraded.ci_low <= 0 else share * degraded.ci_low


def decide(
    contrasts: Mapping[str, Contrast],
    margins: Mapping[str, float | None],
    *,
    share: float = 0.8,
    alpha: float = 0.05,
) -> Decision:
    """Tests that in at least `share` of the modalities the mean effect lies below the modality's margin.

    Partial conjunction of u of m: (m - u + 1) p_(u) (Benjamini and Heller 2008), valid however they depend.
    Variance: images, plus seeds by a two-way table (shared, and the rest; scaled up where one varies more),
    Satterthwaite's freedom; of one seed, images only. With no interval or margin, or an interval wider than
    the margin, a modality is untestable and not shown. `detectable`: with power 0.8 in u modalities.
    """
    from scipy.stats import t

    if len({len(row[0]) for row in contrasts.values()}) != 1:
        raise InputError(
            "decide: needs at least one modality, and effects of the same seeds in each"
        )
    effects, images, freedoms, numbers = (
        np.array(part, np.float64) for part in zip(*contrasts.values(), strict=True)
    )
    (m, seeds), mean, must = effects.shape, effects.mean(1), ceil(share * len(effects) - 1e-9)
    off = effects - mean[:, None]
    known = off[np.isfinite(mean)] if np.isfinite(mean).any() else off
    shared, rest = (known.mean(0) ** 2).sum(), ((known - known.mean(0)) ** 2).sum() / len(known)
    own = (off**2).sum(1) / (shared + rest or 1.0)  # beside the usual modality's
    parts = np.vstack(
        [images, np.outer([shared, rest], np.maximum(own, 1)) / max(seeds * (seeds - 1), 1)]
    )
    degrees = np.stack(
        [freedoms, np.full(m, seeds - 1), np.where(own > 1 + 1e-9, 1, m - 1) * (seeds - 1)]
    )
    variance = np.where(parts.sum(0) > 0, parts.sum(0), np.nan)
    freedom, errors = variance**2 / (parts**2 / np.maximum(degrees, 1)).sum(0), np.sqrt(variance)
    limits = np.array([margins.get(name) or np.nan for name in contrasts])
    testable = 2 * t.ppf(0.975, freedom) * errors <= limits
    p = np.sort(np.where(testable, t.cdf((mean - limits) / errors, freedom), 1.0))
    joint, error = min(1.0, (m - must + 1) * float(p[must - 1])), float(np.sort(errors)[must - 1])
    found = map(
        student, *(part.tolist() for part in (mean, variance, freedom, numbers.astype(int)))
    )
    untestable = tuple(name for name, able in zip(contrasts, testable, strict=True) if not able)
    detectable = (
        None if np.isnan(error) else detectable_difference(error, alpha=2 * alpha / (m - must + 1))
    )
    passed = None if testable.sum() < must else joint <= alpha
    return Decision(passed, joint, dict(zip(contrasts, found, strict=True)), untestable, detectable)
