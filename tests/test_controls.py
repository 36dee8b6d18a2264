"""Controls of notebooks 05 and 07 over planted inputs: all pass where they should, and each one can fail.

Those of 01, 02, 03, 04 and 06 are broken beside the tests of their measures (test_alignment, test_quality,
test_augmentation). Here the notebooks' own cells are run, as their verdicts are not in functions.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import jupytext
import numpy as np
import pandas as pd
import pytest
from test_reference_standards import EXPERTS, MANY, eyes

from medisyn_lib.claims import claim
from medisyn_lib.claims.claim import Claim, judge
from medisyn_lib.evaluation import graders
from medisyn_lib.statistics.estimates import Estimate

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
NOT_TESTABLE = claim.NOT_TESTABLE


@cache
def code_of(name: str) -> list[str]:
    return [
        cell.source
        for cell in jupytext.read(NOTEBOOKS / f"{name}.py").cells
        if cell.cell_type == "code"
    ]


def run(name: str, space: dict[str, Any], first: str, last: str = "") -> None:
    """Runs the cells of a notebook from the one that holds the line's start `first` to the one that holds `last`."""
    cells = code_of(name)

    def place(text: str) -> int:
        (found,) = [i for i, source in enumerate(cells) if f"\n{text}" in f"\n{source}"]
        return found

    for source in cells[place(first) : place(last or first) + 1]:
        exec(compile(source, name, "exec"), space)  # noqa: S102


def failed(claim: Claim) -> list[str]:
    return [control.name for control in claim.controls if not control.passed]


# Notebook 05: its cells from the controls to the verdict.
def copied(**changes: Any) -> tuple[list[str], str]:
    """Controls of notebook 05 that failed, and the verdict."""
    space: dict[str, Any] = {
        "recall": {kind: Estimate(0.99, 0.97, 1.0, 500) for kind in ("flip", "crop")}, "false": np.arange(1000) < 10,
        "copied": {64: np.ones(64, bool)}, "plan_steps": [64], "few": range(64), "caught_tests": (1e-9, 1e-9, 60),
        "RATE": 0.01,
    } | changes  # fmt: skip
    exec(
        "from medisyn_lib import claims, memorization\nfrom medisyn_lib.statistics import exact_proportion",
        space,
    )
    run("05_memorization", space, "missed = min(", "def decide(")
    power = pd.DataFrame({"x": [5, 5], "y": [0.95, 1.0]})
    verdict = judge(space["decide"]((0.6, 1.0, 0), power, True), controls=space["checks"])
    return [control.name for control in space["checks"] if not control.passed], verdict


@pytest.mark.parametrize(
    ("broken", "control"),
    [
        (
            {
                "recall": {
                    "flip": Estimate(0.99, 0.97, 1, 500),
                    "crop": Estimate(0.95, 0.92, 0.97, 500),
                }
            },
            "planted_copies",
        ),
        ({"caught_tests": (0.2, 1.0, 0), "copied": {64: np.zeros(64, bool)}}, "overtrained_on_64"),
        ({"false": np.arange(1000) < 60}, "held_out_real"),
    ],
)
def test_05_a_broken_control_voids_the_verdict(broken: dict[str, Any], control: str) -> None:
    assert copied() == ([], "reproduced")
    assert copied(**broken) == ([control], NOT_TESTABLE)


# Notebook 07: lesions without photographs, networks whose logits are planted.
TUNED, DRAWS, SPACE = 300, 6, "07_reference_standards"


def lesions(seed: int) -> graders.Lesions:
    chosen = np.random.default_rng(seed).integers(0, 600, TUNED)
    return {name: values[chosen] for name, values in eyes().items()}


