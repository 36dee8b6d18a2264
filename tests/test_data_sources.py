"""The finite sources on made files: what they read, and every refusal with its one line."""

import csv
import hashlib
import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medisyn_lib.data import cards, check, npz_arrays, sources, tables
from medisyn_lib.data.pixels import load_pixels
from medisyn_lib.data.splits import ROLES, SPLITS
from medisyn_lib.errors import InputError

REAL_PANEL = Path(
    os.environ.get("MEDISYN_REAL_PANEL", Path(__file__).parents[2] / "shared" / "real_panel")
)


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDISYN_STORE", str(tmp_path / "store"))


def arrays(**changes):
    """A small file of 2 classes in MedMNIST layout, patients of 2 images; None takes an array away."""
    rng = np.random.default_rng(0)
    made = {"class_names": np.array(["no_dr", "moderate_npdr"])}
    for split, count in (("train", 20), ("val", 4), ("test", 6)):
        made[f"{split}_images"] = rng.integers(0, 256, (count, 20, 24, 3), np.uint8)
        made[f"{split}_labels"] = (np.arange(count) % 2)[:, None]
        made[f"{split}_source_ids"] = np.array([f"{split}{n // 2}" for n in range(count)])
    return {name: value for name, value in (made | changes).items() if value is not None}


def put(place, stem="fundus", **changes):
    place.mkdir(exist_ok=True)
    np.savez_compressed(place / f"{stem}.npz", **arrays(**changes))
    return f"npz:{place}"


def test_npz_images_labels_patients_and_captions(tmp_path):
    source = put(tmp_path / "d")
    train = sources.load(source, "train", size=24)
    assert len(train) == 20 and train["finding"][:2] == ["no_dr", "moderate_npdr"]
    assert (train["grade"][1], train["count"][1], train["side"][1]) == (2, -1, "")
    assert train["patient_id"][:3] == ["fundus/train0", "fundus/train0", "fundus/train1"]
    assert all(train["identity_known"]) and "diabetic retinopathy" in train["caption"][0]
    original = arrays()["test_images"]
    test = load_pixels(sources.load(source, "test", size=20))
    assert np.array_equal(test, original[:, :, 2:22])  # the centre square, not resampled


def test_roles_of_a_finite_source_share_no_patient(tmp_path):
    source = put(tmp_path / "d")
    parts = {role: sources.load(source, role=role, size=20) for role in ROLES}
    patients = {role: set(part["patient_id"]) for role, part in parts.items()}
    assert not patients["generator"] & patients["evaluator"]
    assert patients["first_stage"] == patients["generator"]
    assert len(parts["generator"]) + len(parts["evaluator"]) == 20
    assert set(sources.load(source, "train", size=20)["role"]) == {"generator", "evaluator"}
    assert (len(parts["calibration"]), len(parts["test"])) == (4, 6)


def test_a_role_without_images_is_refused(tmp_path):
    none = {
        f"val_{name}": arrays()[f"val_{name}"][:0] for name in ("images", "labels", "source_ids")
    }
    source = put(tmp_path / "d", **none)
    with pytest.raises(InputError, match="no image in the data source for calibration: add some"):
        sources.load(source, role="calibration", size=20)


def test_the_cap_is_deterministic_and_depends_on_the_seed(tmp_path):
    source = put(tmp_path / "d")
    chosen = [
        sources.load(source, "train", size=20, per_modality=5, seed=seed)["image_id"][:]
        for seed in (0, 0, 1)
    ]
    assert len(chosen[0]) == 5 and chosen[0] == chosen[1] != chosen[2]
    assert (
        sources.load(source, "train", size=20, per_modality=5)["image_id"][:] == chosen[0]
    )  # by default seed 0


