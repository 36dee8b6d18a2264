"""Look-alikes across splits, compared in blocks; and what `data check` may cost."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from medisyn_lib.data import check, copies, look_alikes, sources


def all_pairs(unit, splits, threshold):
    """The slow way: every pair by itself."""
    return {
        (i, j)
        for i in range(len(unit))
        for j in range(len(unit))
        if splits[i] < splits[j] and unit[i] @ unit[j] >= threshold
    }


@pytest.mark.parametrize("block", [1, 3, 256])
def test_blocks_find_what_comparing_each_pair_does(monkeypatch, block):
    monkeypatch.setattr(look_alikes, "BLOCK", block)
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (40, 256), np.uint8)
    small[[7, 20, 33]] = small[2]
    unit = look_alikes.vectors(small)
    for splits in (["test"] * 5 + ["train"] * 25 + ["val"] * 10, ["train"] * 5 + ["test"] * 35):
        names = np.array(splits)
        for threshold in (0.1, 0.97):
            found = [
                (i, j)
                for part in look_alikes.across_groups(unit, names, threshold)
                for i, j in zip(part.first, part.second, strict=True)
            ]
            assert len(found) == len({*found})
            assert {*found} == all_pairs(unit, names, threshold) and found


def test_a_score_is_the_correlation_of_small_grey_copies_less_what_all_share():
    rng = np.random.default_rng(1)
    small = rng.integers(0, 256, (6, 256), np.uint8)
    rows = small.astype(float)
    rows = (rows - rows.mean(1, keepdims=True)) / (rows.std(1, keepdims=True) * 16)
    rows -= rows.mean(0)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    unit = look_alikes.vectors(small)
    assert np.allclose(unit @ unit.T, rows @ rows.T, atol=1e-5)
    grey = Image.fromarray(rng.integers(0, 256, (64, 64), np.uint8))
    expected = np.asarray(grey).reshape(16, 4, 16, 4).mean((1, 3)).ravel()
    assert np.abs(look_alikes.thumbnail(grey).astype(float) - expected).max() <= 1


def test_images_without_any_contrast_are_no_errors():
    assert not look_alikes.vectors(np.full((3, 256), 7, np.uint8)).any()


def medmnist_like(folder, number):
    rng = np.random.default_rng(0)
    folder.mkdir()
    arrays = {}
    for split, part in (("train", 0.84), ("val", 0.09), ("test", 0.07)):
        many = round(number * part)
        arrays[f"{split}_images"] = rng.integers(0, 256, (many, 28, 28, 3), np.uint8)
        arrays[f"{split}_labels"] = np.arange(many)[:, None] % 3
    np.savez(folder / "histopathology.npz", **arrays)
    return f"npz:{folder}"


def test_a_check_of_files_writes_nothing_and_opens_each_image_once(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDISYN_STORE", str(tmp_path / "store"))
    source = medmnist_like(tmp_path / "d", 100)
    opened = []
    module = sources.source_module(source)
    images = module.images

    def counted(rows):
        for image in images(rows):
            opened.append(1)
            yield image

    monkeypatch.setattr(module, "images", counted)
    (row,) = check.check_source(source)
    assert (row["train"], row["sizes"], len(opened)) == (84, "28 x 28", 100)
    assert not (tmp_path / "store").exists()


def test_look_alikes_alone_are_opened_once_more(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDISYN_STORE", str(tmp_path / "store"))
    monkeypatch.setattr(copies, "MEAN_OF", 5)
    source = medmnist_like(tmp_path / "d", 100)
    path = tmp_path / "d" / "histopathology.npz"
    arrays = dict(np.load(path))
    arrays["test_images"][:2] = arrays["train_images"][:2]
    np.savez(path, **arrays)
    asked = []
    module = sources.source_module(source)
    images = module.images

    def counted(rows):
        asked.append(len(rows))
        return images(rows)

    monkeypatch.setattr(module, "images", counted)
    (row,) = check.check_source(source)
    assert (row["copies_across_splits"], row["near_duplicates"]) == (2, 2)
    assert asked[0] == 100 and len(asked) == 2 and asked[1] <= 5 + 4
    assert not (tmp_path / "store").exists()


def test_of_too_many_pairs_the_closest_are_kept():
    scores = np.array([0.98, 1.0, 0.97, 0.99], np.float32)
    some = look_alikes.Matches(np.arange(4), np.arange(4) + 10, scores)
    kept = look_alikes.closest(look_alikes.NO_MATCHES, some, 4)
    assert kept.first.tolist() == [0, 1, 2, 3]
    kept = look_alikes.closest(kept, some, 3)
    assert kept.first.tolist() == [1, 1, 3] or kept.first.tolist() == [1, 3, 1]
    assert (kept.second == kept.first + 10).all() and (kept.scores >= 0.99).all()


MEASURE = """
import resource, sys, time
from medisyn_lib.cli.main import main
assert main(["data", "check", sys.argv[1]]) == 0
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(time.process_time(), peak * (1 if sys.platform == "darwin" else 1024))
"""


@pytest.mark.full
def test_a_hundred_thousand_small_images_take_little_time_and_memory(tmp_path):
    source = medmnist_like(tmp_path / "d", 100_000)
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, source], capture_output=True, text=True, check=True
    )
    seconds, peak = map(float, done.stdout.splitlines()[-1].split())
    assert seconds < 90 and peak < 1e9
