"""A study: one profile on one data source, and every artifact that follows from the two.

Images -> autoencoder -> latents; captions and latents -> text encoder -> embeddings; both -> one denoiser for
all modalities (the generalist) or for one (a specialist) -> a pipeline folder. A study asks for each once. With a
base, autoencoder and text encoder are the base's, and every denoiser starts from the base's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medisyn_lib.data import sources
from medisyn_lib.errors import InputError
from medisyn_lib.models.bases import Base, find_base
from medisyn_lib.pipeline.artifacts import ImageSet, Pixels
from medisyn_lib.pipeline.autoencoders import (
    Autoencoder,
    BaseAutoencoder,
    Latents,
    Reconstruction,
    ShippedAutoencoder,
    TrainedAutoencoder,
    autoencoder_plan,
    shipped_sha256,
)
from medisyn_lib.pipeline.caption_lengths import check_caption_lengths
from medisyn_lib.pipeline.classifiers import Classifier, FittedLinearClassifier, classifier_plan
from medisyn_lib.pipeline.denoisers import (
    StoredDenoiser,
    TrainedDenoiser,
    denoiser_plan,
    snapshot_steps,
    trained_denoiser,
)
from medisyn_lib.pipeline.embeddings import (
    TEXT_LAYERS,
    TEXT_WIDTH,
    BaseEmbeddings,
    Embeddings,
    StoredEmbeddings,
    text_plan,
)
from medisyn_lib.pipeline.generators import Generator, SamplingCall
from medisyn_lib.pipeline.origins import DenoiserOrigin, DenoiserShape, FineTuning
from medisyn_lib.pipeline.transformer import TransformerEncoder, transformer_plan
from medisyn_lib.profiles import Profile, named_profile
from medisyn_lib.runtime.device import accelerator
from medisyn_lib.runtime.paths import resolve_out
from medisyn_lib.runtime.provenance import collect, data_label, run_name

if TYPE_CHECKING:
    import datasets

AUTOENCODER_ROLE = "first_stage"


@dataclass(frozen=True)
class Study:
    """A profile, a data source and a base: everything that a trained generator follows from, but its seed."""

    profile: str
    source: str
    autoencoder_from_scratch: bool = False  # in place of the shipped one
    base: str = (
        ""  # what its generators are fine-tuned from (`models.bases`); empty: trained from scratch
    )

    def __post_init__(self) -> None:
        named_profile(self.profile)  # a wrong one is refused now
        if self.base and self.autoencoder_from_scratch:
            fault = "brings its own autoencoder; leave out either it or `retrain_autoencoder`"
            raise InputError(f"base {self.base!r}: {fault}")
        _ = self.checked_base

    @cached_property
    def settings(self) -> Profile:
        """The profile's row of the table."""
        return named_profile(self.profile)

    @cached_property
    def checked_base(self) -> Base | None:
        """The base, found and checked; None where generators are trained from scratch."""
        return find_base(self.base, self.settings.size) if self.base else None

    @property
    def base_label(self) -> str:
        """The base without the folders that lead to it; empty where there is none."""
        return self.checked_base.label if self.checked_base else ""

    @property
    def scale(self) -> str:
        """Data, profile, size and base in words, for the title of every figure."""
        scale = f"{data_label(self.source)}, profile {self.profile}, {self.settings.size} pixels"
        return f"{scale}, from {self.base_label}" if self.base else scale

    def out_folder(self, out: str) -> Path:
        """Return where a notebook writes: `out`, or build/<profile>-<data>, and the base if there is one."""
        return resolve_out(out or f"build/{run_name(self.profile, self.source, self.base_label)}")

    def provenance(self, seconds: float, flops: float) -> dict[str, Any]:
        """Return the `provenance` of a result of this study (`medisyn_lib.runtime.provenance`)."""
        fingerprint = sources.fingerprint(self.source)
        seeds = self.settings.seeds
        collected = collect(self.profile, self.source, seeds, fingerprint, seconds, flops)
        if self.checked_base:
            collected |= {
                "base": self.base_label,
                "base_fingerprint": self.checked_base.fingerprint,
            }
        return collected

    def image_set(self, role: str, per_modality: int | None = None) -> ImageSet:
        """Return which images a role has: so many per modality, by default as many as the profile says."""
        settings = self.settings
        count = settings.images_of(role) if per_modality is None else per_modality
        seed = settings.phantom_seed if self.source == "phantom" else 0
        return ImageSet(self.source, role, settings.size, count, seed)

    def images(self, role: str) -> datasets.Dataset:
        """Return the images of a role as a memory-mapped dataset."""
        return self.image_set(role).load()

    @cached_property
    def _classifiers(self) -> dict[tuple[str, int], Classifier]:
        return {}

    def classifier(self, role: str = "evaluator", *, seed: int = 0) -> Classifier:
        """Return the classifier of modality and finding, trained on the patients of a role."""
        if (role, seed) not in self._classifiers:
            plan = classifier_plan(self.settings, seed)
            self._classifiers[role, seed] = Classifier(plan, self.image_set(role))
        return self._classifiers[role, seed]

    @cached_property
    def _linear_classifiers(self) -> dict[str, FittedLinearClassifier]:
        return {}

    def linear_classifier(self, role: str = "evaluator") -> FittedLinearClassifier:
        """Return the linear classifier of modality and finding, fitted to the patients of a role."""
        if role not in self._linear_classifiers:
            self._linear_classifiers[role] = FittedLinearClassifier(self.image_set(role))
        return self._linear_classifiers[role]

    @cached_property
    def _transformer_encoders(self) -> dict[str, TransformerEncoder]:
        return {}

    def transformer_encoder(self, role: str = "evaluator") -> TransformerEncoder:
        """Return the second encoder of images, a transformer trained on the patients of a role."""
        if role not in self._transformer_encoders:
            plan = transformer_plan(self.settings)
            self._transformer_encoders[role] = TransformerEncoder(plan, self.image_set(role))
        return self._transformer_encoders[role]

    @cached_property
    def autoencoder(self) -> Autoencoder:
        """The frozen autoencoder that all generators of this study share.

        A base brings its own. Else phantoms have the shipped one, and other sources fine-tune it on the
        generator's patients; before that, captions that the text encoder could not read are refused.
        """
        if self.checked_base:
            return BaseAutoencoder(self.checked_base)
        scratch, images = self.autoencoder_from_scratch, self.image_set(AUTOENCODER_ROLE)
        if self.source == "phantom" and not scratch:
            return ShippedAutoencoder(shipped_sha256())
        check_caption_lengths(self.image_set("generator"))
        return TrainedAutoencoder(
            plan=autoencoder_plan(self.settings, from_scratch=scratch),
            from_scratch=scratch,
            weights_sha256=shipped_sha256(),
            images=images,
        )

    @cached_property
    def latents(self) -> Latents:
        """The latents of the generator's training images."""
        return Latents(self.autoencoder, self.image_set("generator"))

    @cached_property
    def embeddings(self) -> StoredEmbeddings:
        """The text encoder and the embeddings of the generator's training captions."""
        if self.checked_base:
            return BaseEmbeddings(self.checked_base, self.image_set("generator"))
        return Embeddings(
            text_plan(self.settings),
            TEXT_WIDTH,
            TEXT_LAYERS,
            self.latents,
            images=self.image_set("generator"),
        )

    @property
    def denoiser_shape(self) -> DenoiserShape:
        """What denoisers from scratch follow from."""
        return DenoiserShape(self.settings.size, self.settings.denoiser_widths, TEXT_WIDTH)

    @cached_property
    def denoiser_origin(self) -> DenoiserOrigin:
        """What all denoisers of this study start from: random weights, or the base's."""
        if self.checked_base:
            return FineTuning(self.checked_base, self.settings.size)
        return self.denoiser_shape

    @cached_property
    def _denoisers(self) -> dict[tuple[str | None, int, bool], TrainedDenoiser]:
        return {}

    def denoiser(
        self, modality: str | None = None, *, seed: int | None = None, long: bool = False
    ) -> TrainedDenoiser:
        """Return the generalist's denoiser, or a specialist's, with a tenth of the steps unless `long`.

        Where no training seed is given it is that of the profile's first.
        """
        seed = self.settings.seeds[0] if seed is None else seed
        which = modality, seed, long
        if which not in self._denoisers:
            rate = self.denoiser_origin.learning_rate
            plan = denoiser_plan(self.settings, modality, seed=seed, long=long, learning_rate=rate)
            on_cpu = accelerator().device.type == "cpu"
            plan = replace(plan, compiled=self.settings.compiled and on_cpu and not self.base)
            self._denoisers[which] = trained_denoiser(
                self.denoiser_origin,
                plan=plan,
                modality=modality,
                latents=self.latents,
                embeddings=self.embeddings,
                images=self.image_set("generator"),
                snapshots=snapshot_steps(plan),
            )
        return self._denoisers[which]

    def generator(
        self,
        modality: str | None = None,
        *,
        seed: int | None = None,
        after: int | None = None,
        denoiser: StoredDenoiser | None = None,
    ) -> Generator:
        """Return the generalist as a pipeline folder, or a specialist.

        Parameters
        ----------
        modality : str or None
            Of a specialist; None is the generalist.
        seed : int or None
            Training seed; None is the profile's first.
        after : int or None
            Steps of training after which the denoiser is taken; 0 is untrained, None finished.
        denoiser : StoredDenoiser or None
            Another denoiser to put in, such as an overfitted one.
        """
        call = SamplingCall(self.settings.sampling_steps, self.settings.guidance)
        seed = self.settings.seeds[0] if seed is None else seed
        if denoiser is None:
            denoiser = self.denoiser(modality, seed=seed)
            if after == denoiser.plan.steps:
                after = None  # the finished one, which is stored
        return Generator(
            autoencoder=self.autoencoder,
            embeddings=self.embeddings,
            denoiser=denoiser,
            call=call,
            profile=self.profile,
            modality=modality,
            seed=seed,
            after=after,
            source=self.source,
            base=self.base_label,
        )

    def reconstruct(self, pixels: np.ndarray) -> np.ndarray:
        """Return images uint8 (n, h, w, 3) through the autoencoder and back, cached."""
        return Reconstruction(self.autoencoder, Pixels(pixels)).array()
