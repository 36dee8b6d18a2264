"""Exact search: beside scikit-learn, with ties, views and an index on the disk; windows that find shifted copies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from medisyn_lib.errors import InputError
from medisyn_lib.evaluation import neighbours
from medisyn_lib.evaluation.memorization.planted_copies import distort
from medisyn_lib.evaluation.memorization.window_descriptors import centre_window, query_windows
from medisyn_lib.pipeline import index as index_of_images
from medisyn_lib.pipeline.index import Index

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(("n", "q", "d", "k"), [(3000, 40, 8, 5), (12, 3, 4, 12), (9000, 7, 3, 1)])
def test_the_nearest_are_those_of_scikit_learn(n: int, q: int, d: int, k: int) -> None:
    index, queries = (RNG.normal(size=(m, d)).astype(np.float32) for m in (n, q))
    away, number = neighbours.nearest(queries, index, k)
    expected = (
        NearestNeighbors(n_neighbors=k, algorithm="brute")
        .fit(index.astype(float))
        .kneighbors(queries)
    )
    assert np.allclose(away, expected[0], atol=1e-6) and (number == expected[1]).all()


def test_order_of_queries_and_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    index, queries = RNG.normal(size=(500, 6)), RNG.normal(size=(30, 6))
    away, number = neighbours.nearest(queries, index, 4)
    monkeypatch.setattr(neighbours, "BLOCK_ROWS", 16)
    again = neighbours.nearest(queries[::-1], index, 4)
    assert (number == again[1][::-1]).all() and np.allclose(away, again[0][::-1])


def test_of_equally_near_rows_the_first_comes_first() -> None:
    index = np.repeat(RNG.normal(size=(4, 5)), 30, 0)[RNG.permutation(120)]
    _, number = neighbours.nearest(index[:1], index, 12)
    assert number[0].tolist() == np.flatnonzero((index == index[0]).all(1))[:12].tolist()


def test_a_copy_lies_at_nothing_in_spite_of_single_precision() -> None:
    index = (RNG.normal(size=(200, 64)) + 100).astype(np.float32)
    away, number = neighbours.nearest(index[7:8], index, 2)
    assert away[0, 0] == 0 and number[0, 0] == 7 and away[0, 1] > 1


def test_the_best_view_counts() -> None:
    index = np.eye(4)
    queries = np.stack([[np.full(4, 9.0), index[2]], [index[1], index[1] / 2]])
    away, number = neighbours.nearest(queries, index, 1)
    assert number[:, 0].tolist() == [2, 1] and away[:, 0].tolist() == [0, 0]


def test_an_index_on_the_disk_serves(tmp_path: Path) -> None:
    index = RNG.normal(size=(64, 3)).astype(np.float32)
    np.save(tmp_path / "index.npy", index)
    mapped = np.load(tmp_path / "index.npy", mmap_mode="r")
    assert (
        neighbours.nearest(index[:5], mapped, 3)[1] == neighbours.nearest(index[:5], index, 3)[1]
    ).all()


@pytest.mark.parametrize("k", [0, 6])
def test_fewer_images_than_the_index_needs_are_refused(k: int) -> None:
    with pytest.raises(InputError, match=f"index of 5 images: {k} nearest are asked for"):
        neighbours.nearest(np.zeros((1, 2)), np.zeros((5, 2)), k)


def test_descriptions_have_length_one_however_faint_the_image() -> None:
    faint = np.full((1, 64, 64, 3), 100, np.uint8)
    faint[0, 31:33, 31:33] = 101
    described = centre_window(faint)
    assert np.linalg.norm(described) == pytest.approx(1, abs=1e-3)
    assert described.mean() == pytest.approx(0, abs=1e-3)


def test_colours_are_weighed_as_eyes_weigh_them() -> None:
    """Red at the left, green at the right, is the grey image of 0.299 and 0.587 of their brightness."""
    image, grey = np.zeros((2, 1, 48, 48, 3), np.uint8)
    image[0, :, :24, 0], image[0, :, 24:, 1], image[0, :16, :, 2] = 200, 100, 250
    grey[0] = np.rint(image[0] @ np.array([0.299, 0.587, 0.114]))[:, :, None]
    assert centre_window(image) == pytest.approx(centre_window(grey), abs=0.01)


def test_an_index_is_made_in_parts_of_every_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDISYN_STORE", str(tmp_path))
    pixels, asked = np.random.default_rng(0).integers(0, 256, (1500, 2, 2, 3), np.uint8), []
    monkeypatch.setattr(
        index_of_images,
        "load_pixels",
        lambda images, rows: asked.append([*rows]) or pixels[[*rows]],
    )
    index = Index(
        {},
        None,
        images=range(1500),
        describe=lambda part: part.reshape(-1, 12) / 2,
        describe_code=(),
    )
    vectors = index.array()
    assert asked == [[*range(1024)], [*range(1024, 1500)]]
    assert vectors.dtype == np.float32 and np.array_equal(vectors, pixels.reshape(-1, 12) / 2)


def test_windows_find_the_middle_of_a_flipped_or_cropped_copy() -> None:
    from medisyn_lib.phantoms import draw

    images = np.stack([draw("blood_smear", seed=1, index=3 * i, size=64)[0] for i in range(12)])
    index = centre_window(images)
    assert index.shape == (12, 144) and np.allclose(np.linalg.norm(index, axis=1), 1, atol=1e-5)
    for kind in ("flip", "crop", "brightness"):
        away, number = neighbours.nearest(query_windows(distort(images, kind, seed=0)), index, 2)
        assert number[:, 0].tolist() == list(range(12)), kind
        assert (away[:, 0] < 0.6 * away[:, 1]).all(), kind
