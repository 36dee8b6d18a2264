"""How much further from real images a candidate lies than a reference, in every modality."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from medisyn_lib.errors import InputError
from medisyn_lib.statistics.estimates import Estimate, student
from medisyn_lib.statistics.intervals import simultaneous_level
from medisyn_lib.statistics.jackknife import deal_groups, jackknife_of


class FeatureTriple(NamedTuple):
    """Features of one training seed, three arrays (n, d) paired by row."""

    real: np.ndarray
    candidate: np.ndarray
    reference: np.ndarray


class Contrast(NamedTuple):
    """How much further from real images a candidate lies than a reference, in one modality."""

    effects: Sequence[float]  # one per training seed; above zero the candidate is worse
    variance: float  # of the effects' mean, as far as it comes from the images
    degrees_of_freedom: int  # of that variance
    n: int  # images, of all training seeds together


class _MeanEffects(NamedTuple):
    """Each modality's mean effect over training seeds, and its variance; arrays (modalities,)."""

    mean: np.ndarray
    variance: np.ndarray
    degrees_of_freedom: np.ndarray
    n: np.ndarray


def contrast(
    measure: Callable[..., float],
    sets: Sequence[FeatureTriple],
    clusters: Sequence[ArrayLike] | None = None,
    ratio: bool = True,
) -> Contrast:
    """Compare the distances of candidate and reference from the same real images.

    Parameters
    ----------
    measure
        A distance, called as `measure(real=, synthetic=)`.
    sets
        Real, candidate and reference features, one triple per training seed.
    clusters
        The patient of each row, one array (n,) per training seed; rows count singly without.
    ratio
        Take the logarithm of the ratio of the distances (NaN unless both are positive), else
        their difference.

    Returns
    -------
    Contrast
        With the delete-group jackknife's variance of the effects' mean.

    Raises
    ------
    InputError
        Where there is no set, or the three arrays of one differ in shape.
    """
    shapes = [[np.shape(features) for features in triple] for triple in sets]
    if not sets or any(len(set(of_triple)) > 1 for of_triple in shapes):
        raise InputError(
            f"contrast: {len(sets)} sets, of {shapes}; give three arrays of one shape a seed"
        )

    lengths = [len(triple[0]) for triple in sets]
    patients = None if clusters is None else np.concatenate([np.asarray(c) for c in clusters])
    group = deal_groups(sum(lengths), patients)
    count, by_seed = int(group.max()) + 1, np.split(group, np.cumsum(lengths)[:-1])
    candidate, reference = (
        [
            distances_without_groups(measure, one[0], one[arm], of_seed, count)
            for one, of_seed in zip(sets, by_seed, strict=True)
        ]
        for arm in (1, 2)
    )
    return contrast_of_distances(candidate, reference, sum(lengths), ratio)


def distances_without_groups(
    measure: Callable[..., float],
    real: np.ndarray,
    synthetic: np.ndarray,
    group: np.ndarray | None = None,
    groups: int = 0,
) -> list[float]:
    """Measure a distance of all rows, then without each group of patients in turn: 1 + `groups` numbers.

    Parameters
    ----------
    measure
        A distance, called as `measure(real=, synthetic=)`.
    real, synthetic
        Features (n, d), paired by row.
    group
        The group of each row, int (n,).
    groups
        How many there are; fewer than two are not left out.
    """
    found = [measure(real=real, synthetic=synthetic)]
    if group is not None and groups > 1:
        for left_out in range(groups):
            rows = group != left_out
            found.append(measure(real=real[rows], synthetic=synthetic[rows]))
    return found


def contrast_of_distances(
    candidate: Sequence[ArrayLike], reference: Sequence[ArrayLike], n: int, ratio: bool = True
) -> Contrast:
    """Compare distances that are measured already.

    Parameters
    ----------
    candidate, reference
        For each training seed those of `distances_without_groups`, by the same groups of all seeds' patients.
    n
        Images, of all training seeds together.
    ratio
        As of `contrast`.
    """
    distances = np.array([candidate, reference], np.float64)  # (2, seeds, 1 + groups)
    if ratio:
        distances = np.log(np.where(distances > 0, distances, np.nan))
    effects = distances[0] - distances[1]
    found = jackknife_of(np.column_stack([effects.T, effects.mean(0)]))
    return Contrast(
        found.values[:-1].tolist(), float(found.variances[-1]), found.degrees_of_freedom, n
    )


def effect_of_one_seed(found: Contrast) -> Estimate:
    """Give the effect of a contrast's first training seed with its interval by patient."""
    return student(found.effects[0], found.variance, found.degrees_of_freedom, found.n)


def simultaneous(contrasts: Mapping[str, Contrast], alpha: float = 0.05) -> dict[str, Estimate]:
    """Estimate each modality's mean effect with limits that hold for all modalities together.

    Bonferroni: with m modalities each limit errs with probability alpha / m, so that, on either side,
    all limits hold together with probability 1 - alpha.

    Parameters
    ----------
    contrasts
        By modality, of the same training seeds in each; may be empty.
    alpha
        Of all limits of one side together.

    Raises
    ------
    InputError
        Where the numbers of training seeds differ.
    """
    if not contrasts:
        return {}
    level = simultaneous_level(len(contrasts), alpha)
    return _estimates(list(contrasts), _checked_mean_effects(contrasts), level)


