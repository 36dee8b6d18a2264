"""How often each rule errs: simulated nulls, the hard ones at the margin among them, and planted effects.

At 500 replicates at most 33 false verdicts (5% and the simulation's own error) and at least 439 detections (90%).
The rules of 02, of 06 and of the reader study are tried in test_noninferiority, test_augmentation and
test_reader_study. The last two tests go from images to verdict, twenty runs each way.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_alignment import classified, held_out_images
from test_augmentation import DRAWS, SMALL, verdict
from test_memorization import index_of, rule_broken
from test_noninferiority import LEAST_SEEN, MOST_FALSE, REPLICATES

from medisyn_lib.claims import (
    c04_text_alignment,
    c05_memorization,
    c06_augmentation,
    c07_reference_standards,
)
from medisyn_lib.claims.c01_training import claim_one_model
from medisyn_lib.claims.c03_compute_efficiency import decide_saving
from medisyn_lib.claims.claim import judge
from medisyn_lib.claims.rules import compare_to_bound
from medisyn_lib.evaluation.memorization import set_tests
from medisyn_lib.evaluation.memorization.detectors import Detector, match
from medisyn_lib.evaluation.memorization.planted_copies import DISTORTIONS, distort
from medisyn_lib.evaluation.memorization.window_descriptors import centre_window, query_windows
from medisyn_lib.evaluation.utility import training
from medisyn_lib.evaluation.utility.images import Images, TaskImages, take
from medisyn_lib.evaluation.utility.tasks import Task, make_task
from medisyn_lib.modalities import MODALITIES
from medisyn_lib.models import encoders
from medisyn_lib.phantoms import IMAGES_PER_PATIENT, draw
from medisyn_lib.profiles import PROFILES
from medisyn_lib.statistics.crossed import crossed
from medisyn_lib.statistics.estimates import Estimate
from medisyn_lib.statistics.intervals import paired_proportions, t_interval

FALSE, SEEN, RUNS = 3, 15, 20  # of the runs from images to verdict
AUGMENTED = ("blood_smear", "endoscopy")


def reproduced(judged: Callable[[int], str], replicates: int = REPLICATES) -> int:
    return sum(judged(replicate) == "reproduced" for replicate in range(replicates))


@pytest.mark.full
@pytest.mark.timeout(3600)
def test_01_one_model_for_ten_modalities() -> None:
    """A finding recovered less often by exactly the margin, or a modality at exactly its floor; then neither."""
    part, settings = held_out_images(150, 1), PROFILES["quick"]
    floor, margin = settings.modality_floor, settings.finding_margin

    def judged(modality: float, behind: float) -> Callable[[int], str]:
        def once(k: int) -> str:
            seeds = [4 * k + side for side in range(4)]
            tables = {
                "real": classified(part, modality=1.0, finding=0.9, seed=seeds[0]),
                "synthetic": classified(
                    part, modality=modality, finding=0.9 - behind, seed=seeds[1]
                ),
                "untrained": classified(part, modality=0.5, finding=0.5, seed=seeds[2]),
                "deranged": classified(part, modality=1.0, finding=0.5, seed=seeds[3]),
            }
            return claim_one_model(tables, part, settings).verdict

        return once

    assert reproduced(judged(1.0, margin)) <= MOST_FALSE
    assert reproduced(judged(floor, 0.0)) <= MOST_FALSE
    assert reproduced(judged(1.0, 0.0)) >= LEAST_SEEN


def test_04_words() -> None:
    """One kind of attribute behind by exactly the margin, two equal; one word at exactly its bound, three followed."""

    def judged(
        effects: list[tuple[float, float]], bounds: list[float], n: int
    ) -> Callable[[int], str]:
        """Shares before and after, of n patients with two images each, a patient's alike in part."""

        def once(k: int) -> str:
            rng, points, people = np.random.default_rng([k, 4]), [], np.repeat(np.arange(n), 2)
            for before, after in effects:
                ease = np.where(rng.random(n) < 0.5, rng.random(n), np.nan).repeat(
                    2
                )  # half of them share their luck
                luck = np.where(np.isnan(ease), rng.random(2 * n), ease)
                sides = [(luck < share).astype(float) for share in (after, before)]
                sides[1] = np.where(rng.random(2 * n) < 0.5, sides[1], rng.random(2 * n) < before)
                points.append(paired_proportions(*sides, people))
            outcomes = [
                compare_to_bound(point, bound) for point, bound in zip(points, bounds, strict=True)
            ]
            outcome = c04_text_alignment.decide(outcomes, testable=1)
            return judge(outcome.passed, outcome.partly)

        return once

    margins = [-0.05] * 3
    assert (
        reproduced(judged([(0.99, 0.99), (0.95, 0.95), (0.9, 0.85)], margins, 1500)) <= MOST_FALSE
    )
    assert reproduced(judged([(0.99, 0.99), (0.95, 0.95), (0.9, 0.9)], margins, 1500)) >= LEAST_SEEN
    words = [0.5, 0.5, 0.25, -0.05]
    assert (
        reproduced(judged([(0.1, 0.9), (0.1, 0.9), (0.1, 0.35), (0.9, 0.9)], words, 150))
        <= MOST_FALSE
    )
    assert (
        reproduced(judged([(0.1, 0.9), (0.1, 0.9), (0.1, 0.6), (0.9, 0.94)], words, 150))
        >= LEAST_SEEN
    )


