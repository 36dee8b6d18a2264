"""The frozen autoencoder that all generators of a study share ("first stage" in Rombach et al.), and its latents."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medisyn_lib.models import networks, wavelet_start
from medisyn_lib.models.bases import Base
from medisyn_lib.models.weights import shipped_weights
from medisyn_lib.pipeline.artifacts import TRAINING_CODE, ArrayArtifact, Artifact, ImageSet, Pixels
from medisyn_lib.profiles import Profile
from medisyn_lib.runtime.device import accelerator, seeded
from medisyn_lib.training import autoencoder, autoencoder_loss, loop
from medisyn_lib.training.autoencoder import (
    AUTOENCODER_WIDTHS,
    decode,
    encode,
    load_shipped,
    train_autoencoder,
)

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

PIXELS_AT_ONCE = 64**3  # that an autoencoder encodes: 64 images of 64 x 64


class Autoencoder(Artifact):
    """A frozen autoencoder; its folder holds `vae/`."""

    step = "first_stage"

    def load(self) -> AutoencoderKL:
        """Return the autoencoder, frozen."""
        from diffusers import AutoencoderKL

        return AutoencoderKL.from_pretrained(self.folder / "vae").eval().requires_grad_(False)

    def load_on_device(self) -> AutoencoderKL:
        """Return the autoencoder, frozen, where Accelerate computes."""
        return self.load().to(accelerator().device)


@dataclass(frozen=True, eq=False)
class ShippedAutoencoder(Autoencoder):
    """The phantom-trained autoencoder that the package ships."""

    code = (networks,)
    weights_sha256: str

    def make(self, folder: Path) -> None:
        """Write the shipped weights as a diffusers folder."""
        load_shipped().save_pretrained(folder / "vae")


@dataclass(frozen=True, eq=False)
class TrainedAutoencoder(Autoencoder):
    """An autoencoder trained from scratch, or the shipped one fine-tuned, on the generator's patients."""

    code = (networks, wavelet_start, *TRAINING_CODE, autoencoder, autoencoder_loss)
    plan: loop.TrainingPlan
    from_scratch: bool
    weights_sha256: str
    images: ImageSet

    def make(self, folder: Path) -> None:
        """Train it and write it as a diffusers folder."""
        with seeded(self.plan.seed):
            vae = networks.autoencoder(AUTOENCODER_WIDTHS) if self.from_scratch else load_shipped()
        train_autoencoder(vae, self.images.pixels(), self.plan, folder)
        vae.save_pretrained(folder / "vae")


@dataclass(frozen=True, eq=False)
class BaseAutoencoder(Autoencoder):
    """The autoencoder of a base, as it is."""

    code = ()
    base: Base

    def make(self, folder: Path) -> None:
        """Write it as a diffusers folder, in float32."""
        from diffusers import AutoencoderKL

        if not accelerator().is_main_process:
            return
        vae = AutoencoderKL.from_pretrained(
            self.base.folder,
            subfolder="vae",
            use_safetensors=True,
            variant=self.base.variant("vae"),
        )
        vae.float().save_pretrained(folder / "vae")


@dataclass(frozen=True, eq=False)
class Latents(ArrayArtifact):
    """Latents of images, float16 (n, c, h, w), scaled as the autoencoder's own settings say."""

    step = "latents"
    code = (autoencoder,)
    autoencoder: Autoencoder
    images: ImageSet

    def count(self) -> int:
        """Return the number of images."""
        return len(self.images.load())

    def block(self, rows: np.ndarray) -> np.ndarray:
        """Encode the images of some rows."""
        return self.encode(self.images.pixels(rows)).astype(np.float16)

    def encode(self, pixels: np.ndarray) -> np.ndarray:
        """Return latents float32 (n, c, h, w) of images uint8 (n, side, side, 3)."""
        vae = self.autoencoder.load_on_device()
        at_once = max(1, PIXELS_AT_ONCE // pixels.shape[1] ** 2)
        return encode(vae, pixels, at_once) * np.float32(vae.config.scaling_factor)


@dataclass(frozen=True, eq=False)
class Reconstruction(ArrayArtifact):
    """Images through the autoencoder and back, uint8 (n, h, w, 3)."""

    step = "decoded"
    code = (autoencoder,)
    autoencoder: Autoencoder
    images: Pixels

    def count(self) -> int:
        """Return the number of images."""
        return len(self.images.array)

    def block(self, rows: np.ndarray) -> np.ndarray:
        """Encode and decode some images."""
        vae, pixels = self.autoencoder.load_on_device(), self.images.array[rows]
        at_once = max(1, PIXELS_AT_ONCE // pixels.shape[1] ** 2)
        return decode(vae, encode(vae, pixels, at_once), at_once)


def shipped_sha256() -> str:
    """Return the SHA-256 of the shipped autoencoder's weights."""
    return hashlib.sha256(shipped_weights().read_bytes()).hexdigest()


def autoencoder_plan(settings: Profile, *, from_scratch: bool) -> loop.TrainingPlan:
    """Return how a profile trains an autoencoder from scratch, or fine-tunes the shipped one."""
    if from_scratch:
        steps = settings.autoencoder_scratch_steps
        return loop.TrainingPlan(steps=steps, batch=16, learning_rate=1e-3)
    return loop.TrainingPlan(steps=settings.autoencoder_steps, batch=16, learning_rate=5e-4)
