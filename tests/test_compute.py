"""Costs: operations against a count by hand, how costs compare, and claim 03."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from medisyn_lib.claims.c03_compute_efficiency import (
    efficiency_claim,
    efficiency_controls,
    judge_controls,
)
from medisyn_lib.claims.claim import (
    BELOW_FLOOR,
    CONTRADICTED,
    CONTROL_FAILED,
    DEMONSTRATION,
    EXPLORATORY,
    INCONCLUSIVE,
    PARTLY,
    SUPPORTED,
    VERDICTS,
    Claim,
    Control,
    Judgement,
)
from medisyn_lib.claims.decisions import replay
from medisyn_lib.evaluation.arm_measures import Distances
from medisyn_lib.evaluation.efficiency import (
    break_even,
    compute_to_reach,
    estimate_saving,
    planted_saving,
)
from medisyn_lib.evaluation.fidelity import kernel_distance
from medisyn_lib.evaluation.own_best import best_until_now, choose_checkpoints
from medisyn_lib.evaluation.planted_sharing import PlantedSharing
from medisyn_lib.evaluation.quality_curves import QualityCurves
from medisyn_lib.evaluation.training_costs import SuiteCosts
from medisyn_lib.models import networks
from medisyn_lib.pipeline.denoisers import denoiser_plan, snapshot_steps
from medisyn_lib.pipeline.study import Study
from medisyn_lib.statistics.estimates import Estimate
from medisyn_lib.statistics.jackknife import deal_groups
from medisyn_lib.statistics.noninferiority import distances_without_groups
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


def costs(specialist: float = 8.0, seeds: int = 1) -> SuiteCosts:
    """Ten specialists, and a generalist of 10 per step."""
    return SuiteCosts(
        modalities=10,
        autoencoder=400.0,
        checkpoints=tuple(10.0 * step for step in STEPS),
        specialists=dict.fromkeys(NAMES, (specialist,) * seeds),
    )


COSTS = costs()


def distances(features: np.ndarray, group: np.ndarray | None = None) -> np.ndarray:
    """KID of each later column of simulated features (n, columns, d) from the first, whole and without each group."""
    groups = 0 if group is None else int(group.max()) + 1
    real = features[:, 0]
    return np.array(
        [
            distances_without_groups(kernel_distance, real, features[:, column], group, groups)
            for column in range(1, features.shape[1])
        ]
    ).T


def simulated_curves(
    curve: tuple[float, ...] = (2.0, 1.5, 1.0, 0.7),
    own: tuple[float, ...] = (1.0,),
    n: int = 300,
    best_so_far: tuple[int, ...] = (),
) -> QualityCurves:
    """Distances of simulated features: shifts of the checkpoints' images, and of the specialist's, one per seed."""
    rng = np.random.default_rng(1)
    measured = {}
    group = deal_groups(n, np.arange(n) // 3)
    for number, of_specialist in enumerate(own):
        shifts = np.array([0.0, *curve, of_specialist])[None, :, None]
        for name in NAMES:
            features = rng.normal(size=(n, len(curve) + 2, 16)) + shifts
            measured[name, number] = distances(features, group)
    together = {} if len(own) > 1 else {name: measured[name, 0] for name in NAMES}
    best = dict.fromkeys(range(len(own)), best_so_far or tuple(range(len(curve))))
    return QualityCurves(NAMES, len(own), n, measured, together, best)


def planted_sharing(
    curve: tuple[float, ...] = (2.0, 1.5, 1.0, 0.7), half: float = 1.0, n: int = 300
) -> PlantedSharing:
    """Distances of a second training's checkpoints, and of the half-trained first network, by simulated features."""
    shifts = np.array([0.0, *curve, half])[None, :, None]
    features = np.random.default_rng(2).normal(size=(n, len(curve) + 2, 16)) + shifts
    return PlantedSharing(distances(features)[0], STEPS, half=4)


NEVER, AT_ONCE = (
    0.3,
    2.5,
)  # own distances of specialists whom the generalist never, or at once, matches
SEEN = (Control("ten_copies_of_one", "positive", "about 10", 10.0, True),)
COVERED = Estimate(0.4, 0.3, 0.5, 300)


def claimed(
    saving: Estimate,
    *,
    coverage: Estimate = COVERED,
    controls: Sequence[Control] = SEEN,
    seeds: int = 3,
    evidence: str = EXPLORATORY,
) -> Claim:
    covered = dict.fromkeys(("efflite0", "transformer"), coverage)
    claim = efficiency_claim(saving, covered, [], controls, seeds=seeds, evidence=evidence)
    assert replay(claim) == Judgement(claim.verdict, claim.summary, claim.problem)
    return claim


def factor(low: float, high: float) -> Estimate:
    """A saving in logarithms, from the limits of its factor."""
    limits = math.log(low), math.log(high)
    return Estimate(sum(limits) / 2, *limits, 3)


