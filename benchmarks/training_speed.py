"""Images a second of this project's training beside diffusers' own text-to-image example, and where the time goes.

    python benchmarks/training_speed.py --peer train_text_to_image.py [--profile quick] [--runs 5] [--images N]
        [--workers N]

The peer is the released script (`peer.py`). Both start from the same untrained denoiser, see images of the same role
and size, take the same batch and precision (bfloat16 where the processor computes in it, `--precision` says
otherwise), and live in processes of their own that are suspended and resumed in turn. The peer reads, encodes and
tokenizes its images at every step; ours has latents and embeddings computed once: the second ratio charges it for that,
spread over the passes that the profile makes. Rates are of processor seconds, which other jobs on the same cores change
little. The first steps of each are left out.
Beside them the proportion of this machine's matrix peak (torch.matmul, measured in the same round) and a profile of a
step.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pairs
import peer
from peer import PEER, WARMUP_STEPS, Peer

from medisyn_lib.profiles import PROFILES

OURS = "ours"
IMAGES_OF_PEER = 64  # per modality
WARMUP_IMAGES = 64  # of the encoder
MATRIX = 1024  # side of the matrices whose product is the peak; where bfloat16 is emulated, a quarter of it
PRODUCTS_ON_GPU = 10
PRECISIONS = ("no", "bf16")  # as Accelerate names float32 and bfloat16
TYPES = {"no": "float32", "bf16": "bfloat16"}
KINDS = {  # of the profiler's operators: which part of a step they are
    "convolution": r"conv|mkldnn_convolution",
    "matrix product": r"::(addmm|mm|bmm|baddbmm|linear|matmul)",
    "attention": r"attention|softmax",
    "normalisation": r"norm(?!al_)",
    "activation": r"silu|sigmoid|gelu",
    "optimiser and averaging": r"adam|foreach|lerp|clip",
    "copies and layouts": r"copy_|clone|contiguous|cat|upsample|to_copy|empty|zero|fill",
    "sums and products": r"::(add|mul|div|sub|sum|mean|mse)",
}
REST = "the rest"


class Conditions(NamedTuple):
    """What holds for both."""

    batch: int
    passes: float  # over the images, in a training of the profile
    encoding: float  # seconds of encoding an image once, spread over the passes


class Rounds(NamedTuple):
    """What was measured, round by round."""

    seconds: dict[str, list[float]]  # of an image, by training
    flops: float  # of an image of ours
    peak: dict[str, list[float]]  # operations a second, by precision


class Profile(NamedTuple):
    """Where the time of our steps goes."""

    fractions: dict[str, float]  # of the operators' own time, by kind
    busy: float | None  # fraction of the time in which the GPU computed; None without one


def conditions(options: Any, folder: Path) -> Conditions:
    """Write what the peer trains from into a folder, and time what ours computes once."""
    from medisyn_lib.pipeline.denoisers import denoiser_plan
    from medisyn_lib.pipeline.study import Study
    from medisyn_lib.sampling.pipeline import load_pipeline
    from medisyn_lib.training.autoencoder import encode
    from medisyn_lib.training.text_encoder import embed_prompts

    study = Study(options.profile, options.data)
    material = peer.write_material(study, folder, IMAGES_OF_PEER)
    vae, pipeline = study.autoencoder.load_on_device(), load_pipeline(str(material.pipeline))
    encode(vae, material.pixels[:WARMUP_IMAGES])

    def compute_once() -> None:
        encode(vae, material.pixels)
        captions = sorted(set(material.captions))
        embed_prompts(pipeline.tokenizer, pipeline.text_encoder, captions)

    plan = denoiser_plan(study.settings)
    passes = plan.steps * plan.batch / len(study.images("generator"))
    seconds_of_an_image = pairs.timed(compute_once) / len(material.pixels)
    return Conditions(plan.batch, passes, seconds_of_an_image / passes)


def train_ours(options: Any) -> None:
    """For each line read, train for some steps and print seconds and operations of an image; then profile.

    The operations are those of the denoiser alone.
    """
    import torch

    from medisyn_lib.pipeline.denoisers import denoiser_plan
    from medisyn_lib.pipeline.embeddings import TEXT_WIDTH
    from medisyn_lib.pipeline.study import Study
    from medisyn_lib.training.denoiser import denoiser_flops, train_denoiser

    study = Study(options.profile, options.data)
    latents, (embeddings, caption) = study.latents.array(), study.embeddings.load()
    net, plan = study.denoiser_shape.new(0), denoiser_plan(study.settings)
    flops = denoiser_flops(net, latents.shape[-1], TEXT_WIDTH)
    dtype = getattr(torch, TYPES[options.precision])

    def train(steps: int) -> None:
        short = replace(plan, steps=steps)
        with tempfile.TemporaryDirectory() as folder:
            train_denoiser(net, latents, embeddings, caption, short, Path(folder), dtype=dtype)

    some_steps = partial(train, options.steps)
    train(WARMUP_STEPS)
    for _ in sys.stdin:
        seconds = pairs.timed(some_steps) / (options.steps * plan.batch)
        print(json.dumps({"seconds": seconds, "flops": flops}), flush=True)
    print(json.dumps(profile(some_steps)._asdict()), flush=True)


def profile(work: Callable[[], None]) -> Profile:
    """Watch a call: on the GPU where there is one."""
    import torch
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as watch

    on_gpu = pairs.on_gpu()
    activities = [ProfilerActivity.CPU]
    if on_gpu:
        activities.append(ProfilerActivity.CUDA)
    with watch(activities=activities) as watched:
        seconds = pairs.timed(work)
    microseconds = dict.fromkeys((*KINDS, REST), 0.0)
    for row in watched.key_averages():
        if on_gpu and row.device_type == torch.autograd.DeviceType.CUDA:
            continue  # a kernel: its time is also its operator's
        own_time = row.self_device_time_total if on_gpu else row.self_cpu_time_total
        microseconds[kind_of(row.key)] += own_time
    total = sum(microseconds.values())
    fractions = {kind: value / total for kind, value in microseconds.items()}
    return Profile(fractions, total / 1e6 / seconds if on_gpu else None)


def kind_of(operator: str) -> str:
    """Return which of KINDS an operator is."""
    for kind, pattern in KINDS.items():
        if re.search(pattern, operator.lower()):
            return kind
    return REST


def matrix_peak() -> dict[str, float]:
    """Return operations a second of a matrix product, the best of three, in single and in half precision."""
    return {precision: product_rate(precision) for precision in PRECISIONS}


def product_rate(precision: str) -> float:
    """Return operations a second of a matrix product in one precision, the best of three."""
    import torch

    from medisyn_lib.runtime.device import accelerator

    if pairs.on_gpu():
        side, number = 8 * MATRIX, PRODUCTS_ON_GPU
    else:
        emulated = precision == "bf16" and peer.machine_precision() != "bf16"
        side = MATRIX // 4 if emulated else MATRIX
        number = (MATRIX // side) ** 2
    dtype, device = getattr(torch, TYPES[precision]), accelerator().device
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))

    def multiply() -> None:
        for _ in range(number):
            a @ b

    multiply()  # the first is slower
    seconds = min(pairs.timed(multiply) for _ in range(3)) / number
    return 2 * side**3 / seconds


def main() -> None:
    """Let the arms go in turn and print the tables."""
    options = arguments()
    if options.images:
        # The speed does not hang on how many there are.
        few = replace(PROFILES[options.profile], images=options.images, text_steps=50)
        PROFILES[options.profile] = few
    if options.side == OURS:
        train_ours(options)
        return
    if options.side == "peak":
        print(json.dumps(matrix_peak()))
        return
    peer.check_peer(options.peer)
    from medisyn_lib.data import sources

    sources.preflight(options.data)
    options.precision = options.precision or peer.machine_precision()
    options.size = PROFILES[options.profile].size
    compare(options)


def compare(options: Any) -> None:
    """Start both, let them go in turn and print what was found."""
    passed_on = ["profile", "data", "steps", "precision"]
    if options.images:
        passed_on.append("images")
    command = [__file__, *(f"--{name}={getattr(options, name)}" for name in passed_on)]
    peers: dict[str, dict[str, Any]] = {PEER: {}}
    if options.workers:
        peers[f"{PEER}, {options.workers} workers"] = {"dataloader_num_workers": options.workers}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        common = conditions(options, folder)
        ours = pairs.start_worker([*command, f"--side={OURS}"])
        under_way = {
            name: Peer(options, folder, common.batch, **changed) for name, changed in peers.items()
        }
        try:
            rounds = measure_rounds(options, ours, under_way)
            pairs.close_worker(ours)
            profiled = Profile(**pairs.read_answer(ours))
        finally:
            for one in under_way.values():
                one.end()
            ours.kill()
    report(options, common, rounds)
    report_profile(profiled)
    print(f"\n{pairs.machine(options.runs)}")


def measure_rounds(options: Any, ours: Any, under_way: Mapping[str, Peer]) -> Rounds:
    """Let ours, the peers and the matrix product go in turn."""
    seconds: dict[str, list[float]] = {name: [] for name in (*under_way, OURS)}
    peaks: dict[str, list[float]] = {precision: [] for precision in PRECISIONS}
    flops: list[float] = []

    def step_ours() -> float:
        answer = pairs.ask(ours)
        flops.append(answer["flops"])
        seconds[OURS].append(answer["seconds"])
        return 1 / answer["seconds"]

    def step_peer(name: str) -> float:
        seconds[name].append(under_way[name].seconds_of_an_image(options.steps))
        return 1 / seconds[name][-1]

    def multiply() -> float:
        rates = matrix_peak()
        for precision, rate in rates.items():
            peaks[precision].append(rate)
        return rates[options.precision]

    arms: dict[str, Callable[[], float]] = {name: partial(step_peer, name) for name in under_way}
    pairs.interleaved({**arms, OURS: step_ours, "peak": multiply}, options.runs)
    return Rounds(seconds, flops[0], peaks)


def report(options: Any, common: Conditions, rounds: Rounds) -> None:
    """Print the table of rates, and what they stand on."""
    trainings = dict(rounds.seconds)
    ours = trainings.pop(OURS)
    trainings["ours, latents and embeddings at hand"] = ours
    charged = f"ours, charged for encoding once in {common.passes:.1f} passes"
    trainings[charged] = [seconds + common.encoding for seconds in ours]
    top = rounds.peak[options.precision]
    rows = []
    for name, seconds in trainings.items():
        times = "1"
        if name != PEER:
            times = pairs.spread(pairs.ratios(trainings[PEER], seconds))
        percents = [100 * rounds.flops / one / peak for one, peak in zip(seconds, top, strict=True)]
        rate = pairs.spread([1 / one for one in seconds])
        rows.append([name, rate, times, pairs.spread(percents, 2)])
    head = ["training", f"images a {pairs.unit()}", "times the peer", "share of matrix peak (%)"]
    print(pairs.table(head, rows))
    (other,) = (precision for precision in PRECISIONS if precision != options.precision)
    where = "of the GPU" if pairs.on_gpu() else "of one thread"
    print(
        f"\nThe denoiser alone takes {rounds.flops / 1e9:.3g} GFLOP an image, forward and "
        f"backward; batch {common.batch},\n{options.steps} steps a round. Matrix peak {where} in "
        f"{TYPES[options.precision]}, which both sides computed in: \n{in_giga(top)} GFLOP/s; "
        f"in {TYPES[other]} {in_giga(rounds.peak[other])}.\n"
    )


def in_giga(rates: list[float]) -> str:
    """Return rates in words, in thousands of millions."""
    return pairs.spread([rate / 1e9 for rate in rates])


def report_profile(profiled: Profile) -> None:
    """Print where the time of our steps goes."""
    if profiled.busy is not None:
        busy = f"kept the GPU busy for {100 * profiled.busy:.0f}% of its time"
        print(f"Watched by the profiler, our step {busy}.\n")
    ordered = sorted(profiled.fractions.items(), key=lambda item: -item[1])
    rows = [[kind, f"{100 * fraction:.1f}"] for kind, fraction in ordered]
    print(pairs.table(["part of our step", "share of its operators' own time (%)"], rows))


def arguments() -> Any:
    """Return what the command line asks for."""
    parser = pairs.parser(__doc__)
    pairs.add_study(parser)
    peer.add_arguments(parser)
    parser.add_argument(
        "--steps", type=pairs.whole(5, 100_000), default=10, help="that are measured in each round"
    )
    parser.add_argument(
        "--images", type=pairs.whole(1), help="per modality, instead of the profile's number"
    )
    parser.add_argument(
        "--precision", choices=PRECISIONS, help="default: bf16 where this machine computes in it"
    )
    parser.add_argument("--side", choices=[OURS, "peak"], help="one side alone, which prints JSON")
    return parser.parse_args()


if __name__ == "__main__":
    pairs.run_script(main)
