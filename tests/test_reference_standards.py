"""Reference standards: rules by hand, adjudication towards the truth, calibration, tuning, real tables, bad input."""

from __future__ import annotations

import csv
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medisyn_lib.errors import InputError
from medisyn_lib.evaluation import agreement, graders, reference_standards
from medisyn_lib.phantoms.fundus import GRADES, draw_patient
from medisyn_lib.statistics.estimates import Estimate
from medisyn_lib.statistics.intervals import paired_difference
from medisyn_lib.statistics.jackknife import means

MANY, EXPERTS = graders.Panel("ophthalmologist", 3), graders.Panel("specialist", 3, skill=0.6)
MESSIDOR_COUNTS = (1017, 270, 347, 75, 35)  # by grade; secondary source, see the data card


@cache
def eyes(n: int = 600) -> graders.Lesions:
    """Lesions without photographs: as many eyes of each grade, qualities spread as those of photographs."""
    import json

    rng = np.random.default_rng(11)
    patients = [draw_patient(rng, GRADES[i % 5]) for i in range(n)]
    quality = [
        {"defocus": rng.uniform(0.002, 0.006), "exposure": rng.uniform(0.75, 1.12)}
        for _ in range(n)
    ]
    return graders.lesions_of([json.dumps(p | q) for p, q in zip(patients, quality, strict=True)])


def readings(panel: graders.Panel, seed: int = 0) -> graders.Readings:
    return graders.read(eyes(), panel, images=seed, graders=seed)


def right(reference: reference_standards.Reference) -> np.ndarray:
    return (reference.grades == graders.grade(eyes())).astype(float)


def test_majority_and_median_by_hand() -> None:
    table = [[0, 0, 4], [0, 2, 4], [1, 1, -1], [3, -1, -1], [-1, -1, -1], [0, 4, -1]]
    assert reference_standards.combine(table).tolist() == [0, 2, 1, -1, -1, 0]
    assert reference_standards.combine(table, "median").tolist() == [0, 2, 1, -1, -1, 0]
    assert reference_standards.combine([[0, 0, 1, 2, 3]]).tolist() == [0]
    assert reference_standards.combine([[0, 0, 1, 2, 3]], "median").tolist() == [1]
    assert reference_standards.combine([[0, np.nan, 0, 2]]).tolist() == [0]


def test_graders_without_error_need_no_adjudication() -> None:
    perfect = readings(replace(MANY, rates=(0.0,) * 4))
    for reference in (
        reference_standards.independent(perfect),
        reference_standards.adjudicate(perfect, seed=0),
    ):
        graded = reference.grades >= 0
        assert (reference.grades[graded] == graders.grade(eyes())[graded]).all()
        assert (reference.readings == 3).all() and not reference.open.any()


def test_a_panel_knows_its_makers_and_can_leave_one_out() -> None:
    read = readings(MANY)
    whole = reference_standards.independent(read)
    part = reference_standards.independent(
        replace(read, names=read.names[1:], grades=read.grades[:, 1:])
    )
    assert whole.makers - part.makers == {read.names[0]} and (part.readings == 2).all()
    patients, own = np.arange(600) // 3, frozenset([read.names[0]])
    assert np.isfinite(reference_standards.judged(read.grades[:, 0], own, part, patients)[0])
    with pytest.raises(InputError, match="'ophthalmologist 0-1' helped to make it"):
        reference_standards.judged(read.grades[:, 0], own, whole, patients)


def test_adjudication_moves_the_reference_towards_the_truth_where_errors_are_shared() -> None:
    """Against the majority of the very same readings; the lower limit counts, over three panels each."""
    shared = replace(EXPERTS, correlation=0.6, rates=(0.4, 0.2, 0.2, 0.2))
    for seed in range(3):
        read = readings(shared, seed)
        found = paired_difference(
            right(reference_standards.adjudicate(read, seed=seed)),
            right(reference_standards.independent(read)),
            np.arange(600),
        )
        assert found.ci_low is not None and found.ci_low > 0


def test_the_rubric_saves_reviews_and_consensus_is_consensus() -> None:
    read = readings(replace(EXPERTS, rates=(0.4, 0.2, 0.2, 0.2)))
    with_rubric, without = (
        reference_standards.adjudicate(read, seed=1, rubric=rubric) for rubric in (True, False)
    )
    assert with_rubric.readings.mean() < without.readings.mean()
    assert with_rubric.open.mean() < without.open.mean() < 0.2
    assert without.readings.max() <= 3 + 3 * reference_standards.REVIEWS
    split = (
        reference_standards.graders.grade(eyes(), read.errors)
        != graders.grade(eyes(), read.errors)[:, :1]
    ).any(1)
    assert (with_rubric.readings[~split] == 3).all() and (
        with_rubric.readings[split & (with_rubric.grades >= 0)] > 3
    ).all()