def test_grey_files_without_names_or_ids_of_an_unknown_modality(tmp_path):
    grey = {f"{split}_images": arrays()[f"{split}_images"][..., 0] for split in SPLITS}
    source = put(
        tmp_path / "d",
        "knee_mri",
        class_names=None,
        **grey,
        **{f"{s}_source_ids": None for s in SPLITS},
    )
    row = sources.load(source, "train", size=20)[1]
    assert (
        row["finding"] == "class_1" and "knee mri" in row["caption"] and "class 1" in row["caption"]
    )
    assert (
        row["patient_id"] == row["image_id"]
        and not row["identity_known"]
        and row["specialty"] == ""
    )
    pixels = load_pixels(sources.load(source, "train", size=20))
    assert np.array_equal(pixels[0, ..., 0], pixels[0, ..., 2])


def test_fortran_order_reads_alike(tmp_path):
    images = arrays()["test_images"]
    plain = load_pixels(sources.load(put(tmp_path / "a"), "test", size=20))
    other = load_pixels(
        sources.load(put(tmp_path / "b", test_images=np.asfortranarray(images)), "test", size=20)
    )
    assert np.array_equal(plain, other)


@pytest.mark.parametrize("flag", [0, 1])
def test_the_file_says_whether_ids_are_patients(tmp_path, flag):
    source = put(tmp_path / "d", identity_known=np.array(flag))
    assert set(sources.load(source, "val", size=20)["identity_known"]) == {bool(flag)}


def test_fingerprint_follows_the_bytes(tmp_path):
    first = sources.fingerprint(put(tmp_path / "a"))
    assert (
        first
        == sources.fingerprint(put(tmp_path / "b"))
        != sources.fingerprint(put(tmp_path / "c", extra=np.zeros(1)))
    )


BIG = np.zeros((20, 20, 24, 3), np.uint8)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"train_images": BIG.astype(float)}, "train_images has dtype float64"),
        ({"train_images": BIG[:, :, 0, 0]}, r"train_images has shape \(20, 20\)"),
        ({"train_images": BIG[..., :2]}, r"\(n, h, w, 3\)"),
        ({"train_images": BIG[:19]}, "20 labels for 19 images"),
        ({"train_images": np.array([None] * 20)}, "train_images holds Python objects"),
        ({"test_images": None}, "no array test_images"),
        ({"train_labels": np.full(20, 0.5)}, "train_labels has dtype float64"),
        ({"train_labels": np.full(20, 7)}, "label 7 is out of range"),
        ({"train_labels": np.full(20, -1)}, "labels from -1"),
        ({"train_labels": np.zeros((20, 2), int)}, "one label per image"),
        ({"train_labels": np.zeros(20, int)}, "class 'moderate_npdr' has no train image"),
        (
            {"train_labels": np.zeros(20, int), "class_names": None},
            "class 'class_1' has no train image",
        ),
        ({"class_names": np.array(["a", "A"])}, "class_names has a name twice"),
        ({"class_names": np.array(["a", "b\nc"])}, "control characters"),
        ({"class_names": np.array(["a", "+1"])}, "begins as a spreadsheet's formula does"),
        ({"class_names": np.array(["a", "b", "c"])}, "class 'c' has no train image"),
        ({"train_source_ids": np.array(["x"] * 3)}, "train_source_ids has shape"),
        ({"test_source_ids": np.array(["train0"] * 6)}, "is in train and in test"),
    ],
)
def test_bad_npz_is_refused_in_one_line(tmp_path, changes, words):
    source = put(tmp_path / "d", **changes)
    with pytest.raises(InputError, match=words) as caught:
        sources.preflight(source)
    assert "\n" not in str(caught.value) and "fundus.npz" in str(caught.value)


def test_one_image_only_is_refused(tmp_path):
    one = {
        "train_images": BIG[:1],
        "train_labels": [0],
        "train_source_ids": ["a"],
        "class_names": np.array(["a"]),
    }
    none = {
        f"{s}_{k}": v[:0]
        for s in ("val", "test")
        for k, v in (("images", BIG), ("labels", np.zeros(1, int)))
    }
    source = put(tmp_path / "d", **one, **none, val_source_ids=None, test_source_ids=None)
    with pytest.raises(InputError, match="at least 2 train images, got 1"):
        sources.preflight(source)


