"""docs/summary.py: from data to samples on one page, as it is read, in few steps."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from medisyn_lib.phantoms import draw

NAMES = ("chest_xray", "brain_mri", "dermoscopy")
ROOT = Path(__file__).resolve().parents[1]


def test_the_summary_draws_a_row_for_each_prompt(tmp_path: Path) -> None:
    out = tmp_path / "summary.png"
    few = ["--steps", "3", "--images", "6", "--out", str(out)]
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "summary.py"), *few],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("step    0  loss ") and lines[1].startswith("step    2  loss ")
    assert len(lines) == 2 + 6 + 1 and "not for clinical use" in lines[-1]
    sheet = np.asarray(Image.open(out))
    assert sheet.shape == (6 * 128, 6 * 128, 3)
    first = sheet[::2, :128:2].reshape(6, 64, 64, 3)  # the phantoms whose captions were asked
    expected = [draw(name, seed=0, index=3000 + 3 * row)[0] for name in NAMES for row in (0, 1)]
    assert np.abs(first.astype(int) - np.stack(expected)).max() <= 1
