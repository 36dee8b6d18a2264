"""What a recipe of the denoiser's training reaches in the time that ours takes: levers tried one at a time.

    python benchmarks/recipes.py [--profile quick] [--data phantom] [--steps 200] [--seeds 3] [--jobs 2]
        [--only NAME ...]

Every recipe starts from the same untrained denoiser, latents and embeddings, and is given the processor seconds that
ours takes for `--steps` steps (seconds on the clock, on a GPU): its own steps are timed first, ours beside them, in one
process. Then images of test captions (200 to 399) are drawn with the generator's own settings and held against the
real ones: kernel and Frechet distance, and what the evaluators read in them. Ratios are taken seed by seed, of
`--seeds` seeds. What a recipe needs computed once (another first stage, features to align with) is not charged. The
store keeps the result of each training, so that a second call goes on.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pairs
import torch
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
from medisyn_lib.training.autoencoder import (
    AUTOENCODER_WIDTHS,
    Objective,
    encode,
    train_autoencoder,
)
from medisyn_lib.training.denoiser import CAPTION_DROPOUT

IMAGES, TIMED, LEFT_OUT = 200, 4, 2
STAGE_STEPS = 150
# First stages from random weights: latent channels, how much smaller their maps are than an image, widths by level.
SHAPES = {
    "anew, 16 channels, 8 times smaller": (16, 8, AUTOENCODER_WIDTHS),
    "anew, 4 channels, 4 times smaller": (4, 4, (32, 64, 128)),
    "anew, 64 channels, 16 times smaller": (64, 16, (*AUTOENCODER_WIDTHS, 128)),
}
ALIGNED, SEEN = 0.5, 4  # weight of an alignment (REPA's); images of a batch that the decoder draws
DDPM = {
    "num_train_timesteps": 1000,
    "beta_start": 1e-4,
    "beta_end": 0.02,
    "beta_schedule": "linear",
}


@dataclass(frozen=True)
class Recipe:
    """One way to train the denoiser, by default ours."""

    path: str = "flow"  # between image and noise: straight, or that of DDPM
    says: str = "flow"  # what the denoiser tells: flow, clean latents, noise or velocity
    even: bool = False  # flow times drawn evenly instead of logit-normally
    extra: str = ""  # a further loss: `encoder`, `first stage` (alignment), `decoded` (perceptual)
    muon: bool = False
    constant: bool = False  # the learning rate, once warm
    plan: dict[str, Any] = field(default_factory=dict)
    widths: tuple[int, ...] = ()
    stage: str = (
        ""  # another first stage: `equivariant`, `as long` (trained on as it was), or one of SHAPES
    )


RECIPES = {
    "ours": Recipe(),
    "times drawn evenly": Recipe(even=True),
    "clean latents predicted": Recipe(says="clean"),
    "DDPM's path, velocity": Recipe("ddpm", "velocity", even=True),
    "DDPM's path, noise": Recipe("ddpm", "noise", even=True),
    "half the rate": Recipe(plan={"rate": 0.5}),
    "twice the rate": Recipe(plan={"rate": 2.0}),
    "constant rate": Recipe(constant=True),
    "no averaging": Recipe(plan={"average": 0.0}),
    "batch 8": Recipe(plan={"batch": 0.5}),
    "batch 32": Recipe(plan={"batch": 2}),
    "widths 64 and 128": Recipe(widths=(64, 128)),
    "widths 128 and 224": Recipe(widths=(128, 224)),
    "Muon for matrices": Recipe(muon=True),
    "aligned with EfficientNet-Lite0 (REPA)": Recipe(extra="encoder"),
    "aligned with the first stage (VAE-REPA)": Recipe(extra="first stage"),
    "perceptual term, decoded": Recipe(extra="decoded"),
    "first stage trained on, as it was": Recipe(stage="as long"),
    "first stage trained on, equivariant (EQ-VAE)": Recipe(stage="equivariant"),
    **{f"first stage {name}": Recipe(stage=name) for name in SHAPES},
}


class Loss(torch.nn.Module):
    """The loss of a recipe. With the default one that of `denoising.FlowMatching`."""

    captured = True

    def __init__(self, net: Any, recipe: Recipe, vae: Any) -> None:
        super().__init__()
        self.denoiser, self.recipe, self.inside = net, recipe, []
        self.hidden = (
            vae.requires_grad_(False),
            encoders.efflite0() if recipe.extra == "decoded" else None,
        )
        if recipe.extra in WIDTH:
            width = net.config.block_out_channels[-1]
            self.head = torch.nn.Sequential(
                torch.nn.Conv2d(width, 2 * width, 1),
                torch.nn.SiLU(),
                torch.nn.Conv2d(2 * width, WIDTH[recipe.extra], 1),
            )
            net.mid_block.register_forward_hook(lambda module, given, out: self.inside.append(out))

    def forward(
        self, latents: Any, noise: Any, time: Any, text: Any, wanted: Any = None
    ) -> torch.Tensor:
        """The loss of latents (n, 16, h, w) at logit-normal flow times (n,), with text and features to align with."""
        self.inside.clear()
        recipe, t = (
            self.recipe,
            (0.5 + 0.5 * torch.erf(torch.logit(time) / 2**0.5) if self.recipe.even else time),
        )
        keep, add, shown = mix(recipe.path, t)
        mixed = (keep * latents + add * noise).contiguous(memory_format=torch.channels_last)
        said = self.denoiser(mixed, shown, text, return_dict=False)[0].float()
        target = {
            "flow": noise - latents,
            "clean": latents,
            "noise": noise,
            "velocity": keep * noise - add * latents,
        }
        weight = (
            1 / add.clamp(min=0.05) ** 2 if recipe.says == "clean" else 1.0
        )  # the flow's error, for clean latents
        loss = (weight * (said - target[recipe.says]) ** 2).mean()
        if recipe.extra in WIDTH:
            loss = (
                loss
                - ALIGNED * F.cosine_similarity(self.head(self.inside[0]), wanted, dim=1).mean()
            )
        if recipe.extra == "decoded":
            loss = loss + ALIGNED * self.seen_apart(
                latents[:SEEN], (mixed - t[:, None, None, None] * said)[:SEEN]
            )
        return loss

    def seen_apart(self, latents: torch.Tensor, guess: torch.Tensor) -> torch.Tensor:
        """Relative squared distance of an encoder's features of two decoded sets of latents."""
        vae, encoder = (net.to(latents.device) for net in self.hidden)
        one, other = (
            encoder.forward_features(vae.decode(x).sample.float()) for x in (latents, guess)
        )
        return (one - other).square().mean() / one.square().mean()


