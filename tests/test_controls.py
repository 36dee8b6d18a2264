"""Controls of notebooks 04 and 07 over planted inputs: all pass where they should, and each one can fail.

Those of 01, 02, 03 and 06 are broken beside the tests of their measures (test_alignment, test_quality,
test_augmentation). Here the notebooks' own cells are run, as their verdicts are not in functions.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jupytext
import numpy as np
import pandas as pd
import pytest
import torch
from test_attributes import blank_reader, told
from test_reference_standards import EXPERTS, MANY, eyes

from medisyn_lib.claims import claim
from medisyn_lib.claims.claim import Claim
from medisyn_lib.evaluation import attributes, graders
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


# Notebook 04: what was read from images of two modalities, 200 patients each.
WORDS = {"modality": ["ct", "mri"], "finding": list("ab"), "side": ["left", "right"]}


def read_back(right: float, seed: int) -> pd.DataFrame:
    """Rows of `attributes.read`, a share of them right, the others like another patient's."""
    rng, parts = np.random.default_rng(seed), []
    for modality in ("ct", "mri"):
        for name, values in WORDS.items():
            value = np.full(200, modality) if name == "modality" else rng.choice(values, 200)
            other = rng.choice(values, 200)
            part = pd.DataFrame(
                {"attribute": name, "value": value, "read": other, "patient": np.arange(200)}
            )
            part["read"] = np.where(rng.random(200) < right, part["value"], part["read"])
            parts.append(
                part.assign(modality=modality, patient=modality + part["patient"].astype(str))
            )
    table = pd.concat(parts, ignore_index=True)
    return table.assign(image=np.arange(len(table)), right=table["read"] == table["value"])


@cache
def answered(seed: int = 1) -> pd.DataFrame:
    """Answers of six readers who guess, over 400 pairs and 60 pairs of two real images."""
    rng, kinds = np.random.default_rng(seed), ["pair"] * 400 + ["control"] * 60
    rows = [
        (r, i, kind, 0, bool(rng.integers(2))) for r in range(6) for i, kind in enumerate(kinds)
    ]
    return pd.DataFrame(rows, columns=["reader", "item", "kind", "again", "right"])


def aligned(readers: str = "answers", **changes: Any) -> dict[str, Claim]:
    """Notebook 04's verdicts; `changes` replace what was planted."""
    tables = {
        "real": read_back(0.98, 0),
        "real, first stage": read_back(0.98, 1),
        "synthetic": read_back(0.98, 2),
    }
    dealt = read_back(0.0, 3).query("attribute != 'modality'")
    effect = {"side": 0.9, "negation": 0.8, "two findings": 0.6, "paraphrase": 0.0}
    space: dict[str, Any] = {
        "read": tables | {"deranged captions": dealt}, "shares": {}, "present": {"ct": "", "mri": ""}, "near": 2,
        "behind": [0, 0], "modality": ["ct", "mri"], "settings": SimpleNamespace(finding_margin=0.05),
        "effects": {kind: Estimate(v, v - 0.04, v + 0.04, 200) for kind, v in effect.items()},
        "planted": Estimate(0.7, 0.6, 0.8, 200), "coverage": pd.DataFrame({"value": [0.95, 0.94]}), "wrong": {4: 5},
        "studies_n": 200, "answered": answered(), "readers": readers,
    } | changes  # fmt: skip
    run("04_text_alignment", space, "rules = {")
    run("04_text_alignment", space, "import base64")
    for name, table in space["read"].items():
        for attribute, part in table.groupby("attribute"):
            space["shares"][attribute, name] = space["alignment"].share_right(part, "right")
    space["right"] = space["analysis"].grid(space["answered"], "right", "pair")
    run("04_text_alignment", space, "def above", "realistic = claims.make_claim(")
    return {name: space[name] for name in ("aligned", "followed", "realistic")}


def test_04_passes_its_controls_where_words_are_followed() -> None:
    found = aligned()
    assert {name: claim.verdict for name, claim in found.items()} == dict.fromkeys(
        found, "reproduced"
    )
    assert sum(len(claim.controls) for claim in found.values()) == 4 + 5 + 3


def tables(**changed: pd.DataFrame) -> dict[str, pd.DataFrame]:
    known = {"real": read_back(0.98, 0), "synthetic": read_back(0.98, 2)}
    dealt = {"deranged captions": read_back(0.0, 3).query("attribute != 'modality'")}
    return known | dealt | {name.replace("_", " "): table for name, table in changed.items()}


ALWAYS_RIGHT = answered().assign(right=lambda t: t["right"] | (t["kind"] == "control"))


@pytest.mark.parametrize(
    ("broken", "control", "voided"),
    [
        (
            {"read": tables(deranged_captions=read_back(0.5, 4))},
            "deranged_captions",
            {"aligned", "followed"},
        ),
        ({"read": tables(real=read_back(0.3, 5))}, "real_finding", {"aligned", "followed"}),
        ({"read": tables(real=read_back(0.3, 5))}, "real_modality", {"aligned", "followed"}),
        ({"read": tables(real=read_back(0.3, 5))}, "real_named", {"aligned", "followed"}),
        ({"planted": Estimate(0.2, 0.1, 0.3, 200)}, "drawn_second_finding", {"followed"}),
        ({"coverage": pd.DataFrame({"value": [0.95, 0.85]})}, "planted_skill", {"realistic"}),
        ({"wrong": {2: 3, 4: 30}}, "exactly_at_the_margin", {"realistic"}),
        ({"answered": ALWAYS_RIGHT}, "both_real", {"realistic"}),
    ],
)
def test_04_a_broken_control_voids_what_rests_on_it(
    broken: dict[str, Any], control: str, voided: set[str]
) -> None:
    found = aligned(**broken)
    assert {name for name, claim in found.items() if control in failed(claim)} == voided
    assert {name for name, claim in found.items() if claim.verdict == NOT_TESTABLE} == voided


def test_04_an_encoder_that_sees_nothing_voids_the_verdict() -> None:
    """Features and scores that do not depend on the image: whatever the caption, the same is read."""
    classes = [("ct", "a"), ("ct", "b"), ("mri", "a"), ("mri", "b")]
    reader = blank_reader(classes, torch.zeros(400, 4))
    heads = {
        f"{m}\tside\t{side}": np.zeros(13, np.float32)
        for m in ("ct", "mri")
        for side in ("left", "right")
    }
    rng, n = np.random.default_rng(0), 400
    side = rng.choice(["left", "right"], n).tolist()
    asked = attributes.labels(
        told(
            modality=["ct", "mri"] * (n // 2),
            finding=rng.choice(list("ab"), n).tolist(),
            side=side,
            caption=side,
        )
    )
    blind = attributes.read(reader, heads, np.zeros((n, 8, 8, 3), np.uint8), asked)
    assert blind.groupby("attribute")["read"].nunique().tolist() == [1, 1, 1]
    found = aligned(
        read={
            "real": blind,
            "synthetic": blind,
            "deranged captions": blind.query("attribute != 'modality'"),
        }
    )
    for name in ("aligned", "followed"):
        assert failed(found[name]) == ["real_modality", "real_finding", "real_named"], found[name]
        assert found[name].verdict == NOT_TESTABLE


def test_04_simulated_readers_decide_nothing() -> None:
    found = aligned(readers="")
    assert found["realistic"].verdict == NOT_TESTABLE and not failed(found["realistic"])


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
