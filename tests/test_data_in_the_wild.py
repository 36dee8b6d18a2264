"""Images and tables as people have them: each is read right, or refused with one line that names file and mend."""

from __future__ import annotations

import io
import json
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from PIL import Image

from medisyn_lib.cli import main
from medisyn_lib.data import check, source_options, sources, tables
from medisyn_lib.data.pixels import centre_square, centre_squares, is_blank, load_pixels
from medisyn_lib.data.splits import role_of, split_named
from medisyn_lib.data.values import as_text, as_whole_number, is_missing
from medisyn_lib.errors import InputError
from medisyn_lib.phantoms import draw


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDISYN_STORE", str(tmp_path / "store"))


def folder(place: Path, records: list[dict[str, Any]], images: dict[str, Any] | None = None) -> str:
    """A source `folder:` of these records in JSON lines; an image that is not given is plain."""
    place.mkdir()
    for number, record in enumerate(records):
        image = (images or {}).get(record["file_name"]) or Image.new(
            "RGB", (20, 20), (number, 9, 9)
        )
        if isinstance(image, bytes):
            (place / record["file_name"]).write_bytes(image)
        else:
            image.save(place / record["file_name"])
    (place / "metadata.jsonl").write_text("\n".join(map(json.dumps, records)))
    return f"folder:{place}"


def records(many: int = 4, **more: Any) -> list[dict[str, Any]]:
    """So many records, all of train."""
    return [
        {"file_name": f"{number}.png", "text": "a", "split": "train"} | more
        for number in range(many)
    ]


def refusal(source: str) -> str:
    """The one line with which a source is refused."""
    with pytest.raises(InputError) as caught:
        sources.preflight(source)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Values of metadata


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (float("nan"), ""),
        ("", ""),
        ("  ", ""),
        ("NaN", ""),
        (0, "0"),
        (0.0, "0"),
        ("0", "0"),
        (1.0, "1"),
        (1, "1"),
        ("1.0", "1"),
        (1.5, "1.5"),
        ("p1 ", "p1"),
        ("007", "007"),
        ("v1.0.0", "v1.0.0"),
    ],
)
def test_a_value_of_metadata_is_what_people_mean(value: Any, text: str) -> None:
    assert as_text(value) == text and is_missing(value) == (text == "")


def test_a_count_is_a_whole_number_however_it_is_written() -> None:
    assert [as_whole_number(value, "grade") for value in (None, "", 0, 3.0, "3.0", " 2 ")] == [
        -1,
        -1,
        0,
        3,
        3,
        2,
    ]
    with pytest.raises(InputError, match=r"grade is 2\.5: write a whole number"):
        as_whole_number(2.5, "grade")


def test_zero_is_a_patient_and_a_class_and_nan_is_neither(tmp_path: Path) -> None:
    stated = [0, float("nan"), float("nan"), 1.0, 1, "p1 ", "p1"]
    table = records(len(stated), finding=0)
    for record, patient in zip(table, stated, strict=True):
        record["patient_id"] = patient
    table[-1]["finding"] = float("nan")
    source = folder(tmp_path / "d", [*table, table[-1] | {"file_name": "7.png"}])
    found = sources.rows(source)
    patients = [row["patient_id"] for row in found]
    assert patients == ["0", "1.png", "2.png", "1", "1", "p1", "p1", "p1"]
    assert [row["identity_known"] for row in found] == [True, False, False, *[True] * 5]
    assert [row["finding"] for row in found] == ["0"] * 6 + ["unlabelled"] * 2


def test_a_missing_id_in_an_npz_file_is_no_patient_of_many_images(tmp_path: Path) -> None:
    arrays: dict[str, Any] = {}
    for split, ids in {"train": [1.0, np.nan, np.nan], "val": [2.0], "test": [3.0]}.items():
        arrays[f"{split}_images"] = np.zeros((len(ids), 20, 20), np.uint8)
        arrays[f"{split}_labels"] = np.zeros(len(ids), int)
        arrays[f"{split}_source_ids"] = np.array(ids)
    np.savez(tmp_path / "ct.npz", **arrays)
    train = [row for row in sources.rows(f"npz:{tmp_path}") if row["split"] == "train"]
    assert [row["patient_id"] for row in train] == ["ct/1", "ct/train/1", "ct/train/2"]
    assert [row["identity_known"] for row in train] == [True, False, False]


