"""Makes a blinded reader study: one self-contained page per reader, the key that unblinds it, its protocol."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

import numpy as np

from medisyn_lib.data import sources
from medisyn_lib.data.pixels import centre_square, is_blank, load_pixels
from medisyn_lib.errors import InputError
from medisyn_lib.modalities import MODALITIES
from medisyn_lib.reader_study.answers import FORMAT, KEY
from medisyn_lib.reader_study.items import ITEMS_PER_PAIR, TRAINING, Item, draw_items
from medisyn_lib.reader_study.page import TEMPLATES, data_uri, reader_page
from medisyn_lib.reader_study.power import power_table
from medisyn_lib.reader_study.texts import DEFAULTS, read_texts
from medisyn_lib.runtime import store
from medisyn_lib.runtime.provenance import data_label

if TYPE_CHECKING:
    import datasets
    import pandas as pd

SYNTHETIC = ("pair", "synthetic")  # kinds of item that show a synthetic image
SPARE_IMAGES = 6  # held-out images per modality beyond what the items need
GREY_SPREAD = 2  # of 255: how far the channels of a grey image differ at most


def new(
    generator: str,
    source: str,
    out: Path,
    *,
    readers: int,
    pairs: int,
    margin: float,
    seed: int,
    texts: Path = DEFAULTS,
) -> str:
    """Write pages, key, protocol and the texts used of a study to folder `out`.

    Parameters
    ----------
    generator : str
        A pipeline's folder or hub id, or a folder of images with metadata.csv.
    source : str
        Data source of the real images.
    out : Path
        The study's folder.
    readers, pairs : int
        How many readers, and pairs of a real and a synthetic image for each.
    margin : float
        Of equivalence, as a proportion.
    seed : int
        Of items, order and sides.
    texts : Path
        The folder of `consent.txt` and `instructions.txt`.

    Returns
    -------
    str
        The power calculation in Markdown.

    Raises
    ------
    InputError
        For too few images or patients, and as `texts.read_texts`.
    """
    words = read_texts(texts)
    counts = {kind: math.ceil(many * pairs) for kind, many in ITEMS_PER_PAIR.items()}
    table, items, side = _make_items(generator, source, counts, seed)
    settings: dict[str, Any] = {
        "generator": Path(generator).name,
        "source": data_label(source),
        "seed": seed,
        "readers": readers,
        "margin": f"{100 * margin:g}",
        "size": side,
        "power": power_table(margin, readers),
        **_numbers(table, items, counts),
    }
    digest = hashlib.sha256(json.dumps([items, settings, words]).encode()).hexdigest()
    study = f"study-{digest[:10]}"
    keys = {}
    for reader in [f"reader-{number}" for number in range(1, readers + 1)]:
        page, keys[reader] = reader_page(study, reader, items, seed, words)
        store.write_atomic(out / "pages" / f"{reader}.html", page)
    _write_words(out, words, settings, study)
    key: dict[str, Any] = {"format": FORMAT, "study": study, "margin": margin}
    key |= {"settings": settings, "readers": keys}
    key["items"] = [_without_images(item) for item in items]
    store.write_atomic(out / KEY, json.dumps(key, indent=1))
    (out / "answers").mkdir(exist_ok=True)
    return str(settings["power"])


def _numbers(
    table: pd.DataFrame, items: Sequence[Item], counts: Mapping[str, int]
) -> dict[str, Any]:
    """Return the modalities, and how many items there are of each kind, shown twice and for training."""
    modalities = ", ".join(dict.fromkeys(table["modality"]))
    repeats = sum(item["repeat"] for item in items)
    training = sum(TRAINING.values())
    return {"modalities": modalities, **counts, "repeats": repeats, "training": training}


def _write_words(
    out: Path, words: Mapping[str, str], settings: Mapping[str, Any], study: str
) -> None:
    """Write the readers' texts, as they were used, and the protocol."""
    for name, text in words.items():
        store.write_atomic(out / "texts" / f"{name}.txt", f"{text}\n")
    protocol = Template((TEMPLATES / "PROTOCOL.md").read_text("utf-8"))
    store.write_atomic(out / "PROTOCOL.md", protocol.substitute(settings, study=study))


