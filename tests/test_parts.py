"""Parts: read from the store or the checkout without what they were measured on; a study that goes on elsewhere."""

from __future__ import annotations

import json
import runpy
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from medisyn_lib import errors, profiles
from medisyn_lib.claims.claim import Claim
from medisyn_lib.claims.results import read_result
from medisyn_lib.cli.keep import keep
from medisyn_lib.cli.main import main
from medisyn_lib.evaluation.study_steps import study_steps
from medisyn_lib.pipeline import parts
from medisyn_lib.pipeline.artifacts import Artifact
from medisyn_lib.pipeline.parts import Part, copying_parts, parts_folder, stale_parts
from medisyn_lib.pipeline.study import Study
from medisyn_lib.runtime.paths import store_dir

ROOT = Path(__file__).resolve().parents[1]
MADE: list[str] = []


@dataclass(frozen=True, eq=False)
class Weights(Artifact):
    step = "weights"
    code = (errors,)
    steps: int

    def make(self, folder: Path) -> None:
        MADE.append("weights")
        (folder / "weights.txt").write_text(str(self.steps))


@dataclass(frozen=True, eq=False)
class Score(Part):
    step = "score"
    code = ()
    weights: tuple[Weights, ...]

    def measure(self) -> list[int]:
        MADE.append("score")
        return [int((one.folder / "weights.txt").read_text()) for one in self.weights]


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDISYN_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("MEDISYN_ROOT", str(tmp_path / "checkout"))
    MADE.clear()


def score(*steps: int) -> Score:
    return Score(tuple(Weights(one) for one in steps or (3, 4)))


def lose_the_store() -> None:
    shutil.rmtree(store_dir())
    MADE.clear()


def test_a_part_in_the_checkout_makes_nothing_it_was_measured_on() -> None:
    assert not score().is_stored
    with copying_parts(parts_folder("a-run")):
        assert score().value == [3, 4] and MADE == ["weights", "weights", "score"]
    lose_the_store()
    assert score().is_stored and score().value == [3, 4] and not MADE
    assert score(3, 5).value == [3, 5] and MADE == ["weights", "weights", "score"]


def test_a_part_in_the_store_needs_no_weights_either() -> None:
    assert score().value == [3, 4]
    for one in score().weights:
        shutil.rmtree(one.folder)
    MADE.clear()
    assert score().value == [3, 4] and not MADE


def test_a_part_of_other_code_is_named_with_the_module_that_changed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = parts_folder("a-run")
    with copying_parts(folder):
        assert score().value == [3, 4]
    assert stale_parts(folder, [score()]) == {}
    assert stale_parts(folder, [score(5)]) == {score().name: []}  # settings changed, no code
    (file,) = folder.glob("*.json")
    content = json.loads(file.read_text())
    content["modules"] = dict.fromkeys(content["modules"], "before")
    file.rename(file.with_stem("score-of-before")).write_text(json.dumps(content))
    assert stale_parts(folder, [score()]) == {"score-of-before": ["medisyn_lib.errors"]}


def test_a_part_too_large_for_a_checkout_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "LARGEST", 10)
    with copying_parts(parts_folder("a-run")), pytest.raises(ValueError, match="a checkout holds"):
        _ = score().value


def test_a_damaged_part_is_refused_by_name() -> None:
    folder = parts_folder("a-run")
    with copying_parts(folder):
        assert score().value == [3, 4]
    lose_the_store()
    (file,) = folder.glob("*.json")
    file.write_text(file.read_text()[:40])
    with pytest.raises(errors.InputError, match=r"part .*score-.*\.json: damaged"):
        _ = score().value


def test_keep_refuses_a_seed_that_the_profile_does_not_have(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["keep", "--profile", "tiny", "--seeds", "0", "7"]) == 2
    assert "--seeds 7: profile 'tiny' has 0" in capsys.readouterr().err


# Two training seeds; a specialist, also a long one; an eleventh modality.
TWO_SEEDS = replace(profiles.PROFILES["tiny"], seeds=(0, 1))


def claims_of(names: Sequence[str], out: Path) -> list[Claim]:
    """The claims of some notebooks, run here."""
    found = []
    for name in names:
        text = (ROOT / "notebooks" / f"{name}.py").read_text()
        text = text.replace('profile: str = "quick"', 'profile: str = "tiny"')
        text = text.replace('out: str = ""', f"out: str = {str(out)!r}")
        out.mkdir(exist_ok=True)
        (out / f"{name}.py").write_text(text)
        runpy.run_path(str(out / f"{name}.py"))
        found += read_result(out / "results" / f"{name}.json").claims
    return found


def measured(claims: Sequence[Claim]) -> list[Claim]:
    """Claims without what a machine took."""
    return [
        replace(one, measures=[m for m in one.measures if m.kind != "machine"]) for one in claims
    ]


@pytest.mark.runs
@pytest.mark.timeout(3000)
def test_a_bare_machine_goes_on_from_the_parts_of_a_finished_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both seeds are trained and measured, then the store is lost, and of seed 0 the parts too: the same claims."""
    monkeypatch.setitem(profiles.PROFILES, "tiny", TWO_SEEDS)
    notebooks = ("02_quality", "03_compute_efficiency")
    study, folder = Study("tiny", "phantom"), parts_folder("tiny-phantom")
    keep(study, folder, [0, 1], None)
    assert all(step.is_finished for step in study_steps(study))
    stored = {path.name for path in store_dir().glob("*")}
    first = claims_of(notebooks, tmp_path / "first")
    new = {path.name for path in store_dir().glob("*")} - stored
    assert not [name for name in new if name.startswith(("distances", "covered", "fidelity"))]

    lose_the_store()
    of_seed_1 = {
        part.name for step in study_steps(study) if step.seed == 1 for part in step.parts()
    }
    for file in folder.glob("*.json"):
        if file.stem not in of_seed_1:
            file.unlink()
    again = claims_of(notebooks, tmp_path / "again")
    assert measured(again) == measured(first)
    trained = {path.name for path in store_dir().glob("denoiser-*") if path.is_dir()}
    assert study.denoiser(seed=0).name in trained
    assert not {study.denoiser(name, seed=1).name for name in (None, "fundus")} & trained

    lose_the_store()
    study = Study("tiny", "phantom")
    keep(study, folder, [0], 0)  # trains nothing
    assert [step.seed for step in study_steps(study) if step.is_finished] == [1, 1]
