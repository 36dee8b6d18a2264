"""What other recipes for training the denoiser reach in the time that ours takes: one change at a time.

    python benchmarks/recipes.py [--profile quick] [--data phantom] [--steps 200] [--seeds 3] [--jobs 2]
        [--only NAME ...]

Every recipe (`recipe_parts.RECIPES`) starts from an untrained denoiser of the same seed, with the same captions and
embeddings, and gets the processor seconds that ours takes for `--steps` steps (on a GPU: wall-clock seconds). How many
steps of its own fit is timed first, beside ours, in one process. Then an image is sampled for each held-out caption,
with the generator's own settings.

The measure is the mean over modalities of KID and of coverage (k = 5), EfficientNet-Lite0 at 128 pixels. Beside it
stands what the evaluators recover from the images. No network that judges images takes part in any recipe's loss.
KID is given as a ratio to ours, seed by seed over `--seeds` seeds. Training another autoencoder is not charged to a
recipe. The store keeps the result of each training, so that a second call continues.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pairs
import torch
from recipe_material import autoencoder_of
from recipe_parts import RECIPES, SHAPES, LatentShape, Recipe, RecipeLoss, make_muon, scheduler

from medisyn_lib.data import sources
from medisyn_lib.errors import InputError
from medisyn_lib.evaluation.nearness import NEIGHBOURS, nearness
from medisyn_lib.models import encoders, networks
from medisyn_lib.pipeline.artifacts import TRAINING_CODE, UNKEYED, Artifact, ImageSet
from medisyn_lib.pipeline.autoencoders import Autoencoder, Latents
from medisyn_lib.pipeline.denoisers import denoiser_plan
from medisyn_lib.pipeline.embeddings import TEXT_WIDTH, Embeddings
from medisyn_lib.pipeline.generators import SamplingCall, assemble
from medisyn_lib.pipeline.study import Study
from medisyn_lib.runtime import store
from medisyn_lib.runtime.device import seeded
from medisyn_lib.sampling.pipeline import load_pipeline, sample_images, sampling_settings
from medisyn_lib.training import denoiser, loop
from medisyn_lib.training.denoiser import drop_captions
from medisyn_lib.training.schedules import warmup_constant, warmup_cosine

IMAGES = 300  # per modality, at most, that are compared
TIMED_STEPS, WARMUP_STEPS = 4, 2
OUTCOME = "outcome.json"


class Trial:
    """A recipe about to be trained from a seed's denoiser, as often and as long as is asked."""

    def __init__(self, study: Study, recipe: Recipe, seed: int) -> None:
        self.study, self.recipe = study, recipe
        self.autoencoder = autoencoder_of(study, recipe)
        self.latents = Latents(self.autoencoder, study.image_set("generator")).array()
        embeddings, self.caption = study.embeddings.load()
        self.embeddings = np.asarray(embeddings)
        widths = recipe.widths or study.settings.denoiser_widths
        shape = SHAPES.get(recipe.autoencoder, LatentShape())
        with seeded(seed):
            self.net = networks.denoiser(
                study.settings.size,
                widths,
                text_width=TEXT_WIDTH,
                latent_channels=shape.channels,
                downscale=shape.downscale,
            )
            self.loss = RecipeLoss(self.net, recipe)
        plan = denoiser_plan(study.settings, seed=seed)
        scaled = {}
        for name, factor in recipe.plan_factors.items():
            value = getattr(plan, name)
            scaled[name] = type(value)(value * factor)
        self.plan = replace(plan, **scaled)

    def make_batch(self, rows: np.ndarray, draws: loop.Draws) -> dict[str, torch.Tensor]:
        """Draw what `training.denoiser.train_denoiser` draws."""
        noise = draws.normal(*self.latents.shape[1:])
        time = torch.sigmoid(draws.normal())
        words = drop_captions(self.caption[rows], draws, len(self.embeddings) - 1)
        batch = {
            "latents": self.latents[rows],
            "noise": noise,
            "time": time,
            "text": self.embeddings[words],
        }
        return {name: torch.as_tensor(values).float() for name, values in batch.items()}

    def train(self, steps: int) -> float:
        """Train for some steps, a whole schedule; return the seconds (`pairs.clock`)."""
        start = pairs.clock()
        with tempfile.TemporaryDirectory() as folder:
            loop.fit(
                self.loss,
                self.make_batch,
                n=len(self.latents),
                plan=replace(self.plan, steps=steps),
                directory=Path(folder),
                make_optimiser=make_muon if self.recipe.muon else loop.adamw,
                schedule=warmup_constant if self.recipe.constant else warmup_cosine,
            )
        return pairs.clock() - start


