"""How long diffusers' own text-to-image example takes to come as near to real images as our training does.

    python benchmarks/time_to_distance.py --peer train_text_to_image.py [--profile quick] [--data phantom]
        [--steps N] [--times 10] [--runs 5] [--seed K] [--tuned] [--workers N]

Both start from the same untrained denoiser (another one each round) and the same images, captions, autoencoder and
text encoder, and take the same batch. Ours trains for `--steps` steps, by default the profile's own number; the peer
(`peer.py`) with its defaults, but for the velocity that it predicts, until it has had `--times` as many seconds: those
of a processor, or on a GPU wall-clock. Both are sampled in 20 steps, without guidance, as the peer drops no captions,
and once more with the profile's guidance; since dropping captions is a part of our recipe, each is also held to
whichever of the two is nearer to the real images. The peer's checkpoints, each after twice as long as the one before,
say when it was as near as ours (`evaluation.efficiency.compute_to_reach`). With `--tuned` beside it the peer with our
learning rate, schedule and EMA, for as many steps as ours; and what the evaluators recover from the images, since a
distance may be small where nothing can be recovered yet. The store keeps each round: `--seed K` runs one alone. A round
takes long: in `quick` on two cores one to two hours, on one GPU some minutes.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pairs
import peer
import recipes
from recipe_parts import RECIPES, scheduler

from medisyn_lib.data import sources
from medisyn_lib.errors import InputError
from medisyn_lib.evaluation.efficiency import compute_to_reach
from medisyn_lib.evaluation.nearness import NEIGHBOURS
from medisyn_lib.models import networks
from medisyn_lib.pipeline.artifacts import TRAINING_CODE, UNKEYED, Artifact
from medisyn_lib.pipeline.autoencoders import Latents
from medisyn_lib.pipeline.denoisers import denoiser_plan
from medisyn_lib.pipeline.embeddings import Embeddings
from medisyn_lib.pipeline.study import Study
from medisyn_lib.runtime import store
from medisyn_lib.training import denoiser

DISTANCES, OTHERS = ("KID",), ("coverage", "modality", "finding")
GUIDED = {"num_inference_steps": 20}
PLAIN = GUIDED | {"guidance_scale": 1.0}
# How images are sampled, and what it adds to the names of what is measured of them.
WAYS = {"unguided": "", "unguided or guided, whichever is nearer": ", nearest"}
CHECKPOINTS = 4  # of the peer, in as many steps as ours
OUTCOME = "found.json"


def train_ours(study: Study, seed: int, steps: int) -> dict[str, float]:
    """Train for that many steps; return distances, accuracies and seconds."""
    trial = recipes.Trial(study, RECIPES["ours"], seed)
    seconds = trial.train(steps)
    return judge(study, trial.net, networks.scheduler()) | {"seconds": seconds}


def judge(study: Study, net: Any, solver: Any) -> dict[str, float]:
    """Return what `recipes.judge` measures of unguided images.

    `KID, nearest` and so on are those of these images or of guided ones, whichever have the lower KID.
    """
    plain, guided = (recipes.judge(study, net, solver, **call) for call in (PLAIN, GUIDED))
    nearer = plain if plain["KID"] <= guided["KID"] else guided
    return plain | {f"{name}, nearest": nearer[name] for name in (*DISTANCES, *OTHERS)}


class TimedPeer(peer.Peer):
    """The peer, with the seconds of each step that was seen to end."""

    def train(self, most: float, steps: float = np.inf) -> dict[int, float]:
        """Let it go on until it has had so many seconds or steps; return seconds by step, set-up left out."""
        first, seconds = self.progress, {}
        while self.progress.seconds - first.seconds < most and self.progress.step < steps:
            try:
                self.until(self.progress.step + 1)
            except InputError:
                if self.child.wait() or steps == np.inf:
                    raise
                break  # it has done all its steps and ended well
            step = self.progress.step
            of_a_step = (self.progress.seconds - first.seconds) / (step - first.step)
            seconds[step] = of_a_step * step
        self.end()
        return seconds


@dataclass(frozen=True, eq=False)
class Round(Artifact):
    """Ours and the peer trained from the denoiser of one seed, and judged."""

    step = "time_to_distance"
    code = (networks, *TRAINING_CODE, denoiser)
    peer_sha256: str
    seed: int
    steps: int
    times: int
    images: int
    tuned: bool
    workers: int
    calls: tuple[dict[str, float], ...]
    latents: Latents
    embeddings: Embeddings
    study: Study = field(metadata=UNKEYED, kw_only=True)
    options: Any = field(metadata=UNKEYED, kw_only=True)
    material: Path = field(metadata=UNKEYED, kw_only=True)  # the folder that the peer trains from

    def make(self, folder: Path) -> None:
        """Train all and write what was found."""
        net = self.study.denoiser_shape.new(self.seed)
        net.save_pretrained(self.material / "pipeline" / "unet")
        ours = train_ours(self.study, self.seed, self.steps)
        outcome = {"ours": ours, "peer": self._train_peer(ours)}
        if self.tuned:
            outcome["tuned"] = self._train_tuned_peer()
        store.write_atomic(folder / OUTCOME, json.dumps(outcome))

    def load(self) -> dict[str, Any]:
        """Return what was found of `ours`, of the `peer` and of the `tuned` one."""
        return dict(json.loads((self.folder / OUTCOME).read_text("utf-8")))

    def _train_peer(self, ours: dict[str, float]) -> dict[str, Any]:
        """When the released script was as near as ours, in multiples of our seconds; and how near it ended."""
        every = max(1, self.steps // CHECKPOINTS)
        # One more, so that it goes on to the checkpoint after.
        most = (self.times + 1) * ours["seconds"]
        seconds = self._peer(checkpointing_steps=every, max_train_steps=peer.ENDLESS).train(most)
        trained = self.material / "trained"
        steps = chosen_checkpoints(trained, every, list(seconds))
        judged = [judge_checkpoint(self.study, trained / f"checkpoint-{n}" / "unet") for n in steps]
        shutil.rmtree(trained)
        cost = [seconds[step] / ours["seconds"] for step in steps]
        reached = {}
        for name in (f"{name}{way}" for name in DISTANCES for way in WAYS.values()):
            curve = [one[name] for one in judged]
            reached[name] = compute_to_reach(compute=cost, distance=curve, target=ours[name])
        return {
            "trained_for": cost[-1],
            "reached": reached,
            "last": judged[-1],
            "way": dict(zip(steps, judged, strict=True)),
        }

    def _train_tuned_peer(self) -> dict[str, float]:
        """How near the script comes with our learning rate, schedule and EMA, after as many steps as ours."""
        plan = denoiser_plan(self.study.settings)
        timed = self._peer(
            checkpointing_steps=self.steps,
            max_train_steps=self.steps,
            learning_rate=plan.learning_rate,
            lr_scheduler="cosine",
            lr_warmup_steps=round(plan.warmup_fraction * self.steps),
            adam_beta2=0.99,
            use_ema=True,
        )
        seconds = timed.train(np.inf, self.steps + 1)
        trained = self.material / "trained"
        judged = judge_checkpoint(self.study, trained / f"checkpoint-{self.steps}" / "unet_ema")
        shutil.rmtree(trained)
        return judged | {"seconds": seconds[max(seconds)]}

    def _peer(self, **changed: Any) -> TimedPeer:
        batch = denoiser_plan(self.study.settings).batch
        changed |= {"seed": self.seed, "dataloader_num_workers": self.workers}
        return TimedPeer(self.options, self.material, batch, **changed)


def chosen_checkpoints(trained: Path, every: int, timed: Sequence[int]) -> list[int]:
    """Return the steps of the peer's checkpoints that are judged: each twice the one before, and the last."""
    steps = sorted(int(path.name.rpartition("-")[2]) for path in trained.glob("checkpoint-*"))
    whole = steps[:-1]  # the last may be cut
    doubling = [step for step in whole if step in timed and is_power_of_two(step // every)]
    return sorted({*doubling, whole[-1]})


def is_power_of_two(number: int) -> bool:
    """Say whether a whole number is 1, 2, 4, 8 or so on."""
    return number > 0 and number.bit_count() == 1


def judge_checkpoint(study: Study, folder: Path) -> dict[str, float]:
    """Return distances and accuracies of the images of a checkpoint of the peer."""
    from diffusers import UNet2DConditionModel

    net = UNet2DConditionModel.from_pretrained(folder)
    return judge(study, net, scheduler(RECIPES["DDPM's path, velocity"]))


def run_round(options: Any, study: Study, material: Path, seed: int) -> dict[str, Any]:
    """Return the outcome of a seed's round, cached."""
    outcome = Round(
        peer_sha256=hashlib.sha256(options.peer.read_bytes()).hexdigest(),
        seed=seed,
        steps=options.steps,
        times=options.times,
        images=recipes.IMAGES,
        tuned=options.tuned,
        workers=options.workers,
        calls=(PLAIN, GUIDED),
        latents=study.latents,
        embeddings=study.embeddings,
        study=study,
        options=options,
        material=material,
    ).load()
    print(f"  seed {seed}: {json.dumps(outcome)}", file=sys.stderr, flush=True)
    return outcome


def main() -> None:
    """Let both train in turn and print the table."""
    options = arguments()
    peer.check_peer(options.peer)
    sources.preflight(options.data)
    options.precision = peer.machine_precision()
    study = Study(options.profile, options.data)
    options.size = study.settings.size
    options.steps = options.steps or study.settings.denoiser_steps
    seeds = range(options.runs) if options.seed is None else [options.seed]
    with tempfile.TemporaryDirectory() as place:
        peer.write_material(study, Path(place), study.settings.images)
        rounds = [run_round(options, study, Path(place), seed) for seed in seeds]
    if options.seed is None:
        report(options, rounds)


def report(options: Any, rounds: list[dict[str, Any]]) -> None:
    """Print a table for each of WAYS."""
    head = [
        "training",
        f"{pairs.unit()}s",
        "KID",
        f"coverage (k = {NEIGHBOURS})",
        "modality recovered, %",
        "finding recovered, %",
        "times ours to our KID",
    ]
    for words, way in WAYS.items():
        print(pairs.table(head, rows_of(rounds, way, tuned=options.tuned)))
        print(f"\nProfile {options.profile}, {options.data}; ours {options.steps} steps;", end=" ")
        n = round(rounds[0]["ours"]["images"])
        print(f"{n} images on each side, {words}; KID and coverage: means over modalities.\n")
    print(pairs.machine(options.runs))


def rows_of(rounds: list[dict[str, Any]], way: str, *, tuned: bool) -> list[list[str]]:
    """Return the rows of one way to sample."""
    distances = [f"{name}{way}" for name in DISTANCES]
    names = [*distances, *(f"{name}{way}" for name in OTHERS)]

    def spreads(measured: list[dict[str, float]], *names: str) -> list[str]:
        return [pairs.spread([one[name] for one in measured]) for name in names]

    ours, peers = [one["ours"] for one in rounds], [one["peer"] for one in rounds]
    seconds = [
        theirs["trained_for"] * one["seconds"] for theirs, one in zip(peers, ours, strict=True)
    ]
    last = spreads([one["last"] for one in peers], *names)
    times = [times_to_reach(peers, name) for name in distances]
    rows = [
        ["ours", *spreads(ours, "seconds", *names), "1"],
        ["diffusers' example as released", pairs.spread(seconds), *last, *times],
    ]
    if tuned:
        measured = spreads([one["tuned"] for one in rounds], "seconds", *names)
        rows.append(["the same, with our rate, schedule and averaging", *measured, ""])
    return rows


def times_to_reach(peers: list[dict[str, Any]], name: str) -> str:
    """Say in how many multiples of our seconds the peer came as near, or that it did not."""
    times = [one["reached"][name] for one in peers]
    reached = [value for value in times if np.isfinite(value)]
    missed = [
        one["trained_for"]
        for one, value in zip(peers, times, strict=True)
        if not np.isfinite(value)
    ]
    if not reached:
        return f"over {min(missed):.1f}, never reached"
    words = pairs.spread(reached)
    if missed:
        words += f"; in {len(missed)} of {len(times)} not within {min(missed):.1f}"
    return words


def arguments() -> Any:
    """Return what the command line asks for."""
    parser = pairs.parser(__doc__)
    pairs.add_study(parser)
    peer.add_arguments(parser)
    parser.add_argument(
        "--steps", type=pairs.whole(4, 10**6), help="of ours (default: the profile's)"
    )
    parser.add_argument(
        "--times", type=pairs.whole(2, 1000), default=10, help="our seconds, that the peer has"
    )
    parser.add_argument(
        "--tuned", action="store_true", help="the peer also with our learning rate, schedule, EMA"
    )
    parser.add_argument(
        "--seed", type=pairs.whole(0), help="one round alone, for a second machine or core; cached"
    )
    return parser.parse_args()


if __name__ == "__main__":
    pairs.run_script(main)
