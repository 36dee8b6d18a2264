"""What guidance does, where every step can be computed: two findings, one number an image, a perfect denoiser.

Images of each finding are normally distributed around a mean of their own. For these the denoiser's answer, with
text and without, is known exactly, so that what guidance changes is guidance alone, not a network's error.
"""

from __future__ import annotations

import itertools
from statistics import NormalDist

import numpy as np

__all__ = ["MEANS", "SPREAD", "guided_samples"]

MEANS = np.array([-1.0, 1.0])  # of the other finding's images and of the requested one's
SPREAD = 0.7  # standard deviation of either
STEPS = 200  # of the sampler, from noise to image


def guided_samples(scale: float, n: int = 2000) -> np.ndarray:
    """Sample the requested finding by flow matching with classifier-free guidance.

    Nothing is drawn at random: the noise is n evenly spaced quantiles of the standard normal distribution.

    Parameters
    ----------
    scale : float
        0 is without text, 1 with the text alone; above 1 the text's effect is exaggerated.
    n : int
        Samples.

    Returns
    -------
    ndarray
        float64 (n,), in ascending order.

    References
    ----------
    Ho and Salimans, Classifier-free diffusion guidance, arXiv:2207.12598, equation 6.
    """
    normal = NormalDist()
    x = np.array([normal.inv_cdf((place + 0.5) / n) for place in range(n)])
    times = np.linspace(1, 0, STEPS + 1)
    for time, later in itertools.pairwise(times):
        without, with_text = _clean_images(x, time)
        guided = without + scale * (with_text - without)
        x = guided + (x - guided) * later / time
    return x


def _clean_images(x: np.ndarray, time: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the clean image expected of x = (1 - time) image + time noise: without text, and with it."""
    kept = 1 - time
    variance = (kept * SPREAD) ** 2 + time**2
    away = x[:, None] - kept * MEANS
    of_finding = MEANS + kept * SPREAD**2 / variance * away
    likelihood = np.exp(-(away**2) / (2 * variance))
    weight = likelihood / likelihood.sum(1, keepdims=True)
    return (weight * of_finding).sum(1), of_finding[:, 1]
