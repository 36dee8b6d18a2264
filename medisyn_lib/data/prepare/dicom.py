"""DICOM: single frames become 8-bit images, with nothing of their headers but hashed ids.

Values stay as they are measured, in 64-bit floating point, until the last step. CT is shown in one window of
Hounsfield units for all images, soft tissue unless another is asked for; the window that a header proposes is
not used, as it differs from image to image. Other grey images of more than 8 bits go from the 1st to the 99th
percentile of their own values. 8-bit images and those in colour stay as they are. Padding is black.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image

from medisyn_lib.data.prepare.imaging import (
    MAX_SIDE,
    Choices,
    Origin,
    check_spacing,
    picture_of,
    reading,
)
from medisyn_lib.data.prepare.intensities import (
    WINDOWS,
    Window,
    percentile_window,
    square_pixels,
    to_bytes,
)
from medisyn_lib.data.prepare.pictures import Contents, Picture, files_below
from medisyn_lib.data.rows import require
from medisyn_lib.errors import InputError

if TYPE_CHECKING:
    import pydicom

__all__ = ["contents", "decode"]

ENDINGS = (".dcm", ".dicom")
PREAMBLE = 128  # bytes before the letters DICM
DEFERRED = 4096  # bytes; longer values, such as pixels, are not read with the header
UNDEFINED_LENGTH = 0xFFFFFFFF
GREY = ("MONOCHROME1", "MONOCHROME2")
COLOUR = ("RGB", "PALETTE COLOR", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT")
REMEDY = "export it again, uncompressed (dcmdjpeg), or drop it"
RADIOGRAPHS = frozenset({"CR", "DX"})  # two codes of one kind of image


class Scan(NamedTuple):
    """What is needed of one header."""

    origin: Origin
    modality: str  # DICOM's code, such as CT
    burnt_in: str  # YES, NO or ""
    private_tags: int


def contents(folder: Path, choices: Choices) -> Contents:
    """Find the single-frame images of a folder; no pixels are decoded yet.

    Localizers, objects without an image (reports, directories), further files of the same image and files that
    are not DICOM are left out and counted.

    Raises
    ------
    InputError
        For a file that is cut short or damaged, has several frames or cannot be decoded, a folder with
        several kinds of images, or one without any.
    """
    left_out: Counter[str] = Counter()
    scans: dict[str, Scan] = {}
    for path in files_below(folder):
        if choices.labels is not None and path.resolve() not in choices.labels:
            left_out["files that the table does not list"] += 1
        elif not _is_dicom(path):
            left_out["files that are not DICOM"] += 1
        else:
            with reading(path, REMEDY):
                _add_scan(path, scans, left_out)
    require(scans, f"{folder} holds no single-frame DICOM image: name the folder that does")
    kinds = {scan.modality or "images of no stated Modality" for scan in scans.values()}
    require(
        len(kinds) == 1 or kinds <= RADIOGRAPHS,
        f"{folder} holds {' and '.join(sorted(kinds))}: give each kind of image a folder of its own",
    )
    pictures = [picture_of(scan.origin, choices) for scan in scans.values()]
    return Contents(pictures, left_out, _notes([*scans.values()], pictures))


def _add_scan(path: Path, scans: dict[str, Scan], left_out: Counter[str]) -> None:
    """Add what a file holds to the scans, by the image's own id, or to what is left out."""
    header = _header(path)
    origin = _origin(path, header)
    reason = _no_picture(path, header)
    if not reason and origin.image in scans:
        reason = "further files of an image that is there already"
    if reason:
        left_out[reason] += 1
        return
    _check_decodable(path, header)
    scans[origin.image] = Scan(
        origin,
        modality=str(header.get("Modality", "")),
        burnt_in=str(header.get("BurnedInAnnotation") or "").upper(),
        private_tags=sum(1 for tag in header.keys() if tag.is_private),
    )


