"""Notebooks 02 and 03: images paired by prompt and seed, the frozen pilot, and controls that fail when broken."""

from __future__ import annotations

import ast
import json
import math
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest

from medisyn_lib.claims import pilot
from medisyn_lib.claims.claim import Claim, judge, make_claim, measure
from medisyn_lib.claims.pilot import PILOT, load_pilot, primary_measure
from medisyn_lib.errors import InputError
from medisyn_lib.evaluation.fidelity import frechet_distance, kernel_distance
from medisyn_lib.models import encoders
from medisyn_lib.pipeline import paired_samples, samples
from medisyn_lib.pipeline.denoisers import denoiser_entry
from medisyn_lib.pipeline.features import cached_features
from medisyn_lib.pipeline.paired_samples import (
    SEEDS_APART,
    evaluation_splits,
    rows_of,
    sample_modalities,
)
from medisyn_lib.pipeline.study import Study
from medisyn_lib.statistics.estimates import Estimate
from medisyn_lib.statistics.noninferiority import Contrast

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"


def definitions(name: str, **known: Any) -> dict[str, Any]:
    """The imports and functions of a notebook, with these names for what its other cells would have made."""
    tree = ast.parse((NOTEBOOKS / f"{name}.py").read_text())
    tree.body = [
        node
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef)
    ]
    space: dict[str, Any] = {}
    exec(compile(tree, name, "exec"), space)  # noqa: S102
    space.update(known)
    return space


@pytest.fixture(scope="module")
def asked() -> datasets.Dataset:
    (deal,) = evaluation_splits(Study("tiny", "phantom"))
    return deal


def test_deals_are_the_test_images_by_modality(asked: datasets.Dataset) -> None:
    quick = Study("quick", "phantom")
    assert (
        evaluation_splits(quick)[0]["image_id"][:] == quick.images("test")["image_id"][:]
    )  # notebook 01's samples serve
    assert rows_of(asked, "fundus").tolist() == list(range(48, 60))
    assert rows_of(asked, "fundus", 2).tolist() == [48, 49]


def test_a_missing_modality_and_its_specialist_are_refused(asked: datasets.Dataset) -> None:
    with pytest.raises(
        InputError, match=r"modality 'x_ray': no held-out image; choose among .*'fundus'"
    ):
        rows_of(asked, "x_ray")
    with pytest.raises(InputError, match="specialist for 'x_ray': the data have no such images"):
        denoiser_entry(Study("tiny", "phantom"), "x_ray")


def test_each_seed_has_other_images_where_there_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    table = datasets.Dataset.from_dict(
        {"modality": ["a", "b"] * 5 + ["b"] * 2, "image_id": list(range(12))}
    )
    monkeypatch.setattr(
        paired_samples.data, "load", lambda *_, **how: table if how["per_modality"] == 6 else None
    )
    study = Study("full", "phantom")  # three seeds
    deals = [deal["image_id"] for deal in evaluation_splits(study, n=2)]
    # Five images of a: the third deal begins anew. Seven of b.
    assert [list(deal) for deal in deals] == [[0, 2, 1, 3], [4, 6, 5, 7], [0, 8, 9, 10]]


