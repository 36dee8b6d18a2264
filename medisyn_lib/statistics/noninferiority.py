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


class Decision(NamedTuple):
    """What `decide` found; `passed` is None where too few modalities are testable."""

    passed: bool | None
    p_value: float
    effects: dict[str, Estimate]
    untestable: tuple[str, ...]
    detectable: float | None


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

    def effects_and_mean(rows: np.ndarray, seed_number: np.ndarray) -> np.ndarray:
        triples = [rows[seed_number == number].swapaxes(0, 1) for number in range(len(sets))]
        effects = _effects(measure, triples, ratio)
        return np.append(effects, effects.mean())

    rows = np.concatenate([np.stack(triple, 1) for triple in sets])
    seed_number = np.repeat(np.arange(len(sets)), [len(triple[0]) for triple in sets])
    patients = None
    if clusters is not None:
        patients = np.concatenate([np.asarray(labels) for labels in clusters])
    values, variances, degrees = delete_group(effects_and_mean, [rows, seed_number], patients)
    return Contrast(values[:-1].tolist(), float(variances[-1]), degrees, len(rows))


def _effects(
    measure: Callable[..., float], triples: Sequence[np.ndarray], ratio: bool
) -> np.ndarray:
    """The effect (seeds,) of each triple of features, (3, n, d)."""
    distances = np.array(
        [
            [
                measure(real=real, synthetic=candidate),
                measure(real=real, synthetic=reference),
            ]
            for real, candidate, reference in triples
        ]
    )
    if ratio:
        distances = np.log(np.where(distances > 0, distances, np.nan))
    return distances[:, 0] - distances[:, 1]


def effect_of_one_seed(found: Contrast) -> Estimate:
    """Give the effect of a contrast's first training seed with its interval by patient."""
    return student(found.effects[0], found.variance, found.degrees_of_freedom, found.n)


def margin(degraded: Estimate, fraction: float = 0.2) -> float | None:
    """Give a fraction of the lower limit of a degraded control's effect; None if that may be zero."""
    if degraded.ci_low is None or degraded.ci_low <= 0:
        return None
    return fraction * degraded.ci_low


def decide(
    contrasts: Mapping[str, Contrast],
    margins: Mapping[str, float | None],
    *,
    proportion: float = 0.8,
    alpha: float = 0.05,
) -> Decision:
    """Test that in at least a proportion of the modalities the mean effect lies below the margin.

    With no interval or margin, or an interval wider than the margin, a modality is untestable and
    not shown to be below it.

    Parameters
    ----------
    contrasts
        By modality, of the same training seeds in each.
    margins
        By modality; None or absent where there is none.
    proportion
        Of the modalities, in which the candidate has to be shown not to be worse.
    alpha
        Level of the test.

    Returns
    -------
    Decision
        `detectable` is the effect seen with power 0.8 in as many modalities.

    Raises
    ------
    InputError
        Without a modality, or where the numbers of training seeds differ.
    """
    from scipy.stats import t

    if len({len(one.effects) for one in contrasts.values()}) != 1:
        raise InputError(
            "decide: needs at least one modality, and effects of the same seeds in each"
        )
    found = _mean_effects(list(contrasts.values()))
    limits = np.array([margins.get(name) or np.nan for name in contrasts])
    errors = np.sqrt(found.variance)
    testable = 2 * t.ppf(0.975, found.degrees_of_freedom) * errors <= limits
    below = t.cdf((found.mean - limits) / errors, found.degrees_of_freedom)
    required = ceil(proportion * len(contrasts) - 1e-9)
    joint = _partial_conjunction(np.where(testable, below, 1.0), required)
    error = float(np.sort(errors)[required - 1])
    level = 2 * alpha / (len(contrasts) - required + 1)
    return Decision(
        passed=None if testable.sum() < required else joint <= alpha,
        p_value=joint,
        effects=_estimates(list(contrasts), found),
        untestable=tuple(name for name, able in zip(contrasts, testable, strict=True) if not able),
        detectable=None if np.isnan(error) else detectable_difference(error, alpha=level),
    )


def _partial_conjunction(p_values: np.ndarray, required: int) -> float:
    """The p-value that at least `required` of m hypotheses are false, however they depend.

    (m - u + 1) p_(u), capped at one: Benjamini and Heller 2008, Biometrics 64.
    """
    modalities = len(p_values)
    return min(1.0, (modalities - required + 1) * float(np.sort(p_values)[required - 1]))


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


def _estimates(names: Sequence[str], found: _MeanEffects) -> dict[str, Estimate]:
    """Each modality's mean effect with its interval."""
    return {
        name: student(
            float(found.mean[number]),
            float(found.variance[number]),
            float(found.degrees_of_freedom[number]),
            int(found.n[number]),
        )
        for number, name in enumerate(names)
    }