def test_03_the_saving_is_the_suites_cost_over_the_generalists() -> None:
    """Ten specialists of 8 against a generalist that is as good after 4 steps of 10."""
    found = estimate_saving(simulated_curves(), COSTS)
    assert math.exp(found.value) == pytest.approx(80 / 40, rel=0.15)
    assert found.ci_low < found.value < found.ci_high
    over_seeds = estimate_saving(simulated_curves(own=(0.9, 1.0, 1.1)), costs(seeds=3))
    assert math.exp(over_seeds.value) == pytest.approx(80 / 40, rel=0.15)
    assert over_seeds.ci_low < over_seeds.value < over_seeds.ci_high and over_seeds.n == 3


@pytest.mark.parametrize(
    ("specialist", "verdict"),
    [(4.0, CONTRADICTED), (8.0, CONTRADICTED), (15.9, CONTRADICTED), (16.0, INCONCLUSIVE)],
)
def test_03_a_generalist_that_never_gets_there_saves_at_most_what_its_whole_cost_allows(
    specialist: float, verdict: str
) -> None:
    found = estimate_saving(simulated_curves(own=(NEVER,)), costs(specialist))
    most = math.log(10 * specialist / 80)
    assert (found.value, found.ci_low, found.ci_high) == (most, None, most)
    claim = claimed(found)
    assert (claim.verdict, claim.problem) == (verdict, None)
    assert f"a factor of at most {specialist / 8:.2f}" in claim.summary


def test_03_one_training_that_never_gets_there_leaves_no_lower_limit() -> None:
    found = estimate_saving(simulated_curves(own=(1.0, 1.0, NEVER)), costs(seeds=3))
    assert found.ci_low is None and found.value < found.ci_high
    assert found.value == pytest.approx(2 * math.log(2) / 3, abs=0.1)


def test_03_trainings_that_all_never_get_there_are_bounded_despite_rounding() -> None:
    """The mean of three equal numbers may be a speck above them."""
    own = (NEVER,) * 3
    for specialist in np.linspace(1, 15, 30):
        found = estimate_saving(simulated_curves(own=own, n=40), costs(specialist, seeds=3))
        assert claimed(found).verdict == CONTRADICTED


@pytest.mark.parametrize(
    ("specialist", "verdict"),
    [(8.0, SUPPORTED), (2.1, SUPPORTED), (1.5, PARTLY), (0.8, INCONCLUSIVE)],
)
def test_03_a_generalist_that_is_there_at_once_saves_at_least_that(
    specialist: float, verdict: str
) -> None:
    """Whoever is left out: a lower limit alone."""
    found = estimate_saving(simulated_curves(own=(AT_ONCE,)), costs(specialist))
    assert math.exp(found.value) == pytest.approx(specialist)
    assert (found.ci_low, found.ci_high) == (found.value, None)
    claim = claimed(found)
    assert (claim.verdict, claim.problem) == (verdict, None)
    assert f"takes at least {specialist:.2f} times the compute" in claim.summary


@pytest.mark.parametrize(
    ("saving", "verdict"),
    [
        (factor(2.1, 3), SUPPORTED),
        (factor(1.2, 3), PARTLY),
        (factor(1.2, 1.9), PARTLY),
        (factor(0.8, 1.9), CONTRADICTED),
        (factor(0.5, 0.9), CONTRADICTED),
        (factor(0.8, 3), INCONCLUSIVE),
        (Estimate(0.3, None, None, 1), INCONCLUSIVE),
        (Estimate(None, None, None, 1), INCONCLUSIVE),
    ],
)
def test_03_the_rule(saving: Estimate, verdict: str) -> None:
    claim = claimed(saving)
    assert (claim.verdict, claim.problem) == (verdict, None)


def test_03_a_larger_saving_never_gives_a_worse_verdict() -> None:
    for half in (0.02, 0.3, 0.8):
        savings = [Estimate(at, at - half, at + half, 3) for at in np.linspace(-1, 2, 31).tolist()]
        ranks = [VERDICTS.index(claimed(saving).verdict or "") for saving in savings]
        assert ranks == sorted(ranks, reverse=True) and {0, 3} <= {*ranks}


@pytest.mark.parametrize("covered", [0.09, None])
def test_03_two_bad_models_support_nothing(covered: float | None) -> None:
    poor = Estimate(covered, None, None, 300)
    for saving, verdict in (
        (factor(2.1, 3), INCONCLUSIVE),
        (factor(1.2, 3), INCONCLUSIVE),
        (factor(0.8, 3), INCONCLUSIVE),
        (factor(0.5, 0.9), CONTRADICTED),
    ):
        claim = claimed(saving, coverage=poor)
        assert (claim.verdict, claim.problem) == (verdict, BELOW_FLOOR)
        covers = "an unknown part" if covered is None else "9%"
        assert claim.summary.startswith(
            f"Too poor to judge: the images cover {covers} of real ones in features learnt from photographs"
        )
    assert claimed(factor(2.1, 3), coverage=Estimate(0.1, None, None, 300)).verdict == SUPPORTED


def test_03_the_summary_says_the_factor() -> None:
    assert claimed(factor(2.25, 4)).summary == (
        "To come as near to real images as the specialists, training them all takes 3.00 (2.25 to 4.00) "
        "times the compute of one generalist."
    )
    assert claimed(Estimate(None, None, None, 1)).summary == "No saving could be measured."
    # Without any interval nothing says that it never got there.
    assert "never" not in claimed(Estimate(0.3, None, None, 1)).summary


