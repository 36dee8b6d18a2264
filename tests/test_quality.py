"""Claim 02: images paired by prompt and seed, the rule, and controls that fail when broken."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import datasets
import numpy as np
import pytest

from medisyn_lib.claims import c02_quality
from medisyn_lib.claims.claim import (
    BELOW_FLOOR,
    CONTRADICTED,
    CONTROL_FAILED,
    DEMONSTRATION,
    EXPLORATORY,
    INCONCLUSIVE,
    NOT_RUN,
    PARTLY,
    SUPPORTED,
    Claim,
    Judgement,
    Measure,
    count,
    measure,
)
from medisyn_lib.claims.decisions import replay
from medisyn_lib.claims.floor import coverage_measures
from medisyn_lib.data.pixels import load_pixels
from medisyn_lib.errors import InputError
from medisyn_lib.evaluation.arm_measures import Groups, cut_to_shortest
from medisyn_lib.evaluation.comparison import (
    EQUAL_EXPOSURE,
    OWN_BEST_BUDGET,
    Budget,
    Comparison,
    mean_effect,
)
from medisyn_lib.evaluation.fidelity import kernel_distance
from medisyn_lib.models import encoders
from medisyn_lib.models.encoders import FeatureSet
from medisyn_lib.pipeline import paired_samples
from medisyn_lib.pipeline.arms import REAL, SECOND_SAMPLE, UNDERTRAINED, ArmKey
from medisyn_lib.pipeline.artifacts import ImageSet
from medisyn_lib.pipeline.features import cached_features
from medisyn_lib.pipeline.paired_samples import (
    SEEDS_APART,
    evaluation_splits,
    rows_of,
    sample_modalities,
)
from medisyn_lib.pipeline.study import Study
from medisyn_lib.pipeline.suite import compared_modalities
from medisyn_lib.statistics.estimates import Estimate
from medisyn_lib.statistics.noninferiority import Contrast, distances_without_groups


@pytest.fixture(scope="module")
def asked() -> datasets.Dataset:
    (split,) = evaluation_splits(Study("tiny", "phantom"))
    return split


def test_evaluation_splits_are_the_test_images_by_modality(asked: datasets.Dataset) -> None:
    quick = Study("quick", "phantom")
    assert (
        evaluation_splits(quick)[0]["image_id"][:] == quick.images("test")["image_id"][:]
    )  # notebook 01's samples serve
    assert rows_of(asked, "fundus").tolist() == list(range(48, 60))
    assert rows_of(asked, "fundus", 2).tolist() == [48, 49]


def test_a_missing_modality_and_its_specialist_are_refused(asked: datasets.Dataset) -> None:
    with pytest.raises(
        InputError, match=r"modality 'x_ray': no held-out image; choose among .*'fundus'"
    ):
        rows_of(asked, "x_ray")
    with pytest.raises(InputError, match="specialist for 'x_ray': the data have no such images"):
        Study("tiny", "phantom").denoiser("x_ray").ensure()


def test_modalities_with_too_few_patients_count_only_where_all_have() -> None:
    specialists = ["ct", "fundus", "x_ray"]
    assert compared_modalities(specialists, {"fundus": "", "ct": "2 test patients"}) == ["fundus"]
    few = {"fundus": "1 test patient", "ct": "2 test patients"}
    assert compared_modalities(specialists, few) == ["ct", "fundus"]


def test_each_seed_has_other_images_where_there_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    table = datasets.Dataset.from_dict(
        {"modality": ["a", "b"] * 5 + ["b"] * 2, "image_id": list(range(12))}
    )
    monkeypatch.setattr(
        ImageSet, "load", lambda images: table if images.per_modality == 6 else None
    )
    study = Study("gpu", "phantom")  # three seeds
    splits = [list(split["image_id"]) for split in evaluation_splits(study, n=2)]
    # Five images of a: the third split begins anew. Seven of b.
    assert splits == [[0, 2, 1, 3], [4, 6, 5, 7], [0, 8, 9, 10]]


def test_a_rows_place_is_its_seed(asked: datasets.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    def sample(model: str, prompts: list[str], *, seeds: list[int], side: int) -> np.ndarray | None:
        words = [sum(map(ord, prompt)) for prompt in prompts]
        return np.stack([words, seeds], 1) if side == 64 else None

    monkeypatch.setattr(paired_samples, "sample_prompts", sample)
    names = ["histopathology", "fundus"]
    own = sample_modalities("g", asked, names, 2, 5)
    alone = {name: sample_modalities("g", asked, [name], 2, 5)[name] for name in names}
    assert list(own) == names and all((alone[name] == own[name]).all() for name in names)
    assert own["fundus"][:, 1].tolist() == [2 * SEEDS_APART + 48 + k for k in range(5)]


def test_features_are_cached_and_know_their_encoder(
    asked: datasets.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = load_pixels(asked, [0, 1, 48])
    found = cached_features(pixels)
    assert found.encoder == "efflite0" and found.values == pytest.approx(
        encoders.features(pixels).values, abs=1e-5
    )
    monkeypatch.setattr(encoders, "features", None)
    assert (cached_features(pixels).values == found.values).all()


# Claim 02: simulated features of three modalities, further from the real ones the worse the arm.
NAMES = ("a", "b", "c")
AWAY = {
    "real": 0.0,
    "other patients": 0.0,
    "blurred": 1.5,
    "generalist": 1.0,
    "generalist, other seeds": 1.0,
    "specialist": 1.0,
    "an eighth of the steps": 1.5,
}
COVERED = Estimate(0.5, 0.4, 0.6, 300)
ENCODERS = ("efflite0", "transformer")


@dataclass(frozen=True)
class FeatureComparison(Comparison):
    """A comparison of features in memory.

    Attributes
    ----------
    features
        By arm, modality and evaluation split.
    real_patients
        The patient of each row (n,), by modality and evaluation split.
    """

    features: Mapping[ArmKey, FeatureSet]
    real_patients: Mapping[tuple[str, int], np.ndarray]

    def keys(self) -> Collection[ArmKey]:
        """Return the arms that there are."""
        return self.features.keys()

    def patients(self, key: ArmKey) -> np.ndarray:
        """Return the patient of each image of an arm that has a real one beside it."""
        return self.real_patients[key.modality, key.split][: len(self.features[key])]

    def distances(self, key: ArmKey, groups: Groups) -> np.ndarray:
        """Measure an arm's distances from real images."""
        x, y = cut_to_shortest(self.features[key._replace(arm=REAL)], self.features[key])
        group, count = groups.by_modality[key.modality], groups.counts[key.modality]
        return np.array(distances_without_groups(kernel_distance, x.values, y.values, group, count))