def test_missing_and_broken_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        sources.preflight(f"npz:{tmp_path / 'none'}")
    with pytest.raises(InputError, match="no npz file"):
        sources.preflight(f"npz:{tmp_path}")
    (tmp_path / "ct.npz").write_bytes(b"not a zip file")
    with pytest.raises(InputError, match=r"ct\.npz is not an npz file"):
        sources.preflight(f"npz:{tmp_path}")


def test_a_flipped_byte_is_found(tmp_path):
    source = put(tmp_path / "d")
    path = tmp_path / "d" / "fundus.npz"
    content = bytearray(path.read_bytes())
    content[2000] ^= 0xFF
    path.write_bytes(bytes(content))
    with pytest.raises(InputError, match=r"fundus\.npz.* is damaged"):
        sources.preflight(source)


def test_a_header_that_promises_too_much_is_refused_before_reading(tmp_path, monkeypatch):
    source = put(tmp_path / "d")
    monkeypatch.setattr(npz_arrays, "MAX_BYTES", 2**10)
    with pytest.raises(InputError, match="split the file or drop"):
        sources.preflight(source)
    path = tmp_path / "d" / "fundus.npz"
    monkeypatch.undo()
    with zipfile.ZipFile(path, "w") as file, file.open("train_images.npy", "w") as member:
        header = {"descr": "|u1", "fortran_order": False, "shape": (1000, 64, 64)}
        np.lib.format.write_array_header_1_0(member, header)
    with pytest.raises(InputError, match="shorter than its header says"):
        sources.preflight(source)


def test_check_reports_empty_classes_identity_and_leaks(tmp_path):
    made = arrays()
    made["val_images"][0] = made["train_images"][0]
    source = put(tmp_path / "d", val_images=made["val_images"], test_labels=np.zeros(6, int))
    (row,) = check.check_source(source)
    assert (row["modality"], row["train"], row["val"], row["test"], row["patients"]) == (
        "fundus",
        20,
        4,
        6,
        "10/2/3",
    )
    assert (
        row["classes"] == "moderate_npdr 10/2/0, no_dr 10/2/6"
        and row["empty"] == "moderate_npdr in test"
    )
    assert row["near_duplicates"] == 1 and row["identity"] == "known"
    assert (
        row["not_testable"]
        == "3 test patients, at least 20 are needed; no test image of moderate_npdr"
    )


def test_check_counts_a_split_without_images_as_zero(tmp_path):
    none = {
        f"val_{name}": arrays()[f"val_{name}"][:0] for name in ("images", "labels", "source_ids")
    }
    (row,) = check.check_source(put(tmp_path / "d", **none))
    assert (row["train"], row["val"], row["test"]) == (20, 0, 6)
    assert row["classes"] == "moderate_npdr 10/0/3, no_dr 10/0/3"


def test_check_tells_the_stored_sizes_and_marks_in_colour(tmp_path):
    """Two grey images with calipers in yellow are counted, one with white ones and pictures in colour are not."""
    grey = np.random.default_rng(0).integers(0, 200, (4, 50, 40, 1), np.uint8).repeat(3, 3)
    grey[:2, 10, 5:25] = 255, 255, 0
    grey[2, 10, 5:25] = 255
    lines = [
        {"file_name": f"{n}.png", "text": "a", "split": "train", "modality": "us"} for n in range(4)
    ]
    lines += [
        {"file_name": f"{n}.png", "text": "a", "split": "train", "modality": "skin"}
        for n in range(4, 6)
    ]
    source = write_folder(tmp_path, lines)
    for n, image in enumerate(grey):
        Image.fromarray(image).save(tmp_path / f"{n}.png")
    Image.new("RGB", (64, 48), (200, 90, 20)).save(tmp_path / "4.png")
    found = {row["modality"]: (row["sizes"], row["marked"]) for row in check.check_source(source)}
    assert found == {"us": ("40 x 50", 2), "skin": ("30 x 20 to 64 x 48", 0)}


