"""Do synthetic images improve a classifier? Hundreds of small trainings at once, at equal optimiser steps.

A classifier is a softmax regression on frozen features here, so that luck averages out; it is no fine-tuned network.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch.nn import functional as F

from medisyn_lib.data import sources
from medisyn_lib.data.pixels import load_pixels
from medisyn_lib.evaluation import agreement
from medisyn_lib.models import networks
from medisyn_lib.pipeline.features import cached_features
from medisyn_lib.runtime import distributed, store
from medisyn_lib.runtime.device import seeded
from medisyn_lib.statistics.jackknife import means
from medisyn_lib.training import loop
from medisyn_lib.training.denoiser import train_denoiser

if TYPE_CHECKING:
    from medisyn_lib.pipeline.study import Study
    from medisyn_lib.profiles import Profile

RATIOS = (1, 3, 10)  # synthetic images a real one
VIEWS = 3  # of an image: itself, and two classically augmented
SETTINGS = tuple(
    (rate, decay) for rate in (5e-4, 2e-3) for decay in (0.0, 10.0)
)  # one is chosen on validation images
BATCH, LOOKS, AT_ONCE = (
    16,
    10,
    16,
)  # rows a step, looks at the validation images in a training, trainings at once
OWN_WIDTHS, TEXT_WIDTH = (64, 96), 128  # of a generator that sees a handful of images


class Images(NamedTuple):
    """Images of a modality: pixels uint8 (n, h, w, 3), and of each its finding and patient, str (n,)."""

    pixels: np.ndarray
    finding: np.ndarray
    patient_id: np.ndarray


class Task(NamedTuple):
    """Features float32 (f, d), their classes (2 f,), and which rows are what: (n,), or (n, VIEWS), the image first.

    Row f + i is row i again, those of `synthetic` (generators, n, VIEWS) with their images' classes shuffled.
    """

    classes: tuple[str, ...]
    x: np.ndarray
    y: np.ndarray
    real: np.ndarray
    synthetic: np.ndarray
    others: np.ndarray  # real images that the generator saw
    validation: np.ndarray
    test: np.ndarray
    patients: np.ndarray  # of the test images


class Arm(NamedTuple):
    """One training: its kind, n real images, synthetic ones a real one, draw, and the rows of its two halves."""

    kind: str
    n: int
    ratio: int
    draw: int
    first: np.ndarray
    second: np.ndarray


def images_of(study: Study, modality: str, role: str, most: int | None = None) -> Images:
    """The images of a modality in a role, at most `most` of them, by default as many as the profile says."""
    found = study.images(role)
    if (most or 0) > study.settings.images_of(role):
        found = sources.load(
            study.source,
            role=role,
            size=study.settings.size,
            per_modality=most,
            modalities=[modality],
        )
    rows = np.flatnonzero(np.array(found["modality"][:]) == modality)[:most]
    table = found.select(rows.tolist())
    return Images(load_pixels(table), *(np.array(table[name][:]) for name in Images._fields[1:]))


def views(pixels: np.ndarray, seed: int = 0) -> np.ndarray:
    """Each image and its augmented views, uint8 (n, VIEWS, h, w, 3).

    A view is mirrored with chance 1/2, shifted by up to an eighth of the side, up to 20% brighter or darker.
    """
    rng, made = np.random.default_rng([seed, 11]), np.repeat(pixels[:, None], VIEWS, 1)
    n, side, reach = *pixels.shape[:2], pixels.shape[1] // 8
    for i, k in np.ndindex(n, VIEWS - 1):
        padded = np.pad(
            pixels[i][:, :: rng.choice([1, -1])],
            ((reach, reach), (reach, reach), (0, 0)),
            mode="edge",
        )
        top, left = rng.integers(0, 2 * reach + 1, 2)
        made[i, k + 1] = (
            padded[top : top + side, left : left + side] * rng.uniform(0.8, 1.2)
        ).clip(0, 255)
    return made


def make_task(
    *, real: Images, synthetic: Sequence[Images], others: Images, validation: Images, test: Images
) -> Task:
    """A task from its images; `synthetic` are as many images of each generator, `finding` what was asked for."""
    classes, x, y = tuple(sorted({*real.finding})), [], []

    def rows(
        part: Images, pixels: np.ndarray
    ) -> np.ndarray:  # appends views (n, v, h, w, 3): which rows, (n, v)
        x.append(cached_features(pixels.reshape(-1, *pixels.shape[2:])).values.astype(np.float32))
        y.append(np.repeat([classes.index(finding) for finding in part.finding], pixels.shape[1]))
        return sum(map(len, y[:-1])) + np.arange(len(y[-1])).reshape(pixels.shape[:2])

    own = rows(real, views(real.pixels))
    made = np.stack([rows(part, views(part.pixels, 1 + k)) for k, part in enumerate(synthetic)])
    rest: list[np.ndarray] = [
        rows(part, part.pixels[:, None])[:, 0] for part in (others, validation, test)
    ]
    rest, right = [*rest, test.patient_id], np.concatenate(y)
    wrong = right.copy()
    for k, part in enumerate(made):
        wrong[part] = right[np.random.default_rng([k, 13]).permutation(part)]
    return Task(classes, np.concatenate(x), np.concatenate([right, wrong]), own, made, *rest)


def deal(classes: ArrayLike, draw: int) -> np.ndarray:
    """The order in which a draw takes images of these classes (n,): at random, but one of each class first."""
    order = np.random.default_rng([draw, 17]).permutation(np.size(classes))
    first = np.sort(np.unique(np.asarray(classes)[order], return_index=True)[1])
    return np.concatenate([order[first], np.delete(order, first)])


def arms(task: Task, sizes: Sequence[int], draws: Sequence[int]) -> Iterator[Arm]:
    """Every training of a task: of each of `sizes` real images alone, and with synthetic ones as far as there are.

    The images of a smaller n are among a larger one's, a draw's alike in all arms; draws take generators in turn.
    """
    for turn, draw in enumerate(draws):
        part = task.synthetic[turn % len(task.synthetic)]
        own, made = (rows[deal(task.y[rows[:, 0]], draw)] for rows in (task.real, part))
        more = np.concatenate(
            [own[: sizes[0], 0], np.random.default_rng([draw, 19]).permutation(task.others)]
        )
        alone = sorted(
            {min(sizes[-1] << k, len(more)) for k in range(1, 20)} - {*range(sizes[-1] + 1)}
        )
        for n, rows in [(n, own[:n, 0]) for n in sizes] + [(n, more[:n]) for n in alone]:
            yield Arm("real", n, 0, draw, rows, rows)
        for n in sizes:
            yield Arm("real, augmented", n, 0, draw, own[:n].ravel(), own[:n].ravel())
            for ratio in (ratio for ratio in RATIOS if ratio * n <= len(made)):
                some = made[: ratio * n]
                mixed, every = (
                    np.concatenate([own[:n, :k].ravel(), some[:, :k].ravel()]) for k in (1, VIEWS)
                )
                yield Arm("synthetic", n, ratio, draw, some[:, 0], some[:, 0])
                yield Arm("mixed", n, ratio, draw, mixed, mixed)
                yield Arm("mixed, augmented", n, ratio, draw, every, every)
                yield Arm("synthetic, then real", n, ratio, draw, some[:, 0], own[:n, 0])
                if ratio == 1:
                    odd = np.concatenate([own[:n].ravel(), len(task.x) + some.ravel()])
                    yield Arm("shuffled, augmented", n, ratio, draw, odd, odd)


def train(task: Task, chosen: Sequence[Arm], steps: int) -> np.ndarray:
    """Chances of each class in the test images, float32 (arms, n, classes), one classifier an arm; kept in the store.

    Softmax regression from nought by AdamW, each for `steps` steps of BATCH rows, half of them from the arm's first
    rows; features centred and scaled by its rows. Setting and moment: those of least cross-entropy in validation.
    """
    parts = (
        task.x,
        task.y,
        task.validation,
        task.test,
        *(rows for arm in chosen for rows in arm[4:]),
    )
    digest = hashlib.sha256(b"".join(part.tobytes() + str(part.shape).encode() for part in parts))

    def make(directory: Path) -> None:
        found = [
            _train(task, chosen[k : k + AT_ONCE], steps) for k in range(0, len(chosen), AT_ONCE)
        ]
        np.save(directory / "chances.npy", np.concatenate(found))

    what = {"content": digest.hexdigest(), "steps": steps}
    return np.load(
        store.keep("heads", what, make, code=("medisyn_lib.evaluation.utility",)) / "chances.npy"
    )


def _train(task: Task, some: Sequence[Arm], steps: int) -> np.ndarray:
    x, y, f = torch.from_numpy(task.x), torch.from_numpy(task.y), len(task.x)
    a, h, c = len(some), len(SETTINGS), len(task.classes)
    own = [x[np.union1d(arm.first, arm.second) % f] for arm in some]
    centre = torch.stack([rows.mean(0, keepdim=True) for rows in own])
    scale = torch.stack([(rows - rows.mean(0)).square().mean().sqrt() for rows in own])[
        :, None, None
    ]
    weights = [
        [torch.zeros(a, d, c, requires_grad=True) for d in (x.shape[1], 1)] for _ in SETTINGS
    ]
    sides = zip(weights, SETTINGS, strict=True)
    groups = [{"params": w, "lr": rate, "weight_decay": decay} for w, (rate, decay) in sides]
    optimiser, drawn = torch.optim.AdamW(groups, fused=True), []
    for arm in some:  # which rows come when does not depend on what else is trained
        rng, halves = (
            np.random.default_rng([arm.draw, arm.n, arm.ratio]),
            (steps // 2, steps - steps // 2),
        )
        drawn.append(
            np.concatenate([rng.choice(arm[4 + k], (many, BATCH)) for k, many in enumerate(halves)])
        )

    def logits(
        images: torch.Tensor,
    ) -> torch.Tensor:  # (a, c, n, h) of features (a, n, d), or (n, d)
        w, b = (torch.cat(part, 2) for part in zip(*weights, strict=True))
        return ((images @ w - centre @ w) / scale + b).unflatten(2, (h, c)).movedim(3, 1)

    def entropy(
        found: torch.Tensor, right: torch.Tensor
    ) -> torch.Tensor:  # (a, h), of classes (a, n), or (n,)
        return F.cross_entropy(
            found, right.expand(a, -1)[:, :, None].expand(-1, -1, h), reduction="none"
        ).mean(1)

    best, kept = torch.full((a, h), torch.inf), torch.zeros(a, c, len(task.test), h)
    for step, rows in enumerate(torch.from_numpy(np.stack(drawn, 1))):
        optimiser.zero_grad()
        entropy(logits(x[rows % f]), y[rows]).sum().backward()
        optimiser.step()
        if (step + 1) % max(1, steps // LOOKS) == 0:
            with torch.no_grad():
                loss = entropy(logits(x[task.validation]), y[task.validation])
                kept = torch.where((loss < best)[:, None, None], logits(x[task.test]), kept)
                best = torch.minimum(loss, best)
    return kept[torch.arange(a), :, :, best.argmin(1)].softmax(1).movedim(1, 2).numpy()


def scores(chances: np.ndarray, right: np.ndarray, patients: ArrayLike) -> dict[str, np.ndarray]:
    """Measures of chances (n, c) of true classes (n,), each (1 + g,): of all, then without each of g patients.

    `AUROC K` of each class K against the rest and their mean, `AUROC`; `balanced accuracy` (mean recall); `calibration
    error`: of the likeliest class, expected, in ten bins of confidence (Guo et al., arXiv 1706.04599).
    """
    numbers, hit, sure = range(chances.shape[1]), chances.argmax(1) == right, chances.max(1)
    each = {f"AUROC {k}": agreement.aucs(chances[:, k], right == k, patients) for k in numbers}
    recall = [means(hit, patients, right == k) for k in numbers]
    inside = np.minimum((sure * 10).astype(int), 9)[:, None] == np.arange(10)
    error = np.abs(means((sure - hit)[:, None] * inside, patients)).sum(1)
    mean = {"AUROC": np.mean(list(each.values()), 0), "balanced accuracy": np.mean(recall, 0)}
    return mean | {"calibration error": error} | each


def own_images(
    real: Images, asked: ArrayLike, settings: Profile, steps: int, seed: int
) -> np.ndarray:
    """Images, uint8 (m, h, w, 3), of the findings `asked` by a generator that saw `real` alone; kept in the store.

    Its first stage is linear (whitened principal components of patches), its text a vector a finding, the rest as ever.
    """
    plan = loop.TrainingPlan(steps, batch=16, learning_rate=1.5e-3, seed=seed, ema_decay=0.999)
    findings, labels = np.unique(real.finding, return_inverse=True)
    wanted = np.searchsorted(findings, np.asarray(asked))

    def make(directory: Path) -> None:
        from sklearn.decomposition import PCA

        n, cell, side = (
            len(real.pixels),
            networks.DOWNSCALE,
            real.pixels.shape[1] // networks.DOWNSCALE,
        )
        patches = (
            real.pixels.reshape(n, side, cell, side, cell, 3)
            .swapaxes(2, 3)
            .reshape(n * side**2, -1)
            / 127.5
            - 1
        )
        linear = PCA(networks.LATENT_CHANNELS, whiten=True, svd_solver="full").fit(patches)
        latents = (
            linear.transform(patches)
            .reshape(n, side, side, -1)
            .transpose(0, 3, 1, 2)
            .astype(np.float32)
        )
        words = (
            np.random.default_rng(seed)
            .normal(size=(len(findings) + 1, 1, TEXT_WIDTH))
            .astype(np.float32)
        )
        words[-1] = 0  # of no text
        with seeded(seed):
            net = networks.denoiser(side * cell, OWN_WIDTHS, text_width=TEXT_WIDTH)
        train_denoiser(net, latents, words, labels, plan, directory)
        sampler, text = (
            networks.scheduler(),
            torch.from_numpy(words[np.append(wanted, np.full(len(wanted), -1))]),
        )
        sampler.set_timesteps(settings.sampling_steps)
        drawn = torch.randn(
            len(wanted), *latents.shape[1:], generator=torch.Generator().manual_seed(seed)
        )
        with torch.inference_mode():
            for time in sampler.timesteps:
                told, free = net(torch.cat([drawn, drawn]), time, text, return_dict=False)[0].chunk(
                    2
                )
                drawn = sampler.step(
                    free + settings.guidance * (told - free), time, drawn
                ).prev_sample
        flat = linear.inverse_transform(drawn.permute(0, 2, 3, 1).flatten(0, 2).numpy())
        made = (
            flat.reshape(-1, side, side, cell, cell, 3)
            .swapaxes(2, 3)
            .reshape(-1, side * cell, side * cell, 3)
        )
        np.save(
            directory / "samples.npy", np.rint((made + 1) * 127.5).clip(0, 255).astype(np.uint8)
        )

    content = [hashlib.sha256(part.tobytes()).hexdigest() for part in (real.pixels, labels, wanted)]
    what = {
        "plan": asdict(plan),
        "content": content,
        "call": [settings.sampling_steps, settings.guidance],
    }
    code = (
        "medisyn_lib.models.networks",
        "medisyn_lib.training.batches",
        "medisyn_lib.training.loop",
        "medisyn_lib.training.schedules",
        "medisyn_lib.training.denoiser",
        "medisyn_lib.evaluation.utility",
    )
    return np.load(distributed.keep_together("own_samples", what, make, code=code) / "samples.npy")
