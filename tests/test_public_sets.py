"""`medisyn data prepare` on miniatures of five public sets, made here with the traps of the official downloads."""

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medisyn_lib.cli import main
from medisyn_lib.data import sources
from medisyn_lib.data.prepare.catalogue import PUBLIC_SETS
from medisyn_lib.data.prepare.download import IMAGE_ENDINGS, age_group
from medisyn_lib.data.prepare.listing import read_listing
from medisyn_lib.errors import InputError
from medisyn_lib.modalities import MODALITIES

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def own_place(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDISYN_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("MEDISYN_ROOT", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    return tmp_path


def picture(path, size=(24, 20)):
    path = Path("in", path)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RNG.integers(0, 256, (*size, 3), np.uint8)).save(path)


def ham10000():
    """Lesions of two images in different parts, unknown sex and age, segmentations beside the images."""
    lines = ["lesion_id,image_id,dx,dx_type,age,sex,localization,dataset"]
    for number in range(140):
        dx = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")[number // 2 % 7]
        name = f"ISIC_{number:07d}"
        picture(f"HAM10000_images_part_{1 + number % 2}/{name}.jpg")
        age, sex = ("45.0", "male") if number % 3 else ("", "unknown")
        lines.append(f"HAM_{number // 2:07d},{name},{dx},histo,{age},{sex},back,rosendahl")
    picture("HAM10000_segmentations/ISIC_0000000_segmentation.png")
    Path("in/HAM10000_metadata.csv").write_text("\n".join(lines))


NIH_HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)


def nih_chest_xray14(header=NIH_HEADER, end=""):
    """Bracketed commas, several findings, an age of 411, images in two archives, one archive missing."""
    labels = ["No Finding", "Effusion", "Pneumonia", "Atelectasis|Effusion"]
    lines, lists = [header + end], {"train_val": [], "test": []}
    for number in range(120):
        patient = 1 + number // 2
        name = f"{patient:08d}_{number % 2:03d}.png"
        if patient != 60:
            picture(f"images_{1 + number // 60:03d}/images/{name}")
        age = 411 if number == 0 else 58
        lines.append(
            f"{name},{labels[patient % 4]},0,{patient},{age:03d},{'MF'[patient % 2]},PA,2682,2749,0.143,0.143{end}"
        )
        lists["test" if patient > 45 else "train_val"].append(name)
    Path("in/Data_Entry_2017_v2020.csv").write_text("\n".join(lines) + "\n")
    for name, listed in lists.items():
        Path(f"in/{name}_list.txt").write_text("\n".join(listed))


def oct2017():
    """Patients with images in several classes, and one whose images lie in train and in test."""
    for number in range(80):
        name = ("CNV", "DME", "DRUSEN", "NORMAL")[number % 4]
        picture(f"OCT2017/train/{name}/{name}-{1000 + number // 2}-{number}.jpeg")
        if number < 24:
            patient = 1000 if number == 0 else 5000 + number
            picture(f"OCT2017/test/{name}/{name}-{patient}-{number}.jpeg")
    Path("in/__MACOSX/OCT2017/test/CNV").mkdir(parents=True)
    Path("in/__MACOSX/OCT2017/test/CNV/._CNV-1-1.jpeg").write_bytes(b"no image")
    Path("in/OCT2017/train/.DS_Store").write_bytes(b"no image")


def nct_crc_he():
    """TIFF patches, and beside them the copy with the same patches in other colours."""
    names = ("ADI", "BACK", "DEB", "LYM", "MUC", "MUS", "NORM", "STR", "TUM")
    for number in range(180):
        name = names[number % 9]
        picture(f"NCT-CRC-HE-100K/{name}/{name}-{number:04d}.tif")
        if number < 36:
            picture(f"CRC-VAL-HE-7K/{name}/{name}-TCGA-{number:04d}.tif")
            picture(f"NCT-CRC-HE-100K-NONORM/{name}/{name}-{number:04d}.tif")


def busi():
    """Masks beside the images, two of some; the same number in each class."""
    for name in ("benign", "malignant", "normal"):
        for number in range(1, 21):
            picture(f"Dataset_BUSI_with_GT/{name}/{name} ({number}).png")
            picture(f"Dataset_BUSI_with_GT/{name}/{name} ({number})_mask.png")
        picture(f"Dataset_BUSI_with_GT/{name}/{name} (1)_mask_1.png")


