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
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pairs
import torch
from recipe_parts import (
    ALIGNED_WIDTH,
    RECIPES,
    SHAPES,
    EquivariantReconstruction,
    LatentShape,
    Recipe,
    RecipeLoss,
    make_muon,
    scheduler,
)
from torch.nn import functional as F

from medisyn_lib.data import sources
from medisyn_lib.data.pixels import load_pixels
from medisyn_lib.errors import InputError
from medisyn_lib.models import encoders, networks
from medisyn_lib.models.tensors import in_batches, to_tensor
from medisyn_lib.pipeline.classifiers import classifier_entry
from medisyn_lib.pipeline.denoisers import denoiser_plan
from medisyn_lib.pipeline.embeddings import TEXT_WIDTH, text_entry
from medisyn_lib.pipeline.generators import assemble
from medisyn_lib.pipeline.latents import (
    autoencoder_entry,
    latents_entry,
    load_autoencoder,
    load_latents,
)
from medisyn_lib.pipeline.study import MODELS_CODE, Study
from medisyn_lib.runtime import distributed, store
from medisyn_lib.runtime.device import seeded
from medisyn_lib.sampling.pipeline import load_pipeline, sample_images, sampling_settings
from medisyn_lib.training import loop
from medisyn_lib.training.autoencoder import encode, train_autoencoder
from medisyn_lib.training.autoencoder_loss import GuidedReconstruction
from medisyn_lib.training.denoiser import drop_captions
from medisyn_lib.training.schedules import warmup_constant, warmup_cosine

IMAGES, TIMED_STEPS, WARMUP_STEPS = 200, 4, 2
FURTHER_STEPS = 150  # of the shipped autoencoder


@dataclass
class Material:
    """What recipes train on."""

    autoencoder: Path  # an entry's folder
    vae: Any
    latents: np.ndarray
    features: np.ndarray | None = None  # to align with, (n, c, h, w)


@cache
def material(study: Study, autoencoder: str, extra: str) -> Material:
    """Autoencoder, latents and features to align with; what takes long is cached."""
    shared = autoencoder_entry(study)
    material = Material(shared, load_autoencoder(shared), load_latents(latents_entry(study)))
    shared_vae = material.vae
    if autoencoder:
        material.autoencoder = tried_autoencoder(study, autoencoder)
        material.vae = load_autoencoder(material.autoencoder)
        pixels = load_pixels(study.images("generator"))
        material.latents = encode(material.vae, pixels).astype(np.float16)
    if extra in ALIGNED_WIDTH:
        side = material.latents.shape[-1] // 2 ** (len(study.settings.denoiser_widths) - 1)
        material.features = aligned_features(study, extra, shared_vae, side)
    return material


def tried_autoencoder(study: Study, name: str) -> Path:
    """An entry of another autoencoder: ours trained further, or one of SHAPES from scratch."""
    shared = autoencoder_entry(study)
    if name in SHAPES:
        steps = study.settings.autoencoder_scratch_steps
        plan = loop.TrainingPlan(steps, batch=16, learning_rate=1e-3)
    else:
        plan = loop.TrainingPlan(FURTHER_STEPS, batch=16, learning_rate=5e-4)
    objective = EquivariantReconstruction if name == "equivariant" else GuidedReconstruction

    def make(directory: Path) -> None:
        from medisyn_lib.training.classifier import AttributeClassifier

        with seeded(plan.seed):
            if name in SHAPES:
                vae = networks.autoencoder(SHAPES[name].widths, SHAPES[name].channels)
            else:
                vae = load_autoencoder(shared)
        guide = AttributeClassifier(classifier_entry(study, "first_stage"))
        images = study.images("first_stage")
        with tempfile.TemporaryDirectory() as folder:
            train_autoencoder(
                vae.requires_grad_(True), guide, images, plan, Path(folder), objective
            )
        vae.eval().requires_grad_(False).save_pretrained(directory / "vae")

    shape = asdict(SHAPES[name]) if name in SHAPES else None
    settings = {"autoencoder": name, "shape": shape, "plan": asdict(plan)}
    code = ["medisyn_lib.training.autoencoder", "medisyn_lib.training.autoencoder_loss"]
    return store.keep("tried_autoencoder", settings, make, inputs=[shared.name], code=code)


