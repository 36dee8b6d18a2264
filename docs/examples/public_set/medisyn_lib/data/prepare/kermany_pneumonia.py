"""Kermany's chest X-rays of children: a folder for each split and class, `person1_bacteria_1.jpeg`."""

import re
from pathlib import Path

from medisyn_lib.data.prepare.download import class_folders, keep_test_apart
from medisyn_lib.data.prepare.pictures import Contents, Picture
from medisyn_lib.data.prepare.public_set import PublicSet
from medisyn_lib.data.rows import require

FINDINGS = {"NORMAL": "normal", "PNEUMONIA": "pneumonia"}
PERSON = re.compile(r"person(\d+)_")


def read(folder: Path) -> Contents:
    """Find the images. Files of pneumonia name a person, those of normal chests do not."""
    home = folder / "chest_xray"
    pictures = []
    for split in ("train", "val", "test"):
        place = home / split
        require(place.is_dir(), f"{folder} holds no folder chest_xray/{split}: unpack the download")
        for finding, paths in class_folders(place, FINDINGS).items():
            pictures += [_picture(path, split, finding) for path in paths]
    return keep_test_apart(Contents(pictures))


def _picture(path: Path, split: str, finding: str) -> Picture:
    person = PERSON.match(path.name)
    return Picture(
        place=str(path),
        name=f"{split}/{path.name}",
        modality="chest_xray",
        finding=finding,
        patient_id=f"person{person.group(1)}" if person else "",
        identity_known=person is not None,
        split=split,
    )


KERMANY_PNEUMONIA = PublicSet(
    title="Chest X-rays of children with pneumonia (Kermany)",
    modality="chest_xray",
    licence="CC BY 4.0",
    where="Mendeley Data, doi:10.17632/rscbjbr9sj: ChestXRay2017 or chest_xray",
    citation="Kermany et al., Cell 2018, 172(5):1122-1131",
    split="the folders'; val has 16 images; train images of persons whom test names, too, are left out",
    read=read,
)
