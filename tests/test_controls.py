"""Controls of notebooks 04 and 05 over planted inputs: all pass where they should, and each one can fail.

Those of 01, 02, 03 and 06 are broken beside the tests of their measures (test_alignment, test_quality,
test_augmentation). Here the notebooks' own cells are run, as their verdicts are not in functions.
"""

from __future__ import annotations

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

from medisyn_lib.claims import claim
from medisyn_lib.claims.claim import Claim, judge
from medisyn_lib.evaluation import attributes
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
