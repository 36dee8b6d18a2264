"""The one summary of how near synthetic images come to real ones."""

from __future__ import annotations

import numpy as np
import pytest

from medisyn_lib.evaluation import fidelity
from medisyn_lib.evaluation.nearness import nearness, nearness_by_modality


def test_the_measure_is_a_mean_over_modalities() -> None:
    """Of two modalities one is matched exactly and one missed: pooled, KID would be another number."""
    draw = np.random.default_rng(0)
    modality = np.array(["ct", "fundus"] * 20)
    real = draw.normal(size=(40, 4)) + 10 * (modality == "fundus")[:, None]
    synthetic = real.copy()
    missed = modality == "fundus"
    synthetic[missed] += 5
    measured = nearness(real=real, synthetic=synthetic, modality=modality)
    alone = [
        fidelity.kernel_distance(real=real[rows], synthetic=synthetic[rows])
        for rows in (missed, ~missed)
    ]
    assert measured.kid == pytest.approx(np.mean(alone))
    assert measured.kid != pytest.approx(
        fidelity.kernel_distance(real=real, synthetic=synthetic), rel=0.1
    )
    assert (measured.coverage, measured.worst_coverage) == (0.5, 0.0)
    table = nearness_by_modality(real=real, synthetic=synthetic, modality=modality)
    assert table["n"].to_dict() == {"ct": 20, "fundus": 20}
    assert table["coverage"].to_dict() == {"ct": 1.0, "fundus": 0.0}
