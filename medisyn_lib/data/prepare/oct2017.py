"""OCT2017 (Kermany): retinal OCT, a folder for each split and class, `CLASS-PATIENT-NUMBER.jpeg`."""

import re
from pathlib import Path

from medisyn_lib.data.prepare.download import class_folders, hold_out_val, keep_test_apart
from medisyn_lib.data.prepare.pictures import Contents, Picture
from medisyn_lib.data.prepare.public_set import PublicSet
from medisyn_lib.data.rows import require
from medisyn_lib.errors import InputError

FINDINGS = {"CNV": "cnv", "DME": "dme", "DRUSEN": "drusen", "NORMAL": "normal"}
NAME = re.compile(r"[A-Z]+-(\d+)-\d+", re.IGNORECASE)


def read(folder: Path) -> Contents:
    """Find the images. The patient's number is in the file name; it counts across classes."""
    named = [path for path in folder.iterdir() if path.name.strip().upper() == "OCT2017"]
    require(len(named) < 2, f"{folder} holds several folders OCT2017: keep one copy of the images")
    home = named[0] if named and named[0].is_dir() else folder
    pictures = []
    for split in ("train", "val", "test"):
        place = home / split
        if split == "val" and not place.is_dir():  # only some copies have one, of 32 images
            continue
        require(place.is_dir(), f"{home} holds no folder {split}: unpack the whole download")
        for finding, paths in class_folders(place, FINDINGS).items():
            pictures += [_picture(path, split, finding) for path in paths]
    contents = keep_test_apart(Contents(pictures))
    if not any(picture.split == "val" for picture in contents.pictures):
        contents.pictures = hold_out_val(contents.pictures)
    return contents


def _picture(path: Path, split: str, finding: str) -> Picture:
    parts = NAME.fullmatch(path.stem)
    if parts is None:
        raise InputError(f"{path} is not named CLASS-PATIENT-NUMBER: give it the name that it had")
    return Picture(
        place=str(path),
        name=f"{split}/{path.name}",
        modality="retinal_oct",
        finding=finding,
        patient_id=parts.group(1),
        identity_known=True,
        split=split,
    )


OCT2017 = PublicSet(
    title="OCT2017, retinal OCT (Kermany)",
    modality="retinal_oct",
    licence="CC BY 4.0",
    where="Mendeley Data, doi:10.17632/rscbjbr9sj: OCT2017 (the chest X-rays there are not needed)",
    citation="Kermany et al., Cell 2018, 172(5):1122-1131",
    split="the folders'; train images of patients whom test holds, too, are left out; without a folder val a tenth "
    "of the train patients is val by a stable hash",
    read=read,
)
