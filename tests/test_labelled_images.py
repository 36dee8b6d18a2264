"""Sets of image and label, on the hub and in folders: captions from the modality's templates, as `npz:` makes them."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medisyn_lib.data import sources, tables
from medisyn_lib.data.findings import finding_key
from medisyn_lib.data.source_options import parse
from medisyn_lib.errors import InputError
from medisyn_lib.modalities import MODALITIES, TEMPLATES


@pytest.fixture(autouse=True)
def own_place(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDISYN_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("MEDISYN_ROOT", str(tmp_path))
    tables._hub_tables.cache_clear()
    yield tmp_path
    tables._hub_tables.cache_clear()


def captions_of(modality, finding):
    """Every caption that the templates can make of a finding without attributes."""
    row = MODALITIES[modality]
    (entry,) = [one for one in row.findings if one.key == finding]
    phrases = {entry.name, *(phrase for phrase in entry.phrases if "{" not in phrase)}
    return {
        template.format(name=name, finding=phrase)
        for template in TEMPLATES
        for name in row.names
        for phrase in phrases
    }


@pytest.fixture
def hub(monkeypatch):
    """A function that puts a made dataset of 12 images a split in the hub's place."""
    import datasets

    def place(splits=("train", "test"), **columns):
        features = datasets.Features({"image": datasets.Image()})
        values = {"image": [Image.new("RGB", (24, 20), (20 * n, 0, 0)) for n in range(12)]}
        for name, column in columns.items():
            if isinstance(column, datasets.ClassLabel):
                features[name] = column
                values[name] = [n % column.num_classes for n in range(12)]
            else:
                features[name] = datasets.Value("int64" if isinstance(column[0], int) else "string")
                values[name] = column
        table = datasets.Dataset.from_dict(values, features=features)
        monkeypatch.setattr(datasets, "load_dataset", lambda name: dict.fromkeys(splits, table))
        tables._hub_tables.cache_clear()

    return place


def label(*names):
    import datasets

    return datasets.ClassLabel(names=list(names))


def test_class_labels_of_the_hub_become_findings_and_captions(hub):
    hub(label=label("NORMAL", "PNEUMONIA"))
    source = "hub:someone/chest@chest_xray"
    train = sources.load(source, "train", size=16)
    assert train["finding"] == ["normal", "pneumonia"] * 6
    assert set(train["modality"]) == {"chest_xray"} and set(train["specialty"]) == {"radiology"}
    for finding in ("normal", "pneumonia"):
        made = {row["caption"] for row in train if row["finding"] == finding}
        assert made <= captions_of("chest_xray", finding)
    assert len(set(train["caption"])) > 3
    assert train["caption"] == sources.load(source, "train", size=16)["caption"]


def test_a_set_without_captions_and_without_modality_is_told_how_to_name_it(hub):
    hub(label=label("a", "b"))
    with pytest.raises(InputError, match="from label, name the modality: hub:someone/x@chest_xray"):
        sources.load("hub:someone/x", "train")
    hub(label=label("normal", "polyp"), modality=["endoscopy"] * 12)
    assert set(sources.load("hub:someone/x", "train", size=16)["modality"]) == {"endoscopy"}


def test_the_label_may_have_another_name_or_be_words(hub):
    hub(kind=label("naevus", "melanoma"))
    assert sources.rows("hub:a/b@dermoscopy")[1]["finding"] == "melanoma"
    hub(dx=["mel", "Benign Naevus"] * 6, image_id=["x"] * 12)
    assert [row["finding"] for row in sources.rows("hub:a/b@dermoscopy")[:2]] == ["mel", "naevus"]
    hub(kind=label("a", "b"), other=label("c", "d"))
    with pytest.raises(
        InputError, match=r"several labels \(kind, other\): call the one that counts"
    ):
        sources.rows("hub:a/b@ct")
    hub(number=[1] * 12)
    with pytest.raises(InputError, match="none that is a label: add one"):
        sources.rows("hub:a/b@ct")


