"""What a classifier may be trained on, arm by arm, and the runs of every arm: one for each draw of the images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from medisyn_lib.evaluation.utility.images import draw_order

if TYPE_CHECKING:
    from medisyn_lib.evaluation.utility.tasks import Task

RATIOS = (1, 3, 10)  # synthetic images per real one, ascending
FIRST_DRAW = 20261126  # draws are numbered from here, fixed before any result was seen
DECISIVE_FACTOR = 3  # draws of what the rule compares, per draw of the other arms

REAL = "real"
REAL_AUGMENTED = "real, augmented"
SYNTHETIC = "synthetic"
MIXED = "mixed"
MIXED_AUGMENTED = "mixed, augmented"
SYNTHETIC_THEN_REAL = "synthetic, then real"
SHUFFLED_AUGMENTED = "shuffled, augmented"


class Arm(NamedTuple):
    """What is compared: the kind of training set, its n real images, and synthetic images per real one."""

    kind: str
    n: int
    ratio: int


class Run(NamedTuple):
    """One training of an arm: its draw, and the row numbers that each half of the steps draws from."""

    arm: Arm
    draw: int
    first_half: np.ndarray
    second_half: np.ndarray


class _Draw(NamedTuple):
    """The images of one draw, in its order: row numbers (n, VIEWS), and (n + N,) of real images alone."""

    number: int
    real: np.ndarray
    synthetic: np.ndarray
    real_and_seen_by_generator: np.ndarray


def baseline_arm(n: int) -> Arm:
    """Return the arm that the others are compared with: n real images, augmented."""
    return Arm(REAL_AUGMENTED, n, 0)


def primary_arm(n: int) -> Arm:
    """Return the arm of the primary contrast: n real and n synthetic images, augmented."""
    return Arm(MIXED_AUGMENTED, n, 1)


def shuffled_arm(n: int) -> Arm:
    """Return the arm of the negative control: as the primary, the synthetic images' classes shuffled."""
    return Arm(SHUFFLED_AUGMENTED, n, 1)


def synthetic_arm(n: int) -> Arm:
    """Return the arm of n synthetic images alone."""
    return Arm(SYNTHETIC, n, 1)


def all_runs(task: Task, sizes: Sequence[int], draws: Iterable[int]) -> Iterator[Run]:
    """Yield every training of a task: real images alone, and with synthetic ones as far as there are.

    The images of a smaller n are among a larger one's, and a draw's images are the same in all arms.

    Parameters
    ----------
    task
        The task.
    sizes
        Numbers of real images n, ascending. Real images alone are also taken beyond the largest, up to all
        that the generator saw.
    draws
        Numbers of the draws, which take the generators in turn.
    """
    for turn, number in enumerate(draws):
        drawn = _draw(task, task.synthetic[turn % len(task.synthetic)], number, sizes[0])
        yield from _runs_of_real_images(drawn, sizes)
        for n in sizes:
            real = drawn.real[:n].ravel()
            yield Run(baseline_arm(n), number, real, real)
            for ratio in RATIOS:
                if ratio * n > len(drawn.synthetic):
                    break
                yield from _runs_with_synthetic_images(drawn, n, ratio)
                if ratio == 1:
                    yield _run_of_shuffled_classes(drawn, n, features=len(task.x))


def _draw(task: Task, synthetic: np.ndarray, number: int, smallest_n: int) -> _Draw:
    real = task.real[draw_order(task.y[task.real[:, 0]], number)]
    seen = np.random.default_rng([number, 19]).permutation(task.seen_by_generator)
    return _Draw(
        number,
        real=real,
        synthetic=synthetic[draw_order(task.y[synthetic[:, 0]], number)],
        real_and_seen_by_generator=np.concatenate([real[:smallest_n, 0], seen]),
    )


def _runs_of_real_images(drawn: _Draw, sizes: Sequence[int]) -> Iterator[Run]:
    for n in sizes:
        rows = drawn.real[:n, 0]
        yield Run(Arm(REAL, n, 0), drawn.number, rows, rows)
    everything = drawn.real_and_seen_by_generator
    doubled = {min(sizes[-1] << k, len(everything)) for k in range(1, 20)}
    for n in sorted(n for n in doubled if n > sizes[-1]):
        yield Run(Arm(REAL, n, 0), drawn.number, everything[:n], everything[:n])


def _runs_with_synthetic_images(drawn: _Draw, n: int, ratio: int) -> Iterator[Run]:
    real = drawn.real[:n]
    synthetic = drawn.synthetic[: ratio * n]
    mixed = np.concatenate([real[:, 0], synthetic[:, 0]])
    augmented = np.concatenate([real.ravel(), synthetic.ravel()])
    number = drawn.number
    yield Run(Arm(SYNTHETIC, n, ratio), number, synthetic[:, 0], synthetic[:, 0])
    yield Run(Arm(MIXED, n, ratio), number, mixed, mixed)
    yield Run(Arm(MIXED_AUGMENTED, n, ratio), number, augmented, augmented)
    yield Run(Arm(SYNTHETIC_THEN_REAL, n, ratio), number, synthetic[:, 0], real[:, 0])


def _run_of_shuffled_classes(drawn: _Draw, n: int, features: int) -> Run:
    """The primary arm again; numbers from `features` on carry the shuffled classes (see `Task`)."""
    real = drawn.real[:n].ravel()
    synthetic = features + drawn.synthetic[:n].ravel()
    rows = np.concatenate([real, synthetic])
    return Run(shuffled_arm(n), drawn.number, rows, rows)


def decisive_arms(task: Task, sizes: Sequence[int]) -> set[Arm]:
    """Return what the rule and the controls compare, of a task with these numbers of real images."""
    smallest, largest = sizes[0], sizes[-1]
    return {
        baseline_arm(smallest),
        primary_arm(smallest),
        shuffled_arm(smallest),
        synthetic_arm(smallest),
        baseline_arm(largest),
        Arm(REAL, smallest + len(task.seen_by_generator), 0),
    }


def planned_runs(task: Task, sizes: Sequence[int], draws: int) -> list[Run]:
    """Return the runs of every arm in the first `draws` draws, of decisive ones in DECISIVE_FACTOR times as many."""
    decisive = decisive_arms(task, sizes)
    numbers = range(FIRST_DRAW, FIRST_DRAW + DECISIVE_FACTOR * draws)
    return [
        run
        for run in all_runs(task, sizes, numbers)
        if run.draw in numbers[:draws] or run.arm in decisive
    ]


def network_runs(task: Task, sizes: Sequence[int], draws: int) -> list[Run]:
    """Return the runs of networks: what the rule and its controls compare alone, as each takes long."""
    smallest, largest = sizes[0], sizes[-1]
    compared = {
        baseline_arm(smallest),
        primary_arm(smallest),
        shuffled_arm(smallest),
        baseline_arm(largest),
    }
    numbers = range(FIRST_DRAW, FIRST_DRAW + draws)
    return [run for run in all_runs(task, sizes, numbers) if run.arm in compared]
