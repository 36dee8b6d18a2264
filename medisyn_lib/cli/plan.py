"""`medisyn plan`: what a run of all notebooks will train, and whether memory and disk hold it."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from medisyn_lib.cli import options
from medisyn_lib.errors import InputError

if TYPE_CHECKING:
    from medisyn_lib.pipeline.run_plan import Training
    from medisyn_lib.pipeline.study import Study

NOTEBOOKS = ("01", "02", "03", "04", "05", "06", "07")
GIGABYTE, TERA, HOUR = 1e9, 1e12, 3600
ASSUMED = (
    "one training after the other. Not in it: the autoencoder, the text encoder, what 06 and 07 train, encoding, "
    "sampling"
)


def add_verb(verbs: options.Verbs) -> None:
    """Add `plan` to the command line."""
    verb = verbs.add_parser(
        "plan",
        parents=[options.study_options()],
        help="say what a run will train, its operations, memory, disk and hours, before anything starts",
    )
    ranges = [options.Range("--tflops", 0, 10**6), options.Range("--memory", 1, 10**5)]
    verb.set_defaults(run=run, ranges=ranges)
    options.add_base(verb)
    verb.add_argument(
        "--device", choices=("cpu", "cuda"), help="where networks train (default: cuda if here)"
    )
    verb.add_argument(
        "--tflops",
        type=float,
        help="trillions of operations per second that training sustains (default: measured here, in seconds)",
    )
    verb.add_argument(
        "--memory", type=float, help="GB of the card, or of main memory (default: of this machine)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the plan; what cannot fit is refused."""
    from medisyn_lib.data import sources

    if arguments.tflops == 0:
        raise InputError("--tflops is 0: give what training sustains, or leave it out")
    sources.preflight(arguments.data)
    base = options.checked_base(arguments.base, arguments.profile, NOTEBOOKS)

    import torch

    from medisyn_lib.pipeline import run_plan
    from medisyn_lib.pipeline.parts import parts_folder
    from medisyn_lib.pipeline.study import Study
    from medisyn_lib.runtime.provenance import run_name

    device = arguments.device or ("cuda" if torch.cuda.is_available() else "cpu")
    available = _available(device, arguments.memory, arguments.tflops)
    study = Study(arguments.profile, arguments.data, base=base)
    planned = run_plan.trainings(study, _modalities(arguments.data))
    denoisers = [training for training in planned if training.is_denoiser]
    largest = max((training.plan for training in denoisers), key=lambda plan: plan.batch)
    memory = run_plan.peak_memory(study.denoiser_origin, largest, half=device == "cuda")
    run_plan.check_memory(memory, available, arguments.profile)
    label = run_name(arguments.profile, arguments.data, study.base_label)
    rate, source = (arguments.tflops or 0) * TERA, "as given"
    if not rate:
        flops, source = denoisers[0].flops_per_image, "measured here in a few steps, no optimiser"
        rate = run_plan.measured_rate(study.denoiser_origin, torch.device(device), flops)
    print(f"{study.scale}, on {device}")
    print("\n".join([*_rows(planned, rate), *_notebooks(planned, study)]))
    print(
        f"memory: {memory.total / GIGABYTE:.2f} GB ({memory.state / GIGABYTE:.2f} weights and optimiser, "
        f"{memory.activations / GIGABYTE:.2f} activations of {memory.batch} images) of {available / GIGABYTE:.1f}"
    )
    room = run_plan.checked_room(study, NOTEBOOKS)
    print(f"disk: {room / GIGABYTE:.1f} GB of pipelines and snapshots")
    print(*_finished(study, planned, rate, parts_folder(label)), sep="\n")
    print(f"An estimate, at {rate / TERA:.3g} TFLOP/s ({source}), {ASSUMED}.")
    return 0


def _available(device: str, given: float | None, tflops: float | None) -> float:
    """Bytes of the card, or of main memory. Raises InputError for a card that is not here and not described."""
    import torch

    if device == "cuda" and not torch.cuda.is_available() and not (given and tflops):
        fault = "there is none here; to plan for another machine give --memory and --tflops"
        raise InputError(f"--device cuda: {fault}")
    if given:
        return given * GIGABYTE
    if device == "cuda":
        return float(torch.cuda.get_device_properties(0).total_memory)
    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def _modalities(source: str) -> Sequence[str]:
    """The modalities of files that are here; of other sources all are assumed."""
    from medisyn_lib.data import sources
    from medisyn_lib.modalities import MODALITIES

    if source.partition(":")[0] not in sources.FILES:
        return tuple(MODALITIES)
    return tuple(dict.fromkeys(row["modality"] for row in sources.rows(source)))


def _rows(planned: Sequence[Training], rate: float) -> list[str]:
    """The table of the trainings."""
    head = f"{'training':42} {'steps':>8} {'images':>12} {'TFLOP':>14} {'hours':>8}  notebooks"
    lines = [head]
    for training in planned:
        hours = f"{training.flops / rate / HOUR:8.2f}"
        work = f"{training.plan.steps:8,} {training.images:12,} {training.flops / TERA:14,.2f}"
        lines.append(f"{training.name:42} {work} {hours}  {' '.join(training.notebooks)}")
    total = sum(training.flops for training in planned)
    lines.append(f"{'all':42} {'':8} {'':12} {total / TERA:14,.2f} {total / rate / HOUR:8.2f}")
    return lines


def _notebooks(planned: Sequence[Training], study: Study) -> list[str]:
    """A line for each notebook."""
    from medisyn_lib.pipeline.disk_space import pipelines_of, stored

    pipelines = pipelines_of(study.settings)
    lines = []
    for number in NOTEBOOKS:
        needed = sum(number in training.notebooks for training in planned)
        sampled = pipelines.get(number, set())
        lines.append(
            f"{number}: needs {needed} trainings, samples {len(sampled)} pipelines, stores {len(stored(sampled))}"
        )
    return lines


def _finished(study: Study, planned: Sequence[Training], rate: float, folder: Path) -> list[str]:
    """What of notebooks 02 and 03 is finished, in the store or the checkout, and what remains, seed by seed."""
    from medisyn_lib.evaluation.study_steps import study_steps
    from medisyn_lib.pipeline.parts import stale_parts
    from medisyn_lib.runtime.paths import store_dir

    in_checkout = any(folder.glob("*.json"))
    if not in_checkout and not any(store_dir().glob("training_record-*")):
        return ["finished: nothing yet; `medisyn keep` goes step by step"]
    hours = {training.name: training.flops / rate / HOUR for training in planned}
    steps = study_steps(study)
    open_steps = [step for step in steps if not step.is_finished]
    lines = []
    for seed in dict.fromkeys(step.seed for step in steps):
        of_seed = [step for step in steps if step.seed == seed]
        left = [step for step in open_steps if step.seed == seed]
        remaining = sum(hours.get(step.name, 0.0) for step in left)
        said = f"{len(of_seed) - len(left)} of {len(of_seed)} steps finished"
        lines.append(f"seed {seed}: {said}, {remaining:.2f} hours of training remain")
    if open_steps:
        longest = max(open_steps, key=lambda step: hours.get(step.name, 0.0))
        lines.append(
            f"next: {open_steps[0].name}; longest: {longest.name}, {hours.get(longest.name, 0.0):.2f} hours"
        )
    stale = stale_parts(folder, (part for step in steps for part in step.finished_parts()))
    if stale:
        changed = sorted({module for modules in stale.values() for module in modules})
        why = ", ".join(changed) or "no code: settings or data"
        lines.append(
            f"{len(stale)} parts in {folder} fit no more; changed since: {why}; delete them"
        )
    return lines
