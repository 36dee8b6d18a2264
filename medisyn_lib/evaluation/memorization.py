"""Does a generator copy its training images? Three looks, a threshold that other patients set, tests of a set."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image

from medisyn_lib.data import sources
from medisyn_lib.errors import InputError
from medisyn_lib.evaluation import neighbours
from medisyn_lib.models import encoders
from medisyn_lib.models.tensors import in_batches, to_tensor
from medisyn_lib.pipeline.denoisers import denoiser_entry, load_denoiser, snapshot_steps
from medisyn_lib.pipeline.embeddings import text_entry
from medisyn_lib.pipeline.index import VECTORS, index_entry
from medisyn_lib.pipeline.latents import latents_entry, load_latents
from medisyn_lib.pipeline.reidentification import reidentification_entry
from medisyn_lib.pipeline.study import MODELS_CODE
from medisyn_lib.runtime import store
from medisyn_lib.runtime.distributed import keep_together
from medisyn_lib.statistics.estimates import Estimate
from medisyn_lib.statistics.intervals import exact_proportion
from medisyn_lib.training import loop
from medisyn_lib.training.denoiser import train_denoiser
from medisyn_lib.training.reidentification import ReidentificationEncoder

if TYPE_CHECKING:
    import datasets

    from medisyn_lib.pipeline.study import Study

NEAREST = 10  # the nearest is held against the tenth nearest, so that a crowded modality is not suspect; see `match`
RATE, LEVEL = (
    0.01,
    0.05,
)  # false alarms: of an image; of the rule on a set, half for each of its tests
OVERTRAINED = 64  # images


def _crop(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    side = round(0.8**0.5 * len(image))
    top, left = rng.integers(0, len(image) - side + 1, 2)
    cut = Image.fromarray(image[top : top + side, left : left + side])
    return np.asarray(cut.resize((len(image),) * 2, Image.Resampling.BICUBIC))


def _jpeg(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=50)
    return np.asarray(Image.open(buffer))


DISTORTIONS: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "flip": lambda image, rng: image[:, ::-1],
    "crop": _crop,  # to 80% of the area, anywhere
    "brightness": lambda image, rng: image * rng.choice([0.8, 1.2]),
    "noise": lambda image, rng: (
        image + rng.normal(0, 8, image.shape)
    ),  # standard deviation 8 of 255
    "jpeg": _jpeg,  # quality 50
}


def distort(pixels: np.ndarray, kind: str, *, seed: int) -> np.ndarray:
    """Copies of square images, uint8 (n, h, h, 3), by one of DISTORTIONS; image i has random numbers of its own."""
    made = [
        DISTORTIONS[kind](image, np.random.default_rng([seed, i])) for i, image in enumerate(pixels)
    ]
    return np.clip(np.rint(np.array(made)), 0, 255).astype(np.uint8)


def training_images(study: Study, generator: str = "") -> datasets.Dataset:
    """What a generator was trained on: the study's; of one made elsewhere all train images of a finite source.

    Raises InputError where they are fewer than the index needs.
    """
    whole = generator and study.source != "phantom"
    images = (
        sources.load(study.source, "train", size=study.settings.size)
        if whole
        else study.images("generator")
    )
    if len(images) < OVERTRAINED:
        raise InputError(
            f"training set of {study.source}: {len(images)} images, {OVERTRAINED} are needed; add images"
        )
    return images


class Look(NamedTuple):
    """A way to compare images: the entry of the training images' index, what `describe` makes of uint8 queries."""

    name: str
    entry: Path
    describe: Callable[[np.ndarray], np.ndarray]


