"""Columns beyond the finding: kept by sources, counted by `data check`, estimated by subgroup, shown in an audit."""

import csv

import datasets
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from test_audit import HARM, report, run  # noqa: F401

from medisyn_lib.cli import main
from medisyn_lib.data import sources
from medisyn_lib.data.rows import SUBGROUPS
from medisyn_lib.errors import InputError
from medisyn_lib.evaluation.alignment import finding_gap_by_subgroup
from medisyn_lib.evaluation.memorization.closest_matches import flagged_by_subgroup
from medisyn_lib.evaluation.memorization.detectors import Matches
from medisyn_lib.evaluation.subgroups import MIN_PATIENTS, Subgroups, by_subgroup, stated_columns
from medisyn_lib.evaluation.utility.arms import baseline_arm, primary_arm
from medisyn_lib.evaluation.utility.gains import gains_in_tables
from medisyn_lib.evaluation.utility.scores import TaskScores
from medisyn_lib.reporting.subgroup_tables import (
    read_subgroups,
    show_subgroups,
    subgroup_table,
    write_subgroups,
)
from medisyn_lib.statistics.intervals import cluster_interval, wilson


@pytest.fixture(autouse=True)
def own_store(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDISYN_STORE", str(tmp_path / "store"))


def folder(place, **columns):
    """Eight images of four patients with these columns."""
    lines = []
    place.mkdir()
    for number in range(8):
        pixels = np.random.default_rng(number).integers(0, 256, (20, 20), np.uint8)
        Image.fromarray(pixels).save(place / f"{number}.png")
        line = {"file_name": f"{number}.png", "text": "a", "patient_id": f"p{number // 2}"}
        lines.append(line | {"split": "train"} | {k: v[number] for k, v in columns.items()})
    with (place / "metadata.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, list(lines[0]))
        table.writeheader()
        table.writerows(lines)
    return f"folder:{place}"


def test_columns_are_kept_and_counted_by_patient(tmp_path, capsys):
    sex = ["female"] * 4 + ["male", "male", "", ""]
    source = folder(tmp_path / "d", sex=sex, view=["PA", "AP"] * 4)
    train = sources.load(source, "train", size=16)
    assert train["sex"] == sex and train["view"] == ["PA", "AP"] * 4
    assert set(train["scanner"]) == {""} and {*SUBGROUPS} <= {*train.column_names}
    assert [*stated_columns(train)] == ["sex", "view"]
    assert main.main(["data", "check", source]) == 0
    told = capsys.readouterr().out
    assert "sex: unknown 1, female 2, male 1; view: AP 4, PA 4" in told and "scanner" not in told
    with pytest.raises(InputError, match="sex begins as a spreadsheet's formula does"):
        sources.rows(folder(tmp_path / "e", sex=["=1"] * 8))


def test_phantoms_state_none_of_them():
    images = sources.load("phantom", "test", size=32, per_modality=2, modalities=["fundus"])
    assert stated_columns(images) == {}


def made(sizes, seed=0):
    """Images of patients in groups of these sizes, two each, with values that a patient's images share in part."""
    rng = np.random.default_rng(seed)
    groups = [name for name, number in sizes.items() for _ in range(2 * number)]
    patients = [f"{name}{k // 2}" for name, number in sizes.items() for k in range(2 * number)]
    values = np.repeat(rng.normal(size=len(groups) // 2), 2) + rng.normal(size=len(groups))
    return values, patients, groups


def test_an_estimate_in_a_group_is_that_of_its_images_alone():
    values, patients, groups = made({"a": 30, "b": 25, "c": 5})
    first, second, third = by_subgroup(values, patients, {"site": groups}, proportion=False)
    assert [(r.column, r.group, r.patients) for r in (first, second, third)] == [
        ("site", "a", 30),
        ("site", "b", 25),
        ("site", "c", 5),
    ]
    assert first.estimate == cluster_interval(values[:60], patients[:60])
    assert second.estimate == cluster_interval(values[60:110], patients[60:110])
    assert third.estimate.value is None and third.estimate.n == 10
    mixed = np.random.default_rng(1).permutation(len(values))
    shuffled = by_subgroup(
        values[mixed],
        [patients[k] for k in mixed],
        {"site": [groups[k] for k in mixed]},
        proportion=False,
    )
    assert shuffled[0].estimate.value == pytest.approx(first.estimate.value)
    assert shuffled[0].estimate.ci_low == pytest.approx(first.estimate.ci_low)


def test_proportions_have_wilsons_interval():
    hits = [1.0] * 10 + [0.0] * 30 + [1.0] * 20
    patients = [f"p{k}" for k in range(60)]
    rows = by_subgroup(hits, patients, {"sex": ["f"] * 40 + ["m"] * 20}, proportion=True)
    expected = wilson(10, 40)
    assert rows[0].estimate.value == 0.25
    assert rows[0].estimate.ci_low == pytest.approx(expected.ci_low, abs=0.01)
    assert rows[1].estimate.value == 1 and rows[1].estimate.ci_low < 0.9


def test_a_column_without_two_groups_to_compare_is_left_out():
    patients = [f"p{k}" for k in range(60)]
    values = np.arange(60.0)
    sexes = ["f"] * (60 - MIN_PATIENTS) + ["m"] * MIN_PATIENTS
    assert len(by_subgroup(values, patients, {"sex": sexes}, proportion=False)) == 2
    sexes[-1] = "f"
    assert by_subgroup(values, patients, {"sex": sexes}, proportion=False) == []
    half = [""] * 30 + ["f"] * 30
    assert by_subgroup(values, patients, {"sex": half}, proportion=False) == []
    three = ["f"] * 20 + ["m"] * 20 + [""] * 20
    rows = by_subgroup(values, patients, {"sex": three}, proportion=False)
    assert [row.group for row in rows] == ["f", "m", "unknown"]
    assert by_subgroup(values, patients, {}, proportion=False) == []
    with pytest.raises(ValueError, match="60 values, 60 patients, 3 of sex"):
        by_subgroup(values, patients, {"sex": ["f"] * 3}, proportion=False)


def test_intervals_of_subgroups_cover():
    """Of groups that do not differ, 95% intervals hold the true value in about 95 of 100 tries."""
    held = []
    for seed in range(100):
        values, patients, groups = made({"a": 30, "b": 30}, seed)
        rows = by_subgroup(values, patients, {"site": groups}, proportion=False)
        held += [row.estimate.contains(0.0) for row in rows]
    assert 180 <= sum(held) <= 198


def test_a_table_comes_back_as_it_was_written(tmp_path):
    values, patients, groups = made({"a": 30, "b": 25, "c": 5})
    rows = by_subgroup(values, patients, {"site": groups}, proportion=False)
    assert read_subgroups(tmp_path, "05_memorization") is None
    found = Subgroups("flagged", "proportion", ["site"], rows)
    path = write_subgroups(tmp_path, "05_memorization", found)
    assert read_subgroups(tmp_path, "05_memorization") == found
    table = subgroup_table(rows)
    assert table["remark"].tolist() == ["", "", "fewer than 20 patients"]
    assert table["low"][0] == rows[0].estimate.ci_low and subgroup_table([]).empty
    for content in ("{", "[]", '{"measure": "m", "unit": "u", "stated": [], "rows": [{}]}'):
        path.write_text(content)
        with pytest.raises(InputError, match=r"05_memorization\.json is damaged"):
            read_subgroups(tmp_path, "05_memorization")


def test_an_audit_shows_subgroups_and_judges_none(run):  # noqa: F811
    page = report(run, str(run / "given"), True).read_text("utf-8")
    assert "By subgroup" not in page
    values, patients, groups = made({HARM: 30, "b": 25, "c": 5})
    rows = by_subgroup(values, patients, {"age_group": groups}, proportion=False)
    write_subgroups(
        run, "05_memorization", Subgroups("share_flagged", "share", ["age_group"], rows)
    )
    page = report(run, str(run / "given"), True).read_text("utf-8")
    assert page.count("By subgroup: share flagged") == 1 and "no verdict on them" in page
    assert "too few patients" in page and "age group" in page
    assert "<script>" not in page and "&lt;script&gt;" in page
    assert f"{rows[0].estimate.ci_low:.3g} to {rows[0].estimate.ci_high:.3g}" in page
    write_subgroups(run, "05_memorization", Subgroups("share_flagged", "share", ["age_group"], []))
    assert "By subgroup" not in report(run, str(run / "given"), True).read_text("utf-8")


# What the notebooks show


def table(**columns):
    """A dataset of these columns, the patients' ids among them."""
    return datasets.Dataset.from_dict(columns)


TWO_SITES = ["a"] * 60 + ["b"] * 40  # images
OWNERS = [f"p{number // 2}" for number in range(100)]  # two images each: 30 and 20 patients


def test_the_gap_in_findings_by_subgroup_is_that_of_the_groups_own_captions():
    """Of site a, 15 of 60 findings are recovered from real images alone; of site b as many from each."""
    held_out = table(patient_id=OWNERS, site=TWO_SITES, sex=[""] * 100)
    real = pd.DataFrame({"finding_correct": [True] * 100})
    synthetic = pd.DataFrame({"finding_correct": [False] * 15 + [True] * 85})
    found = finding_gap_by_subgroup(held_out, real=real, synthetic=synthetic)
    a, b = found.rows
    assert (a.group, a.patients, a.estimate.n, a.estimate.value) == ("a", 30, 60, -0.25)
    assert a.estimate.ci_low < -0.25 < a.estimate.ci_high < 0
    assert (b.group, b.patients, b.estimate.value) == ("b", 20, 0.0)
    assert found.stated == ["site"]


def test_flagged_images_are_counted_by_the_patient_whom_they_match():
    """By the detector that is most suspicious: 5 of 50 images that match site a are flagged, 40 of 50 of site b."""
    training = table(patient_id=OWNERS, site=TWO_SITES)
    near, far = [*range(50), *range(60, 100), *range(60, 70)], [0] * 100
    matches = Matches(np.tile([0.5, 0.9], (100, 1)), np.stack([near, far], 1))
    flagged = np.arange(100) % 10 == 0
    flagged[50:90] = True
    flagged[90:] = False
    found = flagged_by_subgroup(matches, flagged, np.array([np.nan, np.nan]), training)
    assert [(row.group, row.patients, row.estimate.value) for row in found.rows] == [
        ("a", 25, 0.1),
        ("b", 20, 0.8),
    ]
    assert found.rows[0].estimate.ci_low > 0 and found.rows[1].estimate.ci_high < 1


def test_gains_by_subgroup_are_paired_by_draw_and_patient():
    """Synthetic images help site a in one of two draws; a third draw, of the baseline alone, does not count."""
    sites = np.array(TWO_SITES)
    baseline = np.zeros((3, 100), bool)
    baseline[2] = True
    mixed = np.stack([sites == "a", np.zeros(100, bool)])
    scored = TaskScores({}, {baseline_arm(6): baseline, primary_arm(6): mixed})
    tables = {"ct": table(patient_id=OWNERS, site=TWO_SITES)}
    found = gains_in_tables({"ct": scored}, tables, 6)
    assert [(row.group, row.estimate.n, row.estimate.value) for row in found.rows] == [
        ("a", 60, 0.5),
        ("b", 40, 0.0),
    ]
    tables["fundus"] = table(patient_id=[f"q{name}" for name in OWNERS])
    of_both = gains_in_tables({"ct": scored, "fundus": scored}, tables, 6)
    assert [(row.group, row.patients, row.estimate.value) for row in of_both.rows] == [
        ("unknown", 50, pytest.approx(0.3)),
        ("a", 30, 0.5),
        ("b", 20, 0.0),
    ]


@pytest.mark.parametrize(
    ("stated", "words"),
    [
        ([], "the data state no sex, age group, site, scanner or view"),
        (["sex", "age_group"], "no two groups of sex, age group have 20 patients each"),
    ],
)
def test_where_there_are_no_subgroups_a_line_says_so(tmp_path, capsys, stated, words):
    found = Subgroups("flagged", "proportion", stated, [])
    assert show_subgroups(tmp_path, "01_training", found) is None
    assert capsys.readouterr().out == f"no subgroups: {words}\n"
    assert read_subgroups(tmp_path, "01_training") == found


def test_subgroups_are_shown_with_intervals_and_no_verdict(tmp_path, capsys):
    values, patients, groups = made({"a": 30, "b": 25})
    rows = by_subgroup(values, patients, {"site": groups}, proportion=False)
    shown = show_subgroups(tmp_path, "01_training", Subgroups("gain", "accuracy", ["site"], rows))
    assert capsys.readouterr().out == "gain (accuracy), no verdict\n"
    assert shown["value"].tolist() == [round(row.estimate.value, 3) for row in rows]
    assert (shown["low"] < shown["value"]).all() and (shown["value"] < shown["high"]).all()
