"""Reference standards: rules by hand, adjudication towards the truth, why they differ, calibration."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from medisyn_lib.errors import InputError
from medisyn_lib.evaluation import graders, reference_standards
from medisyn_lib.evaluation.grading import discrepancies
from medisyn_lib.phantoms.fundus import GRADES, draw_patient
from medisyn_lib.statistics.intervals import paired_difference

MANY, EXPERTS = graders.Panel("ophthalmologist", 3), graders.Panel("specialist", 3, skill=0.6)


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
        assert (reference.readings == 3).all() and not reference.unresolved.any()


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
    assert with_rubric.unresolved.mean() < without.unresolved.mean() < 0.2
    assert without.readings.max() <= 3 + 3 * reference_standards.MAX_REVIEWS
    split = (graders.grade(eyes(), read.errors) != graders.grade(eyes(), read.errors)[:, :1]).any(1)
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
    cause = discrepancies.causes([seen], reference_standards.independent(seen), truth)
    assert cause[mild[:2]].tolist() == [0, 1] and (np.delete(cause, mild[:2]) == -1).all()


def test_calibration_reaches_the_published_shares() -> None:
    """On the draws of graders that it used; others stray by their own luck."""
    many, experts = discrepancies.calibrate(eyes(), graders.PanelPair(MANY, EXPERTS))
    assert many.rates == experts.rates and experts.skill == EXPERTS.skill
    found = discrepancies.discrepancies(eyes(), graders.PanelPair(many, experts), range(16))
    share = np.array([np.mean(found == mode) for mode in range(4)])
    assert share.sum() == pytest.approx(discrepancies.DISCREPANT, abs=0.01)
    assert share / share.sum() == pytest.approx(discrepancies.MODE_PROPORTIONS, abs=0.02)


def test_images_that_most_call_ungradable_have_no_reference() -> None:
    dark = {name: values[:40] for name, values in eyes().items()} | {"poor": np.full(40, 4.0)}
    read = graders.read(dark, EXPERTS, images=0, graders=0)
    assert (
        set(reference_standards.adjudicate(read, seed=0).grades)
        == set(reference_standards.independent(read).grades)
        == {-1}
    )