def looks(study: Study, images: datasets.Dataset, encoder: str = "efflite0") -> list[Look]:
    """Pixels; an `encoder` of photographs; where true patients are known re-identification, of the mirror image too."""
    names = hashlib.sha256("\n".join(images["image_id"]).encode()).hexdigest()
    what = {"data": sources.fingerprint(study.source), "images": names, "size": study.settings.size}
    index, net = index_entry, _photographs(encoder)
    found = [
        Look(
            "pixels", index(images, neighbours.centre, what | {"look": "pixels"}), neighbours.views
        ),
        Look(
            encoder,
            index(images, net, what | {"look": encoder}, code=("medisyn_lib.models.encoders",)),
            net,
        ),
    ]
    if folder := reidentification_entry(study):
        seen = ReidentificationEncoder(folder)
        own = index(images, seen, what | {"look": "reidentification"}, [folder.name])
        both = lambda pixels: np.stack([seen(pixels), seen(pixels[:, :, ::-1])], 1)  # noqa: E731
        found.append(Look("reidentification", own, both))
    return found


def _photographs(encoder: str) -> Callable[[np.ndarray], np.ndarray]:
    """Unit vectors by a named encoder (`encoders.features`); `efflite0` sees images up to 128 pixels at their size."""
    net: Any = encoders.efflite0() if encoder == "efflite0" else None
    if net:
        net.reset_classifier(0)

    def describe(pixels: np.ndarray) -> np.ndarray:
        if net and pixels.shape[1] <= 128:
            found = in_batches(lambda part: net(to_tensor(np.array(part))).numpy(), pixels, 64)
        else:
            found = encoders.features(pixels, encoder).values
        return (found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-9)).astype(
            np.float32
        )

    return describe


class Matches(NamedTuple):
    """For each query and look the nearest distance over the tenth nearest, float64 (q, l), and the nearest's row."""

    ratio: np.ndarray
    row: np.ndarray