def test_a_majority_in_error_alike_stays_where_nobody_sees_it() -> None:
    """No disagreement, no discussion: adjudication cannot mend what all see wrongly."""
    read = readings(MANY)
    blind = np.zeros_like(read.errors)
    blind[0] = True
    reference = reference_standards.adjudicate(replace(read, errors=blind), seed=0)
    mild = (graders.grade(eyes()) == 1) & (reference.grades >= 0)
    assert (reference.grades[mild] == 0).all() and (reference.readings == 3).all()


def test_the_cause_of_a_difference_by_hand() -> None:
    read = readings(replace(MANY, rates=(0.0,) * 4))
    odd = eyes()["microaneurysms"] % 2 == 1  # where an artifact passes for an exudate
    mild = np.flatnonzero(
        (graders.grade(eyes()) == 1) & odd & (reference_standards.combine(read.grades) >= 0)
    )
    errors = read.errors.copy()
    errors[0, mild[0], :2] = errors[1, mild[1]] = True
    seen = replace(read, errors=errors, grades=graders.grade(eyes(), errors))
    truth = reference_standards.Reference(
        graders.grade(eyes()), np.full(600, 3), frozenset(), np.zeros(600, bool)
    )
    cause = reference_standards.causes([seen], reference_standards.independent(seen), truth)
    assert cause[mild[:2]].tolist() == [0, 1] and (np.delete(cause, mild[:2]) == -1).all()


def test_calibration_reaches_the_published_shares() -> None:
    """On the draws of graders that it used; others stray by their own luck."""
    many, experts = reference_standards.calibrate(eyes(), (MANY, EXPERTS))
    assert many.rates == experts.rates and experts.skill == EXPERTS.skill
    found = reference_standards.discrepancies(eyes(), (many, experts), range(16))
    share = np.array([np.mean(found == mode) for mode in range(4)])
    assert share.sum() == pytest.approx(reference_standards.DISCREPANT, abs=0.01)
    assert share / share.sum() == pytest.approx(reference_standards.SHARES, abs=0.02)


def test_tuning_recovers_what_the_logits_hold() -> None:
    rng, truth = np.random.default_rng(0), np.arange(500) % 5
    logits = np.eye(5)[truth] * 6 + rng.normal(0, 1, (500, 5))
    labels = np.where(rng.random(500) < 0.1, -1, truth)
    chance, grade = reference_standards.tune(logits[:250], labels[:250])(logits[250:])
    assert (grade == truth[250:]).mean() > 0.97 and chance.shape == (250, 4)
    assert (
        np.diff(chance, axis=1) <= 1e-12
    ).all()  # grade 2 or worse is never likelier than grade 1 or worse
    shuffled = reference_standards.tune(logits[:250], rng.permutation(truth[:250]))(logits[250:])[1]
    assert (shuffled == truth[250:]).mean() < 0.5


def test_two_grades_are_enough_to_tune() -> None:
    truth = np.arange(40) % 2 * 3
    chance, grade = reference_standards.tune(np.eye(5)[truth], truth)(np.eye(5)[[0, 3]])
    assert grade.tolist() == [0, 3] and (chance[1, :3] > 0.5).all() and (chance[:, 3] == 0).all()


def test_tuning_needs_two_grades() -> None:
    with pytest.raises(InputError, match="at least two grades"):
        reference_standards.tune(np.zeros((4, 5)), np.array([2, 2, -1, 2]))


def test_intervals_over_draws_and_patients_cover() -> None:
    """Means with a part of the draw, of the patient and of both: 95% must hold the truth in 93% of 2,000 runs."""
    rng, draws, patients, hit = np.random.default_rng(2), 8, 120, 0
    for _ in range(2000):
        values = (
            rng.normal(0, 1, (draws, 1)) / 4
            + rng.normal(0, 1, patients)
            + rng.normal(0, 2, (draws, patients))
        )
        left = (values.sum(1, keepdims=True) - values) / (patients - 1)
        found = reference_standards.crossed(
            np.concatenate([values.mean(1, keepdims=True), left], 1), patients
        )
        assert found.ci_low is not None and found.ci_high is not None
        hit += found.ci_low <= 0 <= found.ci_high
    assert hit >= 1860


