"""BUSI: breast ultrasound. Three class folders, in which every image lies beside its masks.

It is known to hold images twice, some lesions as benign and as malignant, and burnt-in calipers (Pawlowska et al.,
Data in Brief 2023, 48:109247): `medisyn data check` counts look-alikes across splits and marks in colour.
"""

from collections import Counter
from pathlib import Path

from medisyn_lib.data.prepare.download import class_folders
from medisyn_lib.data.prepare.pictures import Contents, Picture
from medisyn_lib.data.prepare.public_set import PublicSet
from medisyn_lib.data.rows import require

FINDINGS = {name: name for name in ("benign", "malignant", "normal")}


def read(folder: Path) -> Contents:
    """Find the images; masks, `benign (1)_mask.png` and `benign (1)_mask_1.png`, are left out."""
    home = folder / "Dataset_BUSI_with_GT"
    images = class_folders(home if home.is_dir() else folder, FINDINGS)
    left_out: Counter[str] = Counter()
    pictures = []
    for finding, paths in images.items():
        for path in paths:
            if "_mask" in path.stem:
                left_out["masks"] += 1
                continue
            name = path.name.replace(" ", "_").replace("(", "").replace(")", "")
            pictures.append(Picture(str(path), name, "breast_ultrasound", finding))
    require(pictures, f"{folder} holds masks alone: unpack the whole download")
    return Contents(pictures, left_out)


BUSI = PublicSet(
    title="BUSI, breast ultrasound images",
    modality="breast_ultrasound",
    licence="not stated with the files: ask its authors before any use but research",
    where="scholar.cu.edu.eg/?q=afahmy/pages/dataset: Dataset_BUSI.zip",
    citation="Al-Dhabyani et al., Data in Brief 2020, 28:104863",
    split="none: each image is assigned by a stable hash, 70:10:20; no patients are stated",
    read=read,
)