def match(looks: Sequence[Look], pixels: np.ndarray, rows: np.ndarray | None = None) -> Matches:
    """Searches for uint8 images (q, h, w, 3) in every look's index, or in some rows of it; kept in the store.

    Of an index below 200 images the nearest are fewer than NEAREST: a twentieth of it, at least two.
    """
    found: list[tuple[np.ndarray, np.ndarray]] = []
    for look in looks:

        def make(directory: Path, look: Look = look) -> None:
            index = np.load(look.entry / VECTORS, mmap_mode="r")
            index = index if rows is None else index[rows]
            away, row = neighbours.nearest(
                look.describe(pixels), index, min(NEAREST, max(2, len(index) // 20))
            )
            np.save(directory / "away.npy", away)
            np.save(directory / "row.npy", row)

        what: dict[str, Any] = {
            "images": hashlib.sha256(pixels.tobytes()).hexdigest(),
            "nearest": [NEAREST, 20],
        }
        what |= {} if rows is None else {"rows": rows.tolist()}
        entry = store.keep(
            "matches",
            what,
            make,
            inputs=[look.entry.name],
            code=("medisyn_lib.evaluation.neighbours",),
        )
        away = np.load(entry / "away.npy")
        found.append(
            (away[:, 0] / np.maximum(away[:, -1], 1e-12), np.load(entry / "row.npy")[:, 0])
        )
    return Matches(*(np.stack(part, 1) for part in zip(*found, strict=True)))


def suspicion(ratio: np.ndarray, calibration: np.ndarray) -> np.ndarray:
    """P-values (q,) of queries' ratios (q, l) among calibration images' (m, l), for all looks jointly; small: a copy.

    In each look the rank among the calibration images, of the looks the smallest, and of that the rank again, the
    query standing among the calibration images each time: full conformal prediction (Vovk et al. 2005), so an image
    of other patients has p <= a in a share a of cases at most, however many looks there are.
    """
    columns = np.sort(calibration, 0).T
    own, rank = (
        np.stack([np.searchsorted(c, x, "right") for c, x in zip(columns, part.T, strict=True)], 1)
        for part in (calibration, ratio)
    )
    pairs = zip(ratio, rank.min(1) + 1, strict=True)
    as_odd = [
        np.count_nonzero((own + (one <= calibration)).min(1) <= least) for one, least in pairs
    ]
    return (1 + np.array(as_odd)) / (len(calibration) + 1)


def set_rule(
    *, real: np.ndarray, synthetic: np.ndarray, flagged_real: int, flagged_synthetic: int
) -> tuple[float, float, int]:
    """The exact one-sided p-values of too many flagged and of too many leaders, and how many leaders there are.

    Fisher's test of the images flagged. Leaders pass the finest threshold that n real images can set, 1/n: their
    ratios (s, l) lie below all real ones (n, l), one image a patient; exceedance test (Epstein 1954) in the look that
    has most, times the number of looks. The rule is broken where one is at most half of LEVEL.
    """
    from scipy.stats import hypergeom

    s, n = len(synthetic), len(real)
    flagged = hypergeom.sf(flagged_synthetic - 1, s + n, flagged_real + flagged_synthetic, s)
    leaders = int((synthetic < real.min(0)).sum(0).max())
    turns = np.arange(leaders)
    leading = np.prod((s - turns) / (s + n - turns)) * synthetic.shape[1]
    return float(flagged), min(1.0, float(leading)), leaders


def power(
    *,
    real: np.ndarray,
    copies: np.ndarray,
    calibration: np.ndarray,
    dose: float,
    n: int,
    draws: int = 200,
) -> Estimate:
    """How often the rule is broken by n images of which a share `dose` are copies, of these ratios (c, l).

    Copies, other and held-out images are drawn anew each time, with replacement, the latter two from `real` (m, l).
    """
    rng, broken = np.random.default_rng(0), 0
    hit, false = (suspicion(part, calibration) <= RATE for part in (copies, real))
    for _ in range(draws):
        many = rng.binomial(n, dose)
        taken, clean = rng.integers(0, len(hit), many), rng.integers(0, len(false), n - many)
        held = rng.integers(0, len(false), len(false))
        mixed = np.concatenate([copies[taken], real[clean]])
        alarms, hits = int(false[held].sum()), int(hit[taken].sum() + false[clean].sum())
        tests = set_rule(
            real=real[held], synthetic=mixed, flagged_real=alarms, flagged_synthetic=hits
        )
        broken += min(tests[:2]) <= LEVEL / 2
    return exact_proportion(broken, draws)


def overtrained_rows(images: datasets.Dataset, many: int = OVERTRAINED) -> np.ndarray:
    """So many rows of as many patients, and of as many modalities and findings as there are; all, if fewer."""
    table = images.remove_columns("image").to_pandas().drop_duplicates("patient_id")
    turn = table.groupby(["modality", "finding"]).cumcount().sort_values(kind="stable")
    return np.sort(turn.index[:many].to_numpy())


def overtrained_entry(study: Study, rows: np.ndarray) -> Path:
    """Folder of the generalist's denoiser, trained on with these rows of the generator's images alone: a control."""
    base, latents = denoiser_entry(study), latents_entry(study)
    words = text_entry(study)
    plan = loop.TrainingPlan(study.settings.memorization.overfit_steps, 16, 2e-3, weight_decay=0.0)

    def make(directory: Path) -> None:
        net, caption = load_denoiser(study, base).train(), np.load(words / "caption.npy")[rows]
        kept, embeddings = load_latents(latents)[rows], np.load(words / "embeddings.npy")
        train_denoiser(net, kept, embeddings, caption, plan, directory, snapshot_steps(plan))
        each, many = (
            json.loads((base / "compute.json").read_text("utf-8"))["flops_per_image"],
            plan.steps * plan.batch,
        )
        seen = {"steps": plan.steps, "images": many, "flops_per_image": each, "flops": many * each}
        store.write_atomic(directory / "compute.json", json.dumps(seen))

    code = (*MODELS_CODE, "medisyn_lib.training.denoiser")
    what = {"plan": asdict(plan), "rows": rows.tolist()}
    return keep_together(
        "overtrained", what, make, inputs=[base.name, latents.name, words.name], code=code
    )
