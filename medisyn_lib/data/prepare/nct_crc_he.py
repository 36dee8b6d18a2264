"""NCT-CRC-HE: patches of colorectal tissue. The 100K are train and val, the 7K, other patients, are test."""

from collections import Counter
from pathlib import Path

from medisyn_lib.data.prepare.download import class_folders, hold_out_val
from medisyn_lib.data.prepare.pictures import Contents, Picture, files_below
from medisyn_lib.data.prepare.public_set import PublicSet
from medisyn_lib.data.rows import require

FINDINGS = {
    "ADI": "adipose_tissue",
    "BACK": "background",
    "DEB": "debris",
    "LYM": "lymphocytes",
    "MUC": "mucus",
    "MUS": "smooth_muscle",
    "NORM": "normal",
    "STR": "stroma",
    "TUM": "tumour",
}
TRAIN, TEST = "NCT-CRC-HE-100K", "CRC-VAL-HE-7K"
UNNORMALISED = "NCT-CRC-HE-100K-NONORM"  # the same patches before colours were normalised


def read(folder: Path) -> Contents:
    """Find the patches; those of the copy that is not colour-normalised are left out, as they would leak."""
    pictures = []
    for name, split in ((TRAIN, "train"), (TEST, "test")):
        place = folder / name
        require(place.is_dir(), f"{folder} holds no folder {name}: unpack {name}.zip there")
        for finding, paths in class_folders(place, FINDINGS).items():
            pictures += [
                Picture(str(path), f"{name}/{path.name}", "histopathology", finding, split=split)
                for path in paths
            ]
    left_out: Counter[str] = Counter()
    if (folder / UNNORMALISED).is_dir():
        again = sum(1 for _ in files_below(folder / UNNORMALISED))
        left_out[f"files of {UNNORMALISED}, the same patches in other colours"] = again
    return Contents(hold_out_val(pictures), left_out)


NCT_CRC_HE = PublicSet(
    title="NCT-CRC-HE-100K and CRC-VAL-HE-7K, colorectal histology",
    modality="histopathology",
    licence="CC BY 4.0",
    where="Zenodo, doi:10.5281/zenodo.1214456: NCT-CRC-HE-100K.zip and CRC-VAL-HE-7K.zip",
    citation="Kather et al., PLoS Medicine 2019, 16(1):e1002730",
    split="the 7K are test, a tenth of the 100K is val by a stable hash; patients are not stated, so patches of "
    "one patient may lie in train and val",
    read=read,
)
