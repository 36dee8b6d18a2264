"""Two runs agree where verdicts and counts are equal and estimates are close; the machine does not matter."""

from pathlib import Path

import pytest

from medisyn_lib.claims import Control, count, make_claim, measure, write_result
from medisyn_lib.compare import compare
from medisyn_lib.errors import InputError
from medisyn_lib.statistics import Estimate


def write(folder: Path, *, value=0.9, passed=True, images=64, seconds=1.0, control=True, extra=()):
    claim = make_claim(
        id="c",
        statement="s",
        source="paper v1",
        rule="r",
        passed=passed,
        primary="accuracy",
        detectable=None,
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
        ({"passed": False}, ["01_training: verdict reproduced / not reproduced"]),
        ({"control": False}, ["01_training: verdict reproduced / not testable here"]),
        ({"extra": (count("more", 1),)}, ["01_training: c: measure more only in the second"]),
    ],
)
def test_differences_are_named(tmp_path: Path, changes, said):
    found = compare(write(tmp_path / "a"), write(tmp_path / "b", **changes))
    assert set(said) <= set(found)


def test_which_control_failed_matters_only_where_a_claim_could_be_tested(tmp_path: Path):
    a, b = (write(tmp_path / name, passed=None, control=control) for name, control in (("a", True), ("b", False)))
    assert compare(a, b) == []
    assert compare(write(tmp_path / "c"), b) != []


def test_a_share_of_few_images_may_move_further(tmp_path: Path):
    """0.8 / sqrt(n) where that is more than 0.05: 0.1 of 64 images, 0.05 of 400."""

    def with_share(name, value, n):
        return write(tmp_path / name, extra=(measure("more", Estimate(value, None, None, n), unit="share"),))

    few, many = with_share("a", 0.5, 64), with_share("b", 0.5, 400)
    assert compare(few, with_share("c", 0.59, 64)) == [] and len(compare(few, with_share("d", 0.61, 64))) == 1
    assert compare(many, with_share("e", 0.54, 400)) == [] and len(compare(many, with_share("f", 0.56, 400))) == 1


def test_relative_tolerance_without_a_known_unit(tmp_path: Path):
    def other(value):
        return (measure("distance", Estimate(value, value - 1, value + 1, 9)),)

    a = write(tmp_path / "a", extra=other(100.0))
    assert compare(a, write(tmp_path / "b", extra=other(109.0))) == []
    assert len(compare(a, write(tmp_path / "c", extra=other(120.0)))) == 3


def test_missing_result_is_a_difference_and_an_empty_folder_is_bad_input(tmp_path: Path):
    a, b = write(tmp_path / "a"), write(tmp_path / "b")
    (a / "results" / "01_training.json").rename(a / "results" / "02_quality.json")
    assert compare(a, b) == ["result 01_training only in the second", "result 02_quality only in the first"]
    with pytest.raises(InputError, match=r"holds no NN_name\.json"):
        compare(a, tmp_path / "none")
