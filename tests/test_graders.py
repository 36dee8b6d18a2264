"""Simulated graders: the ICDR rule, what each mode of error does, correlation as set, skill, quality."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from medisyn_lib.evaluation import agreement, graders
from medisyn_lib.phantoms import draw
from medisyn_lib.phantoms.fundus import GRADES, icdr_grade

PANEL = graders.Panel("grader", 3)
NONE = (0.0, 0.0, 0.0, 0.0)


def lesions(n: int = 1, **given: int | float | bool) -> graders.Lesions:
    """n images of a healthy eye but for what is given, in a photograph of mean quality."""
    names = "microaneurysms haemorrhages exudates cotton_wool beading irma extensive growth poor".split()
    return {name: np.full(n, given.get(name, 0)) for name in names}


def many(n: int = 2000) -> graders.Lesions:
    """Mild eyes of mean quality, all alike: every difference between graders is an error of theirs."""
    return lesions(n, microaneurysms=8) | {"poor": np.zeros(n)}


def test_the_grade_is_that_of_the_icdr_rule() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        counts = rng.integers(0, 3, 6) * (rng.random(6) < 0.4)
        blood = rng.integers(0, 30, 4) * (rng.random() < 0.5)
        growth = bool(rng.random() < 0.2)
        dots, exudates, wool, beading, irma = (int(count) for count in counts[:5])
        one = lesions(
            microaneurysms=dots,
            exudates=exudates,
            cotton_wool=wool,
            beading=beading,
            irma=irma,
            growth=growth,
        )
        one |= {"haemorrhages": np.array([blood.sum()]), "extensive": np.array([blood.min() > 20])}
        expected = icdr_grade(
            dots, blood.tolist(), beading, irma, growth, exudates=exudates, cotton_wool=wool
        )
        assert graders.grade(one)[0] == expected


def test_lesions_of_phantoms_give_their_grades() -> None:
    drawn = [draw("fundus", seed=3, index=index, size=32)[1] for index in range(0, 90, 3)]
    known = graders.lesions_of([json.dumps(factors) for factors in drawn])
    assert graders.grade(known).tolist() == [factors["grade"] for factors in drawn]
    at = {name: mean + sd for name, mean, sd in graders.QUALITY}  # a spread poorer in both
    assert graders.lesions_of([json.dumps(drawn[0] | at)])["poor"].tolist() == pytest.approx(
        [2**0.5]
    )
    assert abs(known["poor"].mean()) < 0.6 and 0.5 < known["poor"].std() < 1.5


@pytest.mark.parametrize(
    ("mode", "eye", "sees"),
    [
        (0, {"microaneurysms": 3}, 0),
        (0, {"microaneurysms": 3, "haemorrhages": 2}, 2),
        (1, {}, 1),
        (1, {"microaneurysms": 3}, 2),
        (2, {"microaneurysms": 3}, 2),
        (2, {"haemorrhages": 90, "extensive": True}, 2),
        (3, {"irma": 1, "haemorrhages": 4}, 2),
        (3, {"growth": True, "haemorrhages": 4}, 2),
        (3, {"haemorrhages": 3}, 3),
        (3, {"microaneurysms": 3}, 1),
    ],
)
def test_each_mode_errs_as_its_name_says(mode: int, eye: dict[str, int], sees: int) -> None:
    errors = np.zeros((4, 1, 1), bool)
    errors[mode] = True
    assert graders.grade(lesions(**eye), errors)[0, 0] == sees


def test_graders_without_error_grade_rightly_and_are_reproducible() -> None:
    eyes = lesions(50, microaneurysms=3, irma=1)
    read = graders.read(eyes, replace(PANEL, rates=NONE), images=0, graders=1)
    assert (read.grades == graders.grade(eyes)[:, None]).all() and not read.errors.any()
    first, again = (graders.read(eyes, PANEL, images=4, graders=5) for _ in range(2))
    assert (first.grades == again.grades).all() and first.names == [
        "grader 5-1",
        "grader 5-2",
        "grader 5-3",
    ]
    assert (graders.read(eyes, PANEL, images=4, graders=6).errors != first.errors).any()


@pytest.mark.parametrize("correlation", [0.0, 0.4, 0.9])
def test_errors_are_as_often_and_as_correlated_as_set(correlation: float) -> None:
    """Shares of errors, and of errors that two graders make both, are those of a bivariate normal."""
    from scipy.stats import multivariate_normal, norm

    n, rate = 20000, 0.3
    panel = graders.Panel("grader", 2, (rate,) * 4, spread=0.0, correlation=correlation)
    errors = graders.read(lesions(n, microaneurysms=8), panel, images=1, graders=2).errors
    both = multivariate_normal.cdf([norm.ppf(rate)] * 2, cov=[[1, correlation], [correlation, 1]])
    assert errors.mean((1, 2)) == pytest.approx([rate] * 4, abs=4 * (rate * (1 - rate) / n) ** 0.5)
    assert errors.all(2).mean(1) == pytest.approx(
        [both] * 4, abs=4 * (both * (1 - both) / n) ** 0.5
    )


def test_two_panels_share_the_ambiguity_of_an_image() -> None:
    panel = replace(PANEL, rates=(0.3,) * 4, correlation=0.9)
    a, b, c = (
        graders.read(many(), panel, images=i, graders=g).errors[0, :, 0]
        for i, g in ((1, 1), (1, 2), (2, 3))
    )
    assert np.corrcoef(a, b)[0, 1] > 0.5 > 0.1 > abs(np.corrcoef(a, c)[0, 1])


def test_skill_quality_and_few_lesions_decide_how_often() -> None:
    def share(eyes: graders.Lesions, **changes: float) -> float:
        return float(
            graders.read(eyes, replace(PANEL, **changes), images=0, graders=0).errors[0].mean()
        )

    usual = share(many())
    assert share(many(), skill=0.6) < usual < share(many() | {"poor": np.full(2000, 1.5)})
    assert share(many() | {"microaneurysms": np.full(2000, 2)}) > usual


def test_half_as_many_microaneurysms_are_missed_half_a_probit_more_often() -> None:
    panel = replace(PANEL, spread=0.0, size=5)
    for count, probits in ((8, 0.0), (4, 0.5), (16, -0.5)):
        eyes = many(4000) | {"microaneurysms": np.full(4000, count)}
        missed = graders.read(eyes, panel, images=0, graders=0).errors[0].mean()
        assert missed == pytest.approx(norm.cdf(norm.ppf(panel.rates[0]) + probits), abs=0.03)


def test_who_overlooks_more_imagines_less_and_grades_poorer_photographs() -> None:
    panel = replace(PANEL, spread=1.0, size=40)
    read = graders.read(many(400) | {"poor": np.full(400, 1.5)}, panel, images=0, graders=0)
    missed, imagined, refused = (
        read.errors[0].mean(0),
        read.errors[1].mean(0),
        (read.grades < 0).mean(0),
    )
    assert np.corrcoef(missed - imagined, refused)[0, 1] < -0.5


def test_poor_photographs_are_called_ungradable() -> None:
    clear, poor = (
        graders.read(lesions(400, poor=value), PANEL, images=0, graders=0).grades
        for value in (0.0, 2.4)
    )
    assert (clear >= 0).all() and (poor < 0).mean() > 0.5


def test_graders_at_random_agree_at_chance() -> None:
    """99.9% limits, as one seed in a thousand may stray."""
    panel = np.random.default_rng(0).integers(0, len(GRADES), (300, 4))
    found = agreement.interval(agreement.fleiss_kappas(panel, len(GRADES)), 300, 0.999)
    assert (
        found.ci_low is not None and found.ci_high is not None and found.ci_low < 0 < found.ci_high
    )
