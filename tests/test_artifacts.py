"""Artifacts: what their key follows from, that each is made once, and arrays made block by block."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from medisyn_lib import errors
from medisyn_lib.pipeline.artifacts import UNKEYED, ArrayArtifact, Artifact, Pixels
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
