"""Real graders: their agreement from a table alone, against a majority and a consensus; what is missing is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from medisyn_lib.evaluation.grading.real_graders import compare_graders, read_tables

HEADER = "image,grader,grade"
# Five images; anna and ben agree but for image e, cleo is off by one on image c, where the consensus is with her.
GRADES = {"anna": "01234", "ben": "01233", "cleo": "01134", "adjudicated": "01134"}


def table(path: Path, graders: list[str]) -> str:
    rows = [
        f"{image},{grader},{grade}"
        for grader in graders
        for image, grade in zip("abcde", GRADES[grader], strict=True)
    ]
    path.write_text("\n".join([HEADER, *rows]) + "\n")
    return str(path)


def test_three_graders_and_a_consensus(tmp_path: Path) -> None:
    found = compare_graders(read_tables(table(tmp_path / "g.csv", [*GRADES]), "phantom"))
    assert (found.graders, found.images, found.reasons) == (4, 5, [])
    assert found.fleiss is not None and found.fleiss.value is not None and found.fleiss.value < 1
    assert len(found.pairs) == 6 and (found.pairs["n"] == 5).all()
    assert found.differing is not None and found.differing.value == pytest.approx(1 / 5)
    assert found.changes is not None and found.changes.loc[2, 1] == 1


def test_two_graders_have_no_majority(tmp_path: Path) -> None:
    found = compare_graders(read_tables(table(tmp_path / "g.csv", ["anna", "ben"]), "phantom"))
    assert found.fleiss is not None and found.differing is None and found.changes is None
    assert len(found.pairs) == 0


def test_one_grader_is_said_to_be_too_few(tmp_path: Path) -> None:
    found = compare_graders(read_tables(table(tmp_path / "g.csv", ["anna"]), "phantom"))
    assert found.fleiss is None
    assert [reason.partition(":")[0] for reason in found.reasons] == ["not testable"]


def test_without_a_table_nothing_is_said() -> None:
    found = compare_graders(read_tables("", "phantom"))
    assert (found.graders, found.images, found.fleiss, found.differing) == (0, 0, None, None)
    assert found.reasons == []
