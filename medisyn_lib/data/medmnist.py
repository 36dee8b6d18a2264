"""medmnist:NAME[,NAME...][@28|64|128|224] - MedMNIST through its official package (downloads once).

The package fetches and verifies the file; it is then read like any npz file, one image at a time.
MedMNIST publishes no patient ids, so every image is its own patient, identity unknown.
"""

from pathlib import Path

from medisyn_lib.data.npz import archive_rows, images  # noqa: F401
from medisyn_lib.data.samples import Row
from medisyn_lib.errors import InputError
from medisyn_lib.modalities import MODALITIES
from medisyn_lib.paths import store_dir

RESOLUTIONS = ("28", "64", "128", "224")
MODALITY_OF = {name: key for key, row in MODALITIES.items() for name in row.medmnist} | {"tissuemnist": "tissuemnist"}


def preflight(rest: str) -> tuple[list[str], int]:
    """Names and size out of `NAME[,NAME...][@SIZE]`. Raises InputError naming what is unknown.

    The files themselves are verified by the package when they are fetched.
    """
    words, _, size = rest.partition("@")
    names, where = words.replace(" ", "").lower().split(","), f"data source 'medmnist:{rest}'"
    for name in names:
        if name == "chestmnist":
            raise InputError(f"{where}: {name} has several labels an image: choose another set")
        if name not in MODALITY_OF:
            raise InputError(f"{where}: no set {name!r}: choose among {', '.join(MODALITY_OF)}")
    if len(set(names)) < len(names):
        raise InputError(f"{where}: a name stands there twice: keep one")
    if size and size not in RESOLUTIONS:
        raise InputError(f"{where}: no size {size!r}: choose among {', '.join(RESOLUTIONS)}")
    return names, int(size or 28)


def files(rest: str) -> list[Path]:
    """The official files, downloaded and verified by the official package where they are not there yet."""
    import medmnist

    names, size = preflight(rest)
    root = store_dir() / "medmnist"
    root.mkdir(parents=True, exist_ok=True)
    for name in names:
        try:
            # The class fetches and verifies the file of all splits; val is the smallest to open.
            getattr(medmnist, medmnist.INFO[name]["python_class"])("val", download=True, root=str(root), size=size)
        except RuntimeError as error:
            mend = f"check the network or put the official file into {root}"
            raise InputError(f"data source 'medmnist:{rest}': {name} could not be downloaded: {mend}") from error
    return [root / f"{name}{'' if size == 28 else f'_{size}'}.npz" for name in names]


def rows(rest: str) -> list[Row]:
    """All images of the sets without their pixels."""
    import medmnist

    result = []
    for name, path in zip(preflight(rest)[0], files(rest), strict=True):
        labels = medmnist.INFO[name]["label"]
        result += archive_rows(path, MODALITY_OF[name], [labels[key] for key in sorted(labels, key=int)])
    return result