def seeing(truth: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Logits of a network that grades mostly right."""
    return np.eye(5)[truth] * 4 + rng.normal(0, 1, (len(truth), 5))


@cache
def prepared(logits: Callable[..., np.ndarray]) -> dict[str, Any]:
    """What the cells of notebook 07 before its controls make, at one cost and one correlation."""
    space: dict[str, Any] = {
        "FIRST": 20261125,
        "draws": DRAWS,
        "many_images": TUNED,
        "tables": [],
        "effects": {},
    }
    run(SPACE, space, "rules = {")
    run(SPACE, space, "import time")
    space["lesions"] = {
        role: lesions(k) for k, role in enumerate(("evaluator", "calibration", "test"))
    }
    truth = space["truth"] = {role: graders.grade(part) for role, part in space["lesions"].items()}
    rng = np.random.default_rng(9)
    space["logits"] = [{role: logits(truth[role], rng) for role in ("calibration", "test")}]
    space |= {
        "patient": np.arange(TUNED),
        "BASE": 0.5,
        "CORRELATIONS": (0.5,),
        "pair": (MANY, EXPERTS),
    }
    space["ophthalmologists"], space["specialists"] = space["pair"]
    for first in (
        "def read_both(",
        "panels = [replace(",
        "def limits(",
        "def tuned(",
        "seeds = range(",
        "def gain(",
    ):
        run(SPACE, space, first)
    for first in ("def level(", "levels = {", "def said(", "real = pd.concat("):
        run(SPACE, space, first)
    return space


def graded(logits: Callable[..., np.ndarray] = seeing, **changes: Any) -> dict[str, Claim]:
    """Notebook 07's verdicts; `changes` replace names before the controls are run."""
    space = dict(prepared(logits)) | {"vary": None, "differ": None}
    space |= {name: change(space) for name, change in changes.items()}
    run(SPACE, space, "flawless = ", "sides = {")
    return {claim.id: claim for claim in space["found"]}


IN_SIMULATION = ["adjudicated-tuning", "on-par"]


def test_07_passes_its_controls_with_networks_that_see() -> None:
    found = graded()
    assert [name for claim in found.values() for name in failed(claim)] == []
    assert {found[name].verdict for name in IN_SIMULATION} - {NOT_TESTABLE}
    assert (
        found["graders-vary"].verdict == found["standards-differ"].verdict == NOT_TESTABLE
    )  # inputs, not found


def blind(truth: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.zeros((len(truth), 5))


def test_07_a_network_that_sees_nothing_voids_what_it_measures_and_is_not_on_par() -> None:
    """For adjudicated tuning the network is the measure; beside graders it is what is judged."""
    found = graded(blind)
    assert "mild_called_healthy" in failed(found["adjudicated-tuning"])
    verdicts = {name: claim.verdict for name, claim in found.items()}
    assert verdicts == dict.fromkeys(verdicts, NOT_TESTABLE) | {"on-par": "not reproduced"}


class Dice:
    """Stands in for numpy in the notebook: dice that graders share half of the time."""

    class random:
        @staticmethod
        def default_rng(seed: Any) -> Any:
            class Shared:
                def integers(self, low: int, high: int, size: tuple[int, int]) -> np.ndarray:
                    own = np.random.default_rng(0)
                    return np.where(
                        own.random(size) < 0.5,
                        *(own.integers(low, high, n) for n in ((size[0], 1), size)),
                    )

                def __getattr__(self, name: str) -> Any:
                    return getattr(np.random.default_rng(seed), name)

            return Shared()

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)


@pytest.mark.parametrize(
    ("broken", "control", "voided"),
    [
        ({"np": lambda space: Dice()}, "graders_at_random", IN_SIMULATION),
        ({"replace": lambda space: lambda panel, **changed: panel}, "graders_without_error", IN_SIMULATION),
        # Tuning that sees no difference between a set of grades and another.
        ({"standards": lambda space: Deaf(space["standards"], space)}, "mild_called_healthy", IN_SIMULATION[:1]),
        ({"tuned": lambda space: gifted(space)}, "no_errors_no_gain", IN_SIMULATION[:1]),
        ({"levels": lambda space: {k: v - 2 for k, v in space["levels"].items()}}, "tuned_on_shuffled", ["on-par"]),
        ({"level": lambda space: weaker(space)}, "graders_beside_graders", ["on-par"]),
    ],
)  # fmt: skip
def test_07_a_broken_control_voids_what_rests_on_it(
    broken: dict[str, Any], control: str, voided: list[str]
) -> None:
    found = graded(**broken)
    assert {name for name, claim in found.items() if control in failed(claim)} >= {*voided}
    assert {found[name].verdict for name in voided} == {NOT_TESTABLE}


class Deaf:
    """Stands in for `reference_standards`: tunes on the true grades whatever it is given."""

    def __init__(self, real: Any, space: dict[str, Any]) -> None:
        self.real, self.space = real, space

    def tune(self, logits: np.ndarray, grades: np.ndarray) -> Any:
        own = self.space["logits"][0]["calibration"]
        return self.real.tune(own, self.space["truth"]["calibration"])

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


def gifted(space: dict[str, Any]) -> Callable[..., Any]:
    """`tuned` with a gift to adjudication that has nothing to do with graders' errors."""
    real = space["tuned"]

    def gives(*how: Any) -> Any:
        found = real(*how)
        found[space["ADJUDICATED"]]["kappa"] = found[space["ADJUDICATED"]]["kappa"] + 0.02
        return found

    return gives


def weaker(space: dict[str, Any]) -> Callable[..., np.ndarray]:
    """`level` of graders who are worse than those that they stand beside."""
    real = space["level"]
    return lambda *how, **more: real(*how, **more) - 0.2
