"""How much of the real images a generator covers, by two encoders: what the quality floor is held against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from medisyn_lib.data.pixels import load_pixels
from medisyn_lib.evaluation.arm_measures import CoveredImages
from medisyn_lib.evaluation.fidelity.features import encoder_of
from medisyn_lib.evaluation.labelled_features import LabelledFeatures
from medisyn_lib.evaluation.quality_floor import NEIGHBOURS, median_coverage, quality_floor
from medisyn_lib.pipeline import features, transformer
from medisyn_lib.pipeline.arms import REAL, Arms
from medisyn_lib.pipeline.comparison_images import seed_arms
from medisyn_lib.pipeline.features import cached_features
from medisyn_lib.pipeline.samples import sample_prompts
from medisyn_lib.statistics.estimates import Estimate

if TYPE_CHECKING:
    import datasets

    from medisyn_lib.evaluation.memorization.images import JudgedImages
    from medisyn_lib.pipeline.judged import JudgedGenerator
    from medisyn_lib.pipeline.study import Study

ENCODERS = (features.ENCODER, transformer.ENCODER)
ANY = "any"  # stands for the modality where that of the images is not known
Coverage = dict[str, Estimate]  # by encoder


def labelled(
    study: Study,
    pixels: np.ndarray,
    modality: np.ndarray,
    patient: np.ndarray,
    finding: np.ndarray | None = None,
) -> LabelledFeatures:
    """Return the features of images by both encoders, with their labels.

    Parameters
    ----------
    study : Study
        Whose evaluator patients the second encoder was trained on.
    pixels : np.ndarray
        uint8 (n, h, w, 3).
    modality, patient, finding : np.ndarray
        Of each image, or of the one whose caption was its prompt, str (n,).
    """
    features = [cached_features(pixels), study.transformer_encoder().features(pixels)]
    return LabelledFeatures(features, modality, patient, finding)


def labelled_pair(
    study: Study, held_out: datasets.Dataset, synthetic: np.ndarray
) -> tuple[LabelledFeatures, LabelledFeatures]:
    """Return the features of real images, and of synthetic ones of their captions, with their labels."""
    labels = [np.asarray(held_out[name][:]) for name in ("modality", "patient_id", "finding")]
    real = labelled(study, load_pixels(held_out), *labels)
    return real, labelled(study, synthetic, *labels)


def coverage(*, real: LabelledFeatures, synthetic: LabelledFeatures) -> Coverage:
    """Return `quality_floor` by encoder, over the modalities that have enough images; no value where none has.

    Where no modality of the synthetic images is one of the real ones, as theirs is not known, all count as one.
    """
    if not {*real.modality.tolist()} & {*synthetic.modality.tolist()}:
        real, synthetic = _of_any(real), _of_any(synthetic)
    enough = _with_enough(real.modality) & _with_enough(synthetic.modality)
    kept = [_only(side, enough) for side in (real, synthetic)]
    names = [str(encoder_of(features)) for features in real.features]
    if not min(map(len, kept)):
        return dict.fromkeys(names, Estimate(None, None, None, 0))
    return dict(zip(names, quality_floor(real=kept[0], synthetic=kept[1]), strict=True))


def coverage_of_generator(judged: JudgedGenerator) -> Coverage:
    """Return how much of the held-out images a generator's images of their captions cover."""
    study = judged.study
    held_out = study.images("test")
    synthetic = sample_prompts(judged.model, held_out["caption"][:], side=study.settings.size)
    real, made = labelled_pair(study, held_out, np.asarray(synthetic))
    return coverage(real=real, synthetic=made)


def coverage_of_images(study: Study, images: JudgedImages) -> Coverage:
    """Return how much of the held-out images some judged ones cover, which need not be of their captions."""
    held_out = study.images("test")
    labels = [np.asarray(held_out[name][:]) for name in ("modality", "patient_id")]
    real = labelled(study, load_pixels(held_out), *labels)
    each_its_own = np.arange(len(images.pixels)).astype(str)
    return coverage(
        real=real, synthetic=labelled(study, images.pixels, images.modality, each_its_own)
    )


def coverage_of_pair(study: Study, modalities: Sequence[str]) -> list[Coverage]:
    """Return how much of the real images of the first training seed its generalist and its specialists cover."""
    return list(coverage_of_arms(study, seed_arms(study, 0, modalities)).values())


def covered_parts(study: Study, arms: Arms) -> dict[str, list[CoveredImages]]:
    """Return for each arm the parts that measure how much of the real images it covers, in the first split."""
    found: dict[str, list[CoveredImages]] = {}
    for arm in dict.fromkeys(key.arm for key in arms if key.arm != REAL):
        keys = [key for key in arms if key.arm == arm and key.split == 0]
        names = tuple(key.modality for key in keys)
        found[arm] = []
        for images in dict.fromkeys(arms[key] for key in keys):
            real = replace(arms[keys[0]._replace(arm=REAL)], modalities=images.modalities)
            part = CoveredImages(real, images, names, study.transformer_encoder())
            found[arm].append(part)
    return found


def coverage_of_arms(study: Study, arms: Arms) -> dict[str, Coverage]:
    """Return how much of the real images each arm covers, over the modalities that it has.

    Parameters
    ----------
    study : Study
        As of `labelled`.
    arms : dict
        By arm, modality and evaluation split; the first split is looked at.
    """
    found = {}
    for arm, parts in covered_parts(study, arms).items():
        covered = {name: np.array(rows) for part in parts for name, rows in part.value.items()}
        if covered:
            estimates = median_coverage(covered, parts[0].n)
        else:
            estimates = [Estimate(None, None, None, 0)] * len(ENCODERS)
        found[arm] = dict(zip(ENCODERS, estimates, strict=True))
    return found


def _of_any(side: LabelledFeatures) -> LabelledFeatures:
    return LabelledFeatures(side.features, np.full(len(side), ANY), side.patient, side.finding)


def _with_enough(modality: np.ndarray) -> set[str]:
    """The modalities of which there are enough images to have neighbours."""
    names, counts = np.unique(modality, return_counts=True)
    return {str(name) for name, n in zip(names, counts, strict=True) if n > NEIGHBOURS}


def _only(side: LabelledFeatures, names: set[str]) -> LabelledFeatures:
    """The rows of some modalities."""
    rows = np.isin(side.modality, sorted(names))
    finding = None if side.finding is None else side.finding[rows]
    features = [one[rows] for one in side.features]
    return LabelledFeatures(features, side.modality[rows], side.patient[rows], finding)
