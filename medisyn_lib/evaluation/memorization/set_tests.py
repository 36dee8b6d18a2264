"""Exact tests of a whole set of images for copies, and how small a fraction of copies they detect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from medisyn_lib.evaluation.memorization.conformal import flag_copies
from medisyn_lib.statistics.estimates import Estimate
from medisyn_lib.statistics.intervals import exact_proportion

SET_FALSE_ALARM_RATE = 0.05  # of the rule on a set, shared equally by its two tests
CONTAMINATION_FRACTIONS = (0.001, 0.01, 0.05, 0.1)
REPLICATES = 200  # sets drawn for each power


class SetTests(NamedTuple):
    """One-sided p-values of the two tests of a set, and the exceedances that the second one counts."""

    flagged_p: float
    exceedance_p: float
    exceedances: int

    @property
    def broken(self) -> bool:
        """Whether the set breaks the rule: one of the tests at half of SET_FALSE_ALARM_RATE."""
        return min(self.flagged_p, self.exceedance_p) <= SET_FALSE_ALARM_RATE / 2


def fisher_p_value(
    *, flagged_real: int, n_real: int, flagged_synthetic: int, n_synthetic: int
) -> float:
    """Test whether more synthetic than real images are flagged: Fisher's exact test, one-sided."""
    from scipy.stats import hypergeom

    n = n_synthetic + n_real
    flagged = flagged_real + flagged_synthetic
    return float(hypergeom.sf(flagged_synthetic - 1, n, flagged, n_synthetic))


def count_exceedances(*, real: np.ndarray, synthetic: np.ndarray) -> int:
    """Count the synthetic ratios (s, l) below all real ones (n, l), in the detector that has most.

    They pass the finest threshold that n real images can set: a false-alarm rate of 1/n.
    """
    below_all_real = synthetic < real.min(0)
    return int(below_all_real.sum(0).max())


def exceedance_p_value(
    exceedances: int, *, n_real: int, n_synthetic: int, n_detectors: int
) -> float:
    """Test for too many exceedances: the exact precedence test, times the number of detectors (Bonferroni).

    If all images were exchangeable, the e smallest of s + n ratios would all be synthetic with probability
    s (s - 1) ... (s - e + 1) / ((s + n) (s + n - 1) ... (s + n - e + 1)).

    References
    ----------
    Epstein, Tables for the distribution of the number of exceedances, Ann. Math. Stat. 25 (1954) 762-768.
    """
    place = np.arange(exceedances)
    chance = np.prod((n_synthetic - place) / (n_synthetic + n_real - place))
    return min(1.0, float(chance * n_detectors))


def set_tests(
    *, real: np.ndarray, synthetic: np.ndarray, flagged_real: int, flagged_synthetic: int
) -> SetTests:
    """Test a set of images against held-out real ones, one image per patient.

    Parameters
    ----------
    real, synthetic : float (n, l) and (s, l), ratios as of `Matches`
    flagged_real, flagged_synthetic : how many of them are flagged
    """
    n_real, n_synthetic = len(real), len(synthetic)
    exceedances = count_exceedances(real=real, synthetic=synthetic)
    flagged_p = fisher_p_value(
        flagged_real=flagged_real,
        n_real=n_real,
        flagged_synthetic=flagged_synthetic,
        n_synthetic=n_synthetic,
    )
    exceedance_p = exceedance_p_value(
        exceedances, n_real=n_real, n_synthetic=n_synthetic, n_detectors=synthetic.shape[1]
    )
    return SetTests(flagged_p, exceedance_p, exceedances)


def flag_and_test(*, real: np.ndarray, synthetic: np.ndarray, calibration: np.ndarray) -> SetTests:
    """Flag both sets by the threshold that calibration ratios (m, l) set, then `set_tests`."""
    return set_tests(
        real=real,
        synthetic=synthetic,
        flagged_real=int(flag_copies(real, calibration).sum()),
        flagged_synthetic=int(flag_copies(synthetic, calibration).sum()),
    )


def detection_power(
    *,
    real: np.ndarray,
    copies: np.ndarray,
    calibration: np.ndarray,
    contamination: float,
    n: int,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> Estimate:
    """Estimate how often a set that contains copies breaks the rule.

    Copies, clean images and held-out images are resampled with replacement each time, the last two from
    `real`; the number of copies is binomial.

    Parameters
    ----------
    real, copies, calibration : float (., l), ratios as of `Matches`
    contamination : expected fraction of copies in the set
    n : images in the set

    Returns
    -------
    Estimate: proportion of `replicates` with its exact interval
    """
    rng = np.random.default_rng(seed)
    copy_flagged = flag_copies(copies, calibration)
    real_flagged = flag_copies(real, calibration)
    n_broken = 0
    for _ in range(replicates):
        n_copies = rng.binomial(n, contamination)
        planted = rng.integers(0, len(copies), n_copies)
        clean = rng.integers(0, len(real), n - n_copies)
        held_out = rng.integers(0, len(real), len(real))
        flagged_synthetic = copy_flagged[planted].sum() + real_flagged[clean].sum()
        tests = set_tests(
            real=real[held_out],
            synthetic=np.concatenate([copies[planted], real[clean]]),
            flagged_real=int(real_flagged[held_out].sum()),
            flagged_synthetic=int(flagged_synthetic),
        )
        n_broken += tests.broken
    return exact_proportion(n_broken, replicates)


class PowerPoint(NamedTuple):
    """Power against copies of one distortion at one contamination fraction."""

    distortion: str
    contamination: float
    power: Estimate


def power_by_distortion(
    *, real: np.ndarray, copies: Mapping[str, np.ndarray], calibration: np.ndarray, n: int
) -> list[PowerPoint]:
    """Estimate `detection_power` for the copies of each distortion at CONTAMINATION_FRACTIONS."""
    points = []
    for kind, ratio in copies.items():
        for contamination in CONTAMINATION_FRACTIONS:
            power = detection_power(
                real=real, copies=ratio, calibration=calibration, contamination=contamination, n=n
            )
            points.append(PowerPoint(kind, contamination, power))
    return points
