"""Costs: operations against a count by hand, peak memory, and how costs compare."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from medisyn_lib.evaluation.efficiency import compute_to_reach
from medisyn_lib.models import networks
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
        torch.zeros(1, networks.LATENT_CHANNELS, 8, 8),
        torch.zeros(1, networks.CONTEXT, 32),
    )
    objective = FlowMatching(net)
    flops, uncounted = count_flops(lambda: objective(image, image, torch.zeros(1), text).backward())
    assert flops == denoiser_flops(net, 8, 32)
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
