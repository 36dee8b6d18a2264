"""docs/summary.py: from data to samples on one page, as it is read, in few steps."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

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
    assert lines[2] == "chest X-ray, no acute finding" and len(lines) == 2 + 8 + 1
    assert lines[-1].startswith("not for clinical use")
    sheet = np.asarray(Image.open(out))
    assert sheet.shape == (8 * 128, 6 * 128, 3) and sheet.std() > 5
