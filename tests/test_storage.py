"""How images are stored: differences between real and synthetic ones are named, and can be taken away."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from medisyn_lib.cli import main
from medisyn_lib.data import sources, storage
from medisyn_lib.data.pixels import centre_square, centre_squares
from medisyn_lib.data.storage import Storage, differences, examine, sharpness
from medisyn_lib.evaluation.fidelity.kernel import kernel_distance
from medisyn_lib.models.encoders import features
from medisyn_lib.phantoms import draw
from medisyn_lib.sampling.native_size import native_side


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDISYN_STORE", str(tmp_path / "store"))


def pictures(
    first: int, many: int = 30, size: int = 64, modality: str = "chest_xray"
) -> list[Image.Image]:
    """Phantoms of one modality, counted from `first`."""
    return [
        Image.fromarray(draw(modality, seed=0, index=first + n, size=size)[0]) for n in range(many)
    ]


def kid(first: Iterable[Any], second: Iterable[Any]) -> float:
    """The kernel distance of two groups of images by EfficientNet-Lite0."""
    one, other = (features(np.stack([*map(np.asarray, group)])).values for group in (first, second))
    return kernel_distance(real=one, synthetic=other)


def test_kid_of_a_file_format_is_large_until_both_are_brought_to_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Disjoint halves of one modality: 0.03; 0.24 where one half is JPEG of quality 75; 0.03 once both are."""
    halves = [pictures(first, 25, modality="histopathology") for first in (0, 25)]
    real = folder(tmp_path / "real", halves[0], "jpg", quality=75)
    made = folder(tmp_path / "made", halves[1])
    out = tmp_path / "one"
    assert main.main(["data", "unify", f"folder:{real}", made, "--out", str(out)]) == 0

    def stored(place: str | Path) -> Iterable[Image.Image]:
        return sources.finished_images(str(place), sources.finished_rows(str(place)))

    plain = kid(*halves)
    apart = kid(stored(real), stored(made))
    together = kid(stored(out / "real"), stored(out / "synthetic"))
    assert apart > plain + 0.1 and abs(together - plain) < 0.02, (plain, apart, together)


def test_kid_adds_nothing_for_a_filter_as_there_is_one_alone() -> None:
    """Of 256 pixels with grain, brought to 64: torch's bilinear filter, which skips pixels, keeps more of the grain."""
    smooth = np.stack([np.asarray(image) for image in pictures(0, 50, 256, "histopathology")])
    grain = np.random.default_rng(0).normal(0, 25, (*smooth.shape[:3], 1))
    large = np.clip(smooth + grain, 0, 255).astype(np.uint8)
    tensor = torch.from_numpy(large.copy()).permute(0, 3, 1, 2).float()
    bilinear = torch.nn.functional.interpolate(tensor, size=64, mode="bilinear")
    skipped = bilinear.permute(0, 2, 3, 1).round().byte().numpy()
    sampled = centre_squares(large, 64)
    read = np.stack([np.asarray(centre_square(Image.fromarray(image), 64)) for image in large])
    plain = kid(read[:25], read[25:])
    assert kid(read[:25], sampled[25:]) == plain
    assert kid(read[:25], skipped[25:]) > plain + 0.05, (plain, kid(read[:25], skipped[25:]))


