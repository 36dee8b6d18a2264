"""Copies and other images, all of them real, through an audit: it finds the ones and lets the others pass."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import datasets
import numpy as np
import pytest
from PIL import Image
from test_c05_memorization import findings
from test_data_sources import REAL_PANEL

from medisyn_lib.claims.c05_memorization import claim_not_copies
from medisyn_lib.claims.claim import EXPLORATORY
from medisyn_lib.claims.results import Result
from medisyn_lib.data import sources
from medisyn_lib.data.pixels import load_pixels
from medisyn_lib.evaluation.memorization.conformal import flag_copies, proportion_flagged
from medisyn_lib.evaluation.memorization.detectors import (
    Detector,
    match,
    photograph_detector,
    pixel_detector,
)
from medisyn_lib.evaluation.memorization.images import first_of_each_patient
from medisyn_lib.evaluation.memorization.planted_copies import plant_copies
from medisyn_lib.evaluation.memorization.set_tests import flag_and_test
from medisyn_lib.reporting import audit

SOURCE = f"npz:{REAL_PANEL}"
SIZE = 64
pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(
        not REAL_PANEL.is_dir(),
        reason="no real images here: set MEDISYN_REAL_PANEL to their folder",
    ),
]


class Panel(NamedTuple):
    """Real images of the panel, one a patient but for those of training."""

    training: datasets.Dataset
    calibration: np.ndarray
    held_out: np.ndarray
    fresh: np.ndarray  # of patients that are in none of the others


class Case(NamedTuple):
    """What a generator is made to return, and the exit codes that an audit of it may have."""

    images: Callable[[Panel], np.ndarray]
    codes: set[int]


def training_pixels(panel: Panel, n: int) -> np.ndarray:
    rows = np.random.default_rng(1).permutation(len(panel.training))[:n]
    return load_pixels(panel.training, rows)


CASES = {
    "mirrored training images": Case(lambda p: training_pixels(p, 200)[:, :, ::-1], {1}),
    "fresh images": Case(lambda p: p.fresh[:200], {0, 3}),
    "one image again and again": Case(
        lambda p: np.repeat(training_pixels(p, 1), 40, axis=0), {1, 3}
    ),
    "one fresh image again and again": Case(lambda p: np.repeat(p.fresh[:1], 40, axis=0), {1, 3}),
}


@pytest.fixture(scope="module")
def panel() -> Panel:
    test = sources.load(SOURCE, "test", size=SIZE)
    one_each = np.random.default_rng(2).permutation(first_of_each_patient(test))
    calibration = sources.load(SOURCE, "val", size=SIZE)
    return Panel(
        sources.load(SOURCE, "train", size=SIZE),
        load_pixels(calibration),
        load_pixels(test, one_each[200:]),
        load_pixels(test, one_each[:200]),
    )


class Scene(NamedTuple):
    """Detectors over the training images, and what they make of real images and planted copies."""

    detectors: list[Detector]
    calibration: np.ndarray
    held_out: np.ndarray
    copies: dict[str, np.ndarray]


@pytest.fixture(scope="module")
def scene(panel: Panel) -> Scene:
    """The two detectors for which nothing has to be trained."""
    about = {"images": "panel", "rows": len(panel.training)}
    detectors = [
        pixel_detector(panel.training, about),
        photograph_detector(panel.training, about, "efflite0"),
    ]
    ratios = [match(detectors, pixels).ratio for pixels in (panel.calibration, panel.held_out)]
    planted = plant_copies(panel.training, 60)
    copies = {kind: match(detectors, pixels).ratio for kind, pixels in planted.items()}
    return Scene(detectors, *ratios, copies)


@pytest.mark.parametrize("name", CASES)
def test_the_rule_on_real_images_says_what_they_are(name: str, panel: Panel, scene: Scene) -> None:
    ratio = match(scene.detectors, CASES[name].images(panel)).ratio

    def flagged(some: np.ndarray) -> np.ndarray:
        return flag_copies(some, scene.calibration)

    both = {"real": scene.held_out, "calibration": scene.calibration}
    found = findings(
        flagged=flagged(ratio),
        tests=flag_and_test(synthetic=ratio, **both),
        held_out_flagged=flagged(scene.held_out),
        recall={kind: proportion_flagged(flagged(one)) for kind, one in scene.copies.items()},
        planted_tests=flag_and_test(synthetic=np.concatenate([*scene.copies.values()]), **both),
    )
    claim = claim_not_copies(found, EXPLORATORY)
    assert all(control.passed for control in claim.controls)
    assert audit.exit_code([Result({}, (claim,))]) in CASES[name].codes, claim.summary


@pytest.mark.timeout(6000)
@pytest.mark.parametrize("name", CASES)
def test_the_whole_audit_of_real_images_says_what_they_are(
    name: str, panel: Panel, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """`medisyn audit` from a folder to its exit code; what the data need is trained once for all."""
    place = tmp_path_factory.mktemp("audit")
    folder, pixels = place / "images", CASES[name].images(panel)
    folder.mkdir()
    with (folder / "metadata.csv").open("w", newline="") as lines:
        table = csv.writer(lines)
        table.writerow(["file_name", "text"])
        for number, image in enumerate(pixels):
            Image.fromarray(image).save(folder / f"{number}.png")
            table.writerow([f"{number}.png", "an image"])
    store = os.environ.get("MEDISYN_STORE") or str(tmp_path_factory.getbasetemp() / "store")
    command = [str(Path(sys.executable).with_name("medisyn")), "audit", "--generator", str(folder)]
    run = subprocess.run(
        [*command, "--data", SOURCE, "--out", str(place / "out")],
        env=os.environ | {"MEDISYN_STORE": store},
        capture_output=True,
        text=True,
    )
    assert run.returncode in CASES[name].codes, run.stdout + run.stderr
    assert (place / "out" / "report.real.html").is_file()
