"""How often each claim's rule says what, when the truth is known: `python benchmarks/rule_power.py [--studies 500]`.

Simulated studies at the bounds of each rule (nulls, where "supported" must be rare) and away from them (where it must
be usual), at the numbers of images and seeds of profile `full`. What is simulated is what the rule reads: estimates and
their intervals, made by the library's own functions; the verdict is the library's own. `docs/rules.md` shows the table;
`tests/test_rule_power.py` holds it to 33 false ones of 500.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pairs

from medisyn_lib.claims import (
    c01_training,
    c02_quality,
    c03_compute_efficiency,
    c05_memorization,
    c06_augmentation,
    c07_reference_standards,
)
from medisyn_lib.claims.claim import VERDICTS, Decide, Measure, count, measure
from medisyn_lib.claims.floor import coverage_measures
from medisyn_lib.evaluation.memorization.set_tests import fisher_p_value
from medisyn_lib.statistics.estimates import Estimate, student
from medisyn_lib.statistics.intervals import (
    exact_proportion,
    paired_proportions,
    simultaneous_level,
    t_interval,
)
from medisyn_lib.statistics.noninferiority import Contrast, against_margin, simultaneous

MODALITIES = 10
GOOD = Estimate(0.5, 0.45, 0.55, 1000)  # a coverage above every floor
COVERED = coverage_measures({"efflite0": GOOD, "transformer": GOOD})
# Standard deviations of a log-ratio of KID: of 334 images a side, of training seeds in one modality, and of what seeds
# share over modalities. From three seeds of the first `full` run on phantoms (`results/AMENDMENTS.md`), its median.
IMAGES_SD, SEED_SD, SHARED_SD = 0.015, 0.04, 0.01
JACKKNIFE_DEGREES = 19
QUALITY_SEEDS = 5
PROMPTS, READ = (
    300,
    0.96,
)  # images of a modality in 01, and the proportion of real ones that is read rightly
SYNTHETIC_IMAGES, HELD_OUT, PLANTED = 3000, 1340, 500  # in 05
RECALL = 0.97
TASKS, DRAWS, GAIN_SD = 4, 30, 0.004  # in 06; of a gain over draws and patients
NETWORK_DRAWS, NETWORK_GAIN_SD = 20, 0.008  # the same of networks that learn their features
SAVING_SD = 0.35  # of the logarithm of a saving over training seeds
KAPPA_SD = 0.001  # of a gain of kappa over draws and patients


def quality(effects: Sequence[float], rng: np.random.Generator, seeds: int = QUALITY_SEEDS) -> str:
    """Return the verdict of 02 on a simulated study whose log-ratios are these in truth."""
    m = len(effects)
    table = np.asarray(effects)[:, None] + SHARED_SD * rng.normal(size=(1, seeds))
    table = table + SEED_SD * rng.normal(size=(m, seeds)) * (seeds > 1)
    table = table + IMAGES_SD * rng.normal(size=(m, seeds))
    variance = IMAGES_SD**2 / seeds * rng.chisquare(JACKKNIFE_DEGREES, m) / JACKKNIFE_DEGREES
    study = {
        str(i): Contrast(list(table[i]), float(variance[i]), JACKKNIFE_DEGREES, 334 * seeds)
        for i in range(m)
    }
    found = [
        measure(c02_quality.EFFECT + name, effect) for name, effect in simultaneous(study).items()
    ]
    for name, p in against_margin(study, MARGIN).items():
        found.append(count(c02_quality.P_NOT_WORSE + name, p.not_worse))
        found.append(count(c02_quality.P_WORSE + name, p.worse))
    return _verdict(c02_quality.decide, [*found, *COVERED])


def one_model(gaps: Sequence[float], rng: np.random.Generator) -> str:
    """Return the verdict of 01 where both readers read synthetic images this much less often in truth."""
    m, patients = len(gaps), np.arange(PROMPTS)
    found = [
        measure(c01_training.MODALITY, Estimate(0.999, 0.997, 1.0, m * PROMPTS)),
        measure(c01_training.SPREAD, Estimate(0.95, 0.9, 1.0, m * PROMPTS)),
    ]
    for reader in ("cnn", "linear"):
        real = (rng.random((m, PROMPTS)) < READ).astype(float)
        chance = READ + np.asarray(gaps)[:, None]
        synthetic = (rng.random((m, PROMPTS)) < chance).astype(float)
        for i in range(m):
            gap = paired_proportions(synthetic[i], real[i], patients, simultaneous_level(m))
            found.append(measure(f"{c01_training.GAP}{reader}{c01_training.IN}{i}", gap))
        everyone = np.arange(m * PROMPTS)
        gap = paired_proportions(synthetic.ravel(), real.ravel(), everyone)
        found.append(measure(c01_training.GAP + reader, gap))
    return _verdict(c01_training.decide, found)


def copies(rate: float, rng: np.random.Generator) -> str:
    """Return the verdict of 05 on a set of which this proportion are copies in truth."""
    flagged = rng.binomial(SYNTHETIC_IMAGES, rate * RECALL + (1 - rate) * 0.01)
    false = rng.binomial(HELD_OUT, 0.01)
    p = fisher_p_value(
        flagged_real=false,
        n_real=HELD_OUT,
        flagged_synthetic=flagged,
        n_synthetic=SYNTHETIC_IMAGES,
    )
    of_all = exact_proportion(flagged, SYNTHETIC_IMAGES)
    of_real = exact_proportion(false, HELD_OUT)
    recall = {"crop": exact_proportion(rng.binomial(PLANTED, RECALL), PLANTED)}
    found = [
        measure(c05_memorization.COPY_RATE, c05_memorization.copy_rate(of_all, of_real, recall)),
        measure(c05_memorization.FLAGGED, of_all),
        measure(c05_memorization.FLAGGED_REAL, of_real),
        *COVERED,
        count(c05_memorization.FISHER, p),
        count(c05_memorization.EXCEEDANCE, 1.0),
    ]
    return _verdict(c05_memorization.decide, found)


def augmentation(
    gains: Sequence[float], rng: np.random.Generator, networks: Sequence[float] | None = None
) -> str:
    """Return the verdict of 06 where synthetic images change AUROC by so much in truth, task by task.

    `networks` are the gains of networks that learn their features, by default those of the regressions.
    """
    found = [*COVERED]
    families = (
        ("", gains, DRAWS, GAIN_SD),
        (c06_augmentation.NETWORK, networks or gains, NETWORK_DRAWS, NETWORK_GAIN_SD),
    )
    for prefix, in_truth, draws, deviation in families:
        effects = [_student(gain, deviation, draws, rng) for gain in in_truth]
        for number, effect in enumerate(effects):
            name = f"{prefix}{c06_augmentation.GAIN_IN}{number}"
            found.append(measure(name, effect, seeds=draws))
        mean = Estimate(float(np.mean([one.value or 0 for one in effects])), None, None, 1)
        found.append(measure(prefix + c06_augmentation.GAIN, mean))
    return _verdict(c06_augmentation.decide, found)


def saving(factor: float, rng: np.random.Generator) -> str:
    """Return the verdict of 03 where a generalist saves this factor in truth."""
    by_seed = math.log(factor) + SAVING_SD * rng.normal(size=QUALITY_SEEDS)
    found = [
        measure(c03_compute_efficiency.SAVING, t_interval(by_seed)),
        *COVERED,
    ]
    return _verdict(c03_compute_efficiency.decide, found)


def tuning(gain: float, rng: np.random.Generator) -> str:
    """Return the verdict of 07 on adjudicated tuning where it gains so much kappa in truth."""
    found = measure(c07_reference_standards.GAIN, _student(gain, KAPPA_SD, 20, rng))
    return _verdict(c07_reference_standards.decide_adjudicated_tuning, [found])


def par(difference: float, rng: np.random.Generator) -> str:
    """Return the verdict of 07 on parity where the algorithm's kappa differs by so much in truth."""
    found = [
        measure(c07_reference_standards.DIFFERENCE + kind, _student(difference, 0.004, 20, rng))
        for kind in ("ophthalmologists", "specialists")
    ]
    return _verdict(c07_reference_standards.decide_on_par, found)


