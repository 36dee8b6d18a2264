"""Folders of classes, as torchvision's ImageFolder and the hub's imagefolder have them: [SPLIT/]CLASS/image.png."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from medisyn_lib.data.rows import require
from medisyn_lib.data.splits import is_split

__all__ = ["class_records"]

ENDINGS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")


def class_records(folder: Path, split_map: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Yield a record of metadata for each image of a folder without a table: file_name, finding and split.

    Where the folders at the top are named as splits are, the classes are the folders in them; patients are then
    not assigned anew. Nothing is yielded where there are no folders with images.

    Parameters
    ----------
    folder
        The folder.
    split_map
        What names of splits mean, beside those that are known.

    Raises
    ------
    InputError
        Where only some of the folders at the top are splits.
    """
    tops = sorted(path for path in folder.iterdir() if path.is_dir() and path.name[0] not in "._")
    splits = [path for path in tops if is_split(path.name, split_map)]
    require(
        len(splits) in (0, len(tops)),
        f"{folder} holds folders of splits and others ({', '.join(path.name for path in tops)}): "
        "keep one kind at the top",
    )
    for top in tops:
        classes = sorted(path for path in top.iterdir() if path.is_dir()) if splits else [top]
        for place in classes:
            for path in sorted(place.iterdir()):
                if path.suffix.lower() in ENDINGS and path.name[0] != ".":
                    split = top.name if splits else ""
                    name = path.relative_to(folder).as_posix()
                    yield {"file_name": name, "finding": place.name, "split": split}
