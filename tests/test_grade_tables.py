"""Tables of real grades: known by their columns, refused by name, taken from data sources."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medisyn_lib.errors import InputError
from medisyn_lib.evaluation import agreement
from medisyn_lib.evaluation.grading import grade_tables

MESSIDOR_COUNTS = (1017, 270, 347, 75, 35)  # by grade; secondary source, see the data card


def written(path: Path, header: str, *rows: str) -> str:
    path.write_text("\n".join([header, *rows]) + "\n")
    return str(path)


def test_the_messidor_table_is_known_by_its_columns(tmp_path: Path) -> None:
    """Made rows with the real table's columns and published counts; the table itself is not here."""
    grades = [str(grade) for grade, count in enumerate(MESSIDOR_COUNTS) for _ in range(count)]
    rows = [f"image{i}.png,{grade},0,1" for i, grade in enumerate(grades)] + [
        f"bad{i}.png,,,0" for i in range(4)
    ]
    header = "image_id,adjudicated_dr_grade,adjudicated_dme,adjudicated_gradable"
    table = grade_tables.read_grades(written(tmp_path / "m.csv", header, *rows))
    assert (
        len(table) == 1748
        and table["gradable"].sum() == 1744
        and set(table["grader"]) == {"adjudicated"}
    )
    assert table["grade"].value_counts().sort_index().tolist() == list(MESSIDOR_COUNTS)


def test_a_table_of_graders_works_without_images(tmp_path: Path) -> None:
    rows = ["a,x,0,1", "a,y,1,1", "b,x,2,1", "b,y,2,1", "c,x,,0", "c,y,3,1"]
    table = grade_tables.read_grades(
        written(tmp_path / "g.csv", "image,grader,grade,gradable", *rows)
    )
    wide = table.pivot(index="image", columns="grader", values="grade")
    assert wide.shape == (3, 2) and np.isnan(wide.loc["c", "x"])
    assert agreement.kappas(wide["x"], wide["y"], 5)[0] > 0
    plain = grade_tables.read_grades(written(tmp_path / "p.csv", "image,grader,grade", "a,x,0"))
    assert plain["gradable"].all()


@pytest.mark.parametrize(
    ("header", "rows", "said"),
    [
        ("image,grade", ["a,0"], "no column 'grader'"),
        ("image,grader,grade", ["a,x,5"], r"line 2 \(image a, grader x, grade 5\): unknown grade"),
        ("image,grader,grade", ["a,x,0", "b,x,1.5"], "line 3"),
        ("image,grader,grade", ["a,x,"], "unknown grade"),
        ("image,grader,grade", ["a,x,0", "a,x,1"], "line 3 .*graded twice by this grader"),
        ("image,grader,grade", [",x,0"], "without a name"),
        ("image,grader,grade,gradable", ["a,x,0,yes"], "neither 1 nor 0"),
    ],
)
def test_bad_tables_are_refused_by_name(
    tmp_path: Path, header: str, rows: list[str], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        grade_tables.read_grades(written(tmp_path / "bad.csv", header, *rows))


def test_a_file_that_is_no_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe\x00\x01")
    for path in (tmp_path / "none.csv", tmp_path / "b.csv"):
        with pytest.raises(InputError, match="cannot be read as CSV"):
            grade_tables.read_grades(str(path))


def test_grades_of_npz_and_folder_sources(tmp_path: Path) -> None:
    """Fundus images of either source carry their grade; other modalities have none."""
    picture = np.zeros((10, 16, 16, 3), np.uint8)
    arrays = {f"{split}_images": picture for split in ("train", "val", "test")}
    arrays |= {f"{split}_labels": np.arange(10) % 5 for split in ("train", "val", "test")}
    (tmp_path / "npz").mkdir()
    np.savez(tmp_path / "npz" / "fundus.npz", **arrays, class_names=np.array(list("01234")))
    np.savez(tmp_path / "npz" / "ct.npz", **arrays, class_names=np.array(list("abcde")))
    table = grade_tables.read_grades(f"npz:{tmp_path / 'npz'}")
    assert len(table) == 30 and table["grade"].value_counts().tolist() == [6] * 5
    folder = tmp_path / "folder"
    folder.mkdir()
    lines = [("file_name", "text", "modality", "finding", "grade", "split", "patient_id")]
    for number in range(6):
        Image.fromarray(picture[0]).save(folder / f"{number}.png")
        lines.append(
            (f"{number}.png", "a fundus", "fundus", "x", str(number % 5), "train", str(number))
        )
    with (folder / "metadata.csv").open("w", newline="") as file:
        csv.writer(file).writerows(lines)
    assert grade_tables.read_grades(f"folder:{folder}")["grade"].tolist() == [
        0,
        1,
        2,
        3,
        4,
        0,
    ]
    both = pd.concat([table, table.assign(grader="second")])
    assert (
        agreement.fleiss_kappas(both.pivot(index="image", columns="grader", values="grade"), 5)[0]
        == 1
    )
