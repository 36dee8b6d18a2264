"""The data sources behind one function: `load(source, split)` gives a memory-mapped dataset.

A source is one string, `phantom`, `npz:DIR`, `medmnist:NAMES@SIZE`, `folder:DIR` or `hub:OWNER/NAME`.
A module reads a kind or two: `fingerprint` (of a source), of a finite one `rows` and `images` (of rows),
and `checked_name` where a preflight is not to read all the images.
"""

from __future__ import annotations

import importlib
import tomllib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from medisyn_lib.data import records
from medisyn_lib.data.pixels import size_and_marks
from medisyn_lib.data.rows import Row, require
from medisyn_lib.data.splits import ROLES, SPLIT_OF_ROLE, SPLITS, role_of, stable_fraction
from medisyn_lib.modalities import MODALITIES
from medisyn_lib.runtime.store import keep

if TYPE_CHECKING:
    import datasets

KINDS = tomllib.loads(Path(__file__).with_name("sources.toml").read_text("utf-8"))
FINITE = tuple(kind for kind in KINDS if kind != "phantom")
SIZES = (16, 1024)  # smallest and largest side in pixels that a finite source is brought to
MIN_TEST_PATIENTS = 20
PHANTOMS_CHECKED = 150  # a split and modality: phantoms have no end
MANY = 600  # phantoms; starting a second process takes about a second: not worth it for fewer
CODE = ("medisyn_lib.phantoms", "medisyn_lib.modalities", "medisyn_lib.data.sources")


def source_module(source: str) -> ModuleType:
    """The module that reads a source. Raises InputError for an unknown kind."""
    kind = source.partition(":")[0]
    mend = f"write phantom or one of {', '.join(FINITE)} and ':...'"
    require(kind in KINDS, f"data source {source!r} is unknown: {mend}")
    return importlib.import_module(f"medisyn_lib.data.{KINDS[kind]['module']}")


def preflight(source: str) -> None:
    """Check a source down to its bytes without heavy imports, before any long work.

    Raises InputError with one line that names the file, what is wrong with it and the mend. The
    contents of `medmnist:` and `hub:` are checked when they are loaded, as that takes a download.
    """
    module = source_module(source)
    if source.partition(":")[0] not in ("npz", "folder"):
        module.checked_name(source)
    else:
        for _ in module.images(module.rows(source)):
            pass


def fingerprint(source: str) -> str:
    """A hash of the source's content: of its files' bytes, for phantoms of the code that draws them."""
    return str(source_module(source).fingerprint(source))


def rows(source: str) -> list[Row]:
    """All images of a finite source without their pixels. Raises InputError as `preflight` does."""
    return list(source_module(source).rows(source))


def load(
    source: str, split: str | None = None, *, role: str | None = None, size: int = 64,
    per_modality: int | None = None, modalities: Sequence[str] | None = None, seed: int = 0,
) -> datasets.Dataset:  # fmt: skip
    """The images of a split or a role, built once, kept in the store and mapped into memory.

    At least one of `split` (train, val, test) and `role` is given. Roles never share a patient: of a finite source's
    train patients a stable hash deals 70% to `generator` and 30% to `evaluator`, val is `calibration`, test is `test`;
    `first_stage` is the generator's patients again, as in the field the first stage sees the generator's own training
    images alone. Of phantoms each role is a stream of its own patients; that of `first_stage` is used nowhere else.

    `per_modality` caps the images a modality by a stable hash of image and `seed` (for phantoms it sets them, default
    600). Images become RGB of (size, size): the centre square, resampled with Lanczos. `seed` also draws captions and
    phantoms; the order of rows is fixed.

    Columns: image, caption, modality, specialty, finding, side, lesion_size, count and grade (-1: unknown), patient_id,
    image_id, split, role, identity_known (whether patient ids are true patients), factors (JSON: of a phantom all).

    Raises InputError for bad arguments, a bad source or where nothing is left.
    """
    role, module, content = _role(split, role), source_module(source), fingerprint(source)
    low, high = getattr(module, "SIZES", SIZES)
    require(
        low <= size <= high, f"size {size}: images of {source} have {low} to {high} pixels a side"
    )
    fits = seed >= 0 and (per_modality is None or per_modality > 0)
    require(
        fits,
        f"seed {seed}, per_modality {per_modality}: give a seed of 0 or more and at least 1 image",
    )
    every = _checked_rows(source, content)
    known = tuple(dict.fromkeys(row["modality"] for row in every) or MODALITIES)
    names = tuple(modalities or known)
    for name in names:
        require(
            name in known,
            f"modality {name!r} is not in the data source: choose among {', '.join(known)}",
        )
    arguments: dict[str, Any] = {"size": size, "seed": seed}
    if every:
        make_records = _records
        arguments |= {
            "images": module.images,
            "role": role,
            "chosen": _choose(every, role, per_modality, names, seed),
        }
    else:
        make_records, arguments["chosen"] = module.records, module.choose(role, per_modality, names)
    workers = 2 if source == "phantom" and len(arguments["chosen"]) > MANY else 1
    settings = {
        "source": source.partition(":")[0],
        "fingerprint": content,
        "role": role,
        "size": size,
        "seed": seed,
    }
    settings |= {"per_modality": per_modality, "modalities": ",".join(names)}

    def make(place: Path) -> None:
        records.write(place, make_records, arguments, workers=workers)

    folder = keep("data", settings, make, code=CODE)
    import datasets

    # What `map` or `filter` would cache beside the dataset's files would spoil the store's entry.
    datasets.disable_caching()
    return datasets.Dataset.load_from_disk(str(folder / "data"))