def test_03_the_saving_over_seeds() -> None:
    """Logarithms of savings of exactly 2, and of 3, over three training seeds that differ by 0.05 (our choice)."""

    def judged(saving: float) -> Callable[[int], str]:
        def once(k: int) -> str:
            values = np.log(saving) + 0.05 * np.random.default_rng([k, 3]).normal(size=3)
            return judge(*decide_saving(t_interval(values), np.inf))

        return once

    assert reproduced(judged(2.0)) <= MOST_FALSE
    assert reproduced(judged(3.0)) >= LEAST_SEEN


@pytest.mark.full
@pytest.mark.timeout(3600)
def test_05_the_rule_on_a_set() -> None:
    """Sets without copies, and sets of which a twentieth are copies that one of three detectors finds."""
    rng = np.random.default_rng(54)
    assert sum(rule_broken(rng, 0) for _ in range(REPLICATES)) <= MOST_FALSE
    assert sum(rule_broken(rng, 15) for _ in range(REPLICATES)) >= LEAST_SEEN


def gains(k: int, effect: float, draws: int = 8, patients: int = 60) -> Estimate:
    """A mean over crossed draws and patients whose standard error is about 0.014."""
    rng = np.random.default_rng([k, 6])
    values = effect + 0.02 * rng.normal(size=(draws, 1)) + 0.08 * rng.normal(size=patients)
    values = values + 0.1 * rng.normal(size=(draws, patients))
    left = (values.sum(1, keepdims=True) - values) / (patients - 1)
    return crossed(np.concatenate([values.mean(1, keepdims=True), left], 1), patients)