def _without_images(item: Item) -> dict[str, Any]:
    """Return an item as the key holds it."""
    return {name: value for name, value in item.items() if name != "images"}


def _make_items(
    generator: str, source: str, counts: dict[str, int], seed: int
) -> tuple[pd.DataFrame, list[Item], int]:
    """Return the table of held-out real images, the items with their images, and their side in pixels."""
    # A phantom source has all modalities; of another one each might have to give all items.
    known_modalities = len(MODALITIES) if source == "phantom" else 1
    many = sum(counts.values()) + sum(TRAINING.values())
    per_modality = 6 * many // known_modalities + SPARE_IMAGES
    held_out: dict[str, Any] = {"role": "test", "per_modality": per_modality}
    table = sources.load(source, **held_out).remove_columns("image").to_pandas()
    items = draw_items(table, counts, seed)
    with_synthetic = [item for item in items if item["kind"] in SYNTHETIC]
    synthetic = synthetic_images(generator, with_synthetic, seed)
    side = _side(source, min(synthetic.shape[1:3]))
    real = sources.load(source, **held_out, size=side)
    for item in items:
        rows = [] if item["kind"] == "synthetic" else item["rows"]
        item["images"] = []
        if rows:
            item["images"] = [data_uri(image, side) for image in load_pixels(real, rows)]
    grey = _grey_modalities(items, real)
    for item in items:
        item["grey"] = item["modality"] in grey
    for item, image in zip(with_synthetic, synthetic, strict=True):
        item["images"].append(data_uri(image, side))  # the last of a pair is the synthetic one
    return table, items, side


def _grey_modalities(items: Sequence[Item], real: datasets.Dataset) -> set[str]:
    """Return the modalities whose real images shown are all grey; by modality, so that nothing is given away."""
    rows: dict[str, list[int]] = {}
    for item in items:
        rows.setdefault(item["modality"], []).extend(item["rows"])
    spreads = {name: np.ptp(load_pixels(real, some), axis=3).max() for name, some in rows.items()}
    return {name for name, spread in spreads.items() if spread <= GREY_SPREAD}


def _side(source: str, side: int) -> int:
    """Return the side in pixels, of those that a source has, that is nearest to the synthetic images'."""
    smallest, largest = getattr(sources.source_module(source), "SIZES", sources.SIZES)
    return int(np.clip(side, smallest, largest))


def synthetic_images(generator: str, items: Sequence[Item], seed: int) -> np.ndarray:
    """Return an image for each item.

    A pipeline samples it from the item's caption; of a folder of images it is one of the item's
    modality, whose caption the item takes.

    Returns
    -------
    (n, h, w, 3) uint8 array

    Raises
    ------
    InputError
        Where a folder has too few images.
    """
    if (Path(generator) / "metadata.csv").is_file():
        return _finished_images(generator, items, seed)
    from medisyn_lib.pipeline.samples import sample_prompts

    prompts = [item["caption"] for item in items]
    return np.array(sample_prompts(generator, prompts, first_seed=seed))


def _finished_images(folder: str, items: Sequence[Item], seed: int) -> np.ndarray:
    """Return an image of a folder for each item, none of them twice."""
    rows = sources.finished_rows(folder)
    unused = [rows[place] for place in np.random.default_rng(seed).permutation(len(rows))]
    chosen = []
    for item in items:
        row = next((row for row in unused if row["modality"] == item["modality"]), None)
        if row is None:
            fault = f"too few images of {item['modality']} for {len(items)} items"
            mend = "give a smaller --pairs or more images"
            raise InputError(f"generator folder {folder}: {fault}; {mend}")
        unused.remove(row)
        chosen.append(row)
        item["caption"] = row["text"]
    images = list(sources.finished_images(folder, chosen))
    side = min(images[0].size)
    pixels = np.stack([np.asarray(centre_square(image, side)) for image in images])
    blank = is_blank(pixels).sum()
    if blank:
        fault = f"{blank} of {len(pixels)} chosen images are of one colour"
        raise InputError(f"generator folder {folder}: {fault}; drop such images")
    return pixels
