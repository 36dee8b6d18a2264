"""Simulated readers of known skill and bias: what the analysis must recover. They say nothing about physicians."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from medisyn_lib.reader_study import answers
from medisyn_lib.runtime import store

ITEM_SPREAD = 0.6  # of d' over pairs: some are easier for every reader, so that answers correlate


def choices(
    pull: np.ndarray, bias: np.ndarray, truth: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Whether each reader chooses the first image, bool (..., r, n), by Thurstone's law of comparative judgement.

    d' `pull` towards the right image (the first where `truth`), `bias` (..., r, 1) towards the first.
    """
    return (2.0 * truth - 1) * pull / 2**0.5 + bias + rng.standard_normal(truth.shape) > 0


def planted(skill: np.ndarray, bias: np.ndarray, spread: float = ITEM_SPREAD) -> np.ndarray:
    """The expected accuracy at these d' and biases, over pairs whose d' varies by `spread` and whose side is drawn."""
    from scipy.stats import norm

    scale, pull = (1 + spread**2 / 2) ** 0.5, np.asarray(skill) / 2**0.5
    return (norm.cdf((pull + bias) / scale) + norm.cdf((pull - bias) / scale)) / 2


def answer(folder: Path, skill: Sequence[float], bias: Sequence[float], *, seed: int) -> None:
    """Writes the answer files of a study by simulated readers of these d' and biases, at chance in the control.

    Alignment is rated by what truly fits (all, if synthetic), realism lower by half the skill where synthetic.
    """
    key, rng = answers.load(folder / answers.KEY), np.random.default_rng(seed)
    kinds, fits = (np.array([item[name] for item in key["items"]]) for name in ("kind", "fits"))
    easy = rng.normal(0, ITEM_SPREAD, len(kinds))
    for (reader, asked), sharp, lean in zip(key["readers"].items(), skill, bias, strict=True):
        item = np.array([place["item"] for place in asked.values()])
        truth, kind = np.array([place["flip"] for place in asked.values()]), kinds[item]
        first = choices((sharp + easy[item]) * (kind == "pair"), np.array(lean), truth, rng)
        means = np.array([4.2 - 0.5 * sharp * (kind == "synthetic"), 1.3 + 3 * fits[item]])
        grades = (
            np.clip(np.rint(means + rng.normal(0, 0.8, means.shape)), 1, 5).astype(int).T.tolist()
        )
        given = {
            token: {
                "shown": place["shown"],
                "choice": "BA"[a],
                "realism": grade[0],
                "alignment": grade[1],
            }
            for (token, place), a, grade in zip(
                asked.items(), first.astype(int), grades, strict=True
            )
        }
        content = {
            "format": answers.FORMAT,
            "study": key["study"],
            "reader": reader,
            "answers": given,
        }
        store.write_atomic(folder / "answers" / f"{reader}.json", json.dumps(content))