def test_numbers_are_no_names_but_grades_of_a_fundus_are(hub):
    hub(label=[0, 1, 2, 3, 4, 0] * 2)
    keys = [finding.key for finding in MODALITIES["fundus"].findings]
    assert [row["finding"] for row in sources.rows("hub:a/b@fundus")[:5]] == keys
    with pytest.raises(InputError, match="label 0 is no name of a finding: put names"):
        sources.rows("hub:a/b@chest_xray")
    hub(label=["Mild", "No DR"] * 6)
    assert sources.rows("hub:a/b@fundus")[0]["finding"] == "mild_npdr"
    assert finding_key("fundus", "No_DR") == "no_dr" and finding_key("knee", "A-B c") == "a_b_c"


def test_a_class_label_of_minus_one_is_missing(hub, monkeypatch):
    """So datasets write a test split whose labels are withheld."""
    import datasets

    hub(label=label("normal", "polyp"), caption=["a view"] * 12)
    made = datasets.load_dataset("")
    withheld = made["test"].map(lambda _: {"label": -1})
    monkeypatch.setattr(
        datasets, "load_dataset", lambda *_: {"train": made["train"], "test": withheld}
    )
    tables._hub_tables.cache_clear()
    with_captions = sources.rows("hub:a/b@endoscopy?map=test:train")
    assert [row["finding"] for row in with_captions] == ["unlabelled"] * 24
    bare = {
        "train": made["train"].remove_columns("caption"),
        "test": withheld.remove_columns("caption"),
    }
    monkeypatch.setattr(datasets, "load_dataset", lambda *_: bare)
    tables._hub_tables.cache_clear()
    with pytest.raises(InputError, match="test, row 0: label is missing, and captions are made of"):
        sources.rows("hub:a/b@endoscopy")


def test_a_set_with_captions_keeps_them_and_takes_the_modality(hub):
    hub(caption=[f"c{n}" for n in range(12)], label=label("a", "b"))
    rows = sources.rows("hub:a/b@ct")
    assert rows[3]["text"] == "c3" and rows[3]["modality"] == "ct"
    assert sources.rows("hub:a/b")[3]["modality"] == "image"
    assert sources.fingerprint("hub:a/b") != sources.fingerprint("hub:a/b@ct")


