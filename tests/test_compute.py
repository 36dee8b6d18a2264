"""Costs: operations against a count by hand, how costs compare, and claim 03."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from medisyn_lib.claims import c03_compute_efficiency
from medisyn_lib.claims.c03_compute_efficiency import decide_saving, judge_controls
from medisyn_lib.claims.claim import judge, make_claim, measure
from medisyn_lib.evaluation.efficiency import (
    break_even,
    compute_to_reach,
    estimate_saving,
    planted_saving,
    savings,
)
from medisyn_lib.evaluation.quality_curves import QualityCurves
from medisyn_lib.evaluation.training_costs import SuiteCosts
from medisyn_lib.models import networks
from medisyn_lib.statistics.estimates import Estimate
from medisyn_lib.training.denoiser import FlowMatching, denoiser_flops
from medisyn_lib.training.flops import count_flops


def test_operations_of_a_small_network_by_hand() -> None:
    """Convolution 8 x 8 x 3 x 3 x 3 x 4, linear 256 x 10: forward, and backward without the first layer's input."""
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 10))
    convolution, linear = 2 * 5 * 64 * 27 * 4, 2 * 5 * 256 * 10
    images = torch.zeros(5, 3, 8, 8)
    flops, uncounted = count_flops(lambda: net(images))
    assert flops == pytest.approx(convolution + linear, rel=0.02)
    assert uncounted == {"aten.relu": 5 * 256}
    flops, _ = count_flops(lambda: net(images).sum().backward())
    assert flops == pytest.approx(2 * convolution + 3 * linear, rel=0.02)


def test_attention_is_counted_on_a_cpu() -> None:
    """Scores and their product with the values: 2 x 2 x heads x n^2 x width; backward has four such products."""
    q, k, v = (torch.randn(3, 2, 16, 8, requires_grad=True) for _ in range(3))
    product = 2 * 3 * 2 * 16 * 16 * 8
    flops, uncounted = count_flops(lambda: F.scaled_dot_product_attention(q, k, v))
    assert flops == pytest.approx(2 * product, rel=0.02) and not any(
        "attention" in name for name in uncounted
    )
    flops, uncounted = count_flops(lambda: F.scaled_dot_product_attention(q, k, v).sum().backward())
    assert flops == pytest.approx(6 * product, rel=0.02) and not any(
        "attention" in name for name in uncounted
    )


