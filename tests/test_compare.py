"""Two runs agree where verdicts and counts are equal and estimates are close; the machine does not matter."""

from pathlib import Path

import pytest
from made_claims import a_claim

from medisyn_lib.claims.claim import (
    CONTRADICTED,
    DEMONSTRATION,
    EXPLORATORY,
    SUPPORTED,
    Control,
    count,
    measure,
)
from medisyn_lib.claims.results import write_result
from medisyn_lib.errors import InputError
from medisyn_lib.reporting.compare import compare
from medisyn_lib.statistics.estimates import Estimate


def write(
    folder: Path,
    *,
    value=0.9,
    verdict=SUPPORTED,
    images=64,
    seconds=1.0,
    control=True,
    evidence=EXPLORATORY,
    extra=(),
):
    claim = a_claim(
        verdict,
        evidence=evidence,
        primary="accuracy",
        measures=[
            measure("accuracy", Estimate(value, value - 0.05, value + 0.05, 100), unit="share"),
            count("images", images),
            count("time", seconds, kind="machine"),
            *extra,
        ],
        controls=[Control("k", "positive", "high", 0.9, control)],
    )
    write_result(folder / "results" / "01_training.json", {"seconds": seconds}, [claim])
    return folder


def test_agree_within_tolerance_on_any_machine(tmp_path: Path):
    a, b = write(tmp_path / "a"), write(tmp_path / "b", value=0.94, seconds=99.0)
    assert compare(a, b) == [] and compare(a / "results", b) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"value": 0.81}, ["01_training: c: accuracy: value 0.9 / 0.81"]),
        ({"images": 65}, ["01_training: c: images: value 64.0 / 65.0"]),
        ({"verdict": CONTRADICTED}, ["01_training: c: verdict supported / contradicted"]),
        (
            {"control": False},
            [
                "01_training: c: problem None / control failed",
                "01_training: c: control k passed: True / False",
            ],
        ),
        ({"evidence": DEMONSTRATION}, ["01_training: c: evidence exploratory / demonstration"]),
        ({"extra": (count("more", 1),)}, ["01_training: c: measure more only in the second"]),
    ],
)
def test_differences_are_named(tmp_path: Path, changes, said):
    found = compare(write(tmp_path / "a"), write(tmp_path / "b", **changes))
    assert set(said) <= set(found)


def test_of_a_demonstration_neither_problem_nor_controls_matter(tmp_path: Path):
    a, b = (
        write(tmp_path / name, evidence=DEMONSTRATION, control=control)
        for name, control in (("a", True), ("b", False))
    )
    assert compare(a, b) == []
    judged = write(tmp_path / "c"), write(tmp_path / "d", control=False)
    assert compare(*judged) != []


def test_estimates_may_differ_by_what_their_intervals_allow(tmp_path: Path):
    """By the root of the sum of the squared half-widths: 0.14 of twice 0.1; without intervals by the unit's 0.05."""

    def with_share(name, value, half):
        low, high = (None, None) if half is None else (value - half, value + half)
        return write(
            tmp_path / name, extra=(measure("more", Estimate(value, low, high, 64), unit="share"),)
        )

    wide, narrow, bare = (
        with_share("a", 0.5, 0.1),
        with_share("b", 0.5, 0.02),
        with_share("c", 0.5, None),
    )
    assert compare(wide, with_share("d", 0.63, 0.1)) == []
    assert compare(wide, with_share("e", 0.65, 0.1)) == ["01_training: c: more: value 0.5 / 0.65"]
    assert (
        compare(narrow, with_share("f", 0.54, 0.02)) == []
        and compare(narrow, with_share("g", 0.56, 0.02)) != []
    )
    assert (
        compare(bare, with_share("h", 0.54, None)) == []
        and compare(bare, with_share("i", 0.56, None)) != []
    )
    assert "01_training: c: more: ci_low 0.48 / None" in compare(narrow, bare)


def test_a_proportion_of_a_handful_without_an_interval_may_differ_by_chance(tmp_path: Path):
    """Of three, 1.96 / 2 / sqrt(3) = 0.57 each: 0.80 together. Of 64 it is the unit's 0.05."""

    def with_share(name, value, n):
        estimate = Estimate(value, None, None, n)
        return write(tmp_path / name, extra=(measure("more", estimate, unit="share"),))

    assert compare(with_share("a", 1.0, 3), with_share("b", 1 / 3, 3)) == []
    assert compare(with_share("c", 1.0, 3), with_share("d", 0.0, 3)) != []
    assert compare(with_share("e", 1.0, 64), with_share("f", 0.9, 64)) != []


def test_counts_that_models_decide_may_move_and_others_may_not(tmp_path: Path):
    def counted(name, value, unit):
        return write(tmp_path / name, extra=(count("more", value, unit=unit),))

    assert compare(counted("a", 8, "modalities"), counted("b", 7, "modalities")) == []
    assert compare(counted("c", 8, "modalities"), counted("d", 5, "modalities")) != []
    assert compare(counted("e", 0.01, "p"), counted("f", 0.9, "p")) == []
    assert compare(counted("g", 8, "images"), counted("h", 7, "images")) != []


def test_a_unit_keeps_its_tolerance_however_the_interval_was_made(tmp_path: Path):
    def ratio(name, value):
        one = measure("more", Estimate(value, None, None, 12), unit="log ratio, simultaneous 95%")
        return write(tmp_path / name, extra=(one,))

    assert compare(ratio("a", 0.0), ratio("b", 0.15)) == []
    assert compare(ratio("c", 0.0), ratio("d", 0.25)) != []


def test_relative_tolerance_without_a_known_unit(tmp_path: Path):
    def other(value):
        return (measure("distance", Estimate(value, value - 1, value + 1, 9)),)

    a = write(tmp_path / "a", extra=other(100.0))
    assert compare(a, write(tmp_path / "b", extra=other(109.0))) == []
    assert compare(a, write(tmp_path / "c", extra=other(120.0))) == [
        "01_training: c: distance: value 100.0 / 120.0"
    ]
    assert len(compare(a, write(tmp_path / "d", extra=other(130.0)))) == 3


def test_a_gain_without_an_interval_may_differ_by_chance(tmp_path: Path):
    """Of 96 images, 1.96 / 2 / sqrt(96) = 0.100 each: 0.141 together."""

    def gain(name, value):
        return write(
            tmp_path / name, extra=(measure("gain", Estimate(value, None, None, 96), unit="AUROC"),)
        )

    a = gain("a", 0.010)
    assert compare(a, gain("b", -0.130)) == []
    assert compare(a, gain("c", 0.155)) == ["01_training: c: gain: value 0.01 / 0.155"]


def test_missing_result_is_a_difference_and_an_empty_folder_is_bad_input(tmp_path: Path):
    a, b = write(tmp_path / "a"), write(tmp_path / "b")
    (a / "results" / "01_training.json").rename(a / "results" / "02_quality.json")
    assert compare(a, b) == [
        "result 01_training only in the second",
        "result 02_quality only in the first",
    ]
    with pytest.raises(InputError, match=r"holds no NN_name\.json"):
        compare(a, tmp_path / "none")
