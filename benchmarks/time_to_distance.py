"""How long diffusers' own text-to-image example takes to come as near to real images as our training does.

    python benchmarks/time_to_distance.py --peer train_text_to_image.py [--profile quick] [--data phantom]
        [--steps N] [--times 10] [--runs 5] [--seed K] [--tuned] [--workers N]

Both sides start from the same untrained denoiser (another one each round) and the same images, captions, first stage
and text encoder, and take the same batch. Ours trains for `--steps` steps, by default the profile's own number; the
peer (see training_speed.py) with its defaults, but for the velocity that it predicts, until it has had `--times` as
many seconds: those of a processor, or on a GPU those on the clock. Both are drawn in 20 steps, without guidance, as the
peer drops no captions, and once more with the profile's guidance; since dropping captions is a part of our recipe, each
side is also held to whichever of the two is nearer to the real images. The peer's checkpoints, each after twice as long
as the one before, say when it was as near as ours (`compute.compute_to_reach`). With `--tuned` beside it the peer with
our rate, schedule and averaging, for as many steps as ours; and what the evaluators read in the images, since a
distance may be small where nothing can be read yet. The store keeps each round: `--seed K` runs one alone. A round
takes long: in `quick` on two cores one to two hours, on one GPU some minutes.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pairs
import recipes
import training_speed
from recipe_parts import RECIPES, scheduler

from medisyn_lib.data import sources
from medisyn_lib.errors import InputError
from medisyn_lib.evaluation.efficiency import compute_to_reach
from medisyn_lib.models import networks
from medisyn_lib.pipeline.denoisers import denoiser_plan, new_denoiser
from medisyn_lib.pipeline.embeddings import text_entry
from medisyn_lib.pipeline.latents import latents_entry
from medisyn_lib.pipeline.study import MODELS_CODE, Study
from medisyn_lib.runtime import store

DISTANCES, SHARES = ("FD", "KID"), ("modality", "finding")
GUIDED = {"num_inference_steps": 20}
PLAIN = GUIDED | {"guidance_scale": 1.0}
WAYS = {"unguided": "", "unguided or guided, whichever is nearer": ", nearest"}


def ours(study: Study, seed: int, steps: int) -> dict[str, float]:
    """Distances after that many steps of our training, and its processor seconds."""
    trial = recipes.Trial(study, RECIPES["ours"], seed)
    seconds = trial.train(steps)
    return judged(study, trial.net, networks.scheduler()) | {"seconds": seconds}


def judged(study: Study, net: Any, solver: Any) -> dict[str, float]:
    """Distances and shares of unguided images; `FD, nearest` and so on: of these or of guided ones, by FD (or KID)."""
    ways = [recipes.judged(study, net, solver, **call) for call in (PLAIN, GUIDED)]
    nearest = {f"{k}, nearest": min(way[k] for way in ways) for k in DISTANCES}
    nearest |= {f"{k}, nearest": min(ways, key=lambda way: way["FD"])[k] for k in SHARES}
    return ways[0] | nearest


class Timed(training_speed.Peer):
    """The peer, with the processor seconds of each step that was seen to end."""

    def trained(self, most: float, steps: float = np.inf) -> dict[int, float]:
        """Lets it go on until it has had so many processor seconds or steps; seconds by step, set-up left out."""
        start, found = self.seen, {}
        while self.seen[1] - start[1] < most and self.seen[0] < steps:
            try:
                self.until(self.seen[0] + 1)
            except InputError:
                if self.child.wait() or steps == np.inf:
                    raise
                break  # it has done all its steps and ended well
            found[self.seen[0]] = (
                (self.seen[1] - start[1]) * self.seen[0] / (self.seen[0] - start[0])
            )
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait()
        return found


def theirs(
    options: Any, study: Study, folder: Path, seed: int, own: dict[str, float]
) -> dict[str, Any]:
    """When the released script was as near as ours, in multiples of our seconds; and how near it ended."""
    place = folder / "trained"
    changed = {"checkpointing_steps": max(1, options.steps // 4), "max_train_steps": 10**6}
    changed["dataloader_num_workers"] = options.workers
    peer = Timed(options, folder, denoiser_plan(study).batch, seed=seed, **changed)
    seconds = peer.trained((options.times + 1) * own["seconds"])  # and on to the checkpoint after
    done = sorted(int(path.name.rpartition("-")[2]) for path in place.glob("checkpoint-*"))[
        :-1
    ]  # the last may be cut
    kept = [
        step
        for step in done
        if step in seconds and ((n := step // changed["checkpointing_steps"]) & (n - 1)) == 0
    ]
    kept = sorted({*kept, done[-1]})  # each twice the one before, and the last
    found = [distances(study, place / f"checkpoint-{step}" / "unet") for step in kept]
    shutil.rmtree(place)
    cost = [seconds[step] / own["seconds"] for step in kept]
    reach = {
        kind: compute_to_reach(
            compute=cost, distance=[one[kind] for one in found], target=own[kind]
        )
        for kind in (f"{kind}{way}" for kind in DISTANCES for way in WAYS.values())
    }
    return {
        "trained_for": cost[-1],
        "reached": reach,
        "last": found[-1],
        "way": dict(zip(kept, found, strict=True)),
    }


def tuned(options: Any, study: Study, folder: Path, seed: int) -> dict[str, float]:
    """Distances of the script with our rate, schedule and averaging, after as many steps as ours; its seconds."""
    plan = denoiser_plan(study)
    changed = {
        "learning_rate": plan.learning_rate,
        "lr_scheduler": "cosine",
        "adam_beta2": 0.99,
        "use_ema": True,
    }
    changed |= {
        "lr_warmup_steps": round(plan.warmup_fraction * options.steps),
        "max_train_steps": options.steps,
    }
    peer = Timed(
        options, folder, plan.batch, seed=seed, checkpointing_steps=options.steps, **changed
    )
    seconds = peer.trained(np.inf, options.steps + 1)
    place = folder / "trained"
    found = distances(study, place / f"checkpoint-{options.steps}" / "unet_ema")
    shutil.rmtree(place)
    return found | {"seconds": seconds[max(seconds)]}


def distances(study: Study, folder: Path) -> dict[str, float]:
    """Of the images of a checkpoint of the peer."""
    from diffusers import UNet2DConditionModel

    net = UNet2DConditionModel.from_pretrained(folder)
    return judged(study, net, scheduler(RECIPES["DDPM's path, velocity"]))


def one_round(options: Any, study: Study, folder: Path, seed: int) -> dict[str, Any]:
    """All sides from the denoiser of a seed; kept in the store."""
    what = {
        "peer": hashlib.sha256(options.peer.read_bytes()).hexdigest(),
        "seed": seed,
        "steps": options.steps,
    }
    what |= {"times": options.times, "data": options.data, "images": recipes.IMAGES}
    what |= {"tuned": options.tuned, "workers": options.workers, "drawn": [PLAIN, GUIDED]}

    def make(directory: Path) -> None:
        new_denoiser(study, seed).save_pretrained(folder / "pipeline" / "unet")
        own = ours(study, seed, options.steps)
        found = {
            "ours": own,
            "peer": theirs(options, study, folder, seed, own),
        }
        found |= {"tuned": tuned(options, study, folder, seed)} if options.tuned else {}
        store.write_atomic(directory / "found.json", json.dumps(found))

    inputs = [latents_entry(study).name, text_entry(study).name]
    code = ("medisyn_lib.training.denoiser", *MODELS_CODE)
    entry = store.keep("time_to_distance", what, make, inputs=inputs, code=code)
    found = dict(json.loads((entry / "found.json").read_text("utf-8")))
    print(f"  seed {seed}: {json.dumps(found)}", file=sys.stderr, flush=True)
    return found


def main() -> None:
    """Lets the sides train in turn and prints the table."""
    options = arguments()
    if options.peer is None or not options.peer.is_file():
        raise InputError(
            f"--peer {options.peer}: give the path of diffusers' train_text_to_image.py (see --help)"
        )
    sources.preflight(options.data)
    options.precision = training_speed.machine_precision()
    study = Study(options.profile, options.data)
    options.size, options.steps = (
        study.settings.size,
        options.steps or study.settings.denoiser_steps,
    )
    seeds = range(options.runs) if options.seed is None else [options.seed]
    with tempfile.TemporaryDirectory() as place:
        training_speed.prepared(options, Path(place), study.settings.images)
        rounds = [one_round(options, study, Path(place), seed) for seed in seeds]
    if options.seed is None:
        report(options, rounds)


def report(options: Any, rounds: list[dict[str, Any]]) -> None:
    """Prints a table for each of WAYS."""
    own, peer = ([one[side] for one in rounds] for side in ("ours", "peer"))
    spent = [a["trained_for"] * b["seconds"] for a, b in zip(peer, own, strict=True)]
    head = [
        "training",
        f"{pairs.unit()}s",
        "FD_efflite0",
        "KID_efflite0 x 1000",
        "modality read, %",
        "finding read, %",
    ]
    for drawn, way in WAYS.items():
        kinds = [f"{kind}{way}" for kind in (*DISTANCES, *SHARES)]
        rows = [
            ["ours", *(pairs.spread([x[k] for x in own]) for k in ("seconds", *kinds)), "1", "1"]
        ]
        last, when = (
            [pairs.spread([x["last"][k] for x in peer]) for k in kinds],
            [reached(peer, k) for k in kinds[:2]],
        )
        rows.append(["diffusers' example as released", pairs.spread(spent), *last, *when])
        if options.tuned:
            near = [pairs.spread([one["tuned"][k] for one in rounds]) for k in ("seconds", *kinds)]
            rows.append(["the same, with our rate, schedule and averaging", *near, "", ""])
        print(pairs.table([*head, "times ours to our FD", "times ours to our KID"], rows))
        print(f"\nProfile {options.profile}, {options.data}; ours {options.steps} steps;", end=" ")
        print(f"{recipes.IMAGES} images a side, {drawn}.\n")
    print(pairs.machine(options.runs))


def reached(peer: list[dict[str, Any]], kind: str) -> str:
    """In how many multiples of our seconds the peer came as near, or that it did not."""
    times = [one["reached"][kind] for one in peer]
    missed = [one["trained_for"] for one, x in zip(peer, times, strict=True) if not np.isfinite(x)]
    if len(missed) == len(times):
        return f"over {min(missed):.1f}, never reached"
    words = pairs.spread([x for x in times if np.isfinite(x)])
    return words + (
        f"; in {len(missed)} of {len(times)} not within {min(missed):.1f}" if missed else ""
    )


def arguments() -> Any:
    """What the command line asks for."""
    from medisyn_lib.profiles import PROFILES

    parser = pairs.parser(__doc__)
    parser.add_argument("--peer", type=Path, help="path of diffusers' train_text_to_image.py")
    parser.add_argument("--profile", default="quick", choices=PROFILES)
    parser.add_argument("--data", default="phantom", help="a data source")
    parser.add_argument(
        "--steps", type=pairs.whole(4, 10**6), help="of ours (default: the profile's)"
    )
    parser.add_argument(
        "--times", type=pairs.whole(2, 1000), default=10, help="our seconds, that the peer has"
    )
    parser.add_argument(
        "--tuned", action="store_true", help="the peer also with our rate, schedule and averaging"
    )
    parser.add_argument(
        "--workers", type=pairs.whole(0, 64), default=0, help="of the peer, that read images"
    )
    parser.add_argument(
        "--seed", type=pairs.whole(0), help="one round alone, for a second machine or core; kept"
    )
    return parser.parse_args()


if __name__ == "__main__":
    pairs.run_script(main)
