"""The autoencoders that `recipes.py` trains denoisers on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from recipe_parts import SHAPES, LatentShape, Recipe

from medisyn_lib.models import networks, wavelet_start
from medisyn_lib.pipeline.artifacts import TRAINING_CODE, ImageSet
from medisyn_lib.pipeline.autoencoders import Autoencoder, autoencoder_plan
from medisyn_lib.pipeline.study import AUTOENCODER_ROLE, Study
from medisyn_lib.runtime.device import seeded
from medisyn_lib.training import autoencoder, autoencoder_loss, loop


@dataclass(frozen=True, eq=False)
class AutoencoderOfShape(Autoencoder):
    """An autoencoder with latents of another shape, trained from scratch."""

    step = "tried_autoencoder"
    code = (networks, wavelet_start, *TRAINING_CODE, autoencoder, autoencoder_loss)
    shape: LatentShape
    plan: loop.TrainingPlan
    images: ImageSet

    def make(self, folder: Path) -> None:
        """Train it and write it as a diffusers folder."""
        with seeded(self.plan.seed):
            vae = networks.autoencoder(self.shape.widths, self.shape.channels)
        autoencoder.train_autoencoder(vae, self.images.pixels(), self.plan, folder)
        vae.save_pretrained(folder / "vae")


def autoencoder_of(study: Study, recipe: Recipe) -> Autoencoder:
    """Return the autoencoder of a recipe: the study's own, or one of another shape."""
    if not recipe.autoencoder:
        return study.autoencoder
    return AutoencoderOfShape(
        shape=SHAPES[recipe.autoencoder],
        plan=autoencoder_plan(study.settings, from_scratch=True),
        images=study.image_set(AUTOENCODER_ROLE),
    )