# Splits


@pytest.mark.parametrize(
    ("split", "names"),
    [
        ("train", ("train", "Train", "TRAINING")),
        ("val", ("val", "valid", "Validation", "dev")),
        ("test", ("test", "Testing")),
    ],
)
def test_known_names_of_splits_are_taken_whatever_their_case(split: str, names: Any) -> None:
    assert [split_named(name, "x") for name in names] == [split] * len(names)


def test_another_split_is_refused_by_name_unless_it_is_mapped(tmp_path: Path) -> None:
    table = [*records(4), records(5)[4] | {"split": "holdout"}]
    source = folder(tmp_path / "d", table)
    assert "record 5: split 'holdout' is unknown" in refusal(source)
    assert "--split-map holdout=test" in refusal(source)
    mapped = source_options.with_options(source, split_map={"holdout": "test"}, words=3)
    assert mapped == f"{source}?map=holdout:test&words=3"
    assert [row["split"] for row in sources.rows(mapped)] == ["train"] * 4 + ["test"]
    assert sources.fingerprint(mapped) != sources.fingerprint(
        source_options.with_options(source, split_map={"holdout": "val"})
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("map=holdout", "say of a name whether it is train, val, test"),
        ("map=holdout:best", "say of a name"),
        ("words=0", "give a number from 1 to 1000"),
        ("words=many", "give a number"),
        ("words=3&colour=red", "option 'colour=red' is not read"),
        ("words=3&words=4", "option 'words=4' is not read"),
    ],
)
def test_bad_options_of_a_source_are_refused(tmp_path: Path, options: str, words: str) -> None:
    assert words in refusal(f"{folder(tmp_path / 'd', records())}?{options}")


def test_captions_are_cut_to_as_many_words_as_one_asks_for(tmp_path: Path) -> None:
    source = folder(tmp_path / "d", records(text="one two  three four"))
    assert {row["text"] for row in sources.rows(f"{source}?words=3")} == {"one two three"}


def hub(monkeypatch: pytest.MonkeyPatch, **splits: int) -> str:
    """A dataset of the hub with so many images in each of its splits, each of another grey."""
    made, grey = {}, 0
    for name, many in splits.items():
        pictures = [Image.new("RGB", (20, 20), (grey + n,) * 3) for n in range(many)]
        grey += many
        table = datasets.Dataset.from_dict({"text": ["a"] * many, "image": pictures})
        made[name] = table.cast_column("image", datasets.Image())
    monkeypatch.setattr(datasets, "load_dataset", lambda *_: made)
    tables._hub_tables.cache_clear()
    return "hub:someone/scans"


def test_official_test_images_of_the_hub_stay_out_of_training(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = hub(monkeypatch, Train=6, valid=3, Testing=4)
    splits = {row["image_id"].split("/")[0]: row["split"] for row in sources.rows(source)}
    assert splits == {"Train": "train", "valid": "val", "Testing": "test"}
    test = sources.load(source, "test", size=20)
    assert load_pixels(test)[:, 0, 0, 0].tolist() == [9, 10, 11, 12]
    source = hub(monkeypatch, train=6, unlabeled=3)
    with pytest.raises(InputError, match=r"split 'unlabeled' is unknown: .*--split-map unlabeled="):
        sources.rows(source)
    mapped = f"{source}?map=unlabeled:test"
    assert [row["split"] for row in sources.rows(mapped)] == ["train"] * 6 + ["test"] * 3
    dealt = sources.rows(hub(monkeypatch, training=60))
    assert {row["split"] for row in dealt} == {"train", "val", "test"}


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            ValueError(
                "Config name is missing.\nPlease pick one among the available configs: ['ct', 'mr']"
            ),
            r"it has the configurations 'ct', 'mr': choose one, as in hub:a/b\?config=NAME",
        ),
        (
            ValueError("BuilderConfig 'x' not found. Available: ['ct', 'mr']"),
            "it has the configurations 'ct', 'mr'",
        ),
        (
            RuntimeError("Dataset scripts are no longer supported, but found b.py"),
            "read by a script of its own, and no code is run here: save its images as a folder",
        ),
        (ConnectionError("Dataset 'a/b' is a gated dataset on the Hub."), "ask for access"),
        (ConnectionError("no route"), "check the name and the network"),
    ],
)
def test_a_set_of_the_hub_that_does_not_load_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(datasets, "load_dataset", fail)
    tables._hub_tables.cache_clear()
    with pytest.raises(InputError, match=words) as caught:
        sources.load("hub:a/b", "train")
    assert "\n" not in str(caught.value)