def write_folder(place, lines, name="metadata.csv"):
    place.mkdir(exist_ok=True)
    for line in lines:
        path = place / str(line.get("file_name", ""))
        if path.suffix == ".png" and ".." not in str(line["file_name"]) and not path.exists():
            Image.new("RGB", (30, 20), (len(path.name), 9, 9)).save(path)
    with (place / name).open("w", newline="") as file:
        if name.endswith("csv"):
            table = csv.DictWriter(
                file, fieldnames=list(dict.fromkeys(key for line in lines for key in line))
            )
            table.writeheader()
            table.writerows(lines)
        else:
            file.write("\n".join(map(json.dumps, lines)))
    return f"folder:{place}"


def test_a_drafted_card_counts_what_can_be_counted_and_leaves_the_rest_open(tmp_path):
    from huggingface_hub import DatasetCard

    source = put(tmp_path / "d")
    before = cards.draft(source)
    found = DatasetCard(before)
    assert found.data.size_categories == ["n<1K"] and found.data.pretty_name == "d"
    assert "30 images" in before and "**Images**: 20/4/6 (train/val/test)" in before
    assert "moderate_npdr 10/2/3" in before and "**Licence**: **to be filled in**" in before
    panel = "file,dataset,licence,licence_basis,citation,notes\nfundus.npz,Made,CC0,here,Me 2026,small\n"
    (tmp_path / "d" / "panel.csv").write_text(panel)
    after = cards.draft(source)
    assert (
        "**Licence**: CC0 (here)" in after
        and "Made: Me 2026" in after
        and "**Known weaknesses**: small" in after
    )
    with pytest.raises(InputError, match=r"read data_cards/phantom\.md"):
        cards.draft("phantom")


def lines(many=6, **more):
    return [{"file_name": f"{n}.png", "text": f"picture {n}"} | more for n in range(many)]


@pytest.mark.parametrize("name", ["metadata.csv", "metadata.jsonl"])
def test_folder_keeps_its_own_text_and_columns(tmp_path, name):
    more = {
        "modality": "fundus",
        "finding": "no_dr",
        "split": "train",
        "side": "left",
        "count": 3,
        "grade": 0,
    }
    source = write_folder(
        tmp_path / "d", [line | {"patient_id": "p"} for line in lines(**more)], name
    )
    sources.preflight(source)
    row = sources.load(source, "train", size=16)[5]
    assert (row["caption"], row["modality"], row["side"], row["count"], row["grade"]) == (
        ("picture 5", "fundus", "left", 3, 0)
    )
    assert (row["image_id"], row["patient_id"], row["identity_known"]) == ("5.png", "p", True)
    assert row["image"].size == (16, 16)


def test_folder_deals_patients_where_it_has_no_split(tmp_path):
    source = write_folder(tmp_path / "d", lines(60))
    counts = [len(sources.load(source, split, size=16)) for split in SPLITS]
    assert sum(counts) == 60 and counts[0] > counts[2] > counts[1] > 0
    assert not any(sources.load(source, "train", size=16)["identity_known"])


