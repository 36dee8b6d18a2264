"""Two generators side by side: how far each lies from the same real images, and the difference, by patient.

Of images that are paired by prompt, what the prompt asked for and the real images themselves are the same for
both, so that the interval of the difference is of what is left. No rule says which difference would matter:
there is no verdict.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from medisyn_lib.errors import InputError
from medisyn_lib.evaluation.comparison import mean_effect
from medisyn_lib.evaluation.fidelity.blocks import compare
from medisyn_lib.evaluation.fidelity.features import Features
from medisyn_lib.evaluation.fidelity.kernel import unbiased_mmd
from medisyn_lib.evaluation.fidelity.prdc import coverage
from medisyn_lib.evaluation.labelled_features import LabelledFeatures, delete_patients
from medisyn_lib.statistics.estimates import Estimate
from medisyn_lib.statistics.jackknife import delete_one_cluster
from medisyn_lib.statistics.noninferiority import Contrast, effect_of_one_seed

__all__ = ["FEWEST", "MEAN", "Compared", "compare_nearness", "compare_proportions", "with_enough"]

MEAN = "mean"  # stands for the modality where it is the mean over modalities
NEIGHBOURS = 5  # of coverage, where a modality has 20 images or more
FEWEST = 4  # images of a modality, real and synthetic


class Compared(NamedTuple):
    """One measure of two generators in one modality.

    Attributes
    ----------
    measure : `KID`, `coverage` or the name of a proportion
    modality : or `MEAN`
    a, b : of each generator
    effect : of KID the logarithm of a's over b's, without a value unless both are positive; else a less b
    """

    measure: str
    modality: str
    a: Estimate
    b: Estimate
    effect: Estimate


def with_enough(real: np.ndarray, synthetic: np.ndarray) -> list[str]:
    """Return the modalities, in order of the synthetic images, that have `FEWEST` images of both kinds.

    Parameters
    ----------
    real, synthetic : np.ndarray
        The modality of each image, str (n,) and (m,).

    Raises
    ------
    InputError
        If there is none.
    """
    names = dict.fromkeys(np.asarray(synthetic).tolist())
    enough = [
        name for name in names if min((real == name).sum(), (synthetic == name).sum()) >= FEWEST
    ]
    if not enough:
        raise InputError(
            f"comparison: no modality has {FEWEST} images of the data and of the generators; add images"
        )
    return enough


def compare_nearness(
    *, real: LabelledFeatures, a: LabelledFeatures, b: LabelledFeatures, modalities: Sequence[str]
) -> list[Compared]:
    """Compare how near two generators come to real images: KID and coverage.

    Parameters
    ----------
    real, a, b : LabelledFeatures
        By one encoder. Row i of `a` and of `b` is of one prompt; its patient is the one whose caption it was.
    modalities : sequence of str
        Those that are compared, as of `with_enough`.

    Returns
    -------
    list of Compared
        Of each measure every modality, then their mean. The mean of KID's effect is without a value where some
        modality has none.

    Raises
    ------
    InputError
        Where `a` and `b` are not as many, and as of `fidelity.checked_pair`.

    References
    ----------
    Intervals: delete-group jackknife over patients, both generators without the same ones each time
    (Kott, Journal of Official Statistics 2001, 17(4):521-526).
    """
    if len(a) != len(b):
        raise InputError(f"comparison: {len(a)} and {len(b)} images; give one of each per prompt")
    found = {name: _contrasts_of_nearness(real, a, b, name) for name in modalities}
    return [*_table("KID", found, (0, 1, 2)), *_table("coverage", found, (3, 4, 5))]


def compare_proportions(
    measure: str,
    a: np.ndarray,
    b: np.ndarray,
    *,
    modality: np.ndarray,
    patient: np.ndarray,
    modalities: Sequence[str],
) -> list[Compared]:
    """Compare how many images of two generators have a property.

    Parameters
    ----------
    measure : str
        What the property is.
    a, b : np.ndarray
        Whether an image has it, bool (n,), paired by row.
    modality, patient : np.ndarray
        Of each row, str (n,).
    modalities : sequence of str
        Those that are compared.

    Returns
    -------
    list of Compared
        Of every modality, then their mean; intervals by the delete-one-patient jackknife.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    found = {}
    for name in modalities:
        rows = np.asarray(modality) == name
        values = (a[rows], b[rows], a[rows] - b[rows])
        found[name] = [_contrast_of_mean(one, patient[rows]) for one in values]
    return _table(measure, found, (0, 1, 2))