def folder(place: Path, images: list[Image.Image], ending: str = "png", **how: int) -> str:
    """A folder of images in one format, all of train."""
    place.mkdir()
    with (place / "metadata.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file_name", "text", "split", "modality", "patient_id"])
        for number, image in enumerate(images):
            image.save(place / f"{number}.{ending}", **how)
            table.writerow(
                [f"{number}.{ending}", "chest X-ray", "train", "chest_xray", number // 2]
            )
    return str(place)


def named(real: str, synthetic: str) -> list[str]:
    """Where two folders differ, by the first words."""
    found = differences(
        real=storage.of_source(f"folder:{real}"), synthetic=storage.of_finished(synthetic)
    )
    return [line.partition(":")[0] for line in found]


def test_nothing_is_named_of_groups_that_are_stored_alike(tmp_path: Path) -> None:
    real, synthetic = folder(tmp_path / "a", pictures(0)), folder(tmp_path / "b", pictures(100))
    assert named(real, synthetic) == []


def test_jpeg_against_png_is_named(tmp_path: Path) -> None:
    real = folder(tmp_path / "a", pictures(0), "jpg", quality=75)
    synthetic = folder(tmp_path / "b", pictures(100))
    assert "file format" in named(real, synthetic)
    assert "file format" in named(synthetic, real)
    lines = differences(
        real=storage.of_source(f"folder:{real}"), synthetic=storage.of_finished(synthetic)
    )
    assert "file format: real images are JPEG (30), synthetic ones PNG (30)" in lines


def test_size_and_sharpness_are_named(tmp_path: Path) -> None:
    real = folder(tmp_path / "a", pictures(0))
    assert named(real, folder(tmp_path / "large", pictures(100, size=128)))[0] == "size"
    soft = [image.filter(ImageFilter.GaussianBlur(1)) for image in pictures(100)]
    assert named(real, folder(tmp_path / "soft", soft)) == ["sharpness"]


def test_lossless_formats_do_not_differ_and_few_files_do_not_matter() -> None:
    def group(**formats: int) -> Storage:
        return Storage(formats, np.array([64]), {})

    assert differences(real=group(PNG=99, JPEG=1), synthetic=group(BMP=5)) == []
    assert differences(real=group(array=9), synthetic=group(PNG=5)) == []
    assert len(differences(real=group(PNG=9, JPEG=1), synthetic=group(PNG=5))) == 1
    assert len(differences(real=group(JPEG=9), synthetic=storage.of_sampled(64))) == 1


def test_sharpness_is_compared_within_modalities_that_both_have() -> None:
    sharp, soft = np.full(9, 2.0), np.full(9, 1.0)
    real = Storage({"PNG": 9}, np.array([64]), {"ct": sharp, "fundus": soft})
    same = Storage({"PNG": 9}, np.array([64]), {"fundus": soft})
    assert differences(real=real, synthetic=same) == []
    other = Storage({"PNG": 9}, np.array([64]), {"ct": soft})
    assert differences(real=real, synthetic=other) == [
        "sharpness: real images have 2.00 (median), synthetic ones 1.00"
    ]


def test_sharpness_by_hand() -> None:
    """A checkerboard of single pixels: its Laplacian is 8 times as wide as itself; a ramp has none."""
    y, x = np.mgrid[:64, :64]
    board = np.repeat((((x + y) % 2) * 255)[..., None], 3, axis=2).astype(np.uint8)
    ramp = np.repeat((4 * x)[..., None], 3, axis=2).astype(np.uint8)
    assert sharpness(board) == pytest.approx(8) and sharpness(ramp) == 0
    found = examine([board, np.zeros((64, 64, 3), np.uint8)], ["a", "a"])
    assert found.blank == 1 and len(found.sharpness["a"]) == 1


def test_check_names_the_difference_and_unify_takes_it_away(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    real = folder(tmp_path / "real", pictures(0), "jpg", quality=75)
    synthetic = folder(tmp_path / "made", pictures(100, size=128))
    check = ["data", "check", f"folder:{real}", "--synthetic", synthetic]
    assert main.main(check) == 0 and main.main([*check, "--strict"]) == 1
    told = capsys.readouterr().err
    assert "warning: file format: real images are JPEG" in told and "warning: size" in told
    assert "`medisyn data unify SOURCE DIR --out OUT` brings both to one" in told
    out = tmp_path / "one"
    unify = ["data", "unify", f"folder:{real}", synthetic, "--out", str(out), "--quality", "75"]
    assert main.main(unify) == 0
    assert set(named(str(out / "real"), str(out / "synthetic"))) <= {"sharpness"}
    rows = sources.rows(f"folder:{out / 'real'}")
    before = sources.rows(f"folder:{real}")
    for column in ("text", "split", "modality", "patient_id", "identity_known", "count"):
        assert [row[column] for row in rows] == [row[column] for row in before], column
    assert main.main(unify) == 2 and "holds real already" in capsys.readouterr().err
    assert not list(out.rglob("*.tmp"))


def test_unify_keeps_groups_and_who_is_shown(tmp_path: Path) -> None:
    """A lesion that is no patient stays in one role, and subgroups stay what they are."""
    real, made = (
        folder(tmp_path / "real", pictures(0, 4)),
        folder(tmp_path / "made", pictures(9, 4)),
    )
    table = Path(real, "metadata.csv")
    lines = list(csv.DictReader(table.open(newline="")))
    for number, line in enumerate(lines):
        line |= {"patient_id": f"lesion{number // 2}", "identity_known": "0", "sex": "female"}
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*lines[0]])
        writer.writeheader()
        writer.writerows(lines)
    assert main.main(["data", "unify", f"folder:{real}", made, "--out", str(tmp_path / "one")]) == 0
    before, after = sources.rows(f"folder:{real}"), sources.rows(f"folder:{tmp_path / 'one/real'}")
    for column in ("patient_id", "identity_known", "sex", "split"):
        assert [row[column] for row in after] == [row[column] for row in before], column
    assert not any(row["identity_known"] for row in after) and after[0]["sex"] == "female"


def test_what_the_format_adds_is_gone_once_both_are_one(tmp_path: Path) -> None:
    """The same pictures as JPEG and as PNG: apart as stored, together once both are JPEG of one quality."""
    real = folder(tmp_path / "real", pictures(0), "jpg", quality=75)
    synthetic = folder(tmp_path / "made", pictures(0))
    out = tmp_path / "one"
    command = ["data", "unify", f"folder:{real}", synthetic, "--out", str(out)]
    assert main.main(command) == 0

    def apart(first: str, second: str) -> float:
        groups = (map(np.asarray, sources.finished_images(place)) for place in (first, second))
        a, b = (np.stack([*pixels]).astype(float) for pixels in groups)
        return float(np.abs(a - b).mean())

    before = apart(real, synthetic)
    after = apart(str(out / "real"), str(out / "synthetic"))
    assert before > 1 and after < before / 4


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["SOURCE", "none"], "no folder with metadata.csv there"),
        (["SOURCE", "made", "--size", "8"], "--size is 8: give a number from 16 to 1024"),
        (["SOURCE", "made", "--quality", "100"], "--quality is 100"),
        (["phantom", "made"], "phantoms have no files"),
    ],
)
def test_bad_input_of_unify_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    real, made = (
        folder(tmp_path / "real", pictures(0, 4)),
        folder(tmp_path / "made", pictures(9, 4)),
    )
    meant = {"SOURCE": f"folder:{real}", "made": made, "none": str(tmp_path / "none")}
    given = [meant.get(argument, argument) for argument in arguments]
    assert main.main(["data", "unify", *given, "--out", str(tmp_path / "one")]) == 2
    told = capsys.readouterr().err
    assert words in told and told.count("\n") == 1 and not (tmp_path / "one").exists()


def test_the_size_of_a_pipeline_is_read_from_its_settings(tmp_path: Path) -> None:
    assert native_side(str(tmp_path)) is None
    for name, config in {
        "unet": {"sample_size": 16},
        "vae": {"block_out_channels": [8, 16, 32]},
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps(config))
    assert native_side(str(tmp_path)) == 64
    (tmp_path / "vae" / "config.json").write_text("[]")
    assert native_side(str(tmp_path)) == 16
