"""What grows with the data: memory and time of a training step, and the seconds of an evaluation.

    python benchmarks/growth.py [--runs 5] [--rows 10000 200000] [--figure figures/benchmarks]

Trains the profile's denoiser for a few steps over made-up latents in a memory-mapped file, as many as `--rows` says,
in two processes that go on in turn; then times the fidelity measures over made-up features of rising n, and a whole
evaluation of made-up images, from their features to measures with intervals. Draws a figure of both where `--figure`
names a folder. Seconds are those of a processor, or on a GPU wall-clock.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pairs

STEPS, WARMUP_STEPS = 5, 2
CAPTIONS = 400
ORDERED = (10_000, 200_000, 1_000_000, 5_000_000)  # samples whose order is drawn
STEPS_OF_AN_EPOCH = 500
EVALUATED = (1000, 2000, 4000, 8000)  # images
WIDTH, SIDE = 1280, 64  # of the encoder's features, and pixels of an image
WRITTEN_AT_ONCE = 5000  # latents
# What `train` measures, and how tables and figure name it.
MEASURED = {
    "step": "{unit}s a step",
    "peak": "peak memory, GB",
    "anonymous": "memory of its own after a round, GB",
}

Rounds = list[float]


class DataSize(NamedTuple):
    """How much a denoiser is trained on."""

    rows: int  # images
    captions: int


def fabricate(folder: Path, size: DataSize, side: int, width: int) -> Path:
    """Write made-up latents, captions and embeddings into a folder of their own."""
    from medisyn_lib.models import networks

    place, rng = folder / f"{size.rows}-{size.captions}", np.random.default_rng(0)
    place.mkdir()
    shape = (size.rows, networks.LATENT_CHANNELS, side, side)
    latents = np.lib.format.open_memmap(place / "latents.npy", "w+", np.float16, shape)
    for start in range(0, size.rows, WRITTEN_AT_ONCE):
        part = latents[start : start + WRITTEN_AT_ONCE]
        part[:] = rng.standard_normal(part.shape, np.float32)
    latents.flush()
    embeddings = rng.standard_normal((size.captions + 1, networks.CONTEXT, width), np.float32)
    np.save(place / "embeddings.npy", embeddings.astype(np.float16))
    np.save(place / "caption.npy", rng.integers(size.captions, size=size.rows))
    return place


def train(options: Any) -> None:
    """For each line read, train for some steps more.

    Prints seconds a step (`pairs.clock`), and the memory held at the most, with and without mapped files, in GB.
    """
    from medisyn_lib.pipeline.denoisers import denoiser_plan
    from medisyn_lib.pipeline.study import Study
    from medisyn_lib.training.denoiser import train_denoiser

    study = Study(options.profile, "phantom")
    net, plan = study.denoiser_shape.new(0), denoiser_plan(study.settings)
    latents, embeddings = (
        np.load(options.place / f"{name}.npy", mmap_mode="r") for name in ("latents", "embeddings")
    )
    caption = np.load(options.place / "caption.npy")

    def seconds_of_a_step(steps: int, seed: int) -> float:
        start = pairs.clock()
        with tempfile.TemporaryDirectory() as folder:
            short = replace(plan, steps=steps, seed=seed)
            train_denoiser(net, latents, embeddings, caption, short, Path(folder))
        return (pairs.clock() - start) / steps

    seconds_of_a_step(WARMUP_STEPS, 0)
    for turn, _ in enumerate(sys.stdin):
        answer = {
            "step": seconds_of_a_step(STEPS, 1 + turn),
            "peak": pairs.peak_memory(),
            "anonymous": pairs.anonymous_memory(),
        }
        print(json.dumps(answer), flush=True)


def training_rounds(
    options: Any, sizes: Mapping[str, DataSize]
) -> dict[str, list[dict[str, float]]]:
    """Return what `train` prints over data of each of these sizes, round by round."""
    from medisyn_lib.models import networks
    from medisyn_lib.pipeline.embeddings import TEXT_WIDTH
    from medisyn_lib.profiles import PROFILES

    answers: dict[str, list[dict[str, float]]] = {name: [] for name in sizes}
    with tempfile.TemporaryDirectory() as folder:
        side = PROFILES[options.profile].size // networks.DOWNSCALE
        workers = {}
        for name, size in sizes.items():
            place = fabricate(Path(folder), size, side, TEXT_WIDTH)
            command = [__file__, f"--profile={options.profile}", f"--place={place}"]
            workers[name] = pairs.start_worker(command)

        def one_round(name: str) -> float:
            answers[name].append(pairs.ask(workers[name]))
            return answers[name][-1]["step"]

        pairs.interleaved({name: partial(one_round, name) for name in sizes}, options.runs)
        for worker in workers.values():
            pairs.close_worker(worker)
            worker.wait()
    return answers


def from_images(*, real: np.ndarray, synthetic: np.ndarray) -> None:
    """Evaluate from start to end: features of images, and all measures with their intervals."""
    from medisyn_lib.evaluation import fidelity
    from medisyn_lib.models import encoders

    fidelity.measures(real=encoders.features(real), synthetic=encoders.features(synthetic))


def evaluation_rounds(runs: int) -> dict[str, dict[int, Rounds]]:
    """Return the seconds of the Frechet distance, of all measures once, and of a whole evaluation, by n."""
    from medisyn_lib.evaluation import fidelity

    rng = np.random.default_rng(0)
    features = [np.maximum(rng.standard_normal((EVALUATED[-1], WIDTH)), 0) for _ in range(2)]
    images = [rng.integers(0, 256, (EVALUATED[-1], SIDE, SIDE, 3), np.uint8) for _ in range(2)]
    all_once = partial(fidelity.measures, groups=0)

    def seconds(measure: Callable[..., Any], sets: list[np.ndarray], n: int) -> float:
        return pairs.timed(lambda: measure(real=sets[0][:n], synthetic=sets[1][:n]))

    evaluations = {
        "Frechet distance": partial(seconds, fidelity.frechet_distance, features),
        "all measures, once": partial(seconds, all_once, features),
        "from images to intervals": partial(seconds, from_images, images),
    }
    arms = {}
    for name, evaluate in evaluations.items():
        evaluate(EVALUATED[0])  # imports
        for n in EVALUATED:
            arms[f"{name} {n}"] = partial(evaluate, n)
    rounds = pairs.interleaved(arms, runs)
    return {name: {n: rounds[f"{name} {n}"] for n in EVALUATED} for name in evaluations}


def slopes(times: Mapping[int, Rounds]) -> Rounds:
    """Return the slope of log time over log n, round by round."""
    log_n = np.log(list(times))
    rounds = zip(*times.values(), strict=True)
    return [float(np.polyfit(log_n, np.log(times_of_round), 1)[0]) for times_of_round in rounds]


def ordering_rounds(runs: int) -> dict[int, Rounds]:
    """Return the seconds of finding a step's samples, the epoch's order being drawn, by how many there are."""
    from medisyn_lib.training import loop

    def find_samples(n: int) -> None:
        for step in range(STEPS_OF_AN_EPOCH):
            loop.sample_rows(0, n, step, 16)

    def seconds_of_a_step(n: int) -> float:
        loop.sample_rows(0, n, 3, 16)  # draws the order
        return pairs.timed(lambda: find_samples(n)) / STEPS_OF_AN_EPOCH

    rounds = pairs.interleaved({str(n): partial(seconds_of_a_step, n) for n in ORDERED}, runs)
    return {int(n): times for n, times in rounds.items()}


def main() -> None:
    """Measure, print tables, draw the figure."""
    options = arguments()
    if options.place:
        train(options)
        return
    sizes = {str(rows): DataSize(rows, CAPTIONS) for rows in options.rows}
    answers = training_rounds(options, sizes)
    order, evaluated = ordering_rounds(options.runs), evaluation_rounds(options.runs)
    training = {
        words.format(unit=pairs.unit()): [[one[key] for one in answers[size]] for size in sizes]
        for key, words in MEASURED.items()
    }
    print(training_table(options, training))
    print("\n" + ordering_table(order))
    print("\n" + evaluation_table(evaluated) + f"\n\n{pairs.machine(options.runs)}")
    if options.figure:
        draw(options, training, order, evaluated)


def training_table(options: Any, training: Mapping[str, list[Rounds]]) -> str:
    """Return the table of a training step over few and many rows."""
    sizes = [f"{n:,} rows" for n in options.rows]
    head = [f"training, profile {options.profile}", *sizes, "ratio"]
    rows = []
    for words, (few, many) in training.items():
        growth = pairs.ratios(many, few)
        rows.append([words, *map(pairs.spread, (few, many, growth))])
    return pairs.table(head, rows)


def ordering_table(order: Mapping[int, Rounds]) -> str:
    """Return the table of finding a step's samples."""
    words = "of the step, to find its samples (`training.sample_rows`): milliseconds"
    rows = [
        [f"{n:,}", pairs.spread([1000 * seconds for seconds in times])]
        for n, times in order.items()
    ]
    return pairs.table(["samples", words], rows)