def test_fingerprint_of_a_folder_follows_its_images(tmp_path):
    source = write_folder(tmp_path / "d", lines(split="train"))
    before = sources.fingerprint(source)
    Image.new("RGB", (30, 20), "red").save(tmp_path / "d" / "2.png")
    assert sources.fingerprint(source) != before


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ({"text": ""}, "text is empty"),
        ({"text": "a\x07b"}, "text holds control characters"),
        ({"text": " =HYPERLINK(0)"}, "text begins as a spreadsheet's formula does"),
        ({"patient_id": "@SUM(1)"}, "patient_id begins as a spreadsheet's formula does"),
        ({"file_name": "gone.jpg"}, "no image file 'gone.jpg'"),
        ({"file_name": "../x.png"}, "leads out of the folder"),
        ({"file_name": "/etc/hostname"}, "leads out of the folder"),
        ({"file_name": "link.jpg"}, "leads out of the folder"),
        ({"file_name": "1.png"}, "'1.png' is listed twice"),
        ({"file_name": "bad.jpg"}, "bad.jpg is no image"),
        ({"file_name": "cut.jpg.png"}, "cut.jpg.png is damaged"),
        ({"file_name": "deep.tif"}, "more than 8 bits"),
        ({"split": "fold3"}, "split 'fold3' is unknown"),
        ({"count": "many"}, "count is 'many'"),
    ],
)
def test_bad_folder_is_refused_in_one_line(tmp_path, line, words):
    place = tmp_path / "d"
    place.mkdir()
    Image.new("L", (4, 4)).save(tmp_path / "outside.jpg")
    (place / "link.jpg").symlink_to(tmp_path / "outside.jpg")
    (place / "bad.jpg").write_text("no image")
    Image.fromarray(np.zeros((9, 9), np.uint16)).save(place / "deep.tif")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)).save(
        place / "cut.jpg.png"
    )
    content = bytearray((place / "cut.jpg.png").read_bytes())
    content[900] ^= 0xFF
    (place / "cut.jpg.png").write_bytes(bytes(content))
    source = write_folder(place, [*lines(split="train"), lines(7, split="train")[6] | line])
    with pytest.raises(InputError, match=words) as caught:
        sources.preflight(source)
    assert "\n" not in str(caught.value)


def test_folder_without_metadata_column_or_in_pieces_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        sources.preflight(f"folder:{tmp_path / 'none'}")
    with pytest.raises(InputError, match="no metadata file"):
        sources.preflight(f"folder:{tmp_path}")
    with pytest.raises(InputError, match="no column text"):
        sources.preflight(write_folder(tmp_path, [{"file_name": "0.png"}]))
    (tmp_path / "metadata.csv").rename(tmp_path / "metadata.jsonl")
    with pytest.raises(InputError, match="cannot be read"):
        sources.preflight(f"folder:{tmp_path}")


@pytest.mark.parametrize(
    "limit", [100, 400]
)  # Pillow's own errors over twice its limit, and its warnings below
def test_a_giant_image_is_refused_by_its_header(tmp_path, monkeypatch, limit):
    source = write_folder(tmp_path / "d", lines(split="train"))
    monkeypatch.setattr("PIL.Image.MAX_IMAGE_PIXELS", limit)
    with pytest.raises(
        InputError, match=r"0\.png is no image .*600 pixels\) exceeds limit of .*smaller"
    ):
        sources.preflight(source)


def test_medmnist_reads_the_official_file_from_its_cache(tmp_path, monkeypatch):
    import medmnist

    root = tmp_path / "store" / "medmnist"
    root.mkdir(parents=True)
    made = {name: value for name, value in arrays().items() if "labels" in name or "images" in name}
    np.savez(root / "retinamnist_64.npz", **made | {"train_labels": np.arange(20)[:, None] % 5})
    digest = hashlib.md5(
        (root / "retinamnist_64.npz").read_bytes(), usedforsecurity=False
    ).hexdigest()
    monkeypatch.setitem(medmnist.INFO["retinamnist"], "MD5_64", digest)
    sources.preflight("medmnist:retinamnist@64")
    train = sources.load("medmnist:retinamnist@64", "train", size=20)
    assert (
        train["modality"][0] == "fundus"
        and train["finding"][2] == "moderate_npdr"
        and train["grade"][4] == 4
    )
    assert not any(train["identity_known"])
    assert np.array_equal(load_pixels(train), made["train_images"][:, :, 2:22])