def test_a_configuration_of_the_hub_is_the_one_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    hub(monkeypatch, train=6, test=3)
    load, asked = datasets.load_dataset, []
    monkeypatch.setattr(datasets, "load_dataset", lambda *wanted: asked.append(wanted) or load())
    assert len(sources.rows("hub:someone/scans?config=mr")) == 9
    assert asked == [("someone/scans", "mr")]


# Tables


def test_a_comma_without_quotes_is_refused_with_its_line(tmp_path: Path) -> None:
    folder(tmp_path / "d", records())
    (tmp_path / "d" / "metadata.jsonl").unlink()
    table = tmp_path / "d" / "metadata.csv"
    table.write_text('file_name,text,split\n0.png,"a, b",train\n1.png,a, b,train\n')
    assert "metadata.csv, line 3 has 4 values for 3 columns: put" in refusal(
        f"folder:{table.parent}"
    )
    table.write_text("file_name,text,split\n0.png,a\n")
    assert "line 2 has 2 values for 3 columns" in refusal(f"folder:{table.parent}")
    table.write_text("file_name,text,text\n0.png,a,b\n")
    assert "line 1: a column is named twice" in refusal(f"folder:{table.parent}")
    table.write_text('file_name, text,split\n0.png,"a, b",train\n\n1.png,"c\nd",train\n')
    assert "text holds control characters" in refusal(f"folder:{table.parent}")
    table.write_text('file_name, text,split\n0.png,"a, b",train\n\n1.png,c,train\n')
    assert [row["text"] for row in sources.rows(f"folder:{table.parent}")] == ["a, b", "c"]


@pytest.mark.parametrize("header", ["file_name;text", "file_name\ttext", "File_Name,Text", "a"])
def test_other_separators_and_names_of_columns_are_shown(tmp_path: Path, header: str) -> None:
    source = folder(tmp_path / "d", records())
    (tmp_path / "d" / "metadata.jsonl").unlink()
    (tmp_path / "d" / "metadata.csv").write_text(f"{header}\n0.png{header[9:10]}a\n" * 2)
    told = refusal(source)
    assert repr(header.split(",")[0]) in told and "in CSV with commas between them" in told


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("finding", ["mass", "nodule"]),
        ("finding", {"mass": 1}),
        ("text", ["a", "b"]),
        ("patient_id", True),
        ("sex", []),
        ("split", {"train": 1}),
    ],
)
def test_a_value_that_is_not_one_value_is_refused(
    tmp_path: Path, column: str, value: object
) -> None:
    """A list of findings was a class of its own, `['mass', 'nodule']`; `true` was one patient of all images."""
    source = folder(tmp_path / "d", records(**{column: value}))
    told = refusal(source)
    assert f"record 1: {column} is {value!r}: write one word or one number" in told


@pytest.mark.parametrize("count", [10**30, 2**31, -2, "1e400", "two"])
def test_a_count_that_cannot_be_kept_is_refused_at_once(tmp_path: Path, count: object) -> None:
    told = refusal(folder(tmp_path / "d", records(count=count)))
    assert f"record 1: count is {count!r}: write a whole number or leave it empty" in told


def test_a_split_of_control_characters_is_not_printed(tmp_path: Path) -> None:
    told = refusal(folder(tmp_path / "d", records(split="hold\x1b[2Jout")))
    assert told.isprintable() and "--split-map NAME=test" in told


