"""Generalist and specialists of a study, trained, with their images sampled and described."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from medisyn_lib.pipeline.generators import generator_entry

if TYPE_CHECKING:
    from medisyn_lib.pipeline.study import Study
from medisyn_lib.pipeline.features import cached_features
from medisyn_lib.pipeline.paired_samples import evaluation_splits, sample_modalities


def suite(study: Study) -> list[Path]:
    """The generators that notebook 02 compares, trained, and their images drawn and described; by all processes."""
    made: list[Path] = []
    for turn, (seed, deal) in enumerate(
        zip(study.settings.seeds, evaluation_splits(study), strict=True)
    ):
        present = [name for name in study.settings.specialists if name in set(deal["modality"][:])]
        for name in (None, *present):
            made.append(generator_entry(study, name, seed=seed))
            images = sample_modalities(
                made[-1], deal, [name] if name else present, turn, whole=name is None
            )
            for pixels in images.values():
                cached_features(pixels)
    return made
