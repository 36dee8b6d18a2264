"""`medisyn data prepare`, from names and paths to a finished folder."""

import importlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from PIL import Image

from medisyn_lib.data.pixels import open_images
from medisyn_lib.data.prepare.catalogue import FORMATS, PUBLIC_SETS
from medisyn_lib.data.prepare.folder import check_out, link_or_copy, saver, write_folder
from medisyn_lib.data.prepare.imaging import Choices
from medisyn_lib.data.prepare.intensities import Window, parse_window
from medisyn_lib.data.prepare.labels import read_labels
from medisyn_lib.data.prepare.page import page, summary
from medisyn_lib.data.prepare.pictures import Contents, Picture
from medisyn_lib.data.prepare.pseudonyms import read_salt
from medisyn_lib.data.rows import check_text, require

__all__ = ["SLICES", "FormatOptions", "prepare_files", "prepare_set"]

SLICES = 5  # of a volume, unless another number is asked for


@dataclass(frozen=True)
class FormatOptions:
    """What only DICOM and NIfTI need; each as it is typed on the command line."""

    salt: Path | None = None
    modality: str = ""
    window: str = ""
    labels: Path | None = None
    slices: int = SLICES


def prepare_set(name: str, folder: Path, out: Path) -> list[str]:
    """Make a checked `folder:` source of a public set's official download.

    Files are linked where the disk can do that, else copied.

    Parameters
    ----------
    name
        One of `PUBLIC_SETS`.
    folder
        The download, unpacked.
    out
        A new folder.

    Returns
    -------
    list of str
        What was written and what was left out.

    Raises
    ------
    InputError
        For a folder that is not the set, a file of it that is damaged, or a place that cannot be written.
    """
    public_set = PUBLIC_SETS[name]
    _check_folder(folder)
    check_out(out, folder)
    contents = public_set.read(folder)
    facts = {
        "Licence": public_set.licence,
        "Source": public_set.where,
        "Cite": public_set.citation,
        "Splits": public_set.split,
    }
    title = public_set.title
    rows = write_folder(out, folder, contents, _put_file, partial(page, title, facts, contents))
    return summary(contents, rows)


def _put_file(picture: Picture, target: Path) -> None:
    """Decode an image once, so that a damaged one is refused by name, then link it."""
    for _ in open_images([{"place": picture.place}], Image.open):
        link_or_copy(Path(picture.place), target)


def prepare_files(name: str, folder: Path, out: Path, options: FormatOptions) -> list[str]:
    """Make a checked `folder:` source of DICOM or NIfTI files.

    Parameters
    ----------
    name
        One of `FORMATS`.
    folder
        The files, in folders of any depth.
    out
        A new folder.
    options
        How they are read.

    Returns
    -------
    list of str
        What was written, what was left out, and what to look at before images are passed on.

    Raises
    ------
    InputError
        For bad options, a file that cannot become images, or a place that cannot be written.
    """
    _check_folder(folder)
    check_out(out, folder)
    choices = _choices(folder, options)
    reader = importlib.import_module(f"medisyn_lib.data.prepare.{FORMATS[name].module}")
    contents: Contents = reader.contents(folder, choices)
    window = _window_in_words(name, choices.window)
    facts = {
        "Licence": "yours to state",
        "Intensities": window,
        "Names": "patients, studies and files are named by an HMAC-SHA256 with a secret of the owner's",
    }
    put = saver(partial(reader.decode, window=choices.window))
    title = f"Images of {choices.modality} from {name.upper()}"
    rows = write_folder(out, folder, contents, put, partial(page, title, facts, contents))
    return [f"intensities: {window}", *summary(contents, rows)]


def _check_folder(folder: Path) -> None:
    require(folder.is_dir(), f"{str(folder)!r} is no folder: name the one that holds the files")


def _choices(folder: Path, options: FormatOptions) -> Choices:
    require(
        options.modality,
        "--modality is missing: say what captions call the images, such as ct or brain_mri",
    )
    check_text(options.modality, "--modality")
    return Choices(
        salt=read_salt(options.salt),
        modality=options.modality,
        window=parse_window(options.window) if options.window else None,
        labels=read_labels(options.labels, folder),
        slices=options.slices,
    )


def _window_in_words(name: str, window: Window | None) -> str:
    if window:
        return f"centre {window.centre:g}, width {window.width:g} become 0 to 255"
    if name == "nifti":
        return "the 1st and 99th percentile of each volume become 0 and 255"
    return (
        "CT: centre 40, width 400 HU; other grey images over 8 bits: the 1st and 99th percentile of each "
        "image become 0 and 255; 8-bit images and colour as they are"
    )