WIDTH = {"encoder": 1280, "first stage": AUTOENCODER_WIDTHS[-1]}


@cache
def kept_by_ddpm(device: torch.device) -> torch.Tensor:
    """How much of an image's variance is left after each of DDPM's steps."""
    noise = torch.linspace(DDPM["beta_start"], DDPM["beta_end"], DDPM["num_train_timesteps"])
    return noise.neg().add(1).cumprod(0).to(device)


def mix(path: str, t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """How much of the image and of the noise is left at times (n,) of a path; what the denoiser is told."""
    if path == "flow":
        return 1 - t[:, None, None, None], t[:, None, None, None], t * networks.TIMESTEPS
    step = (t * DDPM["num_train_timesteps"]).long().clamp(max=DDPM["num_train_timesteps"] - 1)
    kept = kept_by_ddpm(t.device)[step][:, None, None, None]
    return kept.sqrt(), (1 - kept).sqrt(), step


def scheduler(recipe: Recipe) -> Any:
    """The solver of images for what a denoiser of this recipe says."""
    from diffusers import DPMSolverMultistepScheduler

    kinds = {
        "flow": "flow_prediction",
        "clean": "sample",
        "noise": "epsilon",
        "velocity": "v_prediction",
    }
    own, kind = networks.scheduler(), {"prediction_type": kinds[recipe.says]}
    if recipe.path == "flow":
        return DPMSolverMultistepScheduler.from_config(own.config, **kind)
    return DPMSolverMultistepScheduler(**DDPM, **kind, algorithm_type="dpmsolver++", steps_offset=1)


class Muon(torch.optim.Optimizer):
    """Orthogonalised momentum for matrices and kernels (Jordan et al., as torch.optim.Muon), AdamW for the rest."""

    def __init__(
        self, parameters: Any, rate: float, betas: Any, weight_decay: float, fused: bool
    ) -> None:
        parameters = list(parameters)
        super().__init__(
            [{"params": [p for p in parameters if p.ndim > 1]}], {"lr": rate, "decay": weight_decay}
        )
        rest = [p for p in parameters if p.ndim < 2]
        self.rest = REAL_ADAMW(rest, rate, betas, weight_decay=weight_decay, fused=fused)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        """One step of both."""
        (group,) = self.param_groups
        for p in group["params"]:
            momentum = self.state[p].setdefault("momentum", torch.zeros_like(p))
            momentum.lerp_(p.grad, 0.05)
            update = orthogonal(p.grad.lerp(momentum, 0.95).flatten(1))
            p.mul_(1 - group["lr"] * group["decay"])
            p.add_(
                update.view_as(p), alpha=-0.2 * group["lr"] * math.sqrt(max(update.shape))
            )  # AdamW's size of step
        self.rest.param_groups[0]["lr"] = group["lr"]
        self.rest.step()
        for p in self.rest.param_groups[0]["params"]:
            p.grad = None


def orthogonal(matrix: torch.Tensor) -> torch.Tensor:
    """A matrix with its singular values brought near 1, by Newton and Schulz's iteration with Muon's coefficients.

    In float32: torch's own takes bfloat16, which a processor without it imitates, 14 times slower.
    """
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    wide = wide / (wide.norm() + 1e-7)
    for _ in range(5):
        square = wide @ wide.T
        wide = 3.4445 * wide + (2.0315 * square @ square - 4.775 * square) @ wide
    return wide if matrix.shape[0] <= matrix.shape[1] else wide.T


REAL_ADAMW = torch.optim.AdamW


def shaped(stage: str) -> Any:
    """Within it new networks are for the latents of such a first stage."""
    channels, smaller, _ = SHAPES.get(stage, (networks.LATENT_CHANNELS, networks.DOWNSCALE, ()))
    return patch.multiple(networks, LATENT_CHANNELS=channels, DOWNSCALE=smaller)


def train_on(vae: Any, turned: bool, study: Study, plan: loop.Plan) -> None:
    """Trains a first stage as ours was, or also with latents halved and turned as their images are.

    Kouzelis et al., arXiv 2502.09509: the decoder must draw transformed latents as the transformed image.
    """
    from medisyn_lib.training.classifier import AttributeClassifier

    forward = Objective.forward

    def both(self: Any, images: Any, noise: Any, strength: Any, target: Any) -> torch.Tensor:
        loss = forward(self, images, noise, strength, target)
        if turned:
            some = images[::4]
            latent = self.vae.encode(some).latent_dist.mean.float()
            times = int(1 + 4 * float(strength[0])) % 4
            change = lambda x, size: F.interpolate(
                torch.rot90(x, times, (2, 3)), size=size, mode="area"
            )
            drawn = self.vae.decode(change(latent, latent.shape[-1] // 2)).sample.float()
            loss = loss + F.l1_loss(drawn, change(some, some.shape[-1] // 2))
        return loss

    reader = AttributeClassifier(classifier_entry(study, "first_stage"))
    with patch.object(Objective, "forward", both), tempfile.TemporaryDirectory() as folder:
        train_autoencoder(
            vae.requires_grad_(True), reader, study.images("first_stage"), plan, Path(folder)
        )
    vae.eval().requires_grad_(False)


@cache
def material(study: Study, trained_on: str, extra: str) -> dict[str, Any]:
    """First stage, latents and features to align with; what takes long is kept."""
    stage, images = autoencoder_entry(study), study.images("generator")
    vae = load_autoencoder(stage)
    latents = load_latents(latents_entry(study))
    found = {"stage": stage, "vae": vae, "latents": latents, "wanted": None}
    if trained_on:
        anew, plan = trained_on in SHAPES, loop.Plan(steps=STAGE_STEPS, batch=16, rate=5e-4)
        if anew:
            plan = replace(plan, steps=study.settings.autoencoder_scratch_steps, rate=1e-3)

        def make(directory: Path) -> None:
            with shaped(trained_on), seeded(plan.seed):
                made = networks.autoencoder(SHAPES[trained_on][2]) if anew else vae
                train_on(made, trained_on == "equivariant", study, plan)
            made.save_pretrained(directory / "vae")

        what = {"stage": trained_on, "shape": SHAPES.get(trained_on), "plan": asdict(plan)}
        entry = store.keep(
            "tried_stage",
            what,
            make,
            inputs=[stage.name],
            code=["medisyn_lib.training.autoencoder"],
        )
        found |= {"stage": entry, "vae": load_autoencoder(entry)}
        found["latents"] = encode(found["vae"], load_pixels(images)).astype(np.float16)
    if extra in WIDTH:
        side = found["latents"].shape[-1] // 2 ** (len(study.settings.denoiser_widths) - 1)

        def part(rows: np.ndarray) -> np.ndarray:
            describe = seen_by(extra, vae, side)
            return in_batches(
                lambda some: describe(some).half().numpy(), load_pixels(images, rows), 64
            )

        what = {"of": extra, "side": side}
        path = distributed.keep_array(
            "tried_features", what, lambda: len(images), part, inputs=[stage.name]
        )
        found["wanted"] = np.load(path, mmap_mode="r")
    return found


def seen_by(name: str, vae: Any, side: int) -> Callable[[np.ndarray], torch.Tensor]:
    """From uint8 images (n, h, w, 3) to float32 features (n, channels, side, side) to align a denoiser with."""
    net = encoders.efflite0() if name == "encoder" else None

    def describe(pixels: np.ndarray) -> torch.Tensor:
        images = to_tensor(np.ascontiguousarray(pixels))
        if net:
            images = F.interpolate(images, (128, 128), mode="bicubic", antialias=True)
            return F.adaptive_avg_pool2d(net.forward_features(images), side)
        kept: list[torch.Tensor] = []
        hook = vae.encoder.conv_norm_out.register_forward_hook(
            lambda module, given, out: kept.append(out)
        )
        vae.encode(images)
        hook.remove()
        return F.adaptive_avg_pool2d(kept[0], side)

    return describe


class Trial:
    """A recipe about to be trained from a seed's denoiser, as often and as long as is asked."""

    def __init__(self, study: Study, recipe: Recipe, seed: int) -> None:
        self.study, self.recipe, words = study, recipe, text_entry(study)
        self.have = material(study, recipe.stage, recipe.extra)
        self.embeddings, self.caption = (
            np.load(words / "embeddings.npy"),
            np.load(words / "caption.npy"),
        )
        widths = recipe.widths or study.settings.denoiser_widths
        with shaped(recipe.stage), seeded(seed):
            self.net = networks.denoiser(study.settings.size, widths, text_width=TEXT_WIDTH)
            self.loss = Loss(self.net, recipe, self.have["vae"])
        plan = denoiser_plan(study, seed=seed)
        scaled = {
            name: type(getattr(plan, name))(getattr(plan, name) * by)
            for name, by in recipe.plan.items()
        }
        self.plan = replace(plan, **scaled)

    def batch_of(self, rows: np.ndarray, draws: loop.Draws) -> dict[str, torch.Tensor]:
        """What `denoising.train` draws, and features to align with."""
        have, latents = self.have, self.have["latents"]
        noise, time = draws.normal(*latents.shape[1:]), torch.sigmoid(draws.normal())
        words = np.where(
            draws.uniform().numpy() < CAPTION_DROPOUT, len(self.embeddings) - 1, self.caption[rows]
        )
        batch = {
            "latents": latents[rows],
            "noise": noise,
            "time": time,
            "text": self.embeddings[words],
        }
        batch |= {} if have["wanted"] is None else {"wanted": have["wanted"][rows]}
        return {k: torch.as_tensor(x).float() for k, x in batch.items()}

    def train(self, steps: int) -> float:
        """Trains for some steps, a whole schedule; seconds (`pairs.spent`)."""
        start, recipe, n = pairs.spent(), self.recipe, len(self.have["latents"])
        with ExitStack() as changed, tempfile.TemporaryDirectory() as folder:
            if recipe.muon:
                changed.enter_context(patch("torch.optim.AdamW", Muon))
            if recipe.constant:
                changed.enter_context(
                    patch.object(loop, "rate_at", lambda p, s: p.rate * min(1, (s + 1) / 10))
                )
            plan = replace(self.plan, steps=steps)
            loop.fit(self.loss, self.batch_of, n=n, plan=plan, directory=Path(folder))
        return pairs.spent() - start


def judged(
    study: Study, net: Any, solver: Any, stage: Path | None = None, **call: Any
) -> dict[str, float]:
    """Distances of a denoiser's images to real ones, and the shares that the evaluators read as asked."""
    from medisyn_lib.evaluation import alignment, fidelity
    from medisyn_lib.training.classifier import AttributeClassifier

    asked = study.images("test")
    asked = asked.select(range(0, len(asked), max(1, len(asked) // IMAGES)))
    with tempfile.TemporaryDirectory() as folder:
        stage, words = stage or autoencoder_entry(study), text_entry(study)
        assemble(Path(folder), stage, words, net.eval(), study)
        pipeline, call = load_pipeline(folder), sampling_settings(folder) | call
    pipeline.scheduler = solver
    made = sample_images(pipeline, asked["caption"][:], range(len(asked)), **call)
    real, drawn = encoders.features(load_pixels(asked)), encoders.features(made)
    found = {"FD": fidelity.frechet_distance(real=real, synthetic=drawn)}
    found["KID"] = 1000 * fidelity.kernel_distance(real=real, synthetic=drawn)
    classified = alignment.classify(AttributeClassifier(classifier_entry(study)), made, asked)
    return found | {
        what: 100 * float(classified[f"{what}_correct"].mean()) for what in ("modality", "finding")
    }


def tried(given: Any) -> dict[str, float]:
    """The outcome of one recipe and seed: its steps in the time of ours, and what they led to."""
    study, recipe = Study(given.profile, given.data), RECIPES[given.trial]
    what = {
        "recipe": asdict(recipe),
        "seed": given.seed,
        "steps": given.steps,
        "images": IMAGES,
        "data": given.data,
    }

    def make(directory: Path) -> None:
        sides = [Trial(study, RECIPES["ours"], given.seed), Trial(study, recipe, given.seed)]
        for side in sides:
            side.train(LEFT_OUT)
        times = pairs.interleaved(
            {str(i): lambda s=s: s.train(TIMED) for i, s in enumerate(sides)}, pairs.LEAST_RUNS
        )
        cost = (
            float(np.median(pairs.ratios(times["1"], times["0"]))) if given.trial != "ours" else 1.0
        )
        one, steps = Trial(study, recipe, given.seed), max(1, round(given.steps / cost))
        seconds = one.train(steps)
        found = judged(study, one.net, scheduler(recipe), one.have["stage"])
        store.write_atomic(
            directory / "found.json", json.dumps({"steps": steps, "seconds": seconds, **found})
        )

    inputs = [latents_entry(study).name, text_entry(study).name]
    entry = store.keep(
        "trial", what, make, inputs=inputs, code=("medisyn_lib.training.denoiser", *MODELS_CODE)
    )
    return dict(json.loads((entry / "found.json").read_text("utf-8")))


def ratio(values: list[float], ours: list[float]) -> str:
    """Geometric mean of ratios, seed by seed, with its 95% interval."""
    from medisyn_lib.statistics.intervals import t_interval

    found = t_interval(np.log(values) - np.log(ours))
    return "{:.2f} ({:.2f} to {:.2f})".format(*np.exp([found.value, found.ci_low, found.ci_high]))


def main() -> None:
    """Tries all recipes with all seeds and prints the table."""
    given = arguments()
    if given.trial:
        print(json.dumps(tried(given)))
        return
    sources.preflight(given.data)
    study = Study(given.profile, given.data)
    text_entry(study), classifier_entry(study)
    names = [
        "ours",
        *(name for name in RECIPES if name != "ours" and (not given.only or name in given.only)),
    ]

    def trial(job: tuple[int, str]) -> dict[str, float]:
        seed, name = job
        own = [f"--{word}={getattr(given, word)}" for word in ("profile", "data", "steps")]
        command = [sys.executable, __file__, *own, f"--seed={seed}", f"--trial={name}"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise InputError(
                f"{name}, seed {seed}: ended with code {done.returncode}: {done.stderr.splitlines()[-1:]}"
            )
        print(f"  {name}, seed {seed}: {done.stdout.strip()}", file=sys.stderr, flush=True)
        return dict(json.loads(done.stdout))

    jobs = [(seed, name) for seed in range(given.seeds) for name in names]
    with ThreadPoolExecutor(given.jobs) as pool:
        outcomes = dict(zip(jobs, pool.map(trial, jobs), strict=True))
    rows = []
    for name in names:
        one, ours = ([outcomes[seed, who] for seed in range(given.seeds)] for who in (name, "ours"))
        beside = [
            ratio([x[k] for x in one], [x[k] for x in ours]) if name != "ours" else "1"
            for k in ("KID", "FD")
        ]
        shares = [pairs.spread([x[k] for x in one]) for k in ("modality", "finding")]
        rows.append([name, pairs.spread([x["steps"] for x in one]), *beside, *shares])
    ours = [outcomes[seed, "ours"] for seed in range(given.seeds)]
    head = ["recipe", "steps", "KID to ours", "FD to ours", "modality read, %", "finding read, %"]
    print(pairs.table(head, rows))
    kid, distance, seconds = (pairs.spread([x[k] for x in ours]) for k in ("KID", "FD", "seconds"))
    print(
        f"\nProfile {given.profile}, {given.data}, EfficientNet-Lite0, {IMAGES} to {2 * IMAGES - 1} images a side."
    )
    print(
        f"Ours: KID x 1000 {kid}, FD {distance}, {seconds} {pairs.unit()}s. Below 1 is nearer to real images."
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
    pairs.told(main)