class PValues(NamedTuple):
    """One-sided p-values of an effect against a margin; NaN where the effect has no variance."""

    not_worse: float  # small: surely below the margin
    worse: float  # small: surely above it


def against_margin(contrasts: Mapping[str, Contrast], margin: float) -> dict[str, PValues]:
    """Test each modality's mean effect against a margin, by Student's t on either side.

    Parameters
    ----------
    contrasts
        As of `simultaneous`.
    margin
        On the scale of the effects.

    Raises
    ------
    InputError
        As `simultaneous`.
    """
    from scipy.stats import t

    if not contrasts:
        return {}
    found = _checked_mean_effects(contrasts)
    statistic = (found.mean - margin) / np.sqrt(found.variance)
    below = t.cdf(statistic, found.degrees_of_freedom)
    above = t.sf(statistic, found.degrees_of_freedom)
    return {
        name: PValues(float(below[number]), float(above[number]))
        for number, name in enumerate(contrasts)
    }


def step_down(p_values: ArrayLike, alpha: float = 0.05) -> np.ndarray:
    """Say which nulls are rejected by Holm's step-down test, bool (m,); a NaN never is.

    That no true null is rejected has probability 1 - alpha. The number of rejections is also a lower limit,
    of that level, of how many nulls are false: the i-th is the partial-conjunction test of "at least i"
    (Benjamini and Heller), made after all those before it.

    References
    ----------
    Holm, Scandinavian Journal of Statistics 1979, 6(2):65-70.
    Benjamini and Heller, Biometrics 2008, 64(4):1215-1222.
    """
    p = np.nan_to_num(np.asarray(p_values, np.float64), nan=1.0)
    order = np.argsort(p, kind="stable")
    scaled = p[order] * np.arange(len(p), 0, -1)
    rejected = np.empty(len(p), bool)
    rejected[order] = np.maximum.accumulate(scaled) <= alpha
    return rejected


def _checked_mean_effects(contrasts: Mapping[str, Contrast]) -> _MeanEffects:
    """Mean effects of modalities that have the same training seeds; InputError where they have not."""
    if len({len(one.effects) for one in contrasts.values()}) != 1:
        raise InputError("simultaneous: needs effects of the same training seeds in each modality")
    return _mean_effects(list(contrasts.values()))


def _mean_effects(contrasts: Sequence[Contrast]) -> _MeanEffects:
    """Mean effects with Satterthwaite's degrees of freedom of their variance's parts."""
    effects = np.array([one.effects for one in contrasts], np.float64)
    image_variances = np.array([one.variance for one in contrasts], np.float64)
    image_degrees = np.array([one.degrees_of_freedom for one in contrasts], np.float64)
    parts, degrees = _variance_parts(effects, image_variances, image_degrees)
    variance = np.where(parts.sum(0) > 0, parts.sum(0), np.nan)
    degrees_of_freedom = variance**2 / (parts**2 / np.maximum(degrees, 1)).sum(0)
    images = np.array([one.n for one in contrasts])
    return _MeanEffects(effects.mean(1), variance, degrees_of_freedom, images)


def _variance_parts(
    effects: np.ndarray, image_variances: np.ndarray, image_degrees: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The parts of each mean's variance, (3, modalities), and their degrees of freedom.

    Images; then training seeds by a two-way table: what all modalities share, and the rest. Both
    are scaled up where one modality varies more than the usual one. A single seed has only images.
    """
    modalities, seeds = effects.shape
    mean = effects.mean(1)
    deviations = effects - mean[:, None]
    complete = np.isfinite(mean)
    usable = deviations[complete] if complete.any() else deviations
    shared = (usable.mean(0) ** 2).sum()
    rest = ((usable - usable.mean(0)) ** 2).sum() / len(usable)
    relative = (deviations**2).sum(1) / (shared + rest or 1.0)  # to the usual modality's
    seed_parts = np.outer([shared, rest], np.maximum(relative, 1)) / max(seeds * (seeds - 1), 1)
    rest_degrees = np.where(relative > 1 + 1e-9, 1, modalities - 1) * (seeds - 1)
    parts = np.vstack([image_variances, seed_parts])
    degrees = np.stack([image_degrees, np.full(modalities, seeds - 1), rest_degrees])
    return parts, degrees


def _estimates(names: Sequence[str], found: _MeanEffects, level: float) -> dict[str, Estimate]:
    """Each modality's mean effect with its interval."""
    return {
        name: student(
            float(found.mean[number]),
            float(found.variance[number]),
            float(found.degrees_of_freedom[number]),
            int(found.n[number]),
            level,
        )
        for number, name in enumerate(names)
    }
