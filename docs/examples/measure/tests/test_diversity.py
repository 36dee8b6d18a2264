"""Diversity: by hand, at its ends, in its direction, in any order."""

import numpy as np
import pytest

from medisyn_lib.errors import InputError
from medisyn_lib.evaluation.diversity import diversity, diversity_difference, vendi_score


@pytest.fixture
def features() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(60, 8))


def test_by_hand() -> None:
    """Two images alike and one orthogonal to them: eigenvalues 2/3 and 1/3."""
    two_alike = np.array([[1.0, 0.0], [3.0, 0.0], [0.0, 2.0]])
    entropy = -(2 / 3 * np.log(2 / 3) + 1 / 3 * np.log(1 / 3))
    assert vendi_score(two_alike) == pytest.approx(np.exp(entropy))


def test_from_all_alike_to_no_two_alike() -> None:
    assert vendi_score(np.ones((5, 3))) == pytest.approx(1)
    assert vendi_score(np.eye(4)) == pytest.approx(4)


def test_copies_lower_it(features: np.ndarray) -> None:
    copies = np.tile(features[:6], (10, 1))
    as_it_is, copied = diversity(features), diversity(copies, np.tile(np.arange(6), 10))
    assert copied.value < as_it_is.ci_low
    assert as_it_is.n == 60
    less = diversity_difference(copies, features)
    assert less.ci_high < 0
    assert less.value == pytest.approx(copied.value - as_it_is.value)


def test_order_and_scale_do_not_matter(features: np.ndarray) -> None:
    assert vendi_score(features[::-1]) == pytest.approx(vendi_score(features))
    assert vendi_score(7 * features) == pytest.approx(vendi_score(features))


def test_what_is_refused(features: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"with n >= 2; got \(1, 8\)"):
        vendi_score(features[:1])
    with pytest.raises(InputError, match="60 rows beside 50; take as many of both"):
        diversity_difference(features, features[:50])