MINIATURES = {
    "ham10000": ham10000,
    "nih-chest-xray14": nih_chest_xray14,
    "oct2017": oct2017,
    "nct-crc-he": nct_crc_he,
    "busi": busi,
}


def prepare(name, out="out"):
    return main.main(["data", "prepare", name, "in", "--out", out])


def prepared(name, capsys):
    """The lines of the metadata and what was printed, of a miniature that is prepared and checked."""
    MINIATURES[name]()
    assert prepare(name) == 0, capsys.readouterr().err
    told = capsys.readouterr().out
    with Path("out/metadata.csv").open(newline="") as file:
        return list(csv.DictReader(file)), told


def refused(capsys, name, words):
    before = set(Path().iterdir())
    code, told = prepare(name), capsys.readouterr()
    assert (code, told.out, told.err.count("\n")) == (2, "", 1), told
    assert words in told.err and set(Path().iterdir()) == before, told.err


def test_every_set_has_a_miniature():
    assert MINIATURES.keys() == PUBLIC_SETS.keys()


@pytest.mark.parametrize("name", MINIATURES)
def test_a_prepared_set_is_a_folder_that_is_checked_and_loaded(name, capsys):
    lines, told = prepared(name, capsys)
    assert f"{len(lines)} images" in told and "next: medisyn data check folder:out" in told
    assert main.main(["data", "check", "folder:out"]) == 0
    checked = capsys.readouterr().out
    modality = PUBLIC_SETS[name].modality
    assert modality in checked and modality in MODALITIES
    test = sources.load("folder:out", "test", size=16)
    assert len(test) and set(test["modality"]) == {modality}
    names = MODALITIES[modality].names
    assert all(any(words in text for words in names) for text in test["caption"])
    page = Path("out/README.md").read_text()
    assert PUBLIC_SETS[name].licence in page and f"{len(lines)} images" in page
    place = Path(lines[0]["file_name"]).name
    (original,) = [path for path in Path("in").rglob("*") if as_named(path) == place][:1]
    assert Path("out", lines[0]["file_name"]).read_bytes() == original.read_bytes()


def as_named(path):
    return path.name.replace(" ", "_").replace("(", "").replace(")", "")


def test_ham10000_keeps_lesions_together_and_says_that_they_are_no_patients(capsys):
    lines, told = prepared("ham10000", capsys)
    assert len(lines) == 140 and "of 70 groups, whose patients are unknown" in told
    assert "left out: 1 images that the table does not list" in told
    splits = {}
    for line in lines:
        assert splits.setdefault(line["patient_id"], line["split"]) == line["split"]
    assert {line["identity_known"] for line in lines} == {"0"}
    assert Counter(line["sex"] for line in lines)["male"] == 93
    assert {line["age_group"] for line in lines} == {"40-59", ""}
    assert {line["site"] for line in lines} == {"rosendahl"}
    nevus = next(line for line in lines if line["finding"] == "naevus")
    assert "naevus" in nevus["text"]


def test_ham10000_reads_the_tab_of_dataverse(capsys):
    ham10000()
    path = Path("in/HAM10000_metadata.csv")
    Path("in/HAM10000_metadata.tab").write_text(path.read_text().replace(",", "\t"))
    refused(capsys, "ham10000", "holds several of HAM10000_metadata")
    path.unlink()
    assert prepare("ham10000") == 0


