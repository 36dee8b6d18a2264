"""How long and how fast a network is trained."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TrainingPlan:
    """The hyperparameters that every training shares.

    Attributes
    ----------
    steps : int
        Optimiser steps.
    batch : int
        Samples per step, over all processes.
    learning_rate : float
        Peak learning rate, reached after the warm-up.
    seed : int
        Of data order, noise and initial weights.
    weight_decay : float
        AdamW's decoupled weight decay.
    ema_decay : float
        Decay of the exponential moving average of the weights; 0 keeps no average.
    warmup_fraction : float
        Fraction of the steps over which the learning rate rises, in [0, 1].
    checkpoint_every : int
        Steps between two checkpoints.
    compiled : bool
        Whether `torch.compile` makes one program of forward and backward pass first: half a
        minute of preparation and a C++ compiler on a CPU, then steps in two thirds of the time.
    """

    steps: int
    batch: int
    learning_rate: float
    seed: int = 0
    weight_decay: float = 0.01
    ema_decay: float = 0.0
    warmup_fraction: float = 0.05
    checkpoint_every: int = 200
    compiled: bool = False