def test_a_rows_place_is_its_seed(
    asked: datasets.Dataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def entry(generator: str, prompts: list[str], *, seeds: list[int]) -> np.ndarray:
        words = [sum(map(ord, prompt)) for prompt in prompts]
        return np.stack([words, seeds], 1)

    monkeypatch.setattr(samples, "samples_entry", entry)
    monkeypatch.setattr(samples, "load_samples", lambda found, side: found if side == 64 else None)
    names = ["histopathology", "fundus"]
    whole, own = (sample_modalities("g", asked, names, 2, 5, whole=flag) for flag in (True, False))
    assert list(own) == names and all((whole[name] == own[name]).all() for name in names)
    assert own["fundus"][:, 1].tolist() == [2 * SEEDS_APART + 48 + k for k in range(5)]


def test_features_are_kept_and_know_their_encoder(
    asked: datasets.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = paired_samples.data.pixels(asked, [0, 1, 48])
    found = cached_features(pixels)
    assert found.encoder == "efflite0" and found.values == pytest.approx(
        encoders.features(pixels).values, abs=1e-5
    )
    monkeypatch.setattr(encoders, "features", None)
    assert (cached_features(pixels).values == found.values).all()


def test_the_pilot_is_read_by_profile_and_data(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from safetensors.numpy import save_file

    axes = np.linalg.qr(np.random.default_rng(0).normal(size=(16, 2)))[0].astype(np.float32)
    run = {"primary": "FD_pc", "margins": {"ct": 0.1}}
    (tmp_path / "pilot.json").write_text(json.dumps({"runs": {"tiny-phantom": run}}))
    save_file({"tiny-phantom": np.ascontiguousarray(axes)}, tmp_path / "pilot.safetensors")
    monkeypatch.setattr(pilot, "PILOT", tmp_path / "pilot.json")
    assert load_pilot(Study("quick", "phantom")) == {}
    frozen = load_pilot(Study("tiny", "phantom"))
    assert frozen["margins"] == {"ct": 0.1} and (frozen["axes"] == axes).all()
    a, b = np.random.default_rng(1).normal(size=(2, 40, 16))
    within = frechet_distance(real=a @ axes, synthetic=b @ axes)
    assert primary_measure(frozen)(real=a, synthetic=b) == pytest.approx(within)
    assert primary_measure({}) is kernel_distance


def test_the_frozen_margins_are_a_fifth_of_what_was_surely_seen() -> None:
    runs = json.loads(PILOT.read_text())["runs"]
    assert runs
    for run in runs.values():
        assert run["primary"] in ("KID", "FD_pc") and run["encoder"] == "efflite0"
        for name, margin in run["margins"].items():
            low = run["effects"][name][1]
            assert margin == (None if low is None or low <= 0 else pytest.approx(low / 5, abs=1e-4))


# Notebook 02: simulated features of three modalities, further from the real ones the worse the side.
NAMES = ("a", "b", "c")
AWAY = {
    "real": 0.0,
    "other patients": 0.0,
    "blurred": 1.5,
    "generalist": 1.0,
    "specialist": 1.0,
    "half the steps": 1.3,
}


def quality_notebook(n: int = 300, seeds: int = 1, **away: float) -> dict[str, Any]:
    """Notebook 02's functions over simulated features, some sides moved."""
    rng = np.random.default_rng(0)
    sides = AWAY | {name.replace("_", " "): value for name, value in away.items()}
    features = {
        (side, name, turn): rng.normal(size=(n, 16)) + shift
        for side, shift in sides.items()
        for name in NAMES
        for turn in range(seeds)
    }
    people = {(name, turn): np.arange(n) // 3 for name in NAMES for turn in range(seeds)}
    margins = dict.fromkeys(NAMES, 0.6)
    return definitions(
        "02_quality", names=NAMES, features=features, people=people, primary=kernel_distance, margins=margins,
        primary_name="log_ratio_KID", rule="a rule",
    )  # fmt: skip


def verdict_02(notebook: dict[str, Any], seeds: int = 1) -> Claim:
    halved, blurred = (
        notebook["effects"]("half the steps", "generalist", 1),
        notebook["effects"]("blurred", "other patients", 1, ratio=False),
    )
    notebook["checks"] = notebook["controls"](halved, blurred, notebook["floors"]())
    return notebook["judge"](
        "equal exposure", notebook["effects"]("generalist", "specialist", seeds)
    )


def test_02_reproduces_equality_and_sees_a_worse_generalist() -> None:
    assert verdict_02(quality_notebook()).verdict == "reproduced"
    worse = verdict_02(quality_notebook(generalist=1.5, half_the_steps=1.9))
    assert worse.verdict == "not reproduced" and worse.measures[0].ci_low > 0.6
    small = verdict_02(quality_notebook(n=30))
    assert small.verdict == "not testable here" and small.detectable > 0.05


@pytest.mark.parametrize(
    "broken, control",
    [
        ({"half_the_steps": 1.0}, "half_the_steps"),
        ({"blurred": 0.0}, "blur"),
        ({"other_patients": 0.5}, "real_against_real"),
    ],
)
def test_02_a_broken_control_voids_the_verdict(broken: dict[str, float], control: str) -> None:
    claim = verdict_02(quality_notebook(**broken))
    assert [c.name for c in claim.controls if not c.passed] == [control]
    assert claim.verdict == "not testable here"


def test_02_a_budget_without_specialists_is_not_testable() -> None:
    notebook = quality_notebook()
    verdict_02(notebook)
    claim = notebook["judge"]("own best", {})
    assert (
        claim.verdict == "not testable here" and claim.measures[0].n == 0 and claim.id == "own-best"
    )


def test_02_an_encoder_that_sees_nothing_voids_the_verdict() -> None:
    """Constant features: no distance anywhere, so neither half the steps nor blur is seen."""
    notebook = quality_notebook()
    notebook["features"].update(
        {key: np.ones_like(rows) for key, rows in notebook["features"].items()}
    )
    claim = verdict_02(notebook)
    assert claim.verdict == "not testable here" and not any(c.passed for c in claim.controls)
    assert claim.measures[0].value is None and claim.detectable is None


def test_02_pooled_holds_the_spread_over_seeds() -> None:
    pooled = definitions("02_quality")["pooled"]
    rows: dict[str, Contrast] = {k: ([0.1, 0.2, 0.3], 1e-12, 19, 50) for k in "ab"}
    one = pooled(rows)
    assert one.value == pytest.approx(0.2) and one.n == 100
    assert one.ci_high - one.value == pytest.approx(
        4.303 * 0.1 / 3**0.5, rel=1e-3
    )  # t of 2 degrees of freedom
    assert pooled({}) == Estimate(None, None, None, 0)


# Notebook 03: distances that fall with compute as planted.
STEPS = (1, 2, 4, 8)


def compute_notebook(
    curve: tuple[float, ...] = (2.0, 1.5, 1.0, 0.7), own: float = 1.0, n: int = 300
) -> dict[str, Any]:
    """Notebook 03's functions over simulated features: shifts of checkpoints, and of the specialist."""
    rng = np.random.default_rng(1)
    shifts = np.array([0.0, *curve, own])[None, :, None]
    features = {(name, 0): rng.normal(size=(n, len(curve) + 2, 16)) + shifts for name in NAMES}
    people = {(name, 0): np.arange(n) // 3 for name in NAMES}
    return definitions(
        "03_compute_efficiency", names=NAMES, features=features, people=people, seeds=(0,), few=n, steps=STEPS,
        spent=[10.0 * step for step in STEPS], own_cost=dict.fromkeys(NAMES, 8.0), present=dict.fromkeys(range(10), ""),
        plan=type("Plan", (), {"steps": STEPS[-1]}),
    )  # fmt: skip


def test_03_the_saving_is_the_suites_cost_over_the_generalists() -> None:
    """Ten specialists of 8 against a generalist that is as good after 4 steps of 10."""
    notebook = compute_notebook()
    found = notebook["saving"]()
    assert (
        math.exp(found.value) == pytest.approx(80 / 40, rel=0.15)
        and found.ci_low < found.value < found.ci_high
    )
    shared = notebook["saving"](400.0)
    assert math.exp(shared.value) == pytest.approx(480 / 440, rel=0.03)
    assert compute_notebook(own=0.3)["saving"]().value is None  # never as good as that
    at_once = compute_notebook(own=2.5)
    bound = at_once[
        "saving"
    ]()  # as good at the first checkpoint, whoever is left out: a lower limit alone
    assert math.exp(bound.value) == pytest.approx(8) and (bound.ci_low, bound.ci_high) == (
        bound.value,
        None,
    )
    assert at_once["decide"](bound, math.inf) == (True, True)


def test_03_the_rule() -> None:
    decide = definitions("03_compute_efficiency")["decide"]

    def verdict(low: float, high: float, most: float = math.inf) -> str:
        passed, partly = decide(Estimate(math.log(low), math.log(low), math.log(high), 3), most)
        return judge(passed, partly)

    assert verdict(2.1, 3) == "reproduced" and verdict(1.2, 3) == verdict(1.2, 1.9) == "partly"
    assert (
        verdict(0.8, 1.9) == verdict(0.5, 0.9) == "not reproduced"
        and verdict(0.8, 3) == "not testable here"
    )
    assert (
        verdict(1.2, 1.3, most=1.4) == "not testable here"
    )  # even for nothing it could not save 2
    assert judge(*decide(Estimate(0.3, None, None, 1), math.inf)) == "not testable here"


def test_03_an_encoder_that_sees_nothing_voids_the_verdict() -> None:
    notebook = compute_notebook()
    notebook["features"].update(
        {key: np.ones_like(rows) for key, rows in notebook["features"].items()}
    )
    assert not all(
        c.passed for c in notebook["controls"](notebook["planted"](1), notebook["planted"](10))
    )


def test_03_planted_sharing_is_seen_and_its_absence_is_not() -> None:
    notebook = compute_notebook()
    copies, unshared = notebook["planted"](1), notebook["planted"](10)
    assert all(c.passed for c in notebook["controls"](copies, unshared))
    # Broken on purpose: networks that are not shared where they should be, and the reverse.
    swapped = notebook["controls"](notebook["planted"](10), notebook["planted"](1))
    assert [c.passed for c in swapped] == [False, False]
    rising = compute_notebook(
        curve=(0.7, 1.0, 1.5, 2.0)
    )  # distances that do not fall as the model is trained
    assert not all(
        c.passed for c in rising["controls"](rising["planted"](1), rising["planted"](10))
    )
    voided = make_claim(
        id="c", statement="s", source="p", rule="r", passed=True, primary="m", detectable=None,
        measures=[measure("m", Estimate(2.0, 1.5, 2.5, 3))], controls=swapped,
    )  # fmt: skip
    assert voided.verdict == "not testable here"