def simulated_comparison(n: int = 300, seeds: int = 1, **away: float) -> FeatureComparison:
    """Simulated features of every arm, some of them moved."""
    rng = np.random.default_rng(0)
    names = {"undertrained": UNDERTRAINED, "second_sample": SECOND_SAMPLE}
    arms = AWAY | {names.get(arm, arm.replace("_", " ")): value for arm, value in away.items()}
    features = {
        ArmKey(arm, name, number): FeatureSet(rng.normal(size=(n, 16)) + shift, "simulated")
        for arm, shift in arms.items()
        for name in NAMES
        for number in range(seeds)
    }
    patients = {(name, number): np.arange(n) // 3 for name in NAMES for number in range(seeds)}
    return FeatureComparison(NAMES, features, patients)


def claim_at(
    budget: Budget,
    comparison: FeatureComparison,
    *,
    second: FeatureComparison | None = None,
    coverage: Estimate = COVERED,
    evidence: str = EXPLORATORY,
) -> Claim:
    """The claim of one budget, controls included; it must follow from its own result file."""
    controls = c02_quality.quality_controls(comparison)
    covered = dict.fromkeys(("generalist", "specialist"), dict.fromkeys(ENCODERS, coverage))
    claims = c02_quality.quality_claims(
        comparison, second or comparison, covered, controls, evidence
    )
    (claim,) = [one for one in claims if one.id == budget.name.replace(" ", "-")]
    assert replay(claim) == Judgement(claim.verdict, claim.summary, claim.problem)
    return claim


def test_02_supports_a_better_generalist_and_is_contradicted_by_a_worse_one() -> None:
    better = claim_at(EQUAL_EXPOSURE, simulated_comparison(generalist=0.8, second_sample=0.8))
    assert (better.verdict, better.problem) == (SUPPORTED, None)
    assert "no farther from real images than the specialists in 3 of 3" in better.summary
    worse = claim_at(
        EQUAL_EXPOSURE, simulated_comparison(generalist=1.4, second_sample=1.4, undertrained=2.0)
    )
    assert worse.verdict == CONTRADICTED and "farther in 3" in worse.summary


def test_02_equal_models_of_few_images_are_inconclusive() -> None:
    claim = claim_at(EQUAL_EXPOSURE, simulated_comparison(n=60, undertrained=2.5))
    assert claim.verdict == INCONCLUSIVE and claim.detectable > 0.05


# One-sided p-values at the margin, of "not worse" and of "worse": sure, likely, open, surely worse.
SURE, LIKELY, OPEN, BEYOND = (0.001, 0.999), (0.02, 0.98), (0.4, 0.6), (0.999, 0.001)


def effects(p_values: dict[str, tuple[float, float]], covered: float = 0.5) -> dict[str, Measure]:
    """Measures of log-ratios with these p-values."""
    found = coverage_measures(dict.fromkeys(ENCODERS, Estimate(covered, covered, covered, 100)))
    for name, (not_worse, worse) in p_values.items():
        found.append(measure(c02_quality.EFFECT + name, Estimate(0.0, -0.5, 0.5, 100)))
        found.append(count(c02_quality.P_NOT_WORSE + name, not_worse))
        found.append(count(c02_quality.P_WORSE + name, worse))
    return {one.name: one for one in found}


def test_02_is_partly_supported_where_half_of_the_modalities_are_not_worse() -> None:
    measures = effects({"a": SURE, "b": SURE, "c": OPEN, "d": OPEN})
    assert c02_quality.decide(measures).verdict == PARTLY


def test_02_counts_by_holms_step_down_test() -> None:
    """Of four with p = 0.02 none is counted alone, 4 x 0.02 > 0.05; once two others are, 2 x 0.02 is enough."""
    assert set(c02_quality.labels(effects(dict.fromkeys("abcd", LIKELY))).values()) == {"undecided"}
    four = c02_quality.labels(effects({"a": SURE, "b": SURE, "c": LIKELY, "d": LIKELY}))
    assert set(four.values()) == {"not worse"}
    assert c02_quality.labels(effects({"a": BEYOND, "b": OPEN})) == {"a": "worse", "b": "undecided"}


def test_02_a_modality_is_better_by_its_simultaneous_limits_alone() -> None:
    measures = effects({"a": SURE, "b": SURE})
    name = c02_quality.EFFECT + "a"
    measures[name] = replace(measures[name], value=-0.3, ci_high=-0.1)
    assert c02_quality.labels(measures) == {"a": "better", "b": "not worse"}


def test_02_a_worse_modality_never_helps() -> None:
    order = [CONTRADICTED, INCONCLUSIVE, PARTLY, SUPPORTED]
    ladder = [SURE, LIKELY, OPEN, BEYOND]  # from better to worse
    for rest in itertools.combinations_with_replacement(ladder, 4):
        others = {str(i): p for i, p in enumerate(rest)}
        ranks = [
            order.index(c02_quality.decide(effects(others | {"x": p})).verdict or "")
            for p in ladder
        ]
        assert ranks == sorted(ranks, reverse=True)


def test_02_two_bad_models_support_nothing_but_a_worse_one_is_still_worse() -> None:
    poor = Estimate(0.05, 0.02, 0.08, 300)
    equal = claim_at(
        EQUAL_EXPOSURE, simulated_comparison(generalist=0.8, second_sample=0.8), coverage=poor
    )
    assert (equal.verdict, equal.problem) == (INCONCLUSIVE, BELOW_FLOOR)
    assert equal.summary.startswith(
        "Too poor to judge: the images cover 5% of real ones in features learnt from photographs"
    )
    worse = claim_at(
        EQUAL_EXPOSURE,
        simulated_comparison(generalist=1.4, second_sample=1.4, undertrained=2.0),
        coverage=poor,
    )
    assert (worse.verdict, worse.problem) == (CONTRADICTED, BELOW_FLOOR)


def test_02_says_where_the_second_encoder_disagrees() -> None:
    first = simulated_comparison(generalist=0.8, second_sample=0.8)
    second = simulated_comparison(generalist=1.4, second_sample=1.4)
    claim = claim_at(EQUAL_EXPOSURE, first, second=second)
    assert claim.verdict == SUPPORTED
    assert claim.summary.endswith("A second encoder sees the reverse in a, b and c.")


@pytest.mark.parametrize(
    "broken, control",
    [
        ({"undertrained": 1.0}, "an_eighth_of_the_training"),
        ({"blurred": 0.0}, "blur"),
        ({"second_sample": 1.5}, "same_generalist_twice"),
        ({"other_patients": 0.5}, "real_against_real"),
    ],
)
def test_02_a_failed_control_leaves_no_verdict(broken: dict[str, float], control: str) -> None:
    claim = claim_at(EQUAL_EXPOSURE, simulated_comparison(**broken))
    assert [c.name for c in claim.controls if not c.passed] == [control]
    assert (claim.verdict, claim.problem) == (None, CONTROL_FAILED)
    assert control.replace("_", " ") in claim.summary


def test_02_a_budget_without_specialists_is_not_run() -> None:
    claim = claim_at(OWN_BEST_BUDGET, simulated_comparison())
    assert (claim.verdict, claim.problem) == (None, NOT_RUN)
    assert claim.measures[0].n == 0 and claim.id == "own-best" and not claim.controls


def test_02_a_demonstration_is_not_judged() -> None:
    better = simulated_comparison(generalist=0.8, second_sample=0.8)
    claim = claim_at(EQUAL_EXPOSURE, better, evidence=DEMONSTRATION)
    assert (claim.verdict, claim.problem) == (None, None) and "in 3 of 3" in claim.summary


def test_02_an_encoder_that_sees_nothing_leaves_no_verdict() -> None:
    """Constant features: no distance anywhere, so neither too little training nor blur is seen."""
    comparison = simulated_comparison()
    blind = {
        key: FeatureSet(np.ones_like(rows.values), rows.encoder)
        for key, rows in comparison.features.items()
    }
    claim = claim_at(EQUAL_EXPOSURE, replace(comparison, features=blind))
    assert claim.problem == CONTROL_FAILED
    assert claim.measures[0].value is None and claim.detectable is None


def test_02_the_mean_effect_holds_the_spread_over_seeds() -> None:
    rows = {name: Contrast([0.1, 0.2, 0.3], 1e-12, 19, 50) for name in "ab"}
    one = mean_effect(rows)
    assert one.value == pytest.approx(0.2) and one.n == 100
    # t of 2 degrees of freedom
    assert one.ci_high - one.value == pytest.approx(4.303 * 0.1 / 3**0.5, rel=1e-3)
    assert mean_effect({}) == Estimate(None, None, None, 0)