def test_06_planted_gains(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three specialties two gain; the nulls stand beside the rule's own tests."""
    monkeypatch.setattr("gc.collect", lambda: 0)  # statsmodels collects garbage at every call

    def judged(*effects: float) -> Callable[[int], str]:
        def once(k: int) -> str:
            found = [gains(3 * k + turn, effect) for turn, effect in enumerate(effects)]
            return judge(*c06_augmentation.decide(found, 8))

        return once

    assert reproduced(judged(0.1, 0.1, 0.0)) >= LEAST_SEEN
    assert reproduced(judged(0.1, 0.0, 0.0)) <= MOST_FALSE  # one of three is not half of them


def test_07_gain_and_par() -> None:
    """No gain by adjudication; beside one kind of grader exactly at the margin, beside the other on par."""
    decide = c07_reference_standards.decide_adjudicated_tuning
    assert sum(decide(gains(k, 0.0)) is True for k in range(REPLICATES)) <= MOST_FALSE
    assert sum(decide(gains(k, 0.06)) is True for k in range(REPLICATES)) >= LEAST_SEEN

    def on_par(*effects: float) -> int:
        outcomes = [
            c07_reference_standards.decide_on_par(
                [gains(2 * k + turn, effect) for turn, effect in enumerate(effects)]
            )
            for k in range(REPLICATES)
        ]
        return sum(outcome.passed is True for outcome in outcomes)

    assert on_par(-0.05, 0.0) <= MOST_FALSE
    assert on_par(0.02, 0.02) >= LEAST_SEEN


# From images to verdict.


def phantoms(
    modality: str, first: int, n: int, findings: list[str] | None = None, seed: int = 8
) -> np.ndarray:
    """Images of n patients, uint8 (n, 32, 32, 3), from number `first` on."""
    kinds = findings or [None] * n
    where = [
        {"seed": seed, "index": IMAGES_PER_PATIENT * (first + i), "size": 32} for i in range(n)
    ]
    return np.stack(
        [draw(modality, finding=kind, **one)[0] for kind, one in zip(kinds, where, strict=True)]
    )


@pytest.mark.full
@pytest.mark.timeout(3600)
def test_05_from_images_to_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sets of 300 images by patients unseen, and sets of which 15 are distorted training images, by pixels alone.

    In each run other patients train, calibrate and test; each makes an index of 150 images.
    """
    monkeypatch.setenv("MEDISYN_STORE", str(tmp_path))
    modality, n, training, calibrating = "histopathology", 300, 150, 1000
    pool = phantoms(modality, 0, 2600)
    rng = np.random.default_rng(55)

    def verdicts(run: int) -> tuple[str, str]:
        order = rng.permutation(len(pool))
        parts = np.split(pool[order], np.cumsum([training, calibrating, n, n, n]))
        known, calibration, real, unseen, others = parts[:5]
        detector = Detector("pixels", index_of(known, centre_window), query_windows)
        kinds = [*DISTORTIONS] * 20
        planted = np.concatenate(
            [distort(known[i : i + 1], kind, seed=i) for i, kind in enumerate(kinds)]
        )
        mixed = np.concatenate([planted[:15], others[15:]])
        ratio = [
            match([detector], part).ratio for part in (calibration, real, unseen, mixed, planted)
        ]
        power = set_tests.detection_power(
            real=ratio[1],
            copies=ratio[4],
            calibration=ratio[0],
            contamination=0.05,
            n=n,
            replicates=40,
        )
        points = [set_tests.PowerPoint("any", 0.05, power)]
        said = []
        for made in ratio[2:4]:
            tests = set_tests.flag_and_test(real=ratio[1], synthetic=made, calibration=ratio[0])
            said.append(judge(c05_memorization.decide(tests, points, calibrated=True)))
        return said[0], said[1]

    found = [verdicts(run) for run in range(RUNS)]
    print("without copies:", pd.Series([a for a, _ in found]).value_counts().to_dict())
    print("with copies:", pd.Series([b for _, b in found]).value_counts().to_dict())
    assert sum(a == "not reproduced" for a, _ in found) <= FALSE
    assert sum(a == "reproduced" for a, _ in found) >= SEEN
    assert sum(b == "not reproduced" for _, b in found) >= SEEN


def pool_of(modality: str, n: int) -> Images:
    """n images of each of a modality's first three findings, one a patient."""
    kinds = np.repeat([finding.key for finding in MODALITIES[modality].findings[:3]], n)
    return Images(
        phantoms(modality, 0, len(kinds), kinds.tolist()), kinds, np.arange(len(kinds)).astype(str)
    )


@pytest.mark.full
@pytest.mark.timeout(3600)
def test_06_from_images_to_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A generator that draws the finding asked for, as phantoms of other patients do, and one deaf to its prompts.

    Features are the images' means over squares of four pixels: the encoder's place is taken, all else is the
    claim's own. Two modalities with three findings each; each run splits 750 patients anew.
    """
    monkeypatch.setenv("MEDISYN_STORE", str(tmp_path))
    monkeypatch.setattr(training, "RUNS_AT_ONCE", 512)

    def squares(pixels: np.ndarray, encoder: str) -> np.ndarray:
        n = len(pixels)
        return pixels.reshape(n, 8, 4, 8, 4, 3).mean((2, 4)).reshape(n, -1) / 64.0

    monkeypatch.setattr(encoders, "features", squares)

    pools = {name: pool_of(name, 250) for name in AUGMENTED}
    sizes = {"real": 60, "seen_by_generator": 90, "validation": 90, "test": 300, "synthetic": 60}

    def task(modality: str, run: int, deaf: bool) -> Task:
        """Every role has as many images of each finding; `synthetic` those of patients that no other role has."""
        rng, pool = np.random.default_rng([run, deaf]), pools[modality]
        by_kind = [
            rng.permutation(np.flatnonzero(pool.finding == kind))
            for kind in np.unique(pool.finding)
        ]
        rows = np.stack(by_kind, 1).ravel()
        ends = np.cumsum([*sizes.values()])
        parts = {
            name: rows[end - n : end] for (name, n), end in zip(sizes.items(), ends, strict=True)
        }
        images = {name: take(pool, chosen) for name, chosen in parts.items()}
        synthetic = images.pop("synthetic")
        if deaf:
            synthetic = synthetic._replace(finding=rng.permutation(synthetic.finding))
        return make_task(TaskImages(**images), synthetic=[synthetic])

    found = {}
    for deaf in (False, True):
        said = [
            verdict({name: task(name, 1 + run + 50 * deaf, deaf) for name in AUGMENTED}).verdict
            for run in range(RUNS)
        ]
        found[deaf] = pd.Series(said).value_counts()
        print(
            "deaf to prompts:" if deaf else "draws what is asked:",
            found[deaf].to_dict(),
            f"{DRAWS} draws, n = {SMALL}",
        )
    assert found[True].get("reproduced", 0) <= FALSE
    assert found[False].get("reproduced", 0) >= SEEN