def test_03_a_demonstration_has_no_verdict() -> None:
    claim = claimed(factor(2.1, 3), evidence=DEMONSTRATION)
    assert (claim.verdict, claim.problem) == (None, None)


def test_03_break_even_is_the_generalists_cost_over_a_specialists() -> None:
    even = break_even(simulated_curves(), COSTS)
    assert math.exp(even.fully_trained.value) == pytest.approx(80 / 8)
    assert math.exp(even.to_match.value) == pytest.approx(even.flops_to_match / 8)
    assert even.flops_to_match == pytest.approx(40, rel=0.15)
    never = break_even(simulated_curves(own=(NEVER,)), COSTS)
    assert never.to_match.value is None and never.flops_to_match == math.inf


def failed(controls: Sequence[Control]) -> list[str]:
    return [control.name for control in controls if not control.passed]


def test_03_planted_sharing_is_seen_and_its_absence_is_not() -> None:
    controls = efficiency_controls([planted_sharing()] * 2)
    assert [control.value for control in controls] == pytest.approx([10, 1], rel=0.15)
    assert failed(controls) == []
    claim = claimed(estimate_saving(simulated_curves(), COSTS), controls=controls)
    assert claim.problem is None and len(claim.controls) == 2


def test_03_a_second_training_that_never_gets_there_counts_with_its_whole_cost() -> None:
    """Not left out, which would make the planted saving look larger than it is: 10 x 4 steps over 8."""
    assert planted_saving([planted_sharing(half=NEVER)], networks=1) == pytest.approx(5)


def test_03_each_control_can_fail_and_leaves_no_verdict() -> None:
    shared, unshared = (planted_saving([planted_sharing()], networks=n) for n in (1, 10))
    for controls, name in (
        (judge_controls(copies=unshared, unshared=unshared), "ten_copies_of_one"),
        (judge_controls(copies=shared, unshared=shared), "ten_unshared_networks"),
    ):
        assert failed(controls) == [name]
        claim = claimed(factor(2.1, 3), controls=controls)
        assert (claim.verdict, claim.problem) == (None, CONTROL_FAILED)
        assert name.replace("_", " ") in claim.summary


def test_03_an_encoder_that_sees_nothing_leaves_no_verdict() -> None:
    again = planted_sharing()
    controls = efficiency_controls([again._replace(distances=np.zeros_like(again.distances))])
    claim = claimed(estimate_saving(simulated_curves(), COSTS), controls=controls)
    assert (claim.verdict, claim.problem) == (None, CONTROL_FAILED)


def test_03_distances_that_rise_with_training_fail_a_control() -> None:
    assert failed(efficiency_controls([planted_sharing((0.7, 1.0, 1.5, 2.0), half=1.5)]))


def test_03_a_later_checkpoint_that_is_worse_is_not_taken() -> None:
    """As near after two checkpoints, spoilt afterwards: the best so far stays what calibration chose."""
    spoilt = (2.0, 1.0, 1.8, 1.8)
    kept = simulated_curves(spoilt, own=(1.1,), best_so_far=(0, 1, 1, 1))
    assert 80 / 21 < math.exp(estimate_saving(kept, COSTS).value) < 80 / 15
    last = simulated_curves(spoilt, own=(1.1,))
    assert (
        estimate_saving(last, COSTS).ci_low is None
    )  # without the choice it seems never to get there


def test_03_of_one_training_a_censored_saving_says_that_its_limit_is_not_sure() -> None:
    found = estimate_saving(simulated_curves(own=(NEVER,)), COSTS)
    said = "the limit knows of no sampling uncertainty"
    assert said in claimed(found, seeds=1).summary and said not in claimed(found).summary


def test_the_best_so_far_is_the_first_of_the_least() -> None:
    assert best_until_now([3.0, 2.0, 2.5, 2.0, 1.0]) == (0, 1, 1, 1, 4)


def test_own_best_checkpoints_of_a_small_study(monkeypatch: pytest.MonkeyPatch) -> None:
    """Distances ordered by hand: the generalist is best at its second checkpoint, the specialist at its first."""
    study = Study("tiny", "phantom")
    general = snapshot_steps(denoiser_plan(study.settings))
    special = snapshot_steps(denoiser_plan(study.settings, "fundus"))

    def by_hand(self: Distances) -> dict[str, list[list[float]]]:
        of_steps = [arm.generator.after or general[-1] for arm in self.arms]
        if self.arms[0].generator.modality is None:
            values = [1.0 if step == general[1] else 5.0 for step in of_steps]
        else:
            values = [float(step) for step in of_steps]
        return {name: [[value] for value in values] for name in self.arms[0].modalities}

    monkeypatch.setattr(Distances, "value", property(by_hand))
    chosen = choose_checkpoints(study, ["fundus", "ct"])
    assert chosen.best_so_far == {0: (0, *[1] * (len(general) - 1))}
    assert chosen.specialists["fundus", 0] == special[0]
