"""Reading prompts back: what evaluators see in generated images, against what was asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn.functional import interpolate

from medisyn_lib import claims, data, evaluators, processes, sampling, statistics
from medisyn_lib.statistics import Estimate, cluster_interval, cluster_proportion, paired_difference

if TYPE_CHECKING:
    import datasets
    import pandas as pd

    from medisyn_lib.profiles import Profile


def samples_entry(
    generator: Path | str, prompts: Sequence[str], *, first_seed: int = 0, seeds: Sequence[int] = (), **changed: float
) -> Path:
    """Folder with `samples.npy`, uint8 (n, h, w, 3): one image a prompt, of these seeds, else from `first_seed` on.

    `changed` are settings of the pipeline's call, such as guidance_scale, other than the generator's own.
    """
    call = sampling.settings_of(str(generator)) | changed
    name = sampling.fingerprint(str(generator))
    seeds = list(seeds) or list(range(first_seed, first_seed + len(prompts)))

    def part(rows: np.ndarray) -> np.ndarray:
        pipeline = sampling.load_pipeline(str(generator))
        return sampling.sample(pipeline, [prompts[i] for i in rows], [seeds[i] for i in rows], **call)

    what: dict[str, object] = {"prompts": list(prompts), "first_seed": seeds[0], "call": call}
    if seeds != list(range(seeds[0], seeds[0] + len(seeds))):
        what["seeds"] = seeds
    count, code = lambda: len(prompts), ("medisyn_lib.sampling",)
    return processes.keep_array("samples", what, count, part, inputs=[name], code=code).parent


def load_samples(entry: Path, side: int = 0) -> np.ndarray:
    """The images of a samples entry, memory-mapped, or brought to a `side` in pixels where theirs is another."""
    images = np.load(entry / "samples.npy", mmap_mode="r")
    if not side or images.shape[1:3] == (side, side):
        return images
    pixels = torch.from_numpy(np.array(images)).movedim(3, 1)
    return interpolate(pixels, (side, side), mode="bilinear", antialias=True).movedim(1, 3).numpy()


def readings(reader: evaluators.Reader, pixels: np.ndarray, asked: datasets.Dataset) -> pd.DataFrame:
    """One row an image: modality, finding, patient, and whether both were read as in `asked`, row by row."""
    import pandas as pd

    modality, finding = asked["modality"][:], asked["finding"][:]
    scores = reader.scores(pixels)
    right = reader.modality_right(scores, modality), reader.finding_right(scores, modality, finding)
    table = pd.DataFrame({"modality": modality, "finding": finding, "patient": asked["patient_id"][:]})
    return table.assign(modality_right=right[0], finding_right=right[1])


def derange(asked: datasets.Dataset, *, seed: int = 0) -> datasets.Dataset:
    """The same rows with each caption taken from another patient of the image's modality."""
    modality, patient = np.asarray(asked["modality"][:]), np.asarray(asked["patient_id"][:])
    place = np.random.default_rng(seed).permutation(len(patient))
    first = {name: place[row] for row, name in enumerate(patient)}
    other = np.arange(len(modality))
    for name in np.unique(modality):
        rows = np.flatnonzero(modality == name)
        rows = rows[np.argsort([first[patient[row]] for row in rows], kind="stable")]
        most = max(np.unique(patient[rows], return_counts=True)[1])  # a shift by this much leaves every patient
        other[rows] = np.roll(rows, most)
    return asked.select(other.tolist())


def chance(asked: datasets.Dataset) -> float:
    """How often a finding is right when captions of a modality are dealt at random: sum of squared shares."""
    import pandas as pd

    table = pd.DataFrame({"modality": asked["modality"][:], "finding": asked["finding"][:]})
    agree = table.groupby("modality")["finding"].agg(lambda f: (f.value_counts(normalize=True) ** 2).sum())
    return float((agree * table["modality"].value_counts(normalize=True)).sum())


def share_right(table: pd.DataFrame, column: str, level: float = 0.95) -> Estimate:
    """The share of images read right, with the interval by patient."""
    return cluster_proportion(table[column].to_numpy(float), table["patient"].to_numpy(), level)


