"""Learning-rate schedules: from a plan and a step to a learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable

from medisyn_lib.training.plan import TrainingPlan

Schedule = Callable[[TrainingPlan, int], float]


def warmup_cosine(plan: TrainingPlan, step: int) -> float:
    """Return the learning rate of a step: linear warm-up, then a cosine to zero.

    With W warm-up steps of S in all and peak p: p (k + 1) / W for k < W, then
    p (1 + cos(pi (k - W) / (S - W))) / 2 (Loshchilov and Hutter, arXiv 1608.03983, equation 5).

    Parameters
    ----------
    plan : TrainingPlan
        Gives steps, peak and the fraction of warm-up.
    step : int
        From 0 to `plan.steps` - 1.
    """
    warmup_steps = max(1, round(plan.warmup_fraction * plan.steps))
    if step < warmup_steps:
        return plan.learning_rate * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, plan.steps - warmup_steps)
    return plan.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))


def warmup_constant(plan: TrainingPlan, step: int, *, warmup_steps: int = 10) -> float:
    """Return the learning rate of a step: linear warm-up over a few steps, then the peak."""
    return plan.learning_rate * min(1, (step + 1) / warmup_steps)
