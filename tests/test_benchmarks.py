"""The benchmarks' own checks: what they take and refuse, what they print, where their tables go.

They are run by hand.
"""

from __future__ import annotations

import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import mutants
import mutations
import pairs
import pytest
import run
import time_to_distance

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "benchmarks"
SCRIPTS = [path for path in sorted(FOLDER.glob("*.py")) if "__main__" in path.read_text("utf-8")]
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
    "neighbours.py": [["--k", "0"]],
    "fidelity.py": [["--n", "2"]],
    "scaling_curve.py": [["--images", "3"], ["--judged", "2"], ["--judged", "x"]],
    "autoencoder_rates.py": [["--minutes", "0"], ["--only", "luck"], ["--images", "2"]],
    "recipes.py": [["--seeds", "1"], ["--only", "luck"], ["--steps", "0"]],
    "time_to_distance.py": [[], ["--peer", "absent.py"], ["--runs", "1"]],
    "cost_model.py": [["--size", "100"], ["--pairs", "0"], ["--gpus", "0"]],
}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_help_is_its_docstring(script: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(script), "--help"], capture_output=True, text=True, check=True
    )
    first_line = script.read_text("utf-8").removeprefix('"""').partition("\n")[0]
    assert " ".join(first_line.split()) in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    ("script", "words"),
    [(s, w) for s, many in REFUSED.items() for w in many],
    ids=lambda part: part if isinstance(part, str) else " ".join(part)[:40],
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

    def turn(name: str) -> float:
        order.append(name)
        return float(len(order))

    arms = {name: partial(turn, name) for name in "ab"}
    assert pairs.interleaved(arms, 2) == {"a": [1.0, 4.0], "b": [2.0, 3.0]}
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


def test_checkpoints_double_and_the_last_may_be_cut(tmp_path: Path) -> None:
    for step in range(5, 65, 5):
        (tmp_path / f"checkpoint-{step}").mkdir()
    steps = time_to_distance.chosen_checkpoints(tmp_path, 5, list(range(1, 65)))
    assert steps == [5, 10, 20, 40, 55]


def test_mutants_name_present_modules_and_tests() -> None:
    assert all((ROOT / name).is_file() for name in mutants.TESTS)
    tests = "".join((ROOT / name).read_text("utf-8") for name in mutants.TESTS)
    assert all(re.search(rf"def test_\w*{words}", tests) for words in mutants.SPARED)
    present = mutants.modules()
    assert "evaluation/fidelity/kernel" in present
    assert {one.module for one in mutants.reasons()} <= set(present)


def test_a_mutant_is_one_change_in_its_place() -> None:
    source = "def positive(x):\n    return x > 0\n"
    found = [
        mutations.mutate(mutant, source) for mutant in mutations.all_mutants({"module": source})
    ]
    changed = {(one.description.operator, one.source.splitlines()[1].strip()) for one in found}
    assert changed == {
        ("comparison", "return x >= 0"),
        ("constant", "return x > 1"),
        ("returned value", "return None"),
    }
    assert {one.description.function for one in found} == {"positive"}
    assert all(list(one.shown_by) == [2] for one in found)
