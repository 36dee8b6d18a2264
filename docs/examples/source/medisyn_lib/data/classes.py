"""classes:DIR: one folder of images per class, as torchvision's ImageFolder reads them.

Such folders do not say whose images they are, so each image is its own patient, identity unknown.
"""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image

from medisyn_lib.data.pixels import open_images
from medisyn_lib.data.records import hash_files, source_folder
from medisyn_lib.data.rows import UNKNOWN, Row, check_rows, check_text, require
from medisyn_lib.data.splits import deal_split

__all__ = ["checked_name", "fingerprint", "images", "rows"]

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
    """Return all images of the folder without their pixels."""
    folder = source_folder(source).resolve()
    paths = sorted(path for path in folder.glob("*/*") if path.suffix.lower() in ENDINGS)
    return check_rows([_row(source, folder, path) for path in paths], source)


def images(chosen: Sequence[Row]) -> Iterator[Image.Image]:
    """Yield the images of rows, opened one at a time."""
    return open_images(chosen, Image.open)


def _row(source: str, folder: Path, path: Path) -> Row:
    """What the folder states of one image: its class, by the name of its own folder."""
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
