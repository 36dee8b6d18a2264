"""From images to verdict, twenty runs each way: the rules of 05 and 06 with all that is measured before them.

How often the rules err on what they read is tried in test_rule_power and test_reader_study.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_augmentation import SMALL, verdict
from test_memorization import index_of

from medisyn_lib.claims import c05_memorization
from medisyn_lib.claims.claim import CONTRADICTED, SUPPORTED, count, measure
from medisyn_lib.claims.floor import coverage_measures
from medisyn_lib.evaluation.memorization import set_tests
from medisyn_lib.evaluation.memorization.conformal import flag_copies, proportion_flagged
from medisyn_lib.evaluation.memorization.detectors import Detector, match
from medisyn_lib.evaluation.memorization.planted_copies import DISTORTIONS, distort
from medisyn_lib.evaluation.memorization.window_descriptors import centre_window, query_windows
from medisyn_lib.evaluation.utility import training
from medisyn_lib.evaluation.utility.images import Images, TaskImages, take
from medisyn_lib.evaluation.utility.tasks import Task, make_task
from medisyn_lib.modalities import MODALITIES
from medisyn_lib.models import encoders
from medisyn_lib.phantoms import IMAGES_PER_PATIENT, draw
from medisyn_lib.statistics.estimates import Estimate

FALSE, SEEN, RUNS = 3, 15, 20  # of the runs from images to verdict
AUGMENTED = ("blood_smear", "endoscopy")
DRAWS = 30  # of the classifiers' images, as in profile `full`: the rule asks for gains in two tasks


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

    def verdicts(run: int) -> tuple[str | None, str | None]:
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
        recall = {"any": proportion_flagged(flag_copies(ratio[4], ratio[0]))}
        unseen_said, mixed_said = (
            said(ratio[1], made, ratio[0], recall) for made in (ratio[2], ratio[3])
        )
        return unseen_said, mixed_said

    found = [verdicts(run) for run in range(RUNS)]
    print("without copies:", pd.Series([a for a, _ in found]).value_counts().to_dict())
    print("with copies:", pd.Series([b for _, b in found]).value_counts().to_dict())
    assert sum(a == CONTRADICTED for a, _ in found) <= FALSE
    assert sum(a == SUPPORTED for a, _ in found) >= SEEN
    assert sum(b == CONTRADICTED for _, b in found) >= SEEN


WELL_COVERED = {"efflite0": Estimate(0.9, 0.8, 1.0, 300)}


def said(
    real: np.ndarray,
    made: np.ndarray,
    calibration: np.ndarray,
    recall: dict[str, Estimate],
    coverage: Mapping[str, Estimate] = WELL_COVERED,
) -> str | None:
    """The verdict of 05 on ratios of distances, by default of images that cover the real ones well."""
    tests = set_tests.flag_and_test(real=real, synthetic=made, calibration=calibration)
    flagged, flagged_real = (
        proportion_flagged(flag_copies(ratio, calibration)) for ratio in (made, real)
    )
    estimates = {
        c05_memorization.COPY_RATE: c05_memorization.copy_rate(flagged, flagged_real, recall),
        c05_memorization.FLAGGED: flagged,
        c05_memorization.FLAGGED_REAL: flagged_real,
    }
    measures = {name: measure(name, estimate) for name, estimate in estimates.items()}
    measures |= {one.name: one for one in coverage_measures(coverage)}
    p_values = {
        c05_memorization.FISHER: tests.flagged_p,
        c05_memorization.EXCEEDANCE: tests.exceedance_p,
    }
    measures |= {name: count(name, p) for name, p in p_values.items()}
    return c05_memorization.decide(measures).verdict


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
            verdict(
                {name: task(name, 1 + run + 50 * deaf, deaf) for name in AUGMENTED}, DRAWS
            ).verdict
            for run in range(RUNS)
        ]
        found[deaf] = pd.Series(said).value_counts()
        print(
            "deaf to prompts:" if deaf else "draws what is asked:",
            found[deaf].to_dict(),
            f"{DRAWS} draws, n = {SMALL}",
        )
    assert found[True].get(SUPPORTED, 0) <= FALSE
    assert found[False].get(SUPPORTED, 0) >= SEEN
