"""Stronger guidance: how much more surely the prompt is followed, and what that costs in diversity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medisyn_lib.evaluation import attributes
from medisyn_lib.evaluation.alignment import accuracy
from medisyn_lib.pipeline.features import cached_features
from medisyn_lib.pipeline.samples import sample_prompts
from medisyn_lib.statistics.estimates import Estimate, student
from medisyn_lib.statistics.jackknife import delete_group

if TYPE_CHECKING:
    import datasets

    from medisyn_lib.pipeline.judged import JudgedGenerator

IMAGES_PER_PROMPT = 3
FIRST_SEED = 20_000  # seeds that no other images of a notebook have


@dataclass(frozen=True)
class SweepPrompts:
    """Prompts of a sweep: rows of held-out images, and two more of the same finding for each.

    `rows` is int (n,), `companions` int (2, n): rows of other patients' images.
    """

    rows: np.ndarray
    companions: np.ndarray


@dataclass(frozen=True)
class GuidancePoint:
    """Accuracy of the captioned attributes and diversity (of real images: 1) at one guidance scale."""

    scale: float
    accuracy: Estimate
    diversity: Estimate


def guidance_scales(default: float) -> list[float]:
    """Return the scales of a sweep: none (1), a weak, a strong one, and the generator's own."""
    return sorted({1.0, 2.0, default, 8.0})


def sweep_prompts(held_out: datasets.Dataset, most: int) -> SweepPrompts:
    """Choose prompts, spread over held-out images, whose finding two images of other patients show."""
    modality, finding, patient = (
        np.array(held_out[name][:]) for name in ("modality", "finding", "patient_id")
    )
    rows, companions = [], []
    for row in range(len(held_out)):
        same_class = (modality == modality[row]) & (finding == finding[row])
        others = np.flatnonzero(same_class & (patient != patient[row]))
        if len(others) > 1:
            rows.append(row)
            companions.append(others[:2])
    chosen = np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(int)
    return SweepPrompts(np.array(rows)[chosen], np.array(companions)[chosen].T)


def diversity(pixels: np.ndarray) -> np.ndarray:
    """Return the mean distance between the three images of each prompt.

    In EfficientNet-Lite0, which judges nothing else here.

    Parameters
    ----------
    pixels
        uint8 (3 n, h, w, 3): the first image of every prompt, then the second, then the third.

    Returns
    -------
    ndarray
        float64 (n,).
    """
    first, second, third = np.split(np.asarray(cached_features(np.array(pixels))), 3)
    pairs = ((first, second), (second, third), (third, first))
    return np.mean([np.linalg.norm(a - b, axis=1) for a, b in pairs], 0)


def diversity_ratio(synthetic: np.ndarray, real: np.ndarray, patients: np.ndarray) -> Estimate:
    """Return the ratio of mean diversities, (n,) each, with a delete-group jackknife over patients."""
    values, variances, degrees_of_freedom = delete_group(
        lambda x, y: x.mean() / y.mean(), [synthetic, real], patients
    )
    return student(float(values[0]), float(variances[0]), degrees_of_freedom, len(synthetic))


def images_at(
    generator: JudgedGenerator, held_out: datasets.Dataset, prompts: SweepPrompts, scale: float
) -> np.ndarray:
    """Sample three images of each of n prompts at a guidance scale, cached.

    Returns
    -------
    ndarray
        uint8 (3 n, h, h, 3): the first image of every prompt, then the second, then the third; each from
        the same noise at every scale.
    """
    thrice = held_out.select(np.tile(prompts.rows, IMAGES_PER_PROMPT).tolist())
    return sample_prompts(
        generator.model,
        thrice["caption"][:],
        first_seed=FIRST_SEED,
        side=generator.study.settings.size,
        guidance_scale=scale,
    )


def example_images(
    generator: JudgedGenerator, held_out: datasets.Dataset, most: int = 4
) -> tuple[list[str], dict[float, np.ndarray]]:
    """Return a few prompts, of different modalities, and what the sweep samples of them.

    Returns
    -------
    prompts
        str (n,), spread over the sweep's.
    images
        By guidance scale, uint8 (n, 2, h, h, 3): two of each prompt, from the same noises at every scale.
    """
    settings = generator.study.settings
    prompts = sweep_prompts(held_out, settings.alignment.guidance_prompts)
    modality = np.array(held_out["modality"][:])[prompts.rows]
    _, one_of_each = np.unique(modality, return_index=True)
    spread = np.linspace(0, len(one_of_each) - 1, min(most, len(one_of_each))).astype(int)
    places = np.sort(one_of_each)[spread]
    captions = held_out.select(prompts.rows[places].tolist())["caption"][:]
    scales = guidance_scales(generator.guidance or settings.guidance)
    images = {}
    for scale in scales:
        first, second, _ = np.split(images_at(generator, held_out, prompts, scale), 3)
        images[scale] = np.stack([first[places], second[places]], 1)
    return captions, images


def guidance_sweep(
    generator: JudgedGenerator,
    evaluator: attributes.AttributeEvaluator,
    held_out: datasets.Dataset,
    real: np.ndarray,
) -> list[GuidancePoint]:
    """Sample three images of each prompt at each guidance scale; measure accuracy and diversity.

    Parameters
    ----------
    generator
        Whose guidance is varied; its own scale is the profile's where it states none.
    evaluator
        Recovers the attributes that captions name.
    held_out
        Real images with captions, and `real`, their pixels, uint8 (m, h, w, 3).
    real
        See `held_out`.

    Returns
    -------
    list of GuidancePoint
        One per scale of `guidance_scales`.
    """
    settings = generator.study.settings
    prompts = sweep_prompts(held_out, settings.alignment.guidance_prompts)
    reference = diversity(real[[*prompts.rows, *prompts.companions[0], *prompts.companions[1]]])
    patients = np.array(held_out["patient_id"][:])[prompts.rows]
    thrice = held_out.select(np.tile(prompts.rows, IMAGES_PER_PROMPT).tolist())
    requested = attributes.labels(thrice)
    points = []
    for scale in guidance_scales(generator.guidance or settings.guidance):
        images = images_at(generator, held_out, prompts, scale)
        recovered = attributes.recover(evaluator, images, requested)
        named = recovered[recovered["attribute"] != "modality"]
        ratio = diversity_ratio(diversity(images), reference, patients)
        points.append(GuidancePoint(scale, accuracy(named, "correct"), ratio))
    return points
