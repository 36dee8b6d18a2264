"""Diversity: by hand, at its ends, in its direction, in any order."""

import numpy as np
import pytest

from medisyn_lib.diversity import diversity, vendi_score
from medisyn_lib.errors import InputError


def test_by_hand_and_at_the_ends():
    assert vendi_score(np.ones((5, 3))) == pytest.approx(1)
    assert vendi_score(np.eye(4)) == pytest.approx(4)
    shares = np.array([2 / 3, 1 / 3])  # two images alike, one orthogonal to them
    by_hand = np.exp(-(shares * np.log(shares)).sum())
    assert vendi_score(np.array([[1.0, 0], [3, 0], [0, 2]])) == pytest.approx(by_hand)


def test_copies_lower_it_and_order_does_not_matter():
    rows = np.random.default_rng(0).normal(size=(60, 8))
    found, copied = (
        diversity(rows),
        diversity(np.tile(rows[:6], (10, 1)), np.tile(np.arange(6), 10)),
    )
    assert copied.value < found.ci_low and found.n == 60
    assert vendi_score(rows[::-1]) == pytest.approx(vendi_score(rows))
    with pytest.raises(InputError, match="at least 2 images"):
        vendi_score(rows[:1])