def judge(
    study: Study, net: Any, solver: Any, tried: Autoencoder | None = None, **call: Any
) -> dict[str, float]:
    """Compare a denoiser's images with the real ones of the same captions.

    Parameters
    ----------
    study : Study
        Whose held-out images, captions and evaluator judge.
    net, solver
        The denoiser and its scheduler.
    tried : Autoencoder or None
        That of the denoiser's latents; None is the study's own.
    **call
        As of `sample_images`, in place of the generator's own settings.

    Returns
    -------
    dict of str to float
        `KID` and `coverage` (`evaluation.nearness`); `modality` and `finding` recovered, in per
        cent; the number of `images` on each side.
    """
    from medisyn_lib.evaluation import alignment

    held_out = judged_images(study)
    prompts = held_out.load()
    samples = sample_held_out(study, net, solver, tried or study.autoencoder, prompts, **call)
    classified = alignment.classify(study.classifier().load(), samples, prompts)
    near = nearness(
        real=encoders.features(held_out.pixels()),
        synthetic=encoders.features(samples),
        modality=held_out.column("modality"),
    )
    return {
        "KID": near.kid,
        "coverage": near.coverage,
        "modality": 100 * float(classified["modality_correct"].mean()),
        "finding": 100 * float(classified["finding_correct"].mean()),
        "images": float(len(samples)),
    }


def judged_images(study: Study) -> ImageSet:
    """Return the held-out images that are compared: at most IMAGES per modality.

    Raises
    ------
    InputError
        Where a modality has too few for coverage.
    """
    held_out = study.image_set("test")
    chosen = replace(held_out, per_modality=min(IMAGES, held_out.per_modality))
    for name, n in zip(*np.unique(chosen.column("modality"), return_counts=True), strict=True):
        if n <= NEIGHBOURS:
            raise InputError(
                f"{study.source}: {name} has {n} held-out images; "
                f"coverage needs more than {NEIGHBOURS} per modality"
            )
    return chosen


def sample_held_out(
    study: Study, net: Any, solver: Any, autoencoder: Autoencoder, prompts: Any, **call: Any
) -> np.ndarray:
    """Return a denoiser's image of each prompt, uint8 (n, h, w, 3)."""
    default_call = SamplingCall(study.settings.sampling_steps, study.settings.guidance)
    with tempfile.TemporaryDirectory() as folder:
        assemble(Path(folder), autoencoder, study.embeddings, net.eval(), solver, default_call)
        pipeline, call = load_pipeline(folder), sampling_settings(folder) | call
    pipeline.scheduler = solver
    return sample_images(pipeline, prompts["caption"][:], range(len(prompts)), **call)


@dataclass(frozen=True, eq=False)
class TrialOutcome(Artifact):
    """What one recipe and seed reach in the time that ours takes for `steps` steps."""

    step = "trial"
    code = (networks, *TRAINING_CODE, denoiser)
    recipe: Recipe
    seed: int
    steps: int
    images: int
    latents: Latents
    embeddings: Embeddings
    study: Study = field(metadata=UNKEYED, kw_only=True)

    def make(self, folder: Path) -> None:
        """Train it for as many steps as fit into that time and judge its images."""
        cost = relative_cost(self.study, self.recipe, self.seed)
        trial, steps = Trial(self.study, self.recipe, self.seed), max(1, round(self.steps / cost))
        seconds = trial.train(steps)
        judged = judge(self.study, trial.net, scheduler(self.recipe), trial.autoencoder)
        outcome = {"steps": steps, "seconds": seconds, **judged}
        store.write_atomic(folder / OUTCOME, json.dumps(outcome))

    def load(self) -> dict[str, float]:
        """Return its steps, its seconds and what `judge` returns."""
        return dict(json.loads((self.folder / OUTCOME).read_text("utf-8")))


def trial_outcome(options: Any) -> TrialOutcome:
    """Return the outcome of the recipe and seed that the command line names."""
    study = Study(options.profile, options.data)
    return TrialOutcome(
        recipe=RECIPES[options.trial],
        seed=options.seed,
        steps=options.steps,
        images=IMAGES,
        latents=study.latents,
        embeddings=study.embeddings,
        study=study,
    )


def relative_cost(study: Study, recipe: Recipe, seed: int) -> float:
    """Return the seconds of a recipe's step over those of ours, timed in turn."""
    if recipe == RECIPES["ours"]:
        return 1.0
    trials = {"ours": Trial(study, RECIPES["ours"], seed), "recipe": Trial(study, recipe, seed)}
    for trial in trials.values():
        trial.train(WARMUP_STEPS)
    arms = {name: partial(trial.train, TIMED_STEPS) for name, trial in trials.items()}
    times = pairs.interleaved(arms, pairs.LEAST_RUNS)
    return float(np.median(pairs.ratios(times["recipe"], times["ours"])))