def class_folders(home, *, splits=("",), classes=("Normal", "Polyp"), count=12):
    rng = np.random.default_rng(0)
    for split in splits:
        for number in range(count):
            folder = home / split / classes[number % len(classes)]
            folder.mkdir(parents=True, exist_ok=True)
            pixels = rng.integers(0, 256, (20, 24, 3), np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png")
    return f"folder:{home}@endoscopy"


def test_folders_of_classes_become_findings_and_captions(own_place):
    source = class_folders(own_place / "d", count=40)
    (own_place / "d" / "Normal" / "notes.txt").write_text("no image")
    (own_place / "d" / ".cache").mkdir()
    rows = sources.rows(source)
    assert len(rows) == 40 and {row["split"] for row in rows} == {"train", "val", "test"}
    assert {row["finding"] for row in rows} == {"normal", "polyp"}
    assert rows[0]["image_id"] == "Normal/0.png" and not rows[0]["identity_known"]
    train = sources.load(source, "train", size=16)
    made = {row["caption"] for row in train if row["finding"] == "polyp"}
    assert made <= captions_of("endoscopy", "polyp") and made


def test_folders_of_splits_keep_their_split(own_place):
    source = class_folders(own_place / "d", splits=("train", "validation", "test"))
    rows = sources.rows(source)
    assert len(rows) == 36 and {row["split"] for row in rows} == {"train", "val", "test"}
    assert all(row["image_id"].startswith(row["split"]) for row in rows)
    (own_place / "d" / "extra").mkdir()
    with pytest.raises(InputError, match="holds folders of splits and others"):
        sources.rows(source)


def test_the_fingerprint_of_class_folders_follows_names_and_bytes(own_place):
    source = class_folders(own_place / "d")
    first = sources.fingerprint(source)
    (own_place / "d" / "Polyp").rename(own_place / "d" / "Colitis")
    second = sources.fingerprint(source)
    Image.new("RGB", (9, 9)).save(own_place / "d" / "Normal" / "0.png")
    assert len({first, second, sources.fingerprint(source)}) == 3


def test_class_folders_are_no_way_out_of_the_folder(own_place):
    source = class_folders(own_place / "d")
    Image.new("RGB", (9, 9)).save(own_place / "x.png")
    (own_place / "d" / "Normal" / "link.png").symlink_to(own_place / "x.png")
    with pytest.raises(InputError, match=r"link\.png' leads out of the folder"):
        sources.preflight(source)
    with pytest.raises(InputError, match="name the modality"):
        sources.preflight(f"folder:{own_place / 'd'}")
    with pytest.raises(
        InputError, match=r"no metadata files there: .* or one folder of images for"
    ):
        sources.preflight(f"folder:{own_place / 'd' / 'Polyp'}")


def test_metadata_with_a_label_in_place_of_the_text(own_place):
    class_folders(own_place / "d")
    lines = [{"file_name": f"Normal/{2 * n}.png", "label": "polyp"} for n in range(6)]
    with (own_place / "d" / "metadata.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, ["file_name", "label"])
        table.writeheader()
        table.writerows(lines)
    rows = sources.rows(f"folder:{own_place / 'd'}@endoscopy")
    assert {row["finding"] for row in rows} == {"polyp"} and {row["text"] for row in rows} == {""}
    path = own_place / "d" / "metadata.csv"
    path.write_text(path.read_text().replace("0.png,polyp", "0.png,"))
    with pytest.raises(
        InputError, match=r"record 1: label is missing, and captions are made of it"
    ):
        sources.rows(f"folder:{own_place / 'd'}@endoscopy")


def test_a_folder_whose_own_name_ends_like_a_modality_stays_whole(own_place):
    source = class_folders(own_place / "scans@ct")
    assert parse(source).modality == "endoscopy"
    assert parse(f"folder:{own_place / 'scans@ct'}").modality == ""
    assert parse("npz:x@ct").modality == "" and parse("phantom").modality == ""
    assert len(sources.rows(source)) == 12 and Path(own_place / "scans@ct").is_dir()


def test_a_modality_and_options_go_together(own_place):
    source = class_folders(own_place / "d", splits=("Training", "holdout"))
    with pytest.raises(InputError, match="holds folders of splits and others"):
        sources.rows(source)
    mapped = f"{source}?map=holdout:test"
    assert parse(mapped) == (
        f"folder:{own_place / 'd'}",
        "endoscopy",
        {"holdout": "test"},
        None,
        "",
    )
    rows = sources.rows(mapped)
    assert {(row["image_id"].split("/")[0], row["split"]) for row in rows} == {
        ("Training", "train"),
        ("holdout", "test"),
    }
    assert {row["modality"] for row in rows} == {"endoscopy"}
    assert len(sources.load(mapped, "test", size=16)) == 12
    assert sources.fingerprint(mapped) != sources.fingerprint(f"{source}?map=holdout:val")


def test_a_modality_and_options_go_together_on_the_hub(hub):
    hub(splits=("train", "unseen"), label=label("normal", "polyp"))
    rows = sources.rows("hub:a/b@endoscopy?map=unseen:test")
    assert [row["split"] for row in rows] == ["train"] * 12 + ["test"] * 12
    test = sources.load("hub:a/b@endoscopy?map=unseen:test", "test", size=16)
    assert test["finding"] == ["normal", "polyp"] * 6
    with pytest.raises(InputError, match="name the modality: hub:a/b@chest_xray, say"):
        sources.rows("hub:a/b?map=unseen:test")


def test_in_a_table_with_captions_a_record_without_one_is_refused(own_place):
    class_folders(own_place / "d")
    lines = [{"file_name": f"Normal/{2 * n}.png", "text": "a", "finding": "x"} for n in range(6)]
    del lines[3]["text"]
    (own_place / "d" / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    with pytest.raises(InputError, match="record 4: text is empty"):
        sources.rows(f"folder:{own_place / 'd'}")


def test_finished_images_need_a_text_each(own_place):
    class_folders(own_place / "d")
    (own_place / "d" / "metadata.csv").write_text(
        "file_name,finding,modality\nNormal/0.png,polyp,endoscopy\n"
    )
    with pytest.raises(InputError, match="record 1 has no text: say what"):
        sources.finished_rows(str(own_place / "d"))
