"""classes:DIR: one folder of images a class, as torchvision's ImageFolder reads them; whose they are is not known."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image

from medisyn_lib.data import samples

ENDINGS = (".png", ".jpg", ".jpeg")


def checked_name(source: str) -> None:
    """Reads the source's folder. Raises InputError where there is none, or no image in it."""
    rows(source)


def fingerprint(source: str) -> str:
    """SHA-256 over the names of classes and images, and over the images' bytes."""
    found = rows(source)
    content = samples.hash_files(Path(row["place"]) for row in found)
    return hashlib.sha256(
        "\n".join([*(row["image_id"] for row in found), content]).encode()
    ).hexdigest()


def rows(source: str) -> list[samples.Row]:
    """All images of the folder without their pixels; each counts as a patient of its own, dealt by its name."""
    folder, found = samples.source_folder(source).resolve(), []
    for path in sorted(path for path in folder.glob("*/*") if path.suffix.lower() in ENDINGS):
        name, finding = (
            f"{path.parent.name}/{path.name}",
            path.parent.name.lower().replace(" ", "_"),
        )
        samples.check_text(name, f"{source}: {name!r}")
        inside = path.resolve().is_relative_to(folder)
        samples.require(
            inside, f"{source}: {name!r} leads out of the folder: copy the image into it"
        )
        own = {"image_id": name, "patient_id": name, "identity_known": False, "place": str(path)}
        found.append(
            samples.UNKNOWN | own | {"finding": finding, "split": samples.deal_split(name)}
        )
    return samples.check_rows(found, source)


def images(chosen: Sequence[samples.Row]) -> Iterator[Image.Image]:
    """The images of chosen rows, one at a time."""
    return samples.opened(chosen, Image.open)
