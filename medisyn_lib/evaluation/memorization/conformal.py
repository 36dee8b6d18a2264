"""Which images are flagged as copies: one threshold for all detectors together, set by images of other patients."""

from __future__ import annotations

import numpy as np

from medisyn_lib.statistics.estimates import Estimate
from medisyn_lib.statistics.intervals import exact_proportion

FALSE_ALARM_RATE = 0.01  # fraction of images of unseen patients that may be flagged


def joint_p_values(ratio: np.ndarray, calibration: np.ndarray) -> np.ndarray:
    """Compute joint conformal p-values over all detectors; a small one marks a copy.

    In each detector the ratio is ranked among those of the calibration images. The smallest rank over the
    detectors is the score, which is ranked once more among the calibration images' scores. The query counts
    among the calibration images each time (full conformal prediction), so that an image exchangeable with
    them has p <= a with probability at most a, however many detectors there are.

    Parameters
    ----------
    ratio : float (q, l), of the queries, as of `Matches`
    calibration : float (m, l), of the calibration images

    Returns
    -------
    float64 (q,), in [1 / (m + 1), 1]

    References
    ----------
    Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World, Springer 2005, chapter 2.
    """
    query_score = _ranks(ratio, calibration).min(1) + 1
    calibration_ranks = _ranks(calibration, calibration)
    as_extreme = np.empty(len(ratio), np.int64)
    for i, (one, score) in enumerate(zip(ratio, query_score, strict=True)):
        ranks_beside_query = calibration_ranks + (one <= calibration)
        as_extreme[i] = np.count_nonzero(ranks_beside_query.min(1) <= score)
    return (1 + as_extreme) / (len(calibration) + 1)


def _ranks(ratio: np.ndarray, calibration: np.ndarray) -> np.ndarray:
    """Count, for ratios (q, l), how many of the calibration ratios (m, l) are not larger, by detector."""
    columns = [
        np.searchsorted(np.sort(among), values, "right")
        for among, values in zip(calibration.T, ratio.T, strict=True)
    ]
    return np.stack(columns, axis=1)


def flag_copies(ratio: np.ndarray, calibration: np.ndarray) -> np.ndarray:
    """Flag images, bool (q,), whose joint p-value is at most FALSE_ALARM_RATE; arguments as `joint_p_values`."""
    return joint_p_values(ratio, calibration) <= FALSE_ALARM_RATE


def proportion_flagged(flagged: np.ndarray, level: float = 0.95) -> Estimate:
    """Estimate the proportion of flagged images, bool (n,), with its exact (Clopper-Pearson) interval."""
    return exact_proportion(int(flagged.sum()), len(flagged), level)


def single_detector_thresholds(calibration: np.ndarray) -> np.ndarray:
    """Find, by detector, the largest ratio that flags an image which no other detector finds near.

    Parameters
    ----------
    calibration : float (m, l)

    Returns
    -------
    float64 (l,); NaN where no ratio does
    """
    n, n_detectors = calibration.shape
    thresholds = np.full(n_detectors, np.nan)
    for detector in range(n_detectors):
        tried = np.sort(calibration[:, detector])[: n // 50 + 1]
        probe = np.full((len(tried), n_detectors), np.inf)
        probe[:, detector] = tried
        flagged = tried[flag_copies(probe, calibration)]
        if len(flagged):
            thresholds[detector] = flagged.max()
    return thresholds
