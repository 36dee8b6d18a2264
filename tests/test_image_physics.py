"""Physics of images: a hand value and a direction for each measure, and the table of what an autoencoder keeps."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from medisyn_lib.evaluation.image_physics import (
    find_blobs,
    line_contrast_kept,
    local_contrast,
    match_blobs,
    power_spectrum,
    spectrum_ratio,
)
from medisyn_lib.evaluation.reconstruction import reconstruction_table
from medisyn_lib.phantoms import draw


def grey(images: np.ndarray) -> np.ndarray:
    """Float images (n, h, w) as uint8 (n, h, w, 3)."""
    levels = np.rint(images).clip(0, 255).astype(np.uint8)
    return np.repeat(levels[..., None], 3, axis=-1)


def blurred(pixels: np.ndarray) -> np.ndarray:
    return ndimage.gaussian_filter(pixels, (0, 1, 1, 0))


@pytest.fixture(scope="module")
def fundus() -> np.ndarray:
    return np.stack([draw("fundus", seed=5, index=i)[0] for i in range(12)])


def spot(row: float, column: float, height: float, scale: float = 1.5) -> np.ndarray:
    rows, columns = np.mgrid[:32, :32]
    square = (rows - row) ** 2 + (columns - column) ** 2
    return height * np.exp(-square / (2 * scale**2))


def test_a_wave_has_its_power_at_its_frequency() -> None:
    wave = 128 + 100 * np.cos(2 * np.pi * np.arange(64) / 8)  # 1/8 cycle per pixel
    frequency, power = power_spectrum(grey(np.tile(wave, (1, 64, 1))))
    assert len(frequency) == 16
    assert frequency[power.argmax()] == pytest.approx(1 / 8, abs=1 / 32)
    assert power[frequency > 0.3].max() < 1e-3 * power.max()


def test_contrast_halved_is_power_quartered_and_blur_loses_most_at_high_frequency(
    fundus: np.ndarray,
) -> None:
    noise = np.random.default_rng(0).normal(0, 30, (4, 64, 64))
    full, half = grey(128 + noise), grey(128 + noise / 2)
    assert spectrum_ratio(real=full, decoded=half) == pytest.approx(0.25, rel=0.05)
    assert spectrum_ratio(real=half, decoded=full) == pytest.approx(4, rel=0.05)
    assert spectrum_ratio(real=fundus, decoded=fundus) == 1
    low = spectrum_ratio(real=fundus, decoded=blurred(fundus))
    assert spectrum_ratio(real=fundus, decoded=blurred(fundus), up_to=0.5) < low < 0.9


def test_local_contrast_of_speckle_falls_with_its_looks() -> None:
    """The mean of L exponential intensities has a coefficient of variation of 1 / sqrt(L)."""
    rng = np.random.default_rng(0)
    for looks in (4, 16):
        speckle = 60 * rng.exponential(size=(3, looks, 64, 64)).mean(1)
        assert local_contrast(grey(speckle)).mean() == pytest.approx(looks**-0.5, rel=0.1)
    assert (local_contrast(grey(np.full((1, 32, 32), 90.0))) == 0).all()
    assert (local_contrast(grey(np.zeros((1, 32, 32)))) == 0).all()


def test_a_spot_is_found_where_it_is_and_an_edge_is_none() -> None:
    image = 100 + spot(10, 20, 60) - spot(24, 8, 40)
    found = find_blobs(image)
    assert found.place.tolist() == [[10, 20], [24, 8]]
    assert found.contrast == pytest.approx([60, -40], rel=0.1)
    step = np.full((32, 32), 50.0)
    step[:, 16:] = 150
    line = np.full((32, 32), 100.0)
    line[:, 16] = 20
    assert not len(find_blobs(step).place) and not len(find_blobs(line).place)


def test_blobs_that_are_kept_lost_and_invented_by_hand() -> None:
    real = 100 + spot(8, 8, 60) + spot(8, 24, 60) - spot(24, 8, 60)
    decoded = 100 + spot(9, 8, 40) + spot(24, 8, 60) + spot(24, 24, 60)
    match = match_blobs(real=grey(real[None]), decoded=grey(decoded[None]))
    # kept: the first; lost: the second; the third has the other sign, the fourth is new
    assert (match.real, match.kept) == (3, 1)
    assert (match.decoded, match.invented) == (3, 2)


def test_contrast_of_lines_by_hand() -> None:
    columns = np.arange(64)
    profile = np.exp(-((columns - 20) ** 2) / 2)  # of a standard deviation of 1 pixel
    real = np.tile(150 - 80 * profile, (1, 64, 1))
    faint, reversed_ = (np.tile(150 + height * profile, (1, 64, 1)) for height in (-40, 80))
    assert line_contrast_kept(real=grey(real), decoded=grey(real)) == 1
    assert line_contrast_kept(real=grey(real), decoded=grey(faint)) == pytest.approx(0.5, abs=0.01)
    assert line_contrast_kept(real=grey(real), decoded=grey(reversed_)) == pytest.approx(-1, 0.05)
    flat = np.full((1, 64, 64), 150.0)
    assert line_contrast_kept(real=grey(real), decoded=grey(flat)) == pytest.approx(0, abs=0.01)
    assert np.isnan(line_contrast_kept(real=grey(flat), decoded=grey(real)))


def test_the_table_says_what_blur_loses(fundus: np.ndarray) -> None:
    modality = np.array(["fundus"] * len(fundus))
    same = reconstruction_table(real=fundus, decoded=fundus, modality=modality).loc["fundus"]
    soft = reconstruction_table(real=fundus, decoded=blurred(fundus), modality=modality)
    soft = soft.loc["fundus"]
    assert (same["n"], same["kept"], same["invented"], same["spectrum"]) == (12, 1, 0, 1)
    assert np.isnan(same["speckle"]) and same["KID"] < 0.01 and same["coverage"] == 1
    assert soft["KID"] > 0.1 and soft["kept"] < 0.9
    assert soft["psnr"] < same["psnr"]
    assert same["lines"] == 1 and 0.2 < soft["lines"] < 0.8
