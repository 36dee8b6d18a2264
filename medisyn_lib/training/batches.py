"""What a training step sees: its samples and its random numbers.

Both depend on (seed, step, place in the global batch) and on nothing else.
"""

from __future__ import annotations

import functools

import numpy as np
import torch


class Draws:
    """Random numbers of one step: drawn for the global batch, handed out for this process's part.

    Parameters
    ----------
    seed, step : int
        Of the training and of its step.
    batch : int
        Samples of the step, over all processes.
    places : slice
        This process's places in the global batch.
    """

    def __init__(self, seed: int, step: int, batch: int, places: slice) -> None:
        state = np.random.SeedSequence([seed, step]).generate_state(1)
        self._generator = torch.Generator().manual_seed(int(state[0]))
        self._batch, self._places = batch, places

    def normal(self, *shape: int) -> torch.Tensor:
        """Return standard normal numbers, float32 (places, *shape)."""
        return torch.randn(self._batch, *shape, generator=self._generator)[self._places]

    def uniform(self, *shape: int) -> torch.Tensor:
        """Return uniform numbers in [0, 1), float32 (places, *shape)."""
        return torch.rand(self._batch, *shape, generator=self._generator)[self._places]


def sample_rows(seed: int, n: int, step: int, batch: int) -> np.ndarray:
    """Return which of `n` samples the global batch of a step holds, shuffled epoch by epoch.

    Returns
    -------
    np.ndarray
        int64 (batch,), each from 0 to n - 1.
    """
    places = np.arange(step * batch, (step + 1) * batch)
    epochs, offsets = np.divmod(places, n)
    parts = [_order(seed, n, int(epoch))[offsets[epochs == epoch]] for epoch in np.unique(epochs)]
    return np.concatenate(parts)


@functools.lru_cache(1)  # of the current epoch
def _order(seed: int, n: int, epoch: int) -> np.ndarray:
    return np.random.default_rng([seed, 7, epoch]).permutation(n)
