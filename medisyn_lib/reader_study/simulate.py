"""Simulated readers of known skill and bias: what the analysis must recover. They say nothing about physicians."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medisyn_lib.reader_study import answers
from medisyn_lib.runtime import store

ITEM_SPREAD = 0.6  # of d' over pairs: some are easier for every reader, so that answers correlate
GRADE_SD = 0.8


def choices(
    pull: np.ndarray, bias: np.ndarray, truth: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Sample whether each reader chooses the first image.

    Parameters
    ----------
    pull : (..., r, n) array
        d' towards the right image.
    bias : (..., r, 1) array
        Towards the first image.
    truth : (..., r, n) bool array
        Whether the first image is the right one.
    rng : numpy Generator
        One normal number is drawn for each answer.

    Returns
    -------
    (..., r, n) bool array

    References
    ----------
    Thurstone, Psychol Rev 1927: law of comparative judgement.
    """
    towards_first = (2.0 * truth - 1) * pull / 2**0.5 + bias
    return towards_first + rng.standard_normal(truth.shape) > 0


def planted(skill: np.ndarray, bias: np.ndarray, spread: float = ITEM_SPREAD) -> np.ndarray:
    """Return the expected accuracy of readers, over pairs whose d' varies and whose sides are random.

    Parameters
    ----------
    skill, bias : array
        d' and bias to the first image.
    spread : float
        Standard deviation of d' over pairs.
    """
    from scipy.stats import norm

    scale = (1 + spread**2 / 2) ** 0.5
    pull = np.asarray(skill) / 2**0.5
    right_if_first = norm.cdf((pull + bias) / scale)
    right_if_second = norm.cdf((pull - bias) / scale)
    return (right_if_first + right_if_second) / 2


def answer(folder: Path, skill: Sequence[float], bias: Sequence[float], *, seed: int) -> None:
    """Write the answer files of a study by simulated readers of these d' and biases.

    In the control they are at chance. Alignment is rated by what truly fits (all, if synthetic),
    realism lower by half the skill where synthetic.
    """
    key = answers.load(folder / answers.KEY)
    rng = np.random.default_rng(seed)
    easiness = rng.normal(0, ITEM_SPREAD, len(key["items"]))
    readers = zip(key["readers"].items(), skill, bias, strict=True)
    for (reader, shown), reader_skill, reader_bias in readers:
        content = {
            "format": answers.FORMAT,
            "study": key["study"],
            "reader": reader,
            "consent": "simulated",
            "answers": _answers(key["items"], shown, easiness, reader_skill, reader_bias, rng),
        }
        store.write_atomic(folder / "answers" / f"{reader}.json", json.dumps(content))


def _answers(
    items: Sequence[dict[str, Any]],
    shown: dict[str, Any],
    easiness: np.ndarray,
    skill: float,
    bias: float,
    rng: np.random.Generator,
) -> dict[str, Any]:
    """Return one reader's answers by token; each holds a choice and grades, whatever was asked."""
    item = np.array([place["item"] for place in shown.values()])
    truth = np.array([place["flip"] for place in shown.values()])
    kind = np.array([one["kind"] for one in items])[item]
    fits = np.array([one["fits"] for one in items])[item]
    pull = (skill + easiness[item]) * (kind == "pair")
    chose_first = choices(pull, np.array(bias), truth, rng)
    realism = 4.2 - 0.5 * skill * (kind == "synthetic")
    alignment = 1.3 + 3 * fits
    means = np.array([realism, alignment])
    grades = np.clip(np.rint(means + rng.normal(0, GRADE_SD, means.shape)), 1, 5).astype(int)
    answers_by_token = {}
    for number, (token, place) in enumerate(shown.items()):
        answers_by_token[token] = {
            "shown": place["shown"],
            "choice": "A" if chose_first[number] else "B",
            "realism": int(grades[0, number]),
            "alignment": int(grades[1, number]),
        }
    return answers_by_token
