"""`medisyn keep`: make a long study step by step, and put each finished step's numbers into the checkout."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from medisyn_lib.cli import options
from medisyn_lib.errors import InputError
from medisyn_lib.runtime.store import creatable, preflight_store

if TYPE_CHECKING:
    from medisyn_lib.evaluation.study_steps import Step
    from medisyn_lib.pipeline.study import Study

NOTEBOOKS = ("02", "03")
MINUTE = 60
# Of a step that has no training before one was timed: what it takes at most, about.
UNTIMED_MINUTES = 10.0


def add_verb(verbs: options.Verbs) -> None:
    """Add `keep` to the command line."""
    verb = verbs.add_parser(
        "keep",
        parents=[options.study_options()],
        help="train and measure notebooks 02 and 03 step by step; finished numbers go to results/parts/",
    )
    ranges = [options.Range("--minutes", 0, 10**6)]
    verb.set_defaults(run=run, ranges=ranges)
    options.add_base(verb)
    verb.add_argument(
        "--minutes",
        type=float,
        help="start no step that would not end by then; 0 trains nothing and copies what is finished",
    )
    verb.add_argument(
        "--seeds",
        type=int,
        nargs="+",
        metavar="N",
        help="training seeds whose steps are made, such as one on each machine (default: all)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Make the steps; also by all processes of `accelerate launch -m medisyn_lib.cli keep`."""
    from medisyn_lib.data import sources
    from medisyn_lib.pipeline.parts import parts_folder
    from medisyn_lib.pipeline.study import Study
    from medisyn_lib.runtime import distributed
    from medisyn_lib.runtime.provenance import run_name

    preflight_store()
    options.preflight_compiler(arguments.profile, arguments.base)
    sources.preflight(arguments.data)
    base = options.checked_base(arguments.base, arguments.profile, NOTEBOOKS)
    study = Study(arguments.profile, arguments.data, base=base)
    seeds = arguments.seeds or study.settings.seeds
    if unknown := sorted({*seeds} - {*study.settings.seeds}):
        known = " ".join(map(str, study.settings.seeds))
        raise InputError(f"--seeds {unknown[0]}: profile {arguments.profile!r} has {known}")
    folder = parts_folder(run_name(arguments.profile, arguments.data, study.base_label))
    if not creatable(folder):
        raise InputError(f"folder {folder}: cannot be written; set MEDISYN_ROOT to a checkout")
    keep(study, folder, seeds, arguments.minutes)
    distributed.close_processes()
    return 0


def keep(study: Study, folder: Path, seeds: Sequence[int], minutes: float | None) -> None:
    """Make the steps of some seeds, in order, and copy each one's parts into a folder as it is finished.

    Parameters
    ----------
    study : Study
        Profile and data.
    folder : Path
        Of the checkout.
    seeds : sequence of int
        Training seeds.
    minutes : float or None
        No step is started that would not end by then, as far as those before it tell; None for no end.
    """
    from medisyn_lib.evaluation.study_steps import study_steps
    from medisyn_lib.pipeline.parts import copying_parts
    from medisyn_lib.runtime.device import accelerator

    say, start = accelerator().print, time.perf_counter()
    clock = _Clock(study)
    for step in study_steps(study):
        if step.seed not in seeds:
            continue
        if step.is_finished:
            said = "finished before"
        elif clock.allows(step, (time.perf_counter() - start) / MINUTE, minutes):
            said = f"{clock.time(step):.1f} minutes"
        else:
            say(f"{step.name:42} not started", flush=True)
            continue
        # Only now: a step that two machines began would mix two trainings.
        with copying_parts(folder):
            step.finish()
        say(f"{step.name:42} {said}", flush=True)
    say(f"{folder}: {len(list(folder.glob('*.json')))} parts; commit them")


class _Clock:
    """How long steps take: by the operations of their trainings, at the rate of those made here so far."""

    def __init__(self, study: Study) -> None:
        from medisyn_lib.pipeline.run_plan import trainings

        self.study = study
        self.flops: Mapping[str, float] = {one.name: one.flops for one in trainings(study)}
        self.rates: dict[str, float] = {}  # minutes per operation, by kind of training

    def allows(self, step: Step, spent: float, minutes: float | None) -> bool:
        """Say whether a step would end in time, to all processes the same."""
        from medisyn_lib.runtime import distributed

        return minutes is None or distributed.agreed(lambda: spent + self.expected(step) <= minutes)

    def expected(self, step: Step) -> float:
        """Minutes that a step will take: at the rate of the last one of its kind, else at the slowest."""
        if step.name not in self.flops:
            return UNTIMED_MINUTES
        if not self.rates:
            self.rates[""] = _minutes_per_flop(self.study)
        rate = self.rates.get(_kind(step), max(self.rates.values()))
        return self.flops[step.name] * rate

    def time(self, step: Step) -> float:
        """Finish a step and return the minutes that it took."""
        start = time.perf_counter()
        step.finish()
        took = (time.perf_counter() - start) / MINUTE
        if step.name in self.flops:
            self.rates[_kind(step)] = took / self.flops[step.name]
        return took


def _kind(step: Step) -> str:
    """The kind of a step's training: `generalist`, `specialist`, `long` or `eleventh`."""
    return step.name.split()[0].rstrip(",")


def _minutes_per_flop(study: Study) -> float:
    """Minutes of an operation of a training, measured here in a few steps, and as much again for what is measured."""
    from medisyn_lib.pipeline.run_plan import measured_rate
    from medisyn_lib.runtime.device import accelerator

    flops = float(study.denoiser_origin.operations(study.denoiser_origin.outline())[0])
    return 2 / measured_rate(study.denoiser_origin, accelerator().device, flops) / MINUTE
