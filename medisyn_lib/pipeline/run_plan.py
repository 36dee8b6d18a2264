"""What a whole run will train: steps, operations and memory of every training, before anything starts.

The plans are those that the artifacts of a study are made by. Networks are counted on the device `meta`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from medisyn_lib.errors import InputError
from medisyn_lib.modalities import MODALITIES
from medisyn_lib.pipeline import disk_space
from medisyn_lib.pipeline.added_modality import LEARNERS, added_plan
from medisyn_lib.pipeline.classifiers import classifier_plan
from medisyn_lib.pipeline.denoisers import denoiser_plan
from medisyn_lib.pipeline.judged import judged_generator
from medisyn_lib.pipeline.origins import DenoiserOrigin, FineTuning
from medisyn_lib.pipeline.overfitted import overfitted_plan, small_shape
from medisyn_lib.pipeline.reidentification import reidentification_plan
from medisyn_lib.pipeline.transformer import transformer_plan
from medisyn_lib.runtime.device import autocast, compute_dtype
from medisyn_lib.training.classifier import classifier_network
from medisyn_lib.training.flops import count_flops
from medisyn_lib.training.loop import TrainingPlan
from medisyn_lib.training.memory import activation_bytes
from medisyn_lib.training.transformer import transformer_network

if TYPE_CHECKING:
    from medisyn_lib.pipeline.study import Study

__all__ = [
    "Memory",
    "Training",
    "check_memory",
    "checked_room",
    "measured_rate",
    "peak_memory",
    "trainings",
]

BYTES = 4  # of a weight, in float32
CONTEXT = 10**9  # bytes that CUDA itself takes of a card, about
BENCHMARK_IMAGES, BENCHMARK_STEPS = 4, 2
GIGABYTE = 1e9
OVERFITTED = "overfitted"  # begins the names of those that are to copy


@dataclass(frozen=True)
class Training:
    """One training of a run.

    Attributes
    ----------
    name : str
        What is trained.
    notebooks : tuple of str
        Numbers of those that need it.
    plan : TrainingPlan
        Its steps and batch.
    flops_per_image : float
        Of a forward and backward pass.
    is_denoiser : bool
        Whether it generates; the others evaluate.
    """

    name: str
    notebooks: tuple[str, ...]
    plan: TrainingPlan
    flops_per_image: float
    is_denoiser: bool = True

    @property
    def images(self) -> int:
        """Images seen."""
        return self.plan.steps * self.plan.batch

    @property
    def flops(self) -> float:
        """Operations of all steps."""
        return self.images * self.flops_per_image


def trainings(study: Study, modalities: Sequence[str] = tuple(MODALITIES)) -> list[Training]:
    """List the trainings of all notebooks: denoisers, then what evaluates.

    The autoencoder, the text encoder, and what 06 and 07 train many times over are not among them.

    Parameters
    ----------
    study : Study
        Nothing of it is made.
    modalities : sequence of str
        Those of its data; a specialist for another is left out.
    """
    copier = _copier(study)
    flops, flops_of_copier = (
        float(one.operations(one.outline())[0]) for one in (study.denoiser_origin, copier)
    )
    needed = disk_space.pipelines_of(study.settings)
    needed.pop(disk_space.SUITE)
    listed = []
    for name, first_of_pipeline, plan in _denoisers(study, modalities):
        length = len(first_of_pipeline)
        notebooks = [
            number
            for number, pipelines in needed.items()
            if any(pipeline[:length] == first_of_pipeline for pipeline in pipelines)
        ]
        each = flops_of_copier if name.startswith(OVERFITTED) else flops
        listed.append(Training(name, tuple(notebooks), plan, each))
    return listed + _evaluators(study)


def _copier(study: Study) -> DenoiserOrigin:
    """What the overfitted control of 05 starts from: as the generalist where that is judged by default."""
    judges_its_own = judged_generator(study).is_trained_here
    return study.denoiser_origin if judges_its_own else small_shape(study)


def _denoisers(
    study: Study, modalities: Sequence[str]
) -> list[tuple[str, disk_space.Pipeline, TrainingPlan]]:
    """Each denoiser's name, how its pipelines begin in `pipelines_of`, and its plan."""
    settings, rate = study.settings, study.denoiser_origin.learning_rate
    listed: list[tuple[str, disk_space.Pipeline, TrainingPlan]] = []
    for seed in settings.seeds:
        plan = denoiser_plan(settings, seed=seed, learning_rate=rate)
        listed.append((f"generalist, seed {seed}", ("generalist", seed), plan))
        for name in settings.specialists:
            if name in modalities:
                plan = denoiser_plan(settings, name, seed=seed, learning_rate=rate)
                listed.append((f"specialist {name}, seed {seed}", (name, seed), plan))
    first = settings.seeds[0]
    for name in settings.long_specialists:
        if name in modalities:
            plan = denoiser_plan(settings, name, seed=first, long=True, learning_rate=rate)
            listed.append((f"long specialist {name}", ("long", name), plan))
    for number, learner in enumerate(LEARNERS):
        name = f"eleventh modality, {learner.name}"
        listed.append((name, ("added", number), added_plan(study, learner)))
    for size in (0, *settings.memorization.further_overfit_sizes):
        name = f"{OVERFITTED} to {size}" if size else f"{OVERFITTED} control"
        listed.append((name, ("overfitted", size), overfitted_plan(study, _copier(study))))
    return listed