def _role(split: str | None, role: str | None) -> str | None:
    """The role that is asked for, None for all of train. Raises InputError for what does not fit."""
    for name, value, known in (("split", split, SPLITS), ("role", role, ROLES)):
        require(
            value in (None, *known), f"{name} {value!r} is unknown: choose among {', '.join(known)}"
        )
    choice = f"{', '.join(SPLITS)} or {', '.join(ROLES)}"
    require(split or role, f"neither split nor role is given: choose one of {choice}")
    home = SPLIT_OF_ROLE.get(role or "", split)
    require(
        split in (None, home),
        f"role {role!r} belongs to split {home!r}, not {split!r}: give one of them",
    )
    return role if split in (None, "train") else role_of(split, "")


@lru_cache
def _checked_rows(source: str, content: str) -> list[Row]:
    """The rows of a source, none of phantoms; checked once while its content stays, as that reads every byte."""
    preflight(source)
    return [] if source == "phantom" else rows(source)


def _choose(
    every: Sequence[Row], role: str | None, many: int | None, names: Sequence[str], seed: int
) -> tuple[tuple[int, Row], ...]:
    """The rows that are asked for, with their numbers in the source; no list, which `datasets` would deal out."""
    dealt = {None: ("generator", "evaluator"), "first_stage": ("generator",)}.get(role, (role,))
    pairs = [
        pair
        for pair in enumerate(every)
        if role_of(pair[1]["split"], pair[1]["patient_id"]) in dealt
    ]
    pairs.sort(key=lambda pair: stable_fraction("cap", seed, pair[1]["image_id"]))
    result = [
        pair
        for name in names
        for pair in [pair for pair in pairs if pair[1]["modality"] == name][:many]
    ]
    require(
        result, f"no image in the data source for {role or 'train'}: add some or choose another"
    )
    return tuple(sorted(result, key=lambda pair: pair[0]))


def _records(
    images: Callable[..., Iterator[Any]],
    chosen: Sequence[tuple[int, Row]],
    role: str | None,
    size: int,
    seed: int,
) -> Iterator[dict[str, Any]]:
    """The records of chosen rows, one image in memory at a time."""
    for (number, row), image in zip(chosen, images([row for _, row in chosen]), strict=True):
        own = role or role_of(row["split"], row["patient_id"])
        yield records.sample(row, image, role=own, size=size, seed=(seed, number))


def testable(source: str | datasets.Dataset) -> dict[str, str]:
    """Whether each modality can be tested: "" or the reason why not.

    A modality is not testable with fewer than 20 test patients or with a class that has no test image. `source` is a
    data source or a dataset that holds test images; of a dataset only the classes that occur in it are known.
    """
    if source == "phantom":  # as many patients as one asks for
        return dict.fromkeys(MODALITIES, "")
    import pandas

    reasons = {}
    table = rows(source) if isinstance(source, str) else source.remove_columns("image").to_pandas()
    for name, own in pandas.DataFrame(table).groupby("modality", sort=False):
        test = own[own["split"] == "test"]
        patients, empty = (
            test["patient_id"].nunique(),
            sorted({*own["finding"]} - {*test["finding"]}),
        )
        few = f"{patients} test patients, at least {MIN_TEST_PATIENTS} are needed" * (
            patients < MIN_TEST_PATIENTS
        )
        reasons[str(name)] = "; ".join(
            filter(None, [few, f"no test image of {', '.join(empty)}" * bool(empty)])
        )
    return reasons


