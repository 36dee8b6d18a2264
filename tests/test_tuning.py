"""Tuning of a network's logits: what they hold is recovered, shuffled grades are not, two grades are needed."""

from __future__ import annotations

import numpy as np
import pytest

from medisyn_lib.errors import InputError
from medisyn_lib.evaluation.grading import tuning


def test_tuning_recovers_what_the_logits_hold() -> None:
    rng, truth = np.random.default_rng(0), np.arange(500) % 5
    logits = np.eye(5)[truth] * 6 + rng.normal(0, 1, (500, 5))
    labels = np.where(rng.random(500) < 0.1, -1, truth)
    chance, grade = tuning.tune(logits[:250], labels[:250]).predict(logits[250:])
    assert (grade == truth[250:]).mean() > 0.97 and chance.shape == (250, 4)
    assert (
        np.diff(chance, axis=1) <= 1e-12
    ).all()  # grade 2 or worse is never likelier than grade 1 or worse
    shuffled = tuning.tune(logits[:250], rng.permutation(truth[:250])).predict(logits[250:])
    assert (shuffled.grades == truth[250:]).mean() < 0.5


def test_two_grades_are_enough_to_tune() -> None:
    truth = np.arange(40) % 2 * 3
    chance, grade = tuning.tune(np.eye(5)[truth], truth).predict(np.eye(5)[[0, 3]])
    assert grade.tolist() == [0, 3] and (chance[1, :3] > 0.5).all() and (chance[:, 3] == 0).all()


def test_tuning_needs_two_grades() -> None:
    with pytest.raises(InputError, match="at least two grades"):
        tuning.tune(np.zeros((4, 5)), np.array([2, 2, -1, 2]))