def test_a_name_is_found_as_another_system_spells_it(tmp_path: Path) -> None:
    """Blanks at its end, and accents as macOS writes them."""
    table = records()
    images = {record["file_name"]: Image.new("RGB", (20, 20), (9, 9, 9)) for record in table}
    source = folder(tmp_path / "d", table, images)
    (tmp_path / "d" / "0.png").rename(tmp_path / "d" / "a\u0308.png")
    table[0]["file_name"], table[1]["file_name"] = "\xe4.png", "1.png "
    (tmp_path / "d" / "metadata.jsonl").write_text("\n".join(map(json.dumps, table)))
    assert [row["image_id"] for row in sources.rows(source)][:2] == ["\xe4.png", "1.png "]
    assert len(sources.load(source, "train", size=20)) == 4


def test_a_name_that_no_disk_can_hold_is_refused(tmp_path: Path) -> None:
    source = folder(tmp_path / "d", records())
    table = [*records(), records()[0] | {"file_name": "n" * 5000}]
    (tmp_path / "d" / "metadata.jsonl").write_text("\n".join(map(json.dumps, table)))
    assert "record 5: there is no image file 'nnn" in refusal(source)


def test_a_table_that_never_ends_is_not_waited_for(tmp_path: Path) -> None:
    source = folder(tmp_path / "d", records())
    (tmp_path / "d" / "metadata.jsonl").unlink()
    os.mkfifo(tmp_path / "d" / "metadata.csv")
    assert "no metadata files there" in refusal(source)


# Pixels


@pytest.mark.parametrize("ending", ["gif", "tif", "webp", "png"])
def test_an_image_of_several_frames_is_refused_by_name(tmp_path: Path, ending: str) -> None:
    """A stack of slices in one TIFF was its first slice, without a word."""
    table = records()
    table[2]["file_name"] = f"2.{ending}"
    first, *others = (Image.new("RGB", (20, 20), (90 * n, 0, 0)) for n in range(3))
    stack = io.BytesIO()
    kind = {"tif": "TIFF"}.get(ending, ending.upper())
    first.save(stack, kind, save_all=True, append_images=others)
    source = folder(tmp_path / "d", table, {f"2.{ending}": stack.getvalue()})
    assert f"2.{ending} holds 3 frames: save those that you mean" in refusal(source)


def png_of_16_bits(pixels: np.ndarray) -> bytes:
    """A PNG of 16 bits per channel, of (h, w, c) with 2 (grey and alpha), 3 or 4 channels."""
    colour = {2: 4, 3: 2, 4: 6}[pixels.shape[2]]
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in pixels)
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 16, colour, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n"
    for name, data in ((b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b"")):
        checksum = zlib.crc32(name + data)
        content += struct.pack(">I", len(data)) + name + data + struct.pack(">I", checksum)
    return content


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_16_bits_per_channel_are_refused_whatever_the_channels(
    tmp_path: Path, channels: int
) -> None:
    deep = png_of_16_bits(np.full((20, 20, channels), 0x1234))
    source = folder(tmp_path / "d", records(), {"2.png": deep})
    assert "2.png has more than 8 bits per channel" in refusal(source)


def test_16_bits_of_other_formats_are_refused(tmp_path: Path) -> None:
    table = records()
    table[1]["file_name"] = "1.ppm"
    source = folder(tmp_path / "d", table, {"1.ppm": b"P6 20 20 65535\n" + b"\1\2" * 1200})
    assert "1.ppm has more than 8 bits per channel" in refusal(source)


def test_what_is_transparent_shows_black_whatever_lies_under_it(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (20, 20, 4), np.uint8)
    noise[..., 3] = 0
    noise[5:15, 5:15] = 200, 100, 50, 255
    grey = np.dstack([noise[..., 0], noise[..., 3]])
    palette = Image.fromarray(noise[..., :3]).quantize(8)
    palette.info["transparency"] = palette.getpixel((0, 0))
    images = {"0.png": Image.fromarray(noise), "1.png": Image.fromarray(grey), "2.png": palette}
    source = folder(tmp_path / "d", records(), images)
    pixels = load_pixels(sources.load(source, "train", size=20))
    assert (pixels[0, :5] == 0).all() and (pixels[0, 5:15, 5:15] == (200, 100, 50)).all()
    assert (pixels[1, :5] == 0).all() and (pixels[1, 5:15, 5:15] == 200).all()
    assert (pixels[2, 0, 0] == 0).all()