@pytest.mark.parametrize(
    ("header", "end"),
    [
        (NIH_HEADER, ""),
        (NIH_HEADER, ","),
        (NIH_HEADER.replace("O", '"O', 1).replace("Height]", 'Height]"'), ""),
        (NIH_HEADER.replace("Gender", "Sex"), ""),
    ],
)
def test_nih_reads_the_columns_behind_brackets_and_the_official_split(capsys, header, end):
    nih_chest_xray14(header, end)
    assert prepare("nih-chest-xray14") == 0
    told = capsys.readouterr().out
    with Path("out/metadata.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 118 and "left out: 2 images that the table lists, but that" in told
    patients = {split: {li["patient_id"] for li in lines if li["split"] == split} for split in
                ("train", "val", "test")}  # fmt: skip
    assert patients["test"] == {f"{number:08d}" for number in range(46, 60)}
    assert len(patients["train"] | patients["val"]) == 45 and patients["val"]
    assert not patients["train"] & patients["val"]
    first, second = lines[:2]
    assert (first["patient_id"], first["sex"], first["view"]) == ("00000001", "female", "PA")
    assert (first["age_group"], second["age_group"]) == ("", "40-59")
    assert {line["finding"] for line in lines} == {
        "normal",
        "pleural_effusion",
        "pneumonia",
        "several_findings",
    }
    several = [line["text"] for line in lines if line["finding"] == "several_findings"]
    assert {*several} == {"chest X-ray, atelectasis and effusion"}
    assert {line["identity_known"] for line in lines} == {"1"}


def test_ham10000_takes_codes_of_any_case_and_refuses_a_line_that_comes_twice(capsys):
    ham10000()
    path = Path("in/HAM10000_metadata.csv")
    whole = path.read_text().replace(",nv,", ",NV,")
    path.write_text(whole + "\n" + whole.splitlines()[1])
    refused(capsys, "ham10000", "ISIC_0000000 is listed twice: keep one of its lines")
    path.write_text(whole)
    assert prepare("ham10000") == 0


def test_nih_with_a_finding_that_ends_in_a_bar_has_that_finding_alone(capsys):
    nih_chest_xray14()
    path = Path("in/Data_Entry_2017_v2020.csv")
    whole = path.read_text()
    path.write_text(whole.replace("Atelectasis|Effusion", "|"))
    refused(capsys, "nih-chest-xray14", "00000003_000.png has no finding in the table")
    path.write_text(whole.replace("Atelectasis|Effusion", "Effusion|"))
    assert prepare("nih-chest-xray14") == 0
    with Path("out/metadata.csv").open(newline="") as file:
        found = {line["finding"] for line in csv.DictReader(file)}
    assert found == {"normal", "pleural_effusion", "pneumonia"}


def test_oct2017_is_found_with_the_blank_of_a_well_known_copy(capsys):
    oct2017()
    Path("in/OCT2017").rename("in/OCT2017 ")
    assert prepare("oct2017") == 0
    Path("out").rename("old")
    Path("in/oct2017").mkdir()
    capsys.readouterr()
    refused(capsys, "oct2017", "in holds several folders OCT2017: keep one copy")


def test_nih_with_a_table_that_its_files_deny_is_refused(capsys):
    nih_chest_xray14()
    path = Path("in/Data_Entry_2017_v2020.csv")
    whole = path.read_text()
    path.write_text(
        whole.replace("00000003_000.png,Atelectasis|Effusion,0,3", "00000003_000.png,x,0,4")
    )
    refused(capsys, "nih-chest-xray14", "00000003_000.png is of patient 4 in the table")
    path.write_text(whole.replace("Atelectasis|Effusion", "Atelectasis, Effusion", 1))
    refused(capsys, "nih-chest-xray14", "Data_Entry_2017_v2020.csv, line 6: 12 columns")
    path.write_text(whole)
    Path("in/test_list.txt").write_text("00000001_000.png")
    refused(capsys, "nih-chest-xray14", "00000001_000.png is in the other list, too")


def test_oct2017_takes_patients_from_names_and_leaves_leaks_out_of_train(capsys):
    lines, told = prepared("oct2017", capsys)
    assert "left out: 2 images of patients whom another split holds, too" in told
    patients = {split: {li["patient_id"] for li in lines if li["split"] == split} for split in
                ("train", "val", "test")}  # fmt: skip
    assert "1000" in patients["test"] and patients["val"]
    assert not patients["test"] & (patients["train"] | patients["val"])
    assert not patients["train"] & patients["val"]
    assert Counter(line["split"] for line in lines)["test"] == 24


def test_oct2017_takes_a_val_folder_where_there_is_one(capsys):
    oct2017()
    for name in ("CNV", "DME", "DRUSEN", "NORMAL"):
        picture(f"OCT2017/val/{name}/{name}-9000-1.jpeg")
    assert prepare("oct2017") == 0
    with Path("out/metadata.csv").open(newline="") as file:
        vals = [line for line in csv.DictReader(file) if line["split"] == "val"]
    assert {line["patient_id"] for line in vals} == {"9000"} and len(vals) == 4
    Path("in/OCT2017/train/CNV/CNV (1).jpeg").write_bytes(b"x")
    Path("out").rename("old")
    capsys.readouterr()
    refused(capsys, "oct2017", "CNV (1).jpeg is not named CLASS-PATIENT-NUMBER")


def test_nct_crc_he_tests_on_the_other_cohort_and_leaves_the_copy_out(capsys):
    lines, told = prepared("nct-crc-he", capsys)
    assert "36 files of NCT-CRC-HE-100K-NONORM, the same patches" in told
    counts = Counter(line["split"] for line in lines)
    assert counts["test"] == 36 and counts["train"] + counts["val"] == 180 and counts["val"] > 5
    tests = [line for line in lines if line["split"] == "test"]
    assert all("CRC-VAL-HE-7K/" in line["file_name"] for line in tests)
    assert not any(line["patient_id"] for line in lines) and "normal" in {
        line["finding"] for line in lines
    }


def test_busi_skips_masks(capsys):
    lines, told = prepared("busi", capsys)
    assert len(lines) == 60 and "left out: 63 masks" in told
    assert Counter(line["finding"] for line in lines) == dict.fromkeys(
        ("benign", "malignant", "normal"), 20
    )
    assert not any("mask" in line["file_name"] for line in lines)
    assert lines[0]["file_name"] == "images/benign_1.png"


@pytest.mark.parametrize("name", MINIATURES)
def test_another_folder_or_a_part_of_a_download_is_refused(name, capsys):
    refused(capsys, name, "in holds no")
    MINIATURES["busi" if name != "busi" else "oct2017"]()
    refused(capsys, name, " holds no ")


@pytest.mark.parametrize("name", MINIATURES)
def test_a_damaged_image_is_named_and_nothing_is_left(name, capsys):
    MINIATURES[name]()
    unused = ("__MACOSX", "segmentation", "NONORM", "_mask")
    files = [path for path in sorted(Path("in").rglob("*.*")) if path.suffix in IMAGE_ENDINGS]
    bad = [path for path in files if not any(word in str(path) for word in unused)][-1]
    bad.write_bytes(bad.read_bytes()[:150])
    refused(capsys, name, bad.name)
    bad.write_bytes(b"<html>please log in</html>")
    refused(capsys, name, f"{bad.name} is no image that can be read")


def test_links_that_lead_out_and_options_of_other_readers_are_refused(capsys, own_place):
    busi()
    (own_place / "else.png").write_bytes(
        Path("in/Dataset_BUSI_with_GT/benign/benign (1).png").read_bytes()
    )
    Path("in/Dataset_BUSI_with_GT/benign/link.png").symlink_to(own_place / "else.png")
    refused(capsys, "busi", "link.png leads out of the folder")
    assert main.main(["data", "prepare", "busi", "in", "--out", "o", "--salt", "x"]) == 2
    assert "--salt is only for dicom and nifti" in capsys.readouterr().err


def test_a_listing_is_read_line_by_line(own_place):
    path = own_place / "a.csv"
    path.write_text('a,"b[x,y]",c,\n1,2,3,"4, 5",\n\n6,7,8,9\n')
    assert read_listing(path, ["a", "c"]) == [
        {"a": "1", "b[x": "2", "y]": "3", "c": "4, 5"},
        {"a": "6", "b[x": "7", "y]": "8", "c": "9"},
    ]
    for content, words in (
        ("a,b\n1\n", "line 2: 1 columns where the header has 2"),
        ("a,b\n1,2,3\n", "line 2: 3 columns"),
        ("b\n1\n", "no column 'a'"),
        ("", "is empty"),
        ('a\n"1\n', "cannot be read"),
    ):
        path.write_text(content)
        with pytest.raises(InputError, match=words):
            read_listing(path, ["a"])


@pytest.mark.parametrize(
    ("text", "group"),
    [
        ("45.0", "40-59"),
        ("0", "0-19"),
        ("058Y", "40-59"),
        ("79", "60-79"),
        ("80", "80 and over"),
        ("120", "80 and over"),
        ("121", ""),
        ("", ""),
        ("unknown", ""),
        ("-3", ""),
    ],
)
def test_ages_become_groups(text, group):
    assert age_group(text) == group


def test_the_sets_are_listed_with_licence_and_place(capsys):
    assert main.main(["data", "list"]) == 0
    told = capsys.readouterr().out
    for name, one in PUBLIC_SETS.items():
        assert name in told and one.licence in told and one.where in told and one.title in told