def _contrasts_of_nearness(
    real: LabelledFeatures, a: LabelledFeatures, b: LabelledFeatures, modality: str
) -> list[Contrast]:
    """KID of a, of b, their log-ratio; coverage of a, of b, their difference: in one modality."""
    real, a, b = (_of_modality(one, modality) for one in (real, a, b))
    k = min(NEIGHBOURS, min(len(real), len(a)) // FEWEST)

    def statistic(real_left: np.ndarray, synthetic_left: np.ndarray) -> list[float]:
        if min(real_left.sum(), synthetic_left.sum()) <= k:
            return [np.nan] * 6  # one patient has nearly all images
        near = [
            _nearness(real.features[0][real_left], one.features[0][synthetic_left], k)
            for one in (a, b)
        ]
        kid, covered = np.transpose(near)
        log_kid = np.log(kid) if (kid > 0).all() else np.full(2, np.nan)
        return [*kid, log_kid[0] - log_kid[1], *covered, covered[0] - covered[1]]

    values, variances, degrees = delete_patients(statistic, real=real, synthetic=a)
    return [
        Contrast([float(value)], float(variance), degrees, len(a))
        for value, variance in zip(values, variances, strict=True)
    ]


def _nearness(real: Features, synthetic: Features, k: int) -> tuple[float, float]:
    """KID and coverage of one set."""
    compared = compare(real=real, synthetic=synthetic, k=k, unequal=True)
    return unbiased_mmd(compared), coverage(compared)


def _of_modality(images: LabelledFeatures, name: str) -> LabelledFeatures:
    rows = np.asarray(images.modality) == name
    features = [one[rows] for one in images.features]
    return LabelledFeatures(features, images.modality[rows], images.patient[rows])


def _contrast_of_mean(values: np.ndarray, patient: np.ndarray) -> Contrast:
    mean = delete_one_cluster(values, patient)
    variance = np.nan if mean.variance is None else mean.variance
    return Contrast([float(values.mean())], variance, mean.clusters - 1, mean.n)


def _table(
    measure: str, found: dict[str, list[Contrast]], places: tuple[int, int, int]
) -> list[Compared]:
    """One measure in every modality, and in the mean."""
    rows = [
        _row(measure, name, *(effect_of_one_seed(contrasts[place]) for place in places))
        for name, contrasts in found.items()
    ]
    means = (
        mean_effect({name: contrasts[place] for name, contrasts in found.items()})
        for place in places
    )
    return [*rows, _row(measure, MEAN, *means)]


def _row(measure: str, modality: str, a: Estimate, b: Estimate, effect: Estimate) -> Compared:
    """A row, in which proportions lie in [0, 1] and their differences in [-1, 1], limits included."""
    if measure == "KID":
        return Compared(measure, modality, a, b, effect)
    return Compared(measure, modality, _clipped(a, 0.0), _clipped(b, 0.0), _clipped(effect, -1.0))


def _clipped(found: Estimate, lowest: float) -> Estimate:
    """An estimate between a bound and 1, without what rounding leaves of zero."""
    value, low, high = (
        None if x is None else min(max(round(x, 12), lowest), 1.0) + 0.0
        for x in (found.value, found.ci_low, found.ci_high)
    )
    return Estimate(value, low, high, found.n)
