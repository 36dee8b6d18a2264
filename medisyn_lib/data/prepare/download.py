"""What the readers of public sets share: finding files of a download, patients that two splits hold, val from train."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from medisyn_lib.data.prepare.pictures import Contents, Picture, files_below
from medisyn_lib.data.rows import require
from medisyn_lib.data.splits import SPLITS, stable_fraction
from medisyn_lib.data.values import as_text

__all__ = [
    "IMAGE_ENDINGS",
    "age_group",
    "class_folders",
    "find_file",
    "hold_out_val",
    "images_below",
    "keep_test_apart",
    "only_known",
]

IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
VAL_FRACTION = 0.1  # of the train patients, where a set has no val split
OLDEST = 120  # years; beyond, an age is a slip
UNKNOWN_WORDS = ("unknown", "na", "n/a", "none")  # besides what is missing anywhere


def find_file(folder: Path, *names: str) -> Path:
    """Return the one file with one of these names in a folder or the folders in it.

    Raises InputError where there is none, or more than one.
    """
    found = [path for path in files_below(folder) if path.name in names]
    require(found, f"{folder} holds no {' or '.join(names)}: name the folder of the whole download")
    require(
        len(found) == 1,
        f"{folder} holds several of {' or '.join(names)}: keep one of them",
    )
    return found[0]


def images_below(folder: Path) -> dict[str, Path]:
    """Return all images of a folder and its folders by file name. Raises InputError for a name that comes twice."""
    images: dict[str, Path] = {}
    for path in files_below(folder):
        if path.suffix.lower() in IMAGE_ENDINGS:
            other = images.setdefault(path.name, path)
            require(
                other == path, f"{path} has the same name as {other}: keep one copy of the images"
            )
    return images


def class_folders(folder: Path, findings: Mapping[str, str]) -> dict[str, list[Path]]:
    """Return the images of a folder that has one folder for each class.

    Parameters
    ----------
    folder
        Holds the folders of the classes.
    findings
        The finding's key by the folder's name, whose case does not count.

    Returns
    -------
    dict
        The images by finding, in order of their names.

    Raises
    ------
    InputError
        For a missing class, or one without images.
    """
    folders = {path.name.lower(): path for path in folder.iterdir() if path.is_dir()}
    images = {}
    for name, finding in findings.items():
        place = folders.get(name.lower())
        found = files_below(place) if place else ()
        images[finding] = [path for path in found if path.suffix.lower() in IMAGE_ENDINGS]
        require(
            images[finding],
            f"{folder} holds no images in a folder {name}: unpack the whole download",
        )
    return images


def keep_test_apart(contents: Contents) -> Contents:
    """Leave out, and count, train and val images of patients of whom test holds images, and train ones of val.

    The official test split stays whole. Some sets hold the same patients on both sides.
    """
    split_of: dict[str, str] = {}
    for split in SPLITS:  # test comes last and so goes before the others
        of_split = [picture for picture in contents.pictures if picture.split == split]
        split_of |= {_whose(picture): split for picture in of_split}
    remaining = [
        picture for picture in contents.pictures if picture.split == split_of[_whose(picture)]
    ]
    if lost := len(contents.pictures) - len(remaining):
        contents.left_out["images of patients whom another split holds, too"] += lost
    return replace(contents, pictures=remaining)


def _whose(picture: Picture) -> str:
    """The patient or group of an image; where none is stated, the image itself."""
    return picture.patient_id or picture.name


def hold_out_val(pictures: Sequence[Picture]) -> list[Picture]:
    """Move a tenth of the train patients to val, by a stable hash of their ids."""
    return [
        replace(picture, split="val")
        if picture.split == "train" and stable_fraction("val", _whose(picture)) < VAL_FRACTION
        else picture
        for picture in pictures
    ]


def age_group(text: str) -> str:
    """Return the group of an age in years, such as "40-59"; "" where it is unknown or over 120."""
    digits = as_text(text).upper().removesuffix("Y")
    if not digits.isdigit() or int(digits) > OLDEST:
        return ""
    age = int(digits)
    if age >= 80:
        return "80 and over"
    first = age // 20 * 20
    return f"{first}-{first + 19}"


def only_known(**columns: str) -> dict[str, str]:
    """Return the columns whose value is known."""
    texts = {name: as_text(value) for name, value in columns.items()}
    return {
        name: text for name, text in texts.items() if text and text.lower() not in UNKNOWN_WORDS
    }
