"""What an audit's notebook needs, made ahead by other processes: the same entries of the store, and no process left."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from medisyn_lib.cli.ahead import NOTEBOOK, made_ahead
from medisyn_lib.pipeline.overfitted import overfitted_rows, small_overfitted_denoiser
from medisyn_lib.pipeline.study import Study

SIZE = {"profile": "tiny", "data": "phantom"}


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDISYN_STORE", str(tmp_path))


def test_the_notebook_finds_what_was_made_ahead() -> None:
    with made_ahead([NOTEBOOK], **SIZE, jobs=3) as running:
        assert [process.wait() for process in running] == [0] * len(running)
    assert len(running) == min(2, os.cpu_count() or 1)
    study = Study("tiny", "phantom")
    images = study.image_set("generator")
    copier = small_overfitted_denoiser(study, images, overfitted_rows(images.load()))
    assert copier.is_stored
    if len(running) == 2:
        assert study.transformer_encoder().is_stored


@pytest.mark.parametrize(
    ("notebooks", "jobs"), [([NOTEBOOK], 1), (["01_training"], 3), ([NOTEBOOK, "01_training"], 2)]
)
def test_nothing_is_made_that_is_not_needed_or_has_no_place(
    notebooks: list[str], jobs: int
) -> None:
    with made_ahead(notebooks, **SIZE, jobs=jobs) as running:
        assert running == []


def test_processes_end_with_the_block_whatever_ended_it() -> None:
    with (
        pytest.raises(KeyboardInterrupt),
        made_ahead([NOTEBOOK], profile="cluster", data="phantom", jobs=2) as running,
    ):
        raise KeyboardInterrupt
    assert len(running) == 1 and running[0].returncode not in (None, 0)


def test_bad_data_are_left_to_the_notebook(capfd: pytest.CaptureFixture[str]) -> None:
    with made_ahead([NOTEBOOK], profile="tiny", data="npz:/absent", jobs=2) as running:
        assert running[0].wait() == 1
    assert capfd.readouterr().err == ""
