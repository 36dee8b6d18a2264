"""Artifacts: what their key follows from, that each is made once, and arrays made block by block."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from medisyn_lib import errors
from medisyn_lib.data.pixels import load_pixels
from medisyn_lib.models.tokens import distinct
from medisyn_lib.pipeline.artifacts import UNKEYED, ArrayArtifact, Artifact, Pixels
from medisyn_lib.pipeline.study import Study
from medisyn_lib.runtime import distributed

MADE: list[str] = []


@dataclass(frozen=True)
class Plan:
    steps: int = 3


@dataclass(frozen=True, eq=False)
class First(Artifact):
    step = "first"
    code = (errors,)
    plan: Plan
    note: str = field(metadata=UNKEYED, kw_only=True, default="")

    def make(self, folder: Path) -> None:
        MADE.append(self.step)
        (folder / "steps.txt").write_text(str(self.plan.steps))


@dataclass(frozen=True, eq=False)
class Second(Artifact):
    step = "second"
    code = ()
    width: int
    first: First

    def make(self, folder: Path) -> None:
        MADE.append(self.step)
        steps = int((self.first.folder / "steps.txt").read_text())
        (folder / "product.txt").write_text(str(self.width * steps))


@dataclass(frozen=True, eq=False)
class Squares(ArrayArtifact):
    step = "squares"
    code = ()
    images: Pixels

    def count(self) -> int:
        return len(self.images.array)

    def block(self, rows: np.ndarray) -> np.ndarray:
        return self.images.array[rows].astype(np.float32) ** 2


@pytest.fixture(autouse=True)
def own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDISYN_STORE", str(tmp_path / "store"))
    MADE.clear()


def test_an_artifact_is_made_once_and_its_upstream_before_it() -> None:
    second = Second(width=4, first=First(Plan()))
    assert (second.folder / "product.txt").read_text() == "12"
    assert Second(width=4, first=First(Plan())).folder == second.folder
    assert MADE == ["first", "second"]


def test_the_key_follows_settings_and_upstream_alone() -> None:
    base = Second(width=4, first=First(Plan())).folder
    assert Second(width=4, first=First(Plan(), note="of no effect")).folder == base
    assert Second(width=5, first=First(Plan())).folder != base
    assert Second(width=4, first=First(Plan(steps=4))).folder != base
    artifact = Second(width=4, first=First(Plan()))
    assert artifact.settings() == {"width": 4} and artifact.upstream() == [artifact.first]
    assert artifact.first.settings() == {"plan": {"steps": 3}}


def test_arrays_are_made_in_blocks_and_known_by_their_bytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(distributed, "BLOCK_ROWS", 3)
    images = np.arange(20, dtype=np.uint8).reshape(10, 2)
    squares = Squares(Pixels(images))
    assert squares.array().tolist() == (images.astype(float) ** 2).tolist()
    assert Squares(Pixels(images.copy())).folder == squares.folder
    assert Squares(Pixels(images[::-1])).folder != squares.folder
    assert Squares(Pixels(images.reshape(5, 4))).folder != squares.folder


def damage_steps(first: First) -> None:
    (first.folder / "steps.txt").write_text("7")


def test_a_damaged_upstream_is_remade_before_what_follows_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Nothing is made from damaged bytes, and what was made from whole ones stands."""
    damage_steps(First(Plan()))
    second = Second(width=4, first=First(Plan()))
    assert (second.folder / "product.txt").read_text() == "12"
    assert "steps.txt was altered; making it anew" in capsys.readouterr().err
    damage_steps(second.first)
    again = Second(width=4, first=First(Plan()))
    assert again.folder == second.folder and (again.first.folder / "steps.txt").read_text() == "3"
    assert "steps.txt was altered; making it anew" in capsys.readouterr().err
    assert MADE == ["first", "first", "second", "first"]


def test_a_damaged_artifact_is_remade_from_a_whole_upstream() -> None:
    folder = Second(width=4, first=First(Plan())).folder
    (folder / "product.txt").unlink()
    assert (Second(width=4, first=First(Plan())).folder / "product.txt").read_text() == "12"
    assert MADE == ["first", "second", "second"]


def test_studies_share_artifacts_of_one_store_and_none_of_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def autoencoder_of(store: str) -> Path:
        monkeypatch.setenv("MEDISYN_STORE", str(tmp_path / store))
        study = Study("tiny", "phantom")
        assert study.autoencoder is study.autoencoder is study.latents.autoencoder
        return study.autoencoder.folder

    one, other = autoencoder_of("one"), autoencoder_of("other")
    assert one.parent == tmp_path / "one" and other.parent == tmp_path / "other"
    assert one.name == other.name and (other / "vae").is_dir()
    assert autoencoder_of("one") == one
    changed = Study("tiny", "phantom", autoencoder_from_scratch=True).autoencoder
    assert changed.settings() != Study("tiny", "phantom").autoencoder.settings()


def test_a_study_asks_for_each_artifact_once() -> None:
    study = Study("tiny", "phantom")
    assert study.classifier() is study.classifier("evaluator", seed=0)
    assert study.denoiser("fundus", seed=1) is study.denoiser("fundus", seed=1)
    assert study.denoiser().latents is study.generator().denoiser.latents is study.latents
    assert study.denoiser("fundus") is not study.denoiser("fundus", long=True)
    assert Study("tiny", "phantom").latents is not study.latents


def test_images_of_a_set_are_decoded_once_and_mapped() -> None:
    images = Study("tiny", "phantom").image_set("test")
    pixels = images.pixels()
    assert isinstance(pixels, np.memmap) and pixels.dtype == np.uint8
    assert (pixels == load_pixels(images.load())).all()
    assert (images.pixels(np.array([3, 1])) == pixels[[3, 1]]).all()


def test_captions_are_numbered_as_numpy_numbers_them() -> None:
    images = Study("tiny", "phantom").image_set("test")
    unique, number = distinct(images.stream("caption"))
    expected, places = np.unique(images.column("caption"), return_inverse=True)
    assert unique == expected.tolist() and (number == places).all() and number.dtype == np.int64
    assert distinct([]).unique == []