def test_an_opaque_image_keeps_every_byte() -> None:
    pixels, _ = draw("dermoscopy", seed=0, index=0, size=64)
    opaque = np.dstack([pixels, np.full((64, 64), 255, np.uint8)])
    for image in (pixels, Image.fromarray(pixels), Image.fromarray(opaque)):
        assert (np.asarray(centre_square(image, 64)) == pixels).all()
    assert (centre_squares(pixels[None], 64)[0] == pixels).all()


def test_damaged_exif_is_refused_by_the_files_name(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (20, 20)).save(buffer, "PNG", exif=b"Exif\0\0no TIFF header here")
    source = folder(tmp_path / "d", records(), {"3.png": buffer.getvalue()})
    assert "3.png has damaged EXIF" in refusal(source) and "save it again" in refusal(source)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_turned_as_its_exif_says(tmp_path: Path, orientation: int) -> None:
    from PIL import ImageOps

    image, exif = Image.fromarray(draw("fundus", seed=0, index=1, size=32)[0]), Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    image.save(buffer, "PNG", exif=exif)
    source = folder(tmp_path / "d", records(), {"0.png": buffer.getvalue()})
    upright = ImageOps.exif_transpose(Image.open(buffer))
    loaded = load_pixels(sources.load(source, "train", size=32), [0])
    assert (loaded[0] == np.asarray(upright)).all()


def test_an_image_of_one_colour_is_blank() -> None:
    pixels = np.zeros((5, 8, 8, 3), np.uint8)
    pixels[1] = 255, 0, 10
    pixels[2, 0, 0] = 2
    pixels[3, 0, 0] = 3
    pixels[4] = np.arange(8)[:, None, None]
    assert is_blank(pixels).tolist() == [True, True, True, False, False]
    assert is_blank(pixels[:0]).shape == (0,)


# Size


def disc(height: int, width: int, radius: int) -> np.ndarray:
    """A white disc in the middle of a black image, uint8 (h, w, 3)."""
    y, x = np.mgrid[:height, :width]
    inside = np.hypot(y - height / 2 + 0.5, x - width / 2 + 0.5) < radius
    return np.repeat(inside[..., None], 3, axis=2).astype(np.uint8) * 255


def test_every_way_to_a_size_is_the_same(tmp_path: Path) -> None:
    """Of a generator's array, of a folder and of an npz file; 128 pixels audited at 64."""
    large = np.stack([draw("endoscopy", seed=0, index=n, size=128)[0] for n in range(4)])
    images = {f"{n}.png": Image.fromarray(image) for n, image in enumerate(large)}
    from_folder = load_pixels(sources.load(folder(tmp_path / "d", records(), images), "train"))
    arrays = {f"{split}_images": large for split in ("train", "val", "test")}
    arrays |= {f"{split}_labels": np.zeros(4, int) for split in ("train", "val", "test")}
    np.savez(tmp_path / "endoscopy.npz", **arrays)
    from_npz = load_pixels(sources.load(f"npz:{tmp_path}", "train"))
    from_generator = centre_squares(large, 64)
    assert (from_folder == from_generator).all() and (from_npz == from_generator).all()


def test_an_oblong_image_is_cropped_not_squashed() -> None:
    """A disc in 96 x 64 stays a disc: it was 32 x 48."""
    (square,) = centre_squares(disc(64, 96, 24)[None], 64)
    rows, columns = np.nonzero(square[..., 0] > 127)
    assert np.ptp(rows) + 1 == np.ptp(columns) + 1 == 48


# Finished images


