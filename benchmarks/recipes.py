"""What a recipe of the denoiser's training reaches in the time that ours takes: levers tried one at a time.

    python benchmarks/recipes.py [--profile quick] [--data phantom] [--steps 200] [--seeds 3] [--jobs 2]
        [--only NAME ...]

Every recipe (`recipe_parts.RECIPES`) starts from the same untrained denoiser, latents and embeddings, and is given the
processor seconds that ours takes for `--steps` steps (wall-clock seconds, on a GPU): its own steps are timed first,
ours beside them, in one process. Then images of test captions (200 to 399) are sampled with the generator's own
settings and compared with the real ones: kernel and Frechet distance, and what the evaluators recover from them.
Ratios are taken seed by seed, of `--seeds` seeds. What a recipe needs computed once (another autoencoder, features to
align with) is not charged. The store keeps the result of each training, so that a second call goes on.
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
from recipe_material import material
from recipe_parts import RECIPES, SHAPES, LatentShape, Recipe, RecipeLoss, make_muon, scheduler

from medisyn_lib.data import sources
from medisyn_lib.errors import InputError
from medisyn_lib.models import encoders, networks
from medisyn_lib.pipeline.artifacts import TRAINING_CODE, UNKEYED, Artifact
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

IMAGES, TIMED_STEPS, WARMUP_STEPS = 200, 4, 2
OUTCOME = "outcome.json"


class Trial:
    """A recipe about to be trained from a seed's denoiser, as often and as long as is asked."""

    def __init__(self, study: Study, recipe: Recipe, seed: int) -> None:
        self.study, self.recipe = study, recipe
        self.material = material(study, recipe.autoencoder, recipe.extra)
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
            self.loss = RecipeLoss(self.net, recipe, self.material.vae)
        plan = denoiser_plan(study.settings, seed=seed)
        scaled = {}
        for name, factor in recipe.plan_factors.items():
            value = getattr(plan, name)
            scaled[name] = type(value)(value * factor)
        self.plan = replace(plan, **scaled)

    def make_batch(self, rows: np.ndarray, draws: loop.Draws) -> dict[str, torch.Tensor]:
        """Draw what `training.denoiser.train_denoiser` draws; features to align with join it."""
        latents, features = self.material.latents, self.material.features
        noise = draws.normal(*latents.shape[1:])
        time = torch.sigmoid(draws.normal())
        words = drop_captions(self.caption[rows], draws, len(self.embeddings) - 1)
        batch = {
            "latents": latents[rows],
            "noise": noise,
            "time": time,
            "text": self.embeddings[words],
        }
        if features is not None:
            batch["features"] = features[rows]
        return {name: torch.as_tensor(values).float() for name, values in batch.items()}

    def train(self, steps: int) -> float:
        """Train for some steps, a whole schedule; return the seconds (`pairs.clock`)."""
        start = pairs.clock()
        with tempfile.TemporaryDirectory() as folder:
            loop.fit(
                self.loss,
                self.make_batch,
                n=len(self.material.latents),
                plan=replace(self.plan, steps=steps),
                directory=Path(folder),
                make_optimiser=make_muon if self.recipe.muon else loop.adamw,
                schedule=warmup_constant if self.recipe.constant else warmup_cosine,
            )
        return pairs.clock() - start


def judge(
    study: Study, net: Any, solver: Any, tried: Autoencoder | None = None, **call: Any
) -> dict[str, float]:
    """Return distances of a denoiser's images to real ones, and what is recovered from them in per cent."""
    from medisyn_lib.evaluation import alignment, fidelity

    prompts = study.images("test")
    rows = np.arange(0, len(prompts), max(1, len(prompts) // IMAGES))
    prompts = prompts.select(rows.tolist())
    with tempfile.TemporaryDirectory() as folder:
        settings = study.settings
        default_call = SamplingCall(settings.sampling_steps, settings.guidance)
        autoencoder_used = tried or study.autoencoder
        assemble(Path(folder), autoencoder_used, study.embeddings, net.eval(), default_call)
        pipeline, call = load_pipeline(folder), sampling_settings(folder) | call
    pipeline.scheduler = solver
    samples = sample_images(pipeline, prompts["caption"][:], range(len(prompts)), **call)
    real = encoders.features(study.image_set("test").pixels(rows))
    synthetic = encoders.features(samples)
    classified = alignment.classify(study.classifier().load(), samples, prompts)
    return {
        "FD": fidelity.frechet_distance(real=real, synthetic=synthetic),
        "KID": 1000 * fidelity.kernel_distance(real=real, synthetic=synthetic),
        "modality": 100 * float(classified["modality_correct"].mean()),
        "finding": 100 * float(classified["finding_correct"].mean()),
    }


@dataclass(frozen=True, eq=False)
class TrialOutcome(Artifact):
    """What one recipe and seed lead to in the time that ours takes for `steps` steps."""

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
        judged = judge(self.study, trial.net, scheduler(self.recipe), trial.material.autoencoder)
        outcome = {"steps": steps, "seconds": seconds, **judged}
        store.write_atomic(folder / OUTCOME, json.dumps(outcome))

    def load(self) -> dict[str, float]:
        """Return its steps, seconds, distances and accuracies."""
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
        row = [name, pairs.spread(values(name, "steps"))]
        for kind in ("KID", "FD"):
            row.append("1" if name == "ours" else ratio(values(name, kind), values("ours", kind)))
        row += [pairs.spread(values(name, kind)) for kind in ("modality", "finding")]
        rows.append(row)
    head = ["recipe", "steps", "KID to ours", "FD to ours", "modality read, %", "finding read, %"]
    print(pairs.table(head, rows))
    kid, distance, seconds = (
        pairs.spread(values("ours", kind)) for kind in ("KID", "FD", "seconds")
    )
    print(
        f"\nProfile {options.profile}, {options.data}, EfficientNet-Lite0, "
        f"{IMAGES} to {2 * IMAGES - 1} images per side."
    )
    print(
        f"Ours: KID x 1000 {kid}, FD {distance}, {seconds} {pairs.unit()}s. "
        "Below 1 is nearer to real images."
    )
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
