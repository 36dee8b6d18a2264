"""The benchmarks' own checks: what they refuse, what they print, where their tables go. They are run by hand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pairs
import pytest
import run

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "benchmarks"
REFUSED = {
    "run.py": [
        ["--runs", "4"],
        ["nothing"],
        ["training_speed"],
        ["--peer", "absent.py"],
        ["--write", "absent.md"],
    ],
    "sampling_speed.py": [
        ["--runs", "x"],
        ["--profile", "huge"],
        ["--images", "5"],
        ["--steps", "1"],
    ],
    "training_speed.py": [[], ["--peer", "absent.py"], ["--precision", "fp8"]],
    "whole_runs.py": [["--runs", "-1"], ["--reproduce", "huge"]],
    "growth.py": [["--rows", "10"], ["--rows", "10", "x"]],
    "more_modalities.py": [["--times", "1"]],
    "recipes.py": [["--seeds", "1"], ["--only", "luck"], ["--steps", "0"]],
    "time_to_distance.py": [[], ["--peer", "absent.py"], ["--runs", "1"]],
    "cost_model.py": [["--size", "100"], ["--pairs", "0"], ["--gpus", "0"]],
    "fine_tune.py": [
        [],
        ["--base", "absent"],
        ["--base", ".", "--rate", "2"],
        ["--base", ".", "--data", "npz:absent"],
    ],
}


@pytest.mark.parametrize(
    ("script", "words"),
    [(s, w) for s, many in REFUSED.items() for w in many],
    ids=lambda part: " ".join([*part])[:40],
)
def test_bad_arguments_end_in_one_line(script: str, words: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, str(FOLDER / script), *words], capture_output=True, text=True
    )
    assert done.returncode == 2 and not done.stdout
    assert done.stderr.startswith(f"{script}: ") and len(done.stderr.splitlines()) == 1, done.stderr


def test_a_spread_is_the_median_and_the_range() -> None:
    assert pairs.spread([8.0, 2.0, 4.0]) == "4 (2 to 8)"
    assert pairs.ratios([8.0, 2.0], [4.0, 8.0]) == [2.0, 0.25]


def test_rounds_alternate_their_order() -> None:
    order: list[str] = []
    sides = {name: lambda name=name: float(order.append(name) or len(order)) for name in "ab"}
    assert pairs.interleaved(sides, 2) == {"a": [1.0, 4.0], "b": [2.0, 3.0]}
    assert order == ["a", "b", "b", "a"]


def test_the_document_has_a_place_for_every_table_and_holds_it() -> None:
    text = (ROOT / "BENCHMARKS.md").read_text("utf-8")
    for name in run.PARTS:
        assert "| --- |" in run.place(name, text).group(), (
            f"{name} was not written into BENCHMARKS.md"
        )


def test_a_document_without_marks_is_refused() -> None:
    with pytest.raises(run.InputError, match="marks of growth"):
        run.place("growth", "# Benchmarks\n")
