"""`medisyn plan`: what a run of all notebooks will train, and whether memory and disk hold it."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
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
    from medisyn_lib.pipeline.study import Study

    device = arguments.device or ("cuda" if torch.cuda.is_available() else "cpu")
    available = _available(device, arguments.memory, arguments.tflops)
    study = Study(arguments.profile, arguments.data, base=base)
    planned = run_plan.trainings(study, _modalities(arguments.data))
    denoisers = [training for training in planned if training.is_denoiser]
    largest = max((training.plan for training in denoisers), key=lambda plan: plan.batch)
    memory = run_plan.peak_memory(study.denoiser_origin, largest, half=device == "cuda")
    run_plan.check_memory(memory, available, arguments.profile)
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