def _evaluators(study: Study) -> list[Training]:
    """The networks that evaluate images."""
    settings = study.settings
    with torch.device("meta"):
        cnn = classifier_network(len(MODALITIES))
        transformer = transformer_network(len(MODALITIES), side=settings.size)
    seen = _classification_flops(cnn, settings.size)
    by_transformer = _classification_flops(transformer, settings.size)
    everywhere = ("01", "02", "03", "04", "05", "06")
    classifier, encoder = classifier_plan(settings, 0), transformer_plan(settings)
    pairs = reidentification_plan(settings)
    return [
        Training("classifier", everywhere, classifier, seen, is_denoiser=False),
        Training("transformer", ("02",), encoder, by_transformer, is_denoiser=False),
        # Its network is the classifier's but for the last layer; a place in its batch has two images.
        Training("re-identification", ("05",), pairs, 2 * seen, is_denoiser=False),
    ]


def _classification_flops(net: torch.nn.Module, size: int) -> float:
    """Operations of an image's forward and backward pass, by a batch of two: batch norms need that."""
    images = torch.zeros(2, 3, size, size, device="meta")
    flops, _ = count_flops(lambda: net(images).sum().backward())
    return flops / 2


@dataclass(frozen=True)
class Memory:
    """Most memory of one training, in bytes.

    Attributes
    ----------
    state : int
        Weights; of those trained also gradients, two moments of AdamW and the moving average.
    activations : int
        Of one batch.
    batch : int
        Its images.
    """

    state: int
    activations: int
    batch: int

    @property
    def total(self) -> int:
        """All together."""
        return self.state + self.activations


def peak_memory(origin: DenoiserOrigin, plan: TrainingPlan, *, half: bool) -> Memory:
    """Count the memory of a denoiser's training.

    Parameters
    ----------
    origin : DenoiserOrigin
        What training starts from.
    plan : TrainingPlan
        Its batch.
    half : bool
        Whether it computes in bfloat16: activations then count as half of those in float32.
    """
    net = origin.outline()
    if isinstance(origin, FineTuning):
        net.enable_gradient_checkpointing()
    net.train()
    trained = sum(p.numel() for p in net.parameters() if p.requires_grad)
    copies = 4 if plan.ema_decay else 3
    weights = sum(p.numel() for p in net.parameters())
    activations = activation_bytes(net, lambda: origin.loss_of(net, plan.batch))
    return Memory(
        BYTES * (weights + copies * trained), activations // (2 if half else 1), plan.batch
    )


def check_memory(memory: Memory, available: float, profile: str) -> None:
    """Check that a training fits.

    Parameters
    ----------
    memory : Memory
        Of the largest training.
    available : float
        Bytes of the card, or of main memory.
    profile : str
        Name of the run's profile, whose settings a refusal names.

    Raises
    ------
    InputError
        Where it does not, with the largest batch that would.
    """
    if memory.total + CONTEXT <= available:
        return
    left = available - CONTEXT - memory.state
    batch = int(left // (memory.activations / memory.batch))
    fault = (
        f"a step of {memory.batch} images takes about {(memory.total + CONTEXT) / GIGABYTE:.1f} GB "
        f"({memory.state / GIGABYTE:.1f} of them weights and optimiser), and there are "
        f"{available / GIGABYTE:.1f} GB"
    )
    mend = f"set denoiser_batch to {batch} or less, or a smaller size, in profiles.toml"
    if batch < 1:
        mend = (
            "set smaller denoiser_widths in profiles.toml; from a base train adapters, not ?whole"
        )
    raise InputError(f"profile {profile!r}: {fault}; {mend}")


def checked_room(study: Study, parts: Sequence[str]) -> int:
    """Return the bytes that the pipelines of some notebooks, and the snapshots of weights, take on the disk.

    Raises
    ------
    InputError
        Where there is no room (`disk_space.require_room`).
    """
    base = study.checked_base
    if base:
        each, snapshot = base.size, base.size if base.whole else 0
        made = f"from base {base.label!r}"
    else:
        weights = sum(p.numel() for p in study.denoiser_origin.outline().parameters())
        each, snapshot, made = BYTES * weights, BYTES * weights, "from scratch"
    return disk_space.require_room(study.profile, parts, each, snapshot, made)


def measured_rate(origin: DenoiserOrigin, device: torch.device, flops_per_image: float) -> float:
    """Measure operations per second of a few forward and backward passes of a denoiser with random weights."""
    net = origin.random(0).to(device).train()
    dtype = compute_dtype()

    def step() -> None:
        with autocast(device, dtype):
            loss = origin.loss_of(net, BENCHMARK_IMAGES)
        loss.backward()
        net.zero_grad(set_to_none=True)
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    step()  # the first prepares kernels
    start = time.perf_counter()
    for _ in range(BENCHMARK_STEPS):
        step()
    seconds = time.perf_counter() - start
    return BENCHMARK_STEPS * BENCHMARK_IMAGES * flops_per_image / seconds
