"""A run that is killed, or whose disk is full, at any write, flush or rename, loses nothing and leaves nothing half."""

import os
import subprocess
import sys
from pathlib import Path


def complaints(place: Path, *how: str) -> tuple[list[str], str]:
    """The lines of `faulty_run.py` about what went wrong, and its last line."""
    script = str(Path(__file__).with_name("faulty_run.py"))
    # One thread: children are forked, and a pool of threads does not survive that.
    told = subprocess.run(
        [sys.executable, script, str(place), *how],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert told.returncode == 0, told.stderr
    *wrong, last = told.stdout.splitlines()
    return wrong, last


def test_nothing_is_lost_wherever_a_run_is_struck(tmp_path: Path) -> None:
    wrong, last = complaints(tmp_path)
    assert wrong == [] and int(last.split()[1]) >= 40


def test_a_careless_writer_is_caught(tmp_path: Path) -> None:
    wrong, _ = complaints(tmp_path, "careless")
    assert any("01_training.json stands half-written" in line for line in wrong)
