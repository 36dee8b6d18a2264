"""NIH ChestX-ray14: chest X-rays of 30,805 patients, with a table and lists of the official split."""

from collections import Counter
from pathlib import Path

from medisyn_lib.data.prepare.download import (
    age_group,
    find_file,
    hold_out_val,
    images_below,
    keep_test_apart,
    only_known,
)
from medisyn_lib.data.prepare.listing import read_listing
from medisyn_lib.data.prepare.pictures import Contents, Picture
from medisyn_lib.data.prepare.public_set import PublicSet
from medisyn_lib.data.rows import require

COLUMNS = ("Image Index", "Finding Labels", "Patient ID", "Patient Age", "View Position")
TABLES = ("Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv")
LISTS = {"train_val_list.txt": "train", "test_list.txt": "test"}
SEXES = {"F": "female", "M": "male"}
PATIENT = slice(0, 8)  # of the file name: 00000013_005.png
KEYS = {"no finding": "normal", "effusion": "pleural_effusion"}  # what the modality calls them
SEVERAL = "several_findings"


def read(folder: Path) -> Contents:
    """Find the images; a patient is the first eight characters of a file name.

    An image with several findings has the class `several_findings` and names them all in its caption. Images of
    archives that were not downloaded are left out and counted.
    """
    split_of = _official_split(folder)
    images = images_below(folder)
    contents, left_out = Contents([]), Counter[str]()
    for line in read_listing(find_file(folder, *TABLES), COLUMNS):
        name = line["Image Index"]
        if name not in images:
            left_out["images that the table lists, but that are not there"] += 1
        elif name not in split_of:
            left_out["images that no list of the official split names"] += 1
        else:
            contents.pictures.append(_picture(line, images[name], split_of[name]))
    require(contents.pictures, f"{folder} holds none of the listed images: unpack images_001 there")
    contents.left_out = left_out
    contents = keep_test_apart(contents)
    contents.pictures = hold_out_val(contents.pictures)
    return contents


def _official_split(folder: Path) -> dict[str, str]:
    split_of: dict[str, str] = {}
    for file, split in LISTS.items():
        path = find_file(folder, file)
        for name in path.read_text("utf-8", "replace").split():
            other = split_of.setdefault(name, split)
            require(
                other == split, f"{path}: {name} is in the other list, too: download them again"
            )
    return split_of


def _picture(line: dict[str, str], path: Path, split: str) -> Picture:
    name, stated = path.name, line["Patient ID"]
    require(
        name[PATIENT].lstrip("0") == stated.lstrip("0"),
        f"{path} is of patient {stated} in the table, which its name denies: download the table again",
    )
    stated_labels = [label.strip() for label in line["Finding Labels"].split("|")]
    labels = [label.lower().replace("_", " ") for label in stated_labels if label]
    require(labels, f"{path} has no finding in the table, not even No Finding: download it again")
    finding = KEYS.get(labels[0], labels[0].replace(" ", "_")) if len(labels) == 1 else SEVERAL
    sex = line.get("Patient Gender") or line.get("Patient Sex") or ""
    return Picture(
        place=str(path),
        name=name,
        modality="chest_xray",
        finding=finding,
        patient_id=name[PATIENT],
        identity_known=True,
        split=split,
        text=f"chest X-ray, {_joined(labels)}" if finding == SEVERAL else "",
        columns=only_known(
            sex=SEXES.get(sex, ""),
            age_group=age_group(line["Patient Age"].lstrip("0")),
            view=line["View Position"],
        ),
    )


def _joined(labels: list[str]) -> str:
    return f"{', '.join(labels[:-1])} and {labels[-1]}"


NIH_CHEST_XRAY14 = PublicSet(
    title="NIH ChestX-ray14, frontal chest X-rays",
    modality="chest_xray",
    licence="use is not restricted; name the NIH Clinical Center and cite the paper",
    where="nihcc.app.box.com/v/ChestXray-NIHCC: Data_Entry_2017_v2020.csv, train_val_list.txt, test_list.txt and "
    "images_001 to images_012",
    citation="Wang et al., CVPR 2017, 2097-2106",
    split="the official lists; a tenth of the patients of train_val is val by a stable hash",
    read=read,
)