def _is_dicom(path: Path) -> bool:
    """Whether a file has DICOM's mark, or a name that promises it."""
    if path.suffix.lower() in ENDINGS:
        return True
    with path.open("rb") as file:
        return file.read(PREAMBLE + 4)[PREAMBLE:] == b"DICM"


def _header(path: Path) -> pydicom.Dataset:
    """All of a file but its long values."""
    import pydicom

    return pydicom.dcmread(path, defer_size=DEFERRED)


def _no_picture(path: Path, header: pydicom.Dataset) -> str:
    """Why an object is left out; "" for an image. One that was cut before its pixels is an InputError."""
    if "PixelData" not in header:
        meta = header.file_meta
        storage = meta.get("MediaStorageSOPClassUID") or header.get("SOPClassUID")
        name = getattr(storage, "name", "")
        require(
            storage and "Image Storage" not in name,
            f"{path} is cut short: it has no pixels; export it again or drop it",
        )
        return "DICOM objects without an image"
    if "LOCALIZER" in (header.get("ImageType") or ()):
        return "localizers"
    return ""


def _check_decodable(path: Path, header: pydicom.Dataset) -> None:
    """Raise InputError for what cannot become one image, as far as the header says."""
    from pydicom.pixels import get_decoder

    frames = int(header.get("NumberOfFrames") or 1)
    require(
        frames == 1,
        f"{path} is a multi-frame object of {frames} frames: save the frames that you want as single images",
    )
    sides = [header.get(name) or 0 for name in ("Rows", "Columns")]
    require(
        all(1 <= side <= MAX_SIDE for side in sides),
        f"{path} has {sides[0]} x {sides[1]} pixels: its sides must be 1 to {MAX_SIDE}",
    )
    colours = header.get("PhotometricInterpretation")
    require(
        colours in GREY + COLOUR,
        f"{path} has the photometric interpretation {colours!r}: convert it to MONOCHROME2 or RGB",
    )
    syntax = header.file_meta.get("TransferSyntaxUID")
    try:
        is_readable = syntax is not None and get_decoder(syntax).is_available
    except NotImplementedError:
        is_readable = False
    name = getattr(syntax, "name", "an unknown transfer syntax")
    require(
        is_readable,
        f"{path} is compressed as {name}, which is not read here: decompress it, say with dcmdjpeg",
    )
    _check_length(path, header)


def _check_length(path: Path, header: pydicom.Dataset) -> None:
    """Raise InputError where a file ends before its uncompressed pixels do."""
    pixels = header.get_item("PixelData", keep_deferred=True)
    start = getattr(pixels, "value_tell", None)
    length = getattr(pixels, "length", UNDEFINED_LENGTH)
    is_deflated = header.file_meta.TransferSyntaxUID.is_deflated
    if start is None or length == UNDEFINED_LENGTH or is_deflated:
        return
    lacks = start + length - path.stat().st_size
    require(lacks <= 0, f"{path} is cut short by {lacks} bytes: export it again or drop it")


def _origin(path: Path, header: pydicom.Dataset) -> Origin:
    """The ids in a header: of the patient, else the study, else the file alone."""
    patient = str(header.get("PatientID") or "").strip()
    study = str(header.get("StudyInstanceUID") or "").strip()
    image = str(header.get("SOPInstanceUID") or path)
    return Origin(path, image, patient, group=patient or study or image, study=study)


def _notes(scans: list[Scan], pictures: list[Picture]) -> list[str]:
    """What the headers say that the user should know before passing images on."""
    stated = Counter(scan.burnt_in for scan in scans)
    private = [scan.private_tags for scan in scans]
    notes = [
        f"burnt-in annotation: {stated['YES']} images say yes, {stated['NO']} no, "
        f"{len(scans) - stated['YES'] - stated['NO']} nothing; look at them before you pass any on",
        f"private tags: {sum(private)} in {sum(map(bool, private))} of {len(scans)} files; none is kept",
    ]
    marked = [p.name for s, p in zip(scans, pictures, strict=True) if s.burnt_in == "YES"]
    if marked:
        notes.append(f"with burnt-in annotation, as their headers say: {', '.join(marked)}")
    unknown = sum(not picture.identity_known for picture in pictures)
    if unknown:
        notes.append(f"{unknown} images name no patient: their study stands in, identity unknown")
    return notes