def aligned_features(study: Study, kind: str, vae: Any, side: int) -> np.ndarray:
    """Features of the generator's images to align with, float16 (n, c, side, side), cached."""
    images = study.images("generator")

    def block(rows: np.ndarray) -> np.ndarray:
        describe = features_of(kind, vae, side)
        return in_batches(
            lambda pixels: describe(pixels).half().numpy(), load_pixels(images, rows), 64
        )

    path = distributed.keep_array(
        "tried_features",
        {"of": kind, "side": side},
        lambda: len(images),
        block,
        inputs=[autoencoder_entry(study).name],
    )
    return np.load(path, mmap_mode="r")


def features_of(kind: str, vae: Any, side: int) -> Callable[[np.ndarray], torch.Tensor]:
    """From uint8 images (n, h, w, 3) to float32 features (n, channels, side, side) to align a denoiser with."""

    def by_autoencoder(pixels: np.ndarray) -> torch.Tensor:
        outputs: list[torch.Tensor] = []
        hook = vae.encoder.conv_norm_out.register_forward_hook(
            lambda module, inputs, output: outputs.append(output)
        )
        vae.encode(to_tensor(np.ascontiguousarray(pixels)))
        hook.remove()
        return F.adaptive_avg_pool2d(outputs[0], side)

    if kind == "autoencoder":
        return by_autoencoder
    net = encoders.efflite0()

    def by_encoder(pixels: np.ndarray) -> torch.Tensor:
        images = to_tensor(np.ascontiguousarray(pixels))
        images = F.interpolate(images, (128, 128), mode="bicubic", antialias=True)
        return F.adaptive_avg_pool2d(net.forward_features(images), side)

    return by_encoder


class Trial:
    """A recipe about to be trained from a seed's denoiser, as often and as long as is asked."""

    def __init__(self, study: Study, recipe: Recipe, seed: int) -> None:
        self.study, self.recipe = study, recipe
        self.material = material(study, recipe.autoencoder, recipe.extra)
        text = text_entry(study)
        self.embeddings = np.load(text / "embeddings.npy")
        self.caption = np.load(text / "caption.npy")
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
        plan = denoiser_plan(study, seed=seed)
        scaled = {}
        for name, factor in recipe.plan_factors.items():
            value = getattr(plan, name)
            scaled[name] = type(value)(value * factor)
        self.plan = replace(plan, **scaled)

    def make_batch(self, rows: np.ndarray, draws: loop.Draws) -> dict[str, torch.Tensor]:
        """What `training.denoiser.train_denoiser` draws, and features to align with."""
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
        """Trains for some steps, a whole schedule; seconds (`pairs.spent`)."""
        start = pairs.spent()
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
        return pairs.spent() - start