def evaluation_table(evaluated: Mapping[str, Mapping[int, Rounds]]) -> str:
    """Return the table of evaluations, with the slope of their time."""
    sizes = [f"n = {n:,}, seconds" for n in EVALUATED]
    head = [f"measure, width {WIDTH}", *sizes, "slope of log time over log n"]
    rows = []
    for name, times in evaluated.items():
        seconds = [pairs.spread(rounds, 2) for rounds in times.values()]
        rows.append([name, *seconds, pairs.spread(slopes(times))])
    return pairs.table(head, rows)


def draw(
    options: Any,
    training: Mapping[str, list[Rounds]],
    order: Mapping[int, Rounds],
    evaluated: Mapping[str, Mapping[int, Rounds]],
) -> None:
    """Draw the figure of what was printed."""
    import pandas as pd

    from medisyn_lib.reporting import render
    from medisyn_lib.reporting.figures.benchmarks import GROWTH

    seconds = f"{pairs.unit()}s"
    memory = {"panel": "training memory", "ylabel": "memory (GB)", "yscale": "linear"}
    step = {"panel": "time of a step", "ylabel": seconds, "yscale": "log"}
    evaluation = {"panel": "evaluation", "ylabel": seconds, "yscale": "log"}
    step_words, *memory_words = training
    points: list[dict[str, Any]] = []
    for words in memory_words:
        by_rows = dict(zip(options.rows, training[words], strict=True))
        points += curve(words.removesuffix(", GB"), by_rows, memory)
    points += curve("whole step", dict(zip(options.rows, training[step_words], strict=True)), step)
    points += curve("of it finding its samples", order, step)
    for name, times in evaluated.items():
        thousands = {n / 1000: rounds for n, rounds in times.items()}
        points += curve(name, thousands, evaluation, xlabel="images (thousands)")
    about = f"profile {options.profile}; median and range of {options.runs} runs"
    table = pd.DataFrame(points).assign(title=f"made-up latents and features, {about}")
    render.draw(GROWTH, table, options.figure)
    print(f"drawn in {options.figure}", file=sys.stderr)


def curve(
    group: str,
    rounds: Mapping[Any, Rounds],
    panel: Mapping[str, str],
    xlabel: str = "training images",
) -> list[dict[str, Any]]:
    """Return the rows of the figure's table for one curve, from its rounds by x."""
    return [
        {
            "panel": panel["panel"],
            "group": group,
            "x": x,
            "y": float(np.median(values)),
            "low": min(values),
            "high": max(values),
            "n": len(values),
            "xlabel": xlabel,
            "ylabel": panel["ylabel"],
            "xscale": "log",
            "yscale": panel["yscale"],
        }
        for x, values in rounds.items()
    ]


def arguments() -> Any:
    """Return what the command line asks for."""
    from medisyn_lib.profiles import PROFILES

    parser = pairs.parser(__doc__)
    parser.add_argument("--profile", default="quick", choices=PROFILES)
    parser.add_argument(
        "--rows",
        type=pairs.whole(1000),
        nargs=2,
        default=[10_000, 200_000],
        help="of latents, few and many",
    )
    parser.add_argument("--figure", type=Path, help="folder of the figure")
    parser.add_argument("--place", type=Path, help="of one run, which prints JSON")
    return parser.parse_args()


if __name__ == "__main__":
    pairs.run_script(main)
