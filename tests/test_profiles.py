"""The sizes of runs: every profile of the table is read, and what does not exist is refused by its name."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from medisyn_lib.cli.options import preflight_compiler
from medisyn_lib.errors import InputError
from medisyn_lib.modalities import MODALITIES
from medisyn_lib.pipeline.study import Study
from medisyn_lib.profiles import GROUPS, PROFILES, TABLE, Profile, parse_profile
from medisyn_lib.runtime.device import accelerator


@pytest.mark.parametrize("name", TABLE)
def test_every_profile_has_its_row_and_else_the_defaults(name: str) -> None:
    profile, row, default = PROFILES[name], TABLE[name], Profile()
    for setting in fields(Profile):
        value = getattr(profile, setting.name)
        if setting.name in GROUPS:
            assert type(value) is GROUPS[setting.name]
            stated = row.get(setting.name, {})
            whole = replace(getattr(default, setting.name), **_tuples(stated))
            assert value == whole
        else:
            stated = _tuples(row)
            assert value == stated.get(setting.name, getattr(default, setting.name))


def _tuples(row: dict) -> dict:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in row.items()}


def test_quick_is_the_defaults() -> None:
    assert PROFILES["quick"] == Profile()


@pytest.mark.skipif(accelerator().device.type != "cpu", reason="compiled on CPUs alone")
def test_full_compiles_its_denoisers_and_says_beforehand_that_it_needs_a_compiler(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert Study("full", "phantom").denoiser("fundus").plan.compiled
    assert not Study("quick", "phantom").denoiser("fundus").plan.compiled
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(InputError, match="'no-such-compiler' is not found"):
        preflight_compiler("full", base="")
    preflight_compiler("full", base="a-folder")
    preflight_compiler("quick", base="")


@pytest.mark.parametrize("name", PROFILES)
def test_specialists_are_modalities_and_long_ones_are_among_them(name: str) -> None:
    profile = PROFILES[name]
    assert set(profile.long_specialists) <= set(profile.specialists) <= set(MODALITIES)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"imagse": 3}, "'imagse' is no setting of Profile"),
        ({"alignment": {"promts": 3}}, "'promts' is no setting of AlignmentSettings"),
        ({"memorization": {"steps": 3}}, "'steps' is no setting of MemorizationSettings"),
        ({"augmentation": {"overfit_steps": 3}}, "'overfit_steps' is no setting of Augmentation"),
        ({"grading": {"n": 3, "images": 5}}, "'n' is no setting of GradingSettings"),
        ({"alignments": {"prompts": 3}}, "'alignments' is no setting of Profile"),
    ],
)
def test_an_unknown_setting_is_refused_by_its_name(row: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_profile(row)


def test_a_role_has_its_number_of_images() -> None:
    profile = Profile(images=3, evaluator_images=5, held_out=7)
    roles = ("first_stage", "generator", "evaluator", "calibration", "test")
    assert [profile.images_of(role) for role in roles] == [3, 3, 5, 7, 7]


@pytest.mark.parametrize("name", ["nonsense", ""])
def test_an_unknown_profile_is_refused_by_name(name: str) -> None:
    with pytest.raises(InputError, match=f"profile '{name}' is unknown: choose one of tiny, quick"):
        Study(name, "phantom")
