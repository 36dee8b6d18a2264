"""The images of an audit for copies: training, calibration and held-out real ones, and those that are judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medisyn_lib.data import sources
from medisyn_lib.data.pixels import centre_square, is_blank
from medisyn_lib.errors import InputError
from medisyn_lib.pipeline.overfitted import OVERFITTED_IMAGES
from medisyn_lib.pipeline.samples import Model, name_of, sample_prompts
from medisyn_lib.sampling.pipeline import BLANK_REMEDY

if TYPE_CHECKING:
    import datasets

    from medisyn_lib.pipeline.judged import JudgedGenerator
    from medisyn_lib.pipeline.study import Study


@dataclass(frozen=True)
class RealImages:
    """Real images of an audit; the held-out ones are one per patient, and no patient is in two sets."""

    training: datasets.Dataset
    calibration: datasets.Dataset  # set the threshold
    held_out: datasets.Dataset  # test it

    @property
    def modalities(self) -> list[str]:
        """The modalities of the training images, in their order."""
        return list(dict.fromkeys(self.training["modality"][:]))


def training_images(generator: JudgedGenerator) -> datasets.Dataset:
    """Load what a generator was trained on.

    Of one made elsewhere that is not known: it is compared with all training images of a finite source,
    or with the phantoms of the study's own generator.

    Raises
    ------
    InputError
        If they are fewer than the overfitted control needs.
    """
    study = generator.study
    if generator.is_given and study.source != "phantom":
        images = sources.load(study.source, "train", size=study.settings.size)
    else:
        images = generator.training_images.load()
    if len(images) < OVERFITTED_IMAGES:
        raise InputError(
            f"training set of {study.source}: {len(images)} images, "
            f"{OVERFITTED_IMAGES} are needed; add images"
        )
    return images


def real_images(generator: JudgedGenerator) -> RealImages:
    """Load the training images of a generator, and calibration and held-out images of other patients."""
    training, study = training_images(generator), generator.study
    n_modalities = len(set(training["modality"][:]))
    settings = study.settings.memorization
    many, held_out = settings.calibration_images // n_modalities + 1, settings.test_images
    calibration = study.image_set("calibration", many).load()
    test = study.image_set("test", held_out // n_modalities).load()
    return RealImages(training, calibration, test.select(first_of_each_patient(test).tolist()))


def first_of_each_patient(images: datasets.Dataset) -> np.ndarray:
    """Choose the first row of each patient, in order: int64 (patients,)."""
    _, first = np.unique(images["patient_id"][:], return_index=True)
    return np.sort(first)


@dataclass(frozen=True)
class JudgedImages:
    """The synthetic images that are judged.

    Attributes
    ----------
    finished : whether they came as a folder of finished images, so that nothing more can be sampled
    pixels : uint8 (n, h, h, 3)
    modality : str (n,), as the folder or the captions say
    of_training_caption : bool (n,), whether the prompt was a training image's caption; not known of a folder
    name : str (n,), of the file, or the seed that the image was sampled with
    """

    finished: bool
    pixels: np.ndarray
    modality: np.ndarray
    of_training_caption: np.ndarray
    name: np.ndarray


def judged_images(generator: JudgedGenerator, seed: int = 0) -> JudgedImages:
    """Load or sample the images to be judged; those that show nothing are counted and left out.

    A folder of finished images is taken whole. A pipeline is given captions of held-out images, the first of
    them with this seed, and in every second place a caption of a training image of the same modality in its
    stead: a generator copies most readily where the caption is one that it was trained on. Where most images
    are one and the same, that is said.

    Raises
    ------
    InputError
        Where no image shows anything, or a modality has no training image.
    """
    model, study = generator.model, generator.study
    if _is_image_folder(Path(model)):
        judged = _finished_images(model, study.settings.size)
    else:
        judged = _sampled_images(generator, seed)
    distinct = len({image.tobytes() for image in judged.pixels})
    if distinct < len(judged.pixels) / 2:
        print(
            f"note: the generator has collapsed: {len(judged.pixels)} images, "
            f"{distinct} of them distinct"
        )
    return judged


def _is_image_folder(folder: Path) -> bool:
    is_pipeline = (folder / "model_index.json").is_file()
    return (folder / "metadata.csv").is_file() and not is_pipeline


def _finished_images(folder: str, size: int) -> JudgedImages:
    rows = sources.finished_rows(folder)
    opened = sources.finished_images(folder, rows)
    pixels = np.stack([np.asarray(centre_square(image, size)) for image in opened])
    modality = np.array([row["modality"] for row in rows])
    name = np.array([row["image_id"] for row in rows])
    shown = _shown(pixels, Path(folder).name)
    of_training = np.zeros(shown.sum(), bool)
    return JudgedImages(True, pixels[shown], modality[shown], of_training, name[shown])


def _sampled_images(generator: JudgedGenerator, seed: int) -> JudgedImages:
    model, study = generator.model, generator.study
    held_out, training = study.images("test"), generator.training_images.load()
    modality = np.array(held_out["modality"][:])
    of_training = np.arange(len(modality)) % 2 == 1
    rows = rows_of_modalities(modality[of_training], np.array(training["modality"][:]))
    # All held-out captions, as notebook 01 samples them, so that its images in the store serve.
    pixels = _sample(study, model, held_out["caption"][:], seed)
    captions = training.select(rows.tolist())["caption"][:]
    pixels[of_training] = _sample(study, model, captions, seed + len(modality))
    seeds = seed + np.arange(len(modality))
    seeds[of_training] = seed + len(modality) + np.arange(of_training.sum())
    name = np.array([f"seed {number}" for number in seeds])
    shown = _shown(pixels, Path(model).name)
    return JudgedImages(False, pixels[shown], modality[shown], of_training[shown], name[shown])


def rows_of_modalities(requested: np.ndarray, modality: np.ndarray) -> np.ndarray:
    """Choose a row of each requested modality, spread evenly over the rows that have it.

    Parameters
    ----------
    requested
        Modalities, str (n,).
    modality
        Of each row, str (m,).

    Returns
    -------
    rows
        int64 (n,).

    Raises
    ------
    InputError
        Where no row has a requested modality.
    """
    rows = np.empty(len(requested), np.int64)
    for name in np.unique(requested):
        there, places = np.flatnonzero(modality == name), np.flatnonzero(requested == name)
        if not len(there):
            raise InputError(
                f"modality {name}: no training image is of it; add some or leave it out"
            )
        rows[places] = there[np.linspace(0, len(there) - 1, len(places)).round().astype(int)]
    return rows


def sample_at_study_size(
    study: Study, model: Model, prompts: Sequence[str], first_seed: int
) -> np.ndarray:
    """Sample one image per prompt, uint8 (n, h, h, 3) at the study's size, with consecutive seeds.

    Images that show nothing are counted and left out; InputError where that is all of them.
    """
    pixels = _sample(study, model, prompts, first_seed)
    return pixels[_shown(pixels, name_of(model))]


def _sample(study: Study, model: Model, prompts: Sequence[str], first_seed: int) -> np.ndarray:
    size = study.settings.size
    return np.array(
        sample_prompts(model, prompts, first_seed=first_seed, side=size, refuse_blank=False)
    )


def _shown(pixels: np.ndarray, name: str) -> np.ndarray:
    """Say which images show something, bool (n,), and how many are of one colour."""
    blank = is_blank(pixels)
    said = f"generator {name}: {blank.sum()} of {len(pixels)} images are of one colour"
    if blank.all():
        raise InputError(f"{said}: {BLANK_REMEDY}")
    if blank.any():
        print(
            f"note: {said}, as a safety checker leaves them: they are no samples and are not judged"
        )
    return ~blank