def by_modality(*, real: pd.DataFrame, synthetic: pd.DataFrame) -> pd.DataFrame:
    """Tidy table: modality, images (real or synthetic), what (modality or finding), share, low, high, n."""
    import pandas as pd

    rows = []
    for images, table in (("real", real), ("synthetic", synthetic)):
        for modality, part in table.groupby("modality", sort=False):
            for what in ("modality", "finding"):
                found = share_right(part, f"{what}_right")
                rows.append((modality, images, what, found.value, found.ci_low, found.ci_high, found.n))
    return pd.DataFrame(rows, columns=["modality", "images", "what", "share", "low", "high", "n"])


def claim_one_model(
    read: Mapping[str, pd.DataFrame], asked: datasets.Dataset, settings: Profile, *, rule: str
) -> claims.Claim:
    """Claim 01 from the readings of `real`, `synthetic` and `deranged` images, and of `untrained` denoisers' if any.

    These say in column `network` which of them made each image. Modalities with too few test patients count only where
    all have too few, and then decide nothing.
    """
    reasons = data.testable(asked)
    testable = [name for name, reason in reasons.items() if not reason]
    kept = testable or list(reasons)
    parts = {name: table[table["modality"].isin(kept)].reset_index(drop=True) for name, table in read.items()}
    asked = asked.select(np.flatnonzero(np.isin(asked["modality"][:], kept)).tolist())
    modality = share_right(parts["synthetic"], "modality_right")
    found, true = (parts[side]["finding_right"].to_numpy(float) for side in ("synthetic", "real"))
    gap = paired_difference(found, true, parts["real"]["patient"].to_numpy())
    shares_read = {"modality_read_back": modality, "finding_gap": gap} | {
        "finding_read_back_real": share_right(parts["real"], "finding_right"),
        "finding_read_back": share_right(parts["synthetic"], "finding_right"),
        "modality_read_back_real": share_right(parts["real"], "modality_right"),
    }
    outcomes = [_clears(modality, settings.modality_floor), _clears(gap, -settings.finding_margin)]
    passed = None if None in outcomes or not testable else all(outcomes)
    drawn, there = (parts[side].groupby("modality")["finding_right"].mean() for side in ("synthetic", "real"))
    near = Estimate(int((drawn >= there - settings.finding_margin).sum()), None, None, len(drawn))
    measures = [claims.measure(name, found, unit="share", encoder="reader") for name, found in shares_read.items()]
    measures += [claims.count("modalities_testable", len(testable))]
    measures += [claims.measure("modalities_within_margin", near, unit="modalities")]
    return claims.make_claim(
        id="one-model-ten-modalities", statement=claims.NOTEBOOKS["01_training"], rule=rule, measures=measures,
        source="arXiv 2405.09806 v7, abstract; protocol our own", passed=passed, partly=True in outcomes,
        primary="finding_gap", detectable=statistics.detectable_difference(statistics.standard_error(gap)),
        controls=_controls(parts, asked),
    )  # fmt: skip


def _clears(found: Estimate, bound: float) -> bool | None:
    """Whether an estimate surely lies above a bound (True) or below it (False)."""
    if found.ci_low is None or found.ci_high is None:
        return None
    return True if found.ci_low >= bound else False if found.ci_high < bound else None


def _controls(parts: Mapping[str, pd.DataFrame], asked: datasets.Dataset) -> list[claims.Control]:
    """Real images are read right; deranged captions and untrained models' images, if any, at chance (99.9% limits).

    One untrained network maps words to looks somehow, so its images agree with prompts a little more or less than by
    chance, and alike: the interval (99%) is over networks.
    """
    even, findings = 1 / len(set(asked["modality"][:])), chance(asked)
    seen, found = (share_right(parts["real"], column, 0.999) for column in ("modality_right", "finding_right"))
    at_chance = {"deranged_captions": (share_right(parts["deranged"], "finding_right", 0.999), findings)}
    if "untrained" in parts:
        blind = cluster_interval(parts["untrained"]["modality_right"], parts["untrained"]["network"], 0.99)
        at_chance = {"untrained_denoiser": (blind, even)} | at_chance
    controls = [
        claims.Control("real_modality", "positive", "at least 0.95", seen.value, bool((seen.value or 0) >= 0.95)),
        claims.Control("real_finding", "positive", "above chance", found.value, bool((found.ci_low or 0) > findings)),
    ]
    for name, (point, luck) in at_chance.items():
        controls.append(claims.Control(name, "negative", "chance", point.value, bool((point.ci_low or 0) <= luck)))
    return controls
