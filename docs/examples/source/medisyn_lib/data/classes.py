"""classes:DIR: one folder of images a class, as torchvision's ImageFolder reads them; whose they are is not known."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image

from medisyn_lib.data.pixels import open_images
from medisyn_lib.data.records import hash_files, source_folder
from medisyn_lib.data.rows import UNKNOWN, Row, check_rows, check_text, require
from medisyn_lib.data.splits import deal_split

ENDINGS = (".png", ".jpg", ".jpeg")


def checked_name(source: str) -> None:
    """Check the source's folder. Raises InputError where there is none, or no image in it."""
    rows(source)


def fingerprint(source: str) -> str:
    """Hash the names of classes and images, and the images' bytes (SHA-256)."""
    table = rows(source)
    names = [row["image_id"] for row in table]
    content = hash_files(Path(row["place"]) for row in table)
    return hashlib.sha256("\n".join([*names, content]).encode()).hexdigest()


def rows(source: str) -> list[Row]:
    """Return all images of the folder without their pixels; each counts as a patient of its own."""
    folder = source_folder(source).resolve()
    paths = sorted(path for path in folder.glob("*/*") if path.suffix.lower() in ENDINGS)
    return check_rows([_row(source, folder, path) for path in paths], source)


def _row(source: str, folder: Path, path: Path) -> Row:
    name = f"{path.parent.name}/{path.name}"
    check_text(name, f"{source}: {name!r}")
    require(
        path.resolve().is_relative_to(folder),
        f"{source}: {name!r} leads out of the folder: copy the image into it",
    )
    return UNKNOWN | {
        "image_id": name,
        "patient_id": name,
        "identity_known": False,
        "place": str(path),
        "finding": path.parent.name.lower().replace(" ", "_"),
        "split": deal_split(name),
    }


def images(chosen: Sequence[Row]) -> Iterator[Image.Image]:
    """Yield the images of rows, one at a time."""
    return open_images(chosen, Image.open)