def check(source: str) -> list[dict[str, Any]]:
    """One row a modality: images, patients and classes by split, empty classes, identity, leaks, why not testable.

    `classes` and `patients` are written train/val/test; `near_duplicates` counts pairs of images in different splits;
    `sizes` are the smallest and largest width x height as stored, `marked` how many images seem to have marks burnt in
    (`samples.seen`). Of phantoms 150 a split and modality are seen. Raises InputError as `preflight` and `load` do.
    """
    import datasets

    every, looked = _checked_rows(source, fingerprint(source)), defaultdict(list)
    there, cap = {row["split"] for row in every} or SPLITS, None if every else PHANTOMS_CHECKED
    parts = [load(source, split, per_modality=cap) for split in SPLITS if split in there]
    whole, reasons = datasets.concatenate_datasets(parts), testable(source)
    home = dict(zip(whole["image_id"], whole["modality"], strict=True))
    leaks = Counter(home[first] for first, _, _ in near_duplicates(whole))
    for row, image in zip(every, source_module(source).images(every) if every else (), strict=True):
        looked[row["modality"]].append(size_and_marks(image))
    report = []
    for name, own in whole.remove_columns("image").to_pandas().groupby("modality", sort=False):
        cells = (
            own.groupby(["finding", "split"])
            .size()
            .unstack(fill_value=0)
            .reindex(columns=SPLITS, fill_value=0)
        )
        patients = own.groupby("split")["patient_id"].nunique().reindex(SPLITS, fill_value=0)
        sizes = sorted(size for size, _ in looked[name])
        empty = [
            f"{finding} in {split}"
            for split in ("val", "test")
            for finding in cells.index[cells[split] == 0]
        ]
        report.append({
            "modality": name, **{split: int(cells[split].sum()) for split in SPLITS},
            "patients": "/".join(map(str, patients)),
            "classes": ", ".join(f"{key} {'/'.join(map(str, counts))}" for key, counts in cells.T.items()),
            "empty": ", ".join(empty), "identity": "known" if own["identity_known"].all() else "unknown",
            "near_duplicates": leaks[name],
            "sizes": " to ".join("{} x {}".format(*size) for size in dict.fromkeys(sizes[:1] + sizes[-1:])) or "any",
            "marked": sum(marked for _, marked in looked[name]), "not_testable": reasons[name],
        })  # fmt: skip
    return report


def near_duplicates(
    dataset: datasets.Dataset, threshold: float = 0.97
) -> list[tuple[str, str, float]]:
    """Pairs of images of one modality in different splits that look the same: (image_id, image_id, score).

    The score is the correlation, in [-1, 1], of 16 x 16 grey images after the modality's mean image
    is taken away: what all images of a modality share, such as the round field of a fundus camera,
    does not count, nor do brightness and contrast. Neither a flipped nor a shifted copy is found. Score
    and threshold are our own choice: at 0.97 nearly all copies with noise of 8/255, JPEG quality 50 or
    20% more brightness are found, and 1 pair in 9,000 independent phantoms is named falsely.
    """
    from sklearn.neighbors import radius_neighbors_graph

    table = dataset.remove_columns("image").to_pandas().reset_index()
    pairs: list[tuple[str, str, float]] = []
    for _, own in table.groupby("modality", sort=False):
        images = (row["image"] for row in dataset.select_columns("image").select(own["index"]))
        small = [
            np.ravel(image.convert("L").resize((16, 16), Image.Resampling.BOX)) for image in images
        ]
        values = np.array(small, np.float32) - np.mean(small, axis=1, keepdims=True)
        values /= np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-6)
        values -= values.mean(axis=0)
        near = radius_neighbors_graph(
            values, 1 - threshold, mode="distance", metric="cosine"
        ).tocoo()
        ids, split = own["image_id"].to_numpy(), own["split"].to_numpy()
        close = zip(near.row, near.col, near.data, strict=True)
        pairs += [
            (ids[i], ids[j], round(1 - float(far), 4)) for i, j, far in close if split[i] < split[j]
        ]
    return pairs
