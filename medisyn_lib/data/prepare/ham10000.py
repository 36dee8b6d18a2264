"""HAM10000: dermoscopy. A table with a line per image, several images of some lesions, no patients."""

from pathlib import Path

from medisyn_lib.data.prepare.download import age_group, find_file, images_below, only_known
from medisyn_lib.data.prepare.listing import read_listing
from medisyn_lib.data.prepare.pictures import Contents, Picture
from medisyn_lib.data.prepare.public_set import PublicSet
from medisyn_lib.data.rows import require

FINDINGS = {
    "akiec": "actinic_keratosis",
    "bcc": "basal_cell_carcinoma",
    "bkl": "benign_keratosis",
    "df": "dermatofibroma",
    "mel": "melanoma",
    "nv": "naevus",
    "vasc": "vascular_lesion",
}
COLUMNS = ("lesion_id", "image_id", "dx", "age", "sex")


def read(folder: Path) -> Contents:
    """Find the images that the table lists. The lesion stands in for the patient, who is unknown."""
    table = find_file(folder, "HAM10000_metadata.csv", "HAM10000_metadata.tab", "HAM10000_metadata")
    images = {Path(name).stem: path for name, path in images_below(folder).items()}
    contents, listed = Contents([]), set[str]()
    for line in read_listing(table, COLUMNS):
        name, finding = line["image_id"], FINDINGS.get(line["dx"].lower())
        require(finding, f"{table}: {name} has the unknown dx {line['dx']!r}: correct it")
        require(name not in listed, f"{table}: {name} is listed twice: keep one of its lines")
        listed.add(name)
        path = images.pop(name, None)
        require(
            path, f"{folder} holds no image {name}.jpg: unpack HAM10000_images_part_1 and _2 there"
        )
        contents.pictures.append(
            Picture(
                place=str(path),
                name=f"{name}.jpg",
                modality="dermoscopy",
                finding=str(finding),
                patient_id=line["lesion_id"],
                columns=only_known(
                    sex=line["sex"], age_group=age_group(line["age"]), site=line.get("dataset", "")
                ),
            )
        )
    if images:
        contents.left_out["images that the table does not list, such as segmentations"] = len(
            images
        )
    return contents


HAM10000 = PublicSet(
    title="HAM10000, dermoscopy of pigmented lesions",
    modality="dermoscopy",
    licence="CC BY-NC 4.0",
    where="Harvard Dataverse, doi:10.7910/DVN/DBW86T: HAM10000_metadata and both parts of HAM10000_images",
    citation="Tschandl, Rosendahl and Kittler, Scientific Data 2018, 5:180161",
    split="none for these images: lesions are assigned by a stable hash, 70:10:20; patients are not stated",
    read=read,
)