def test_operators_without_a_formula_are_reported() -> None:
    lstm, rows = nn.LSTM(4, 6), torch.zeros(5, 3, 4)
    _, uncounted = count_flops(lambda: torch.fft.fft(lstm(rows)[0].detach()))
    assert (
        uncounted["aten._fft_r2c"] == 5 * 3 * (6 // 2 + 1)
        or uncounted["aten._fft_r2c"] == 5 * 3 * 6
    )


def test_the_denoisers_uncounted_operators_are_small_change() -> None:
    net = networks.denoiser(64, (64, 128), layers=1, text_width=32)
    image, text = (
        torch.zeros(1, networks.LATENT_CHANNELS, 16, 16),
        torch.zeros(1, networks.CONTEXT, 32),
    )
    objective = FlowMatching(net)
    flops, uncounted = count_flops(lambda: objective(image, image, torch.zeros(1), text).backward())
    assert flops == denoiser_flops(net, 16, 32)
    assert sum(uncounted.values()) < 0.02 * flops
    assert not [
        name
        for name in uncounted
        if any(word in name for word in ("mm", "conv", "attention", "linear"))
    ]


def test_compute_to_reach_by_hand() -> None:
    """From 8 at 1 to 2 at 100, evenly over the logarithm: 5 is reached at 10; the isotonic curve mends a bump."""
    assert compute_to_reach(compute=[1, 100], distance=[8.0, 2.0], target=5.0) == pytest.approx(10)
    bumped = compute_to_reach(compute=[1, 10, 100, 1000], distance=[8.0, 4.0, 6.0, 1.0], target=5.0)
    assert bumped == pytest.approx(10)  # 4 and 6 become 5
    assert compute_to_reach(compute=[3, 9], distance=[4.0, 2.0], target=5.0) == pytest.approx(3)
    assert compute_to_reach(compute=[1, 100], distance=[9.0, 6.0], target=5.0) == float("inf")
    sooner = compute_to_reach(compute=[1, 100], distance=[7.0, 1.0], target=5.0)
    assert 1 < sooner < 10


# Claim 03: distances that fall with compute as planted.
NAMES = ("a", "b", "c")
STEPS = (1, 2, 4, 8)
COSTS = SuiteCosts(
    modalities=10,
    autoencoder=400.0,
    checkpoints=tuple(10.0 * step for step in STEPS),
    specialists=dict.fromkeys(NAMES, (8.0,)),
)


def simulated_curves(
    curve: tuple[float, ...] = (2.0, 1.5, 1.0, 0.7), own: float = 1.0, n: int = 300
) -> QualityCurves:
    """Simulated features: shifts of the checkpoints' images, and of the specialist's."""
    rng = np.random.default_rng(1)
    shifts = np.array([0.0, *curve, own])[None, :, None]
    features = {(name, 0): rng.normal(size=(n, len(curve) + 2, 16)) + shifts for name in NAMES}
    patients = {(name, 0): np.arange(n) // 3 for name in NAMES}
    half = STEPS.index(STEPS[-1] // 2)
    return QualityCurves(NAMES, 1, n, half, features, patients)


def test_03_the_saving_is_the_suites_cost_over_the_generalists() -> None:
    """Ten specialists of 8 against a generalist that is as good after 4 steps of 10."""
    curves = simulated_curves()
    shared, found = savings(curves, COSTS)[0].log_saving, savings(curves, COSTS)[1].log_saving
    assert (
        math.exp(found.value) == pytest.approx(80 / 40, rel=0.15)
        and found.ci_low < found.value < found.ci_high
    )
    assert math.exp(shared.value) == pytest.approx(480 / 440, rel=0.03)
    never = simulated_curves(own=0.3)
    assert estimate_saving(never, COSTS).value is None  # never as good as that
    # As good at the first checkpoint, whoever is left out: a lower limit alone.
    bound = estimate_saving(simulated_curves(own=2.5), COSTS)
    assert math.exp(bound.value) == pytest.approx(8)
    assert (bound.ci_low, bound.ci_high) == (bound.value, None)
    assert decide_saving(bound, math.inf) == (True, True)


def test_03_break_even_is_the_generalists_cost_over_a_specialists() -> None:
    even = break_even(simulated_curves(), COSTS)
    assert math.exp(even.fully_trained.value) == pytest.approx(80 / 8)
    assert math.exp(even.to_match.value) == pytest.approx(even.flops_to_match / 8)
    assert even.flops_to_match == pytest.approx(40, rel=0.15)
    never = break_even(simulated_curves(own=0.3), COSTS)
    assert never.to_match.value is None and never.flops_to_match == math.inf


def test_03_the_rule() -> None:
    def verdict(low: float, high: float, most: float = math.inf) -> str:
        saving = Estimate(math.log(low), math.log(low), math.log(high), 3)
        return judge(*decide_saving(saving, most))

    assert verdict(2.1, 3) == "reproduced" and verdict(1.2, 3) == verdict(1.2, 1.9) == "partly"
    assert (
        verdict(0.8, 1.9) == verdict(0.5, 0.9) == "not reproduced"
        and verdict(0.8, 3) == "not testable here"
    )
    assert (
        verdict(1.2, 1.3, most=1.4) == "not testable here"
    )  # even for nothing it could not save 2
    no_interval = Estimate(0.3, None, None, 1)
    assert judge(*decide_saving(no_interval, math.inf)) == "not testable here"


def test_03_an_encoder_that_sees_nothing_voids_the_verdict() -> None:
    curves = simulated_curves()
    blind = {key: np.ones_like(rows) for key, rows in curves.features.items()}
    controls = c03_compute_efficiency.efficiency_controls(replace(curves, features=blind), COSTS)
    assert not all(control.passed for control in controls)


def test_03_planted_sharing_is_seen_and_its_absence_is_not() -> None:
    curves = simulated_curves()
    controls = c03_compute_efficiency.efficiency_controls(curves, COSTS)
    assert all(control.passed for control in controls)
    # Broken on purpose: networks that are not shared where they should be, and the reverse.
    swapped = judge_controls(
        copies=planted_saving(curves, COSTS, networks=10),
        unshared=planted_saving(curves, COSTS, networks=1),
    )
    assert [c.passed for c in swapped] == [False, False]
    rising = simulated_curves(
        curve=(0.7, 1.0, 1.5, 2.0)
    )  # distances that do not fall as the model is trained
    controls = c03_compute_efficiency.efficiency_controls(rising, COSTS)
    assert not all(control.passed for control in controls)
    voided = make_claim(
        id="c",
        statement="s",
        source="p",
        rule="r",
        passed=True,
        primary="m",
        detectable=None,
        measures=[measure("m", Estimate(2.0, 1.5, 2.5, 3))],
        controls=swapped,
    )
    assert voided.verdict == "not testable here"