def test_finished_images_are_not_held_to_the_rules_of_a_training_set(tmp_path: Path) -> None:
    """No train image, a class in test alone, a patient in two splits, a split of another name."""
    table = records(3, split="synthetic", patient_id="p")
    table[1] |= {"split": "test", "finding": "ill"}
    source = folder(tmp_path / "d", table)
    assert "synthetic" in refusal(source)
    finished = sources.finished_rows(str(tmp_path / "d"))
    assert [row["image_id"] for row in finished] == ["0.png", "1.png", "2.png"]
    assert not any(row["identity_known"] for row in finished)
    sources.preflight_finished(str(tmp_path / "d"))
    assert len(sources.fingerprint(source)) == 64


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"file_name": "gone.png"}, "no image file 'gone.png'"),
        ({"file_name": "0.png"}, "'0.png' is listed twice"),
        ({"text": ""}, "text is empty"),
    ],
)
def test_bad_finished_images_are_refused(tmp_path: Path, change: Any, words: str) -> None:
    place = tmp_path / "d"
    folder(place, records())
    table = [*records(), records()[1] | change]
    (place / "metadata.jsonl").write_text("\n".join(map(json.dumps, table)))
    with pytest.raises(InputError, match=words):
        sources.preflight_finished(str(place))


# Copies


def numbered(many: int, **more: Any) -> list[dict[str, Any]]:
    return [{"file_name": f"{number}.png", "text": "a"} | more for number in range(many)]


def test_the_same_picture_with_generator_and_evaluators_is_counted_and_loud(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """38 pictures, each twice under two names; those whose two names fall to different roles are counted."""
    pictures = [Image.fromarray(draw("chest_xray", seed=0, index=n, size=64)[0]) for n in range(38)]
    images = {f"{number}.png": pictures[number % 38] for number in range(76)}
    source = folder(tmp_path / "d", numbered(76, split="train"), images)
    roles = [role_of("train", f"{number}.png") for number in range(76)]
    divided = sum(roles[number] != roles[number + 38] for number in range(38))
    (row,) = check.check_source(source)
    assert 0 < divided < 38
    assert (row["copies_across_roles"], row["copies_across_splits"]) == (divided, 0)
    assert main.main(["data", "check", source]) == 0
    told = capsys.readouterr()
    assert "copies_across_roles" in told.out and told.err.count("\n") == 1
    assert (
        f"warning: image: {divided} pairs of copies are divided between the generator's" in told.err
    )
    assert main.main(["data", "check", source, "--strict"]) == 1


def test_copies_across_splits_are_counted_even_as_jpeg(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = [Image.fromarray(draw("dermoscopy", seed=0, index=n, size=64)[0]) for n in range(20)]
    table = [record | {"split": "train"} for record in numbered(20)]
    images: dict[str, Any] = {f"{number}.png": image for number, image in enumerate(pictures)}
    for number in (0, 1, 2):
        buffer = io.BytesIO()
        pictures[number].save(buffer, "JPEG", quality=85)
        images[f"t{number}.jpg"] = buffer.getvalue()
        table.append({"file_name": f"t{number}.jpg", "text": "a", "split": "Testing"})
    source = folder(tmp_path / "d", table, images)
    (row,) = check.check_source(source)
    assert (row["copies_across_splits"], row["copies_across_roles"]) == (3, 0)
    assert row["formats"] == "PNG 20, JPEG 3"
    assert main.main(["data", "check", source, "--strict"]) == 1
    assert "3 pairs of copies lie in different splits, such as " in capsys.readouterr().err


def test_look_alikes_that_are_no_copies_are_no_warning(tmp_path: Path) -> None:
    images = {
        f"{n}.png": Image.fromarray(draw("breast_ultrasound", seed=0, index=n, size=64)[0])
        for n in range(60)
    }
    (row,) = check.check_source(folder(tmp_path / "d", numbered(60), images))
    assert (row["copies_across_splits"], row["copies_across_roles"]) == (0, 0)
    assert row["copy_example"] == "" and row["blank"] == row["transparent"] == 0


def test_transparent_and_blank_images_are_counted(tmp_path: Path) -> None:
    half = np.full((20, 20, 4), 90, np.uint8)
    half[:10, :, 3] = 0
    (row,) = check.check_source(
        folder(tmp_path / "d", records(5), {"1.png": Image.fromarray(half)})
    )
    assert (row["transparent"], row["blank"]) == (1, 4)