def test_medmnist_download_that_fails_says_so(monkeypatch):
    import medmnist

    monkeypatch.setattr(medmnist.dataset.MedMNIST, "download", _fail)
    with pytest.raises(
        InputError, match="breastmnist could not be downloaded: check the network"
    ) as caught:
        sources.load("medmnist:breastmnist", "train")
    assert "\n" not in str(caught.value)


def _fail(*_):
    raise RuntimeError("no\nnetwork")


@pytest.mark.parametrize(
    ("rest", "words"),
    [
        ("chestmnist", "chestmnist has several labels"),
        ("catmnist", "no set 'catmnist'"),
        ("octmnist@30", "no size '30'"),
        ("octmnist,octmnist", "twice"),
    ],
)
def test_bad_medmnist_names_are_refused(rest, words):
    with pytest.raises(InputError, match=words):
        sources.preflight(f"medmnist:{rest}")


@pytest.fixture
def hub_dataset(monkeypatch):
    """A function that puts a made dataset in the hub's place."""
    import datasets

    def place(columns, image=True):
        pictures = [Image.new("RGB", (30, 20), (40 * n, 0, 0)) for n in range(6)]
        table = datasets.Dataset.from_dict(columns | ({"image": pictures} if image else {}))
        if image:
            table = table.cast_column("image", datasets.Image())
        monkeypatch.setattr(
            datasets, "load_dataset", lambda name: {"train": table, "validation": table}
        )
        tables._hub_tables.cache_clear()

    yield place
    tables._hub_tables.cache_clear()


def test_hub_keeps_captions_splits_and_pixels(hub_dataset):
    hub_dataset({"caption": [f"c{n}" for n in range(6)], "modality": ["ct"] * 6})
    val = sources.load("hub:someone/scans", "val", size=20)
    assert val["caption"] == [f"c{n}" for n in range(6)] and val["modality"][0] == "ct"
    assert load_pixels(val, [3])[0, 0, 0].tolist() == [120, 0, 0]
    before = sources.fingerprint("hub:someone/scans")
    hub_dataset({"caption": ["other"] * 6})
    assert sources.fingerprint("hub:someone/scans") != before


def test_bad_hub_datasets_are_refused(hub_dataset, monkeypatch):
    import datasets

    with pytest.raises(InputError, match="hub:OWNER/NAME"):
        sources.preflight("hub:scans")
    hub_dataset({"text": ["a"] * 6}, image=False)
    with pytest.raises(InputError, match="no column image"):
        sources.load("hub:someone/scans", "train")
    hub_dataset({"label": [1] * 6})
    with pytest.raises(InputError, match="no column text or caption"):
        sources.load("hub:someone/scans", "train")
    hub_dataset({"text": ["a"] * 5 + [""]})
    with pytest.raises(InputError, match="row 5: text is empty"):
        sources.load("hub:someone/scans", "train")
    tables._hub_tables.cache_clear()
    monkeypatch.setattr(datasets, "load_dataset", _fail)
    with pytest.raises(InputError, match=r"could not be loaded \(RuntimeError\)"):
        sources.load("hub:someone/scans", "train")


@pytest.mark.skipif(
    not REAL_PANEL.is_dir(), reason="no real images here: set MEDISYN_REAL_PANEL to their folder"
)
def test_the_real_panel_is_read_and_its_small_modality_is_not_testable():
    source = f"npz:{REAL_PANEL}"
    sources.preflight(source)
    reasons = check.testable(source)
    assert "6 test patients" in reasons["retinal_oct"] and reasons["fundus"] == ""
    test = sources.load(source, "test", modalities=["retinal_oct", "fundus"])
    assert test["modality"].count("retinal_oct") == 11
    known = dict(zip(test["modality"], test["identity_known"], strict=True))
    assert known == {"retinal_oct": False, "fundus": True}  # as panel.csv beside the files says
