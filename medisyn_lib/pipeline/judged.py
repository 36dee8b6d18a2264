"""Which generator a notebook judges: the flagship, the generalist trained here, or one made elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medisyn_lib.errors import InputError
from medisyn_lib.pipeline import flagship
from medisyn_lib.sampling.pipeline import resolve_model, sampling_settings

if TYPE_CHECKING:
    from medisyn_lib.pipeline.artifacts import ImageSet
    from medisyn_lib.pipeline.study import Study

FLAGSHIP, TRAINED = "flagship", "trained"


@dataclass(frozen=True, eq=False)
class JudgedGenerator:
    """A finished generator, by the name that a notebook's parameter `generator` gives it.

    Attributes
    ----------
    study : Study
        Whose data it is judged on.
    name : str
        `flagship`, `trained`, or the folder or hub id of one made elsewhere.
    by_default : bool
        Whether no name was given.
    """

    study: Study
    name: str
    by_default: bool = False

    @property
    def is_flagship(self) -> bool:
        """Whether it is the one that the package ships."""
        return self.name == FLAGSHIP

    @property
    def is_trained_here(self) -> bool:
        """Whether it is the study's own generalist."""
        return self.name == TRAINED

    @property
    def is_given(self) -> bool:
        """Whether it was made elsewhere, so that nothing is known of its training."""
        return not (self.is_flagship or self.is_trained_here)

    @property
    def shows_training(self) -> bool:
        """Whether a notebook shows the study's own training, too: not where another was asked for."""
        return self.is_trained_here or self.by_default

    @property
    def scale(self) -> str:
        """Data, profile and size in words, and which generator, for the title of a figure."""
        return f"{self.study.scale}, flagship" if self.is_flagship else self.study.scale

    @property
    def guidance(self) -> float | None:
        """The guidance scale that is stored with it, if one is."""
        return sampling_settings(self.model).get("guidance_scale")

    @cached_property
    def model(self) -> str:
        """Its folder, or its hub id; the study's own is trained now, if it was not."""
        if self.is_flagship:
            return str(flagship.folder())
        if self.is_trained_here:
            return str(self.study.generator().folder)
        return resolve_model(self.name)

    @property
    def models(self) -> list[str]:
        """The same as a list; the study's own, one of each training seed."""
        if self.is_trained_here:
            return [str(self.study.generator(seed=s).folder) for s in self.study.settings.seeds]
        return [self.model]

    @property
    def training_images(self) -> ImageSet:
        """The images that it was trained on; of one made elsewhere those of the study's generator."""
        if self.is_flagship:
            return flagship.training_images()
        return self.study.image_set("generator")

    @property
    def copied_images(self) -> ImageSet:
        """Of its training images those that a control copies from: as many as the study's own generator sees.

        Of a generator made elsewhere they are those of the study's generator.
        """
        own = self.study.image_set("generator")
        if not self.is_flagship:
            return own
        shipped = flagship.training_images()
        return replace(shipped, per_modality=min(shipped.per_modality, own.per_modality))

    @property
    def flops(self) -> float:
        """What its denoiser's training took, in floating-point operations; 0 where it is not known."""
        if self.is_flagship:
            return flagship.compute()["flops"]
        if self.is_trained_here:
            return self.study.denoiser().compute()["flops"]
        return 0.0

    def provenance(self, seconds: float, flops: float) -> dict[str, Any]:
        """Return the `provenance` of a result about it: its study's, and `generator`, without folders."""
        is_folder = self.is_given and Path(self.model).is_dir()
        label = Path(self.model).name if is_folder else self.name
        return {**self.study.provenance(seconds, flops), "generator": label}


def judged_generator(study: Study, name: str = "") -> JudgedGenerator:
    """Return the generator that a notebook's parameter means.

    Parameters
    ----------
    study : Study
        Profile and data.
    name : str
        `flagship`, `trained`, a folder or a hub id. Empty is the flagship where the profile says so,
        the data are phantoms and no base is given, else the one trained here.

    Raises
    ------
    InputError
        If the flagship is asked for on other data, or at another size.
    """
    fits = study.source == "phantom" and study.settings.size == flagship.SIZE
    if name == FLAGSHIP and not fits:
        raise InputError(
            f"generator {FLAGSHIP!r}: draws phantoms of {flagship.SIZE} pixels, not {study.source} "
            f"of {study.settings.size}; name another, or {TRAINED!r}"
        )
    is_default = fits and study.settings.judges_flagship and not study.base
    default = FLAGSHIP if is_default else TRAINED
    return JudgedGenerator(study, name or default, by_default=not name)
