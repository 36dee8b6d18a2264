"""What grows with the data: memory and time of a training step, and the seconds of an evaluation.

    python benchmarks/growth.py [--runs 5] [--rows 10000 200000] [--figure figures/benchmarks]

Trains the profile's denoiser for a few steps over made-up latents in a memory-mapped file, as many as `--rows` says,
in two processes that go on in turn; then times the fidelity measures over made-up features of rising n, and a whole
evaluation of made-up images, from their features to measures with intervals. Draws a figure of both where `--figure`
names a folder. Seconds are those of a processor, or on a GPU those on the clock.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pairs

STEPS, LEFT_OUT = 5, 2
CAPTIONS = 400
ORDERED = (10_000, 200_000, 1_000_000, 5_000_000)  # samples whose order is drawn
STEPS_OF_AN_EPOCH = 500
EVALUATED = (1000, 2000, 4000, 8000)  # images
WIDTH, SIDE = 1280, 64  # of the encoder's features, and pixels of an image


def fabricate(folder: Path, rows: int, side: int, width: int, captions: int) -> Path:
    """A folder with latents and captions of `rows` images, and embeddings of as many captions as said."""
    from medisyn_lib.models import networks

    place, rng = folder / f"{rows}-{captions}", np.random.default_rng(0)
    place.mkdir()
    shape = (rows, networks.LATENT_CHANNELS, side, side)
    latents = np.lib.format.open_memmap(place / "latents.npy", "w+", np.float16, shape)
    for start in range(0, rows, 5000):
        latents[start : start + 5000] = rng.standard_normal(
            (len(latents[start : start + 5000]), *shape[1:]), np.float32
        )
    latents.flush()
    words = rng.standard_normal((captions + 1, networks.CONTEXT, width), np.float32)
    np.save(place / "embeddings.npy", words.astype(np.float16))
    np.save(place / "caption.npy", rng.integers(captions, size=rows))
    return place


def train(options: Any) -> None:
    """For each line read, trains for some steps more.

    Prints seconds a step (`pairs.spent`), and the memory held at the most, with and without mapped files, in GB.
    """
    from medisyn_lib.pipeline.denoisers import denoiser_plan, new_denoiser
    from medisyn_lib.pipeline.latents import load_latents
    from medisyn_lib.pipeline.study import Study
    from medisyn_lib.training.denoiser import train_denoiser

    study = Study(options.profile, "phantom")
    net, plan = new_denoiser(study, 0), denoiser_plan(study)
    latents = load_latents(options.place)
    embeddings, caption = (
        np.load(options.place / "embeddings.npy", mmap_mode="r"),
        np.load(options.place / "caption.npy"),
    )

    def go(steps: int, seed: int) -> float:
        start = pairs.spent()
        with tempfile.TemporaryDirectory() as folder:
            one = replace(plan, steps=steps, seed=seed)
            train_denoiser(net, latents, embeddings, caption, one, Path(folder))
        return (pairs.spent() - start) / steps

    go(LEFT_OUT, 0)
    for turn, _ in enumerate(sys.stdin):
        found = {"step": go(STEPS, 1 + turn), "peak": pairs.peak(), "anonymous": pairs.anonymous()}
        print(json.dumps(found), flush=True)


def steps(options: Any, sizes: dict[str, tuple[int, int]]) -> dict[str, list[dict[str, float]]]:
    """What `train` prints of the denoiser with each of these numbers of images and captions, round by round."""
    from medisyn_lib.models import networks
    from medisyn_lib.pipeline.embeddings import TEXT_WIDTH
    from medisyn_lib.profiles import PROFILES

    found: dict[str, list[dict[str, float]]] = {name: [] for name in sizes}
    with tempfile.TemporaryDirectory() as folder:
        side = PROFILES[options.profile].size // networks.DOWNSCALE
        places = {
            name: fabricate(Path(folder), rows, side, TEXT_WIDTH, captions)
            for name, (rows, captions) in sizes.items()
        }
        command = [__file__, f"--profile={options.profile}"]
        running = {
            name: pairs.waiting([*command, f"--place={place}"]) for name, place in places.items()
        }

        def one(name: str) -> float:
            found[name].append(pairs.asked(running[name]))
            return found[name][-1]["step"]

        pairs.interleaved({name: lambda name=name: one(name) for name in sizes}, options.runs)
        for process in running.values():
            pairs.closed(process)
            process.wait()
    return found


def took(work: Callable[[], Any]) -> float:
    """Seconds (`pairs.spent`)."""
    start = pairs.spent()
    work()
    return pairs.spent() - start


def from_images(*, real: np.ndarray, synthetic: np.ndarray) -> None:
    """A whole evaluation: features of images, and all measures with their intervals."""
    from medisyn_lib.evaluation import fidelity
    from medisyn_lib.models import encoders

    fidelity.measures(real=encoders.features(real), synthetic=encoders.features(synthetic))


def evaluation(runs: int) -> dict[str, dict[int, list[float]]]:
    """Seconds of the Frechet distance, of all measures once, and of a whole evaluation, by n."""
    from medisyn_lib.evaluation import fidelity

    rng = np.random.default_rng(0)
    features = [np.maximum(rng.standard_normal((EVALUATED[-1], WIDTH)), 0) for _ in range(2)]
    images = [rng.integers(0, 256, (EVALUATED[-1], SIDE, SIDE, 3), np.uint8) for _ in range(2)]
    kinds: dict[str, tuple[Callable[..., Any], list[np.ndarray]]] = {
        "Frechet distance": (fidelity.frechet_distance, features),
        "all measures, once": (partial(fidelity.measures, groups=0), features),
        "from images to intervals": (from_images, images),
    }
    sides = {
        (kind, n): lambda measure=measure, x=x, y=y, n=n: took(
            lambda: measure(real=x[:n], synthetic=y[:n])
        )
        for kind, (measure, (x, y)) in kinds.items()
        for n in EVALUATED
    }
    for side in list(sides.values())[:: len(EVALUATED)]:
        side()  # imports
    found = pairs.interleaved({f"{kind} {n}": side for (kind, n), side in sides.items()}, runs)
    return {kind: {n: found[f"{kind} {n}"] for n in EVALUATED} for kind in kinds}


def slopes(times: dict[int, list[float]]) -> list[float]:
    """Of log time over log n, round by round."""
    return [
        float(np.polyfit(np.log(list(times)), np.log(turn), 1)[0])
        for turn in zip(*times.values(), strict=True)
    ]


def ordering(runs: int) -> dict[int, list[float]]:
    """Seconds of finding a step's samples, the epoch's order being drawn, by how many there are."""
    from medisyn_lib.training import loop

    def one(n: int) -> float:
        loop.sample_rows(0, n, 3, 16)  # draws the order
        return took(lambda: [loop.sample_rows(0, n, step, 16) for step in range(STEPS_OF_AN_EPOCH)])

    sides = {str(n): lambda n=n: one(n) / STEPS_OF_AN_EPOCH for n in ORDERED}
    return {int(n): times for n, times in pairs.interleaved(sides, runs).items()}


def main() -> None:
    """Measures, prints tables, draws the figure."""
    options = arguments()
    if options.place:
        train(options)
        return
    found = steps(options, {str(rows): (rows, CAPTIONS) for rows in options.rows})
    order, evaluated = ordering(options.runs), evaluation(options.runs)
    few, many = (found[str(n)] for n in options.rows)
    words = {
        "step": f"{pairs.unit()}s a step",
        "peak": "peak memory, GB",
        "anonymous": "memory of its own after a round, GB",
    }
    head = [f"training, profile {options.profile}", *(f"{n:,} rows" for n in options.rows), "ratio"]
    sets = {
        word: [[run[unit] for run in runs] for runs in (few, many)] for unit, word in words.items()
    }
    print(
        pairs.table(
            head,
            [
                [w, *map(pairs.spread, both), pairs.spread(pairs.ratios(*both[::-1]))]
                for w, both in sets.items()
            ],
        )
    )
    rows = [[f"{n:,}", pairs.spread([1000 * x for x in times])] for n, times in order.items()]
    print(
        "\n"
        + pairs.table(
            ["samples", "of the step, to find its samples (`training.sample_rows`): milliseconds"],
            rows,
        )
    )
    head = [
        f"measure, width {WIDTH}",
        *(f"n = {n:,}, seconds" for n in EVALUATED),
        "slope of log time over log n",
    ]
    rows = [
        [k, *(pairs.spread(t, 2) for t in times.values()), pairs.spread(slopes(times))]
        for k, times in evaluated.items()
    ]
    print("\n" + pairs.table(head, rows) + f"\n\n{pairs.machine(options.runs)}")
    if options.figure:
        draw(options, sets, order, evaluated)


def draw(options: Any, sets: dict[str, list[list[float]]], order: Any, evaluated: Any) -> None:
    """The figure of what was printed."""
    import pandas as pd

    from medisyn_lib.reporting.figures.benchmarks import GROWTH
    from medisyn_lib.reporting.render import draw

    curves = {
        ("training memory", "memory (GB)", w): dict(zip(options.rows, sets[w], strict=True))
        for w in list(sets)[1:]
    }
    first = next(iter(sets))
    curves["time of a step", f"{pairs.unit()}s", "whole step"] = dict(
        zip(options.rows, sets[first], strict=True)
    )
    curves["time of a step", f"{pairs.unit()}s", "of it finding its samples"] = order
    for kind, times in evaluated.items():
        curves["evaluation", f"{pairs.unit()}s", kind] = {
            n / 1000: spent for n, spent in times.items()
        }
    table = pd.DataFrame(
        {
            "panel": panel, "group": group.removesuffix(", GB"), "x": x, "y": float(np.median(values)),
            "low": min(values), "high": max(values), "n": len(values),
            "xlabel": "images (thousands)" if panel == "evaluation" else "training images",
            "ylabel": label, "xscale": "log", "yscale": "linear" if "memory" in panel else "log",
        }
        for (panel, label, group), points in curves.items() for x, values in points.items()
    )  # fmt: skip
    title = f"made-up latents and features, profile {options.profile}; median and range of {options.runs} runs"
    draw(GROWTH, table.assign(title=title), options.figure)
    print(f"drawn in {options.figure}", file=sys.stderr)


def arguments() -> Any:
    """What the command line asks for."""
    from medisyn_lib.profiles import PROFILES

    parser = pairs.parser(__doc__)
    parser.add_argument("--profile", default="quick", choices=PROFILES)
    rows = {"type": pairs.whole(1000), "nargs": 2, "default": [10_000, 200_000]}
    parser.add_argument("--rows", **rows, help="of latents, few and many")
    parser.add_argument("--figure", type=Path, help="folder of the figure")
    parser.add_argument("--place", type=Path, help="of one run, which prints JSON")
    return parser.parse_args()


if __name__ == "__main__":
    pairs.run_script(main)