@pytest.mark.full
def test_intervals_of_what_adjudication_changes_cover() -> None:
    """Simulated panels and eyes drawn anew 2,000 times; the truth is the mean of all runs, whose own error is small."""
    pool, rng, n = eyes(3000), np.random.default_rng(5), 200
    found: dict[str, list[Estimate]] = {"share right": [], "kappa": [], "share of a mode": []}
    for run in range(2000):
        chosen = rng.integers(0, 3000, n)
        some = {name: values[chosen] for name, values in pool.items()}
        rows: dict[str, list[np.ndarray]] = {name: [] for name in found}
        for seed in range(8 * run, 8 * run + 8):
            read = [
                graders.read(some, p, images=seed, graders=seed + 10**6 * k)
                for k, p in enumerate((MANY, EXPERTS))
            ]
            a, b, true = (
                reference_standards.independent(read[0]),
                reference_standards.adjudicate(read[1], seed=seed),
                graders.grade(some),
            )
            rows["share right"].append(means((b.grades == true) * 1.0 - (a.grades == true)))
            rows["kappa"].append(
                agreement.kappas(b.grades, true, 5) - agreement.kappas(a.grades, true, 5)
            )
            cause = reference_standards.causes(read, a, b)
            rows["share of a mode"].append(means(cause == 0, None, cause >= 0))
        for name, table in rows.items():
            found[name].append(reference_standards.crossed(table, n))
    for name, points in found.items():
        truth = np.mean([point.value for point in points])
        given = [
            point for point in points if point.ci_low is not None and point.ci_high is not None
        ]
        covered = np.mean([point.ci_low <= truth <= point.ci_high for point in given])
        print(name, truth, covered, len(given))
        assert covered >= 0.93 and len(given) >= 1900, name


def test_few_draws_and_equal_ones_have_no_interval() -> None:
    assert reference_standards.crossed(np.random.default_rng(0).random((4, 9)), 8).ci_low is None
    assert reference_standards.crossed(np.zeros((8, 9)), 8).ci_low is None
    assert (
        reference_standards.crossed(np.random.default_rng(0).random((8, 2)), 1).ci_low is None
    )  # one patient


def test_an_interval_over_draws_and_patients_by_hand() -> None:
    """Draws 1, 2, 3, 4, 5: their mean has variance 2.5 / 5; means without either of two patients 3 +- 0.1: 0.01."""
    table = np.arange(1.0, 6)[:, None] + np.array([0.0, 0.1, -0.1])
    table[:2, 1:] += np.array([[1.0], [-1.0]])  # in two draws patients weigh more, which evens out
    found = reference_standards.crossed(table, 2)
    assert found.value == 3 and found.ci_high - 3 == pytest.approx(2.776445 * 0.51**0.5, rel=1e-5)


def test_images_that_most_call_ungradable_have_no_reference() -> None:
    dark = {name: values[:40] for name, values in eyes().items()} | {"poor": np.full(40, 4.0)}
    read = graders.read(dark, EXPERTS, images=0, graders=0)
    assert (
        set(reference_standards.adjudicate(read, seed=0).grades)
        == set(reference_standards.independent(read).grades)
        == {-1}
    )


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
    table = reference_standards.read_grades(written(tmp_path / "m.csv", header, *rows))
    assert (
        len(table) == 1748
        and table["gradable"].sum() == 1744
        and set(table["grader"]) == {"adjudicated"}
    )
    assert table["grade"].value_counts().sort_index().tolist() == list(MESSIDOR_COUNTS)


def test_a_table_of_graders_works_without_images(tmp_path: Path) -> None:
    rows = ["a,x,0,1", "a,y,1,1", "b,x,2,1", "b,y,2,1", "c,x,,0", "c,y,3,1"]
    table = reference_standards.read_grades(
        written(tmp_path / "g.csv", "image,grader,grade,gradable", *rows)
    )
    wide = table.pivot(index="image", columns="grader", values="grade")
    assert wide.shape == (3, 2) and np.isnan(wide.loc["c", "x"])
    assert agreement.kappas(wide["x"], wide["y"], 5)[0] > 0
    plain = reference_standards.read_grades(
        written(tmp_path / "p.csv", "image,grader,grade", "a,x,0")
    )
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
        reference_standards.read_grades(written(tmp_path / "bad.csv", header, *rows))


def test_a_file_that_is_no_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe\x00\x01")
    for path in (tmp_path / "none.csv", tmp_path / "b.csv"):
        with pytest.raises(InputError, match="cannot be read as CSV"):
            reference_standards.read_grades(str(path))


def test_grades_of_npz_and_folder_sources(tmp_path: Path) -> None:
    """Fundus images of either source carry their grade; other modalities have none."""
    picture = np.zeros((10, 16, 16, 3), np.uint8)
    arrays = {f"{split}_images": picture for split in ("train", "val", "test")}
    arrays |= {f"{split}_labels": np.arange(10) % 5 for split in ("train", "val", "test")}
    (tmp_path / "npz").mkdir()
    np.savez(tmp_path / "npz" / "fundus.npz", **arrays, class_names=np.array(list("01234")))
    np.savez(tmp_path / "npz" / "ct.npz", **arrays, class_names=np.array(list("abcde")))
    table = reference_standards.read_grades(f"npz:{tmp_path / 'npz'}")
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
    assert reference_standards.read_grades(f"folder:{folder}")["grade"].tolist() == [
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
