"""Source `medmnist:NAME[,NAME...][@SIZE]`: the official MedMNIST package and its download.

The package fetches and verifies the file; it is then read like any npz file, one image at a time.
MedMNIST publishes no patient ids, so every image is its own patient, identity unknown.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from medisyn_lib.data import npz
from medisyn_lib.data.samples import Row, check_rows, hash_files
from medisyn_lib.errors import InputError
from medisyn_lib.paths import store_dir

HELP = "medmnist:NAME[,NAME...][@28|64|128|224] - MedMNIST through its official package (downloads once)"
CODE = ("medisyn_lib.modalities", "medisyn_lib.data.samples", "medisyn_lib.data.npz", "medisyn_lib.data.medmnist")
SIZES = (28, 64, 128, 224)
MULTI_LABEL = "chestmnist"
MODALITY_OF = {
    "pneumoniamnist": "chest_xray",
    "breastmnist": "breast_ultrasound",
    "retinamnist": "fundus",
    "octmnist": "retinal_oct",
    "dermamnist": "dermoscopy",
    "pathmnist": "histopathology",
    "bloodmnist": "blood_smear",
    "organamnist": "ct",
    "organcmnist": "ct",
    "organsmnist": "ct",
    "tissuemnist": "tissuemnist",
}


def parse(rest: str) -> tuple[list[str], int]:
    """Names and size out of `NAME[,NAME...][@SIZE]`. Raises InputError naming what is unknown."""
    words, _, end = rest.partition("@")
    names = [word.strip().lower() for word in words.split(",")]
    for name in names:
        if name == MULTI_LABEL:
            raise InputError(f"data source 'medmnist:{rest}': {name} has several labels an image: choose another set")
        if name not in MODALITY_OF:
            raise InputError(f"data source 'medmnist:{rest}': no set {name!r}: choose among {', '.join(MODALITY_OF)}")
    if len(set(names)) < len(names):
        raise InputError(f"data source 'medmnist:{rest}': a name stands there twice: keep one")
    if end and end not in map(str, SIZES):
        raise InputError(f"data source 'medmnist:{rest}': no size {end!r}: choose among {', '.join(map(str, SIZES))}")
    return names, int(end or 28)


def archives(rest: str) -> list[npz.Archive]:
    """The official files, downloaded and verified by the official package where they are not there yet."""
    import medmnist

    names, size = parse(rest)
    root = store_dir() / "medmnist"
    root.mkdir(parents=True, exist_ok=True)
    found = []
    for name in names:
        info = medmnist.INFO[name]
        try:
            # The class fetches and verifies the file of all splits; val is the smallest to open.
            getattr(medmnist, info["python_class"])(split="val", download=True, root=str(root), size=size)
        except RuntimeError as error:
            raise InputError(
                f"data source 'medmnist:{rest}': {name} could not be downloaded: check the network or put the "
                f"official file into {root}"
            ) from error
        labels = sorted(info["label"].items(), key=lambda item: int(item[0]))
        path = root / f"{name}{'' if size == 28 else f'_{size}'}.npz"
        found.append(npz.Archive(path, MODALITY_OF[name], tuple(text for _, text in labels)))
    return found


def preflight(rest: str) -> None:
    """Check names and size; the files themselves are verified by the package when they are fetched."""
    parse(rest)


def fingerprint(rest: str) -> str:
    """SHA-256 over the official files."""
    return hash_files([archive.path for archive in archives(rest)])


def rows(rest: str) -> list[Row]:
    """All images of the sets without their pixels."""
    result = npz.rows_of(archives(rest))
    check_rows(result, f"medmnist:{rest}")
    return result


def images(rest: str, chosen: Sequence[Row]) -> Iterator[np.ndarray]:
    """The pixels of chosen rows, uint8 (h, w) or (h, w, 3), in the order of `rows`."""
    return npz.images_of(archives(rest), chosen)