def _student(truth: float, deviation: float, draws: int, rng: np.random.Generator) -> Estimate:
    """An estimate with Student's interval, its variance estimated with draws - 1 degrees of freedom."""
    variance = deviation**2 * rng.chisquare(draws - 1) / (draws - 1)
    return student(truth + deviation * rng.normal(), float(variance), draws - 1, draws)


def _verdict(decide: Decide, measures: Sequence[Measure]) -> str:
    return str(decide({one.name: one for one in measures}).verdict)


class Case(NamedTuple):
    """A truth, how it is simulated, and the verdicts that would be wrong of it."""

    claim: str
    truth: str
    simulate: Callable[[np.random.Generator], str]
    wrong: tuple[str, ...] = ()
    wanted: str = ""  # must come out in most studies


def _effects(equal: int, otherwise: float) -> list[float]:
    return [0.0] * equal + [otherwise] * (MODALITIES - equal)


MARGIN = math.log(c02_quality.RULE.thresholds["margin"])
GAP = -c01_training.RULE.thresholds["margin"]
CASES = [
    Case("02", "all at the margin", lambda rng: quality([MARGIN] * 10, rng), VERDICTS[:2]),
    Case(
        "02",
        "seven equal, three at the margin",
        lambda rng: quality(_effects(7, MARGIN), rng),
        VERDICTS[:1],
    ),
    Case(
        "02",
        "four equal, six at the margin",
        lambda rng: quality(_effects(4, MARGIN), rng),
        VERDICTS[:2],
    ),
    Case(
        "02",
        "eight equal, two 15% worse",
        lambda rng: quality(_effects(8, 0.14), rng),
        VERDICTS[3:],
    ),
    Case("02", "all equal", lambda rng: quality([0.0] * 10, rng), VERDICTS[3:], VERDICTS[0]),
    Case(
        "02", "all 10% nearer", lambda rng: quality([-0.105] * 10, rng), VERDICTS[3:], VERDICTS[0]
    ),
    Case("02", "all 30% farther", lambda rng: quality([0.26] * 10, rng), VERDICTS[:2], VERDICTS[3]),
    Case("01", "all at the margin", lambda rng: one_model([GAP] * 10, rng), VERDICTS[:1]),
    Case("01", "no gap", lambda rng: one_model([0.0] * 10, rng), VERDICTS[3:], VERDICTS[0]),
    Case(
        "01",
        "nine without, one 15 points short",
        lambda rng: one_model([0.0] * 9 + [-0.15], rng),
        VERDICTS[:1],
    ),
    Case(
        "01", "10 points short", lambda rng: one_model([-0.1] * 10, rng), VERDICTS[:2], VERDICTS[3]
    ),
    Case("03", "saves a factor of 2", lambda rng: saving(2.0, rng), (VERDICTS[0], VERDICTS[3])),
    Case("03", "saves nothing", lambda rng: saving(1.0, rng), VERDICTS[:2]),
    Case("03", "saves a factor of 5", lambda rng: saving(5.0, rng), VERDICTS[3:], VERDICTS[0]),
    Case("05", "no copies", lambda rng: copies(0.0, rng), VERDICTS[3:], VERDICTS[0]),
    Case("05", "5% copies", lambda rng: copies(0.05, rng), VERDICTS[:2], VERDICTS[3]),
    Case("06", "no gain", lambda rng: augmentation([0.0] * TASKS, rng), VERDICTS[:2]),
    Case(
        "06",
        "one gains 0.03",
        lambda rng: augmentation([0.03] + [0.0] * 3, rng),
        (VERDICTS[0], VERDICTS[3]),
    ),
    Case(
        "06",
        "all gain 0.03, networks nothing",
        lambda rng: augmentation([0.03] * TASKS, rng, networks=[0.0] * TASKS),
        (VERDICTS[0], VERDICTS[3]),
        VERDICTS[1],
    ),
    Case(
        "06",
        "all gain 0.03",
        lambda rng: augmentation([0.03] * TASKS, rng),
        VERDICTS[3:],
        VERDICTS[0],
    ),
    Case("07", "adjudication gains nothing", lambda rng: tuning(0.0, rng), VERDICTS[:1]),
    Case(
        "07", "adjudication gains 0.004", lambda rng: tuning(0.004, rng), VERDICTS[3:], VERDICTS[0]
    ),
    Case("07", "0.05 of kappa short", lambda rng: par(-0.05, rng), VERDICTS[:1]),
    Case("07", "on par", lambda rng: par(0.0, rng), VERDICTS[3:], VERDICTS[0]),
]


def simulate(case: Case, studies: int) -> Counter[str]:
    """Return how often each verdict came out."""
    return Counter(case.simulate(np.random.default_rng([i, 23])) for i in range(studies))


def main() -> None:
    """Simulate all cases and print the table."""
    parser = pairs.plain_parser(__doc__)
    parser.add_argument(
        "--studies", type=pairs.whole(10), default=500, help="of each truth (default: 500)"
    )
    studies = parser.parse_args().studies
    rows = []
    for case in CASES:
        verdicts = simulate(case, studies)
        proportions = [f"{100 * verdicts[verdict] / studies:.0f}" for verdict in VERDICTS]
        rows.append([case.claim, case.truth, *proportions])
    print(pairs.table(["claim", "in truth", *(f"{verdict}, %" for verdict in VERDICTS)], rows))
    print(f"\n{studies} simulated studies each.")


if __name__ == "__main__":
    pairs.run_script(main)