def ratio(values: Sequence[float], ours: Sequence[float]) -> str:
    """Return the geometric mean of ratios, seed by seed, with its 95% interval."""
    from medisyn_lib.statistics.intervals import t_interval

    logs = t_interval(np.log(values) - np.log(ours))
    value, low, high = np.exp([logs.value, logs.ci_low, logs.ci_high])
    return f"{value:.2f} ({low:.2f} to {high:.2f})"


def main() -> None:
    """Try all recipes with all seeds and print the table."""
    options = arguments()
    if options.trial:
        print(json.dumps(trial_outcome(options).load()))
        return
    sources.preflight(options.data)
    study = Study(options.profile, options.data)
    judged_images(study)  # refused before anything is trained
    study.embeddings.ensure()  # so that the trainings do not all make them
    study.classifier().ensure()
    chosen = [name for name in RECIPES if not options.only or name in options.only]
    names = ["ours", *(name for name in chosen if name != "ours")]
    jobs = [(name, seed) for seed in range(options.seeds) for name in names]
    with ThreadPoolExecutor(options.jobs) as pool:
        outcomes = list(pool.map(lambda job: run_apart(options, *job), jobs))
    by_name: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for (name, _), outcome in zip(jobs, outcomes, strict=True):
        by_name[name].append(outcome)
    report(options, by_name)


def run_apart(options: Any, name: str, seed: int) -> dict[str, float]:
    """Return the outcome of a recipe and seed, from a process of its own."""
    passed_on = [f"--{word}={getattr(options, word)}" for word in ("profile", "data", "steps")]
    command = [sys.executable, __file__, *passed_on, f"--seed={seed}", f"--trial={name}"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        last_words = done.stderr.splitlines()[-1:]
        raise InputError(f"{name}, seed {seed}: ended with code {done.returncode}: {last_words}")
    print(f"  {name}, seed {seed}: {done.stdout.strip()}", file=sys.stderr, flush=True)
    return dict(json.loads(done.stdout))


def report(options: Any, outcomes: dict[str, list[dict[str, float]]]) -> None:
    """Print a row for each recipe, from its outcomes by seed."""

    def values(name: str, kind: str) -> list[float]:
        return [outcome[kind] for outcome in outcomes[name]]

    rows = []
    for name in outcomes:
        kid = "1" if name == "ours" else ratio(values(name, "KID"), values("ours", "KID"))
        spreads = [pairs.spread(values(name, kind)) for kind in ("coverage", "modality", "finding")]
        rows.append([name, pairs.spread(values(name, "steps")), kid, *spreads])
    head = [
        "recipe",
        "steps",
        "KID, ratio to ours",
        f"coverage (k = {NEIGHBOURS})",
        "modality recovered, %",
        "finding recovered, %",
    ]
    print(pairs.table(head, rows))
    n = round(values("ours", "images")[0])
    kid, seconds = (pairs.spread(values("ours", kind)) for kind in ("KID", "seconds"))
    print(
        f"\nProfile {options.profile}, {options.data}; means over modalities of KID and of coverage, "
        f"EfficientNet-Lite0 at {encoders.EFFLITE0_SIDE} pixels, {n} images on each side."
    )
    print(f"Ours: KID {kid}, {seconds} {pairs.unit()}s. Ratios below 1: closer to real images.")
    print(f"\n{pairs.machine()}")


def arguments() -> Any:
    """Return what the command line asks for."""
    parser = pairs.plain_parser(__doc__)
    parser.add_argument(
        "--seeds", type=pairs.whole(2, 1000), default=3, help="of each recipe (default: 3)"
    )
    pairs.add_study(parser)
    parser.add_argument(
        "--steps", type=pairs.whole(4, 10**6), default=200, help="of ours (default: 200)"
    )
    parser.add_argument(
        "--jobs", type=pairs.whole(1, 64), default=1, help="trainings at a time (default: 1)"
    )
    parser.add_argument("--only", nargs="+", choices=RECIPES, help="recipes to try (default: all)")
    parser.add_argument("--trial", choices=RECIPES, help="one recipe alone, which prints JSON")
    parser.add_argument("--seed", type=pairs.whole(0), default=0, help="of that one")
    return parser.parse_args()


if __name__ == "__main__":
    pairs.run_script(main)