def decode(picture: Picture, window: Window | None = None) -> Image.Image:
    """Decode one image to 8 bits, grey or RGB, by the rules above.

    Parameters
    ----------
    picture
        Of `contents`.
    window
        For grey images, in the unit that their values have after rescaling; None for the rule.

    Raises
    ------
    InputError
        For pixels that cannot be decoded, an image without contrast, or a CT image whose values are not in
        Hounsfield units while the rule asks for them.
    """
    with reading(picture.place, REMEDY):
        header = _header(Path(picture.place))
        stored = header.pixel_array
        if header.PhotometricInterpretation in GREY:
            pixels = _grey(picture.place, header, stored, window)
        else:
            pixels = _colour(header, stored)
    return Image.fromarray(pixels)


def _grey(
    place: str, header: pydicom.Dataset, stored: np.ndarray, window: Window | None
) -> np.ndarray:
    """Grey in 8 bits (h, w)."""
    from pydicom.pixels import apply_modality_lut

    padding = _padding(header, stored)
    values = np.where(padding, np.nan, apply_modality_lut(stored, header).astype(np.float64))
    window = window or _rule(place, header, values)
    spacing = _spacing(header)
    check_spacing(place, *spacing)
    values = square_pixels(values, *spacing) if not padding.any() else values
    grey = to_bytes(values, window)
    if header.PhotometricInterpretation == "MONOCHROME1":
        grey = 255 - grey
    if padding.any():
        grey[padding] = 0
    return grey


def _rule(place: str, header: pydicom.Dataset, values: np.ndarray) -> Window:
    """The window of an image for which the user has chosen none."""
    if header.get("Modality") == "CT":
        require(
            "RescaleIntercept" in header,
            f"{place} is a CT image without a rescale intercept, so its values are not Hounsfield units: "
            "choose --window CENTRE,WIDTH for the values that it has",
        )
        _check_contrast(place, percentile_window(values))
        return WINDOWS["soft_tissue"]
    if header.BitsAllocated == 8 and "RescaleSlope" not in header:
        return Window(127.5, 255)
    return _check_contrast(place, percentile_window(values))


def _check_contrast(place: str, window: Window | None) -> Window:
    """Return the window of values that vary; where they do not (None), raise InputError."""
    if window is None:
        raise InputError(f"{place} has no contrast, all its values are equal: drop it")
    return window


def _padding(header: pydicom.Dataset, stored: np.ndarray) -> np.ndarray:
    """Which stored values are padding, not measured; (h, w)."""
    first = header.get("PixelPaddingValue")
    if first is None:
        return np.zeros(stored.shape, bool)
    last = header.get("PixelPaddingRangeLimit", first)
    # The value may be written unsigned where pixels are signed: the same bits count.
    ends = np.array([first, last], np.int64).astype(stored.dtype)
    return (stored >= ends.min()) & (stored <= ends.max())


def _spacing(header: pydicom.Dataset) -> tuple[float, float]:
    """Between rows and between columns; zeros where nothing usable is stated."""
    spacing: Any = header.get("PixelSpacing") or header.get("ImagerPixelSpacing") or ()
    if len(spacing) != 2:
        return 0.0, 0.0
    return float(spacing[0]), float(spacing[1])


def _colour(header: pydicom.Dataset, stored: np.ndarray) -> np.ndarray:
    """RGB in 8 bits; deeper channels are scaled by the range of their bits."""
    from pydicom.pixels import apply_color_lut

    bits = header.BitsStored
    if header.PhotometricInterpretation == "PALETTE COLOR":
        stored = apply_color_lut(stored, header)[..., :3]
        bits = stored.dtype.itemsize * 8
    if bits == 8:
        return stored.astype(np.uint8)
    return to_bytes(stored, Window((2**bits - 1) / 2, 2**bits - 1))