def judged(
    study: Study, net: Any, solver: Any, autoencoder: Path | None = None, **call: Any
) -> dict[str, float]:
    """Distances of a denoiser's images to real ones, and the accuracy of the evaluators on them in per cent."""
    from medisyn_lib.evaluation import alignment, fidelity
    from medisyn_lib.training.classifier import AttributeClassifier

    prompts = study.images("test")
    prompts = prompts.select(range(0, len(prompts), max(1, len(prompts) // IMAGES)))
    with tempfile.TemporaryDirectory() as folder:
        vae = autoencoder or autoencoder_entry(study)
        assemble(Path(folder), vae, text_entry(study), net.eval(), study)
        pipeline, call = load_pipeline(folder), sampling_settings(folder) | call
    pipeline.scheduler = solver
    samples = sample_images(pipeline, prompts["caption"][:], range(len(prompts)), **call)
    real, synthetic = encoders.features(load_pixels(prompts)), encoders.features(samples)
    classified = alignment.classify(AttributeClassifier(classifier_entry(study)), samples, prompts)
    return {
        "FD": fidelity.frechet_distance(real=real, synthetic=synthetic),
        "KID": 1000 * fidelity.kernel_distance(real=real, synthetic=synthetic),
        "modality": 100 * float(classified["modality_correct"].mean()),
        "finding": 100 * float(classified["finding_correct"].mean()),
    }


def tried(options: Any) -> dict[str, float]:
    """The outcome of one recipe and seed: its steps in the time of ours, and what they led to."""
    study, recipe = Study(options.profile, options.data), RECIPES[options.trial]

    def make(directory: Path) -> None:
        cost = relative_cost(study, recipe, options.seed)
        trial, steps = Trial(study, recipe, options.seed), max(1, round(options.steps / cost))
        seconds = trial.train(steps)
        outcome = judged(study, trial.net, scheduler(recipe), trial.material.autoencoder)
        outcome = {"steps": steps, "seconds": seconds, **outcome}
        store.write_atomic(directory / "outcome.json", json.dumps(outcome))

    settings = {
        "recipe": asdict(recipe),
        "seed": options.seed,
        "steps": options.steps,
        "images": IMAGES,
        "data": options.data,
    }
    inputs = [latents_entry(study).name, text_entry(study).name]
    code = ("medisyn_lib.training.denoiser", *MODELS_CODE)
    entry = store.keep("trial", settings, make, inputs=inputs, code=code)
    return dict(json.loads((entry / "outcome.json").read_text("utf-8")))


def relative_cost(study: Study, recipe: Recipe, seed: int) -> float:
    """The seconds of a recipe's step over those of ours, timed in turn."""
    if recipe == RECIPES["ours"]:
        return 1.0
    trials = {"ours": Trial(study, RECIPES["ours"], seed), "recipe": Trial(study, recipe, seed)}
    for trial in trials.values():
        trial.train(WARMUP_STEPS)
    timed = {name: lambda trial=trial: trial.train(TIMED_STEPS) for name, trial in trials.items()}
    times = pairs.interleaved(timed, pairs.LEAST_RUNS)
    return float(np.median(pairs.ratios(times["recipe"], times["ours"])))


def ratio(values: Sequence[float], ours: Sequence[float]) -> str:
    """Geometric mean of ratios, seed by seed, with its 95% interval."""
    from medisyn_lib.statistics.intervals import t_interval

    logs = t_interval(np.log(values) - np.log(ours))
    value, low, high = np.exp([logs.value, logs.ci_low, logs.ci_high])
    return f"{value:.2f} ({low:.2f} to {high:.2f})"


def main() -> None:
    """Tries all recipes with all seeds and prints the table."""
    options = arguments()
    if options.trial:
        print(json.dumps(tried(options)))
        return
    sources.preflight(options.data)
    study = Study(options.profile, options.data)
    text_entry(study)
    classifier_entry(study)
    chosen = [name for name in RECIPES if not options.only or name in options.only]
    names = ["ours", *(name for name in chosen if name != "ours")]
    jobs = [(name, seed) for seed in range(options.seeds) for name in names]
    with ThreadPoolExecutor(options.jobs) as pool:
        outcomes = list(pool.map(lambda job: tried_apart(options, *job), jobs))
    by_name: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for (name, _), outcome in zip(jobs, outcomes, strict=True):
        by_name[name].append(outcome)
    report(options, by_name)


def tried_apart(options: Any, name: str, seed: int) -> dict[str, float]:
    """What `tried` says of a recipe and seed, in a process of its own."""
    passed_on = [f"--{word}={getattr(options, word)}" for word in ("profile", "data", "steps")]
    command = [sys.executable, __file__, *passed_on, f"--seed={seed}", f"--trial={name}"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        last_words = done.stderr.splitlines()[-1:]
        raise InputError(f"{name}, seed {seed}: ended with code {done.returncode}: {last_words}")
    print(f"  {name}, seed {seed}: {done.stdout.strip()}", file=sys.stderr, flush=True)
    return dict(json.loads(done.stdout))


def report(options: Any, outcomes: dict[str, list[dict[str, float]]]) -> None:
    """Prints a row for each recipe, from its outcomes by seed."""

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
    """What the command line asks for."""
    from medisyn_lib.profiles import PROFILES

    parser = pairs.Parser(description=__doc__)
    parser.add_argument(
        "--seeds", type=pairs.whole(2, 1000), default=3, help="of each recipe (default: 3)"
    )
    parser.add_argument("--profile", default="quick", choices=PROFILES)
    parser.add_argument("--data", default="phantom", help="a data source")
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
