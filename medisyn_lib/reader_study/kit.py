"""Makes a blinded reader study: one self-contained page a reader, the key that unblinds it, its protocol."""

from __future__ import annotations

import base64
import hashlib
import io
import itertools
import json
import math
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

import numpy as np

from medisyn_lib.data import sources
from medisyn_lib.data.pixels import centre_square, load_pixels
from medisyn_lib.errors import InputError
from medisyn_lib.modalities import MODALITIES
from medisyn_lib.reader_study.analysis import power_table
from medisyn_lib.reader_study.answers import FORMAT, KEY, PAIRS
from medisyn_lib.runtime import store
from medisyn_lib.runtime.provenance import data_label

if TYPE_CHECKING:
    import pandas as pd

# Items of each kind for one pair of a real and a synthetic image; a sixth of each comes twice.
SHARES = {"pair": 1.0, "control": 1 / 3, "real": 1 / 3, "synthetic": 1 / 3, "mismatched": 1 / 6}
ATTRIBUTES = ["finding", "side", "lesion_size", "count", "grade"]
TEMPLATES = Path(__file__).parent


def draw_items(real: pd.DataFrame, counts: Mapping[str, int], seed: int) -> list[dict[str, Any]]:
    """Items: kind, modality, caption, rows of `real` that they show, fits (share of the caption that is true), repeat.

    Each takes patients of its own, modalities in turn while their patients last. Raises InputError for too few.
    """
    own = (
        real.sample(frac=1, random_state=seed)
        .drop_duplicates("patient_id")
        .groupby("modality", sort=False)
    )
    every = {str(name): part for name, part in own}
    left, turn, items = (
        {name: part.index.tolist() for name, part in every.items()},
        itertools.cycle(every),
        [],
    )
    for kind, place in [(kind, place) for kind, n in counts.items() for place in range(n)]:
        name = next(
            (name for name in itertools.islice(turn, len(every)) if len(left[name]) > 1), ""
        )
        if not name:
            there = f"{sum(map(len, every.values()))} held-out patients are too few for {counts['pair']} pairs"
            raise InputError(f"reader study: {there}; give a smaller --pairs or a larger source")
        rows = [left[name].pop() for _ in range(2 if kind == "control" else 1)]
        shown = told = every[name].loc[rows[0]]
        if kind == "mismatched":
            others = every[name].drop(rows)
            told = others.iloc[np.argmax(others["finding"] != shown["finding"])]
        fits = float((shown == told)[[a for a in ATTRIBUTES if told[a] not in ("", -1)]].mean())
        item = {
            "kind": kind,
            "modality": name,
            "caption": told["caption"],
            "rows": rows,
            "fits": fits,
        }
        items.append(item | {"repeat": 6 * place < counts[kind]})
    return items


def synthetic_images(generator: str, items: Sequence[dict[str, Any]], seed: int) -> np.ndarray:
    """uint8 (n, h, w, 3): an image of each item's caption; from a folder one of its modality, whose caption it takes.

    Raises InputError where a folder has too few.
    """
    if not (Path(generator) / "metadata.csv").is_file():
        from medisyn_lib.pipeline.samples import load_samples, samples_entry

        prompts = [item["caption"] for item in items]
        return np.array(load_samples(samples_entry(generator, prompts, first_seed=seed)))
    rows, chosen = sources.rows(source := f"folder:{generator}"), []
    left = [rows[place] for place in np.random.default_rng(seed).permutation(len(rows))]
    for item in items:
        if (
            row := next((row for row in left if row["modality"] == item["modality"]), None)
        ) is None:
            there = f"too few images of {item['modality']} for {len(items)} items"
            raise InputError(
                f"generator folder {generator}: {there}; give a smaller --pairs or more images"
            )
        left.remove(row)
        chosen.append(row)
        item["caption"] = row["text"]
    images = list(sources.source_module(source).images(chosen))
    return np.stack([np.asarray(centre_square(one, min(images[0].size))) for one in images])


def data_uri(pixels: np.ndarray, side: int) -> str:
    """A uint8 image (h, w, 3), brought to `side` pixels, as a PNG data URI whose length depends on `side` alone."""
    buffer = io.BytesIO()
    centre_square(pixels, side).save(
        buffer, "PNG", compress_level=0
    )  # compressed, smooth images would be shorter
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def reader_page(
    study: str, reader: str, items: Sequence[Mapping[str, Any]], seed: int
) -> tuple[str, dict[str, Any]]:
    """A reader's page (HTML) and the key to it: token -> item, flip (the second image comes first), again, shown.

    Order and sides are the reader's own. `shown`, a CRC-32, tells an edited page and is no signature.
    """
    rng, shown, key = np.random.default_rng([seed, zlib.crc32(reader.encode())]), [], {}
    flips, places = rng.integers(2, size=len(items)), rng.random((len(items), 2))
    places /= [
        [1 + item["repeat"], 2] for item in items
    ]  # what comes twice is in the first half, then in the second
    order = [
        (places[n, a] + a / 2, n, a)
        for n, item in enumerate(items)
        for a in range(1 + item["repeat"])
    ]
    for token, (_, number, again) in enumerate(sorted(order), 1):
        item, flip = items[number], bool(flips[number] ^ again)
        pair, name = item["kind"] in PAIRS, item["modality"]
        name = MODALITIES[name].names[0] if name in MODALITIES else name.replace("_", " ")
        entry = {"kind": "pair" if pair else "rating", "modality": name[:1].upper() + name[1:]}
        entry["caption"] = "" if pair else item["caption"]
        images = item["images"][::-1] if flip else item["images"]
        check = zlib.crc32("\n".join([*entry.values(), *images]).encode())
        key[f"{token:03d}"] = {"item": number, "flip": flip, "again": again, "shown": check}
        shown.append({"token": f"{token:03d}", **entry, "images": images})
    words = {
        kind: (TEMPLATES / f"page.{kind}").read_text("utf-8") for kind in ("html", "css", "js")
    }
    for kind in ("css", "js"):
        words[f"{kind}_hash"] = base64.b64encode(
            hashlib.sha256(words[kind].encode()).digest()
        ).decode()
    content = json.dumps({"format": FORMAT, "study": study, "reader": reader, "items": shown})
    # Escaped, no caption ends the element that holds it.
    return Template(words["html"]).substitute(words, study=content.replace("<", "\\u003c")), key


def new(
    generator: str, source: str, out: Path, *, readers: int, pairs: int, margin: float, seed: int
) -> str:
    """Writes pages, key and protocol of a study to folder `out`; returns the power calculation in Markdown.

    `generator` may be a folder of images with metadata.csv. Raises InputError for too few images or patients.
    """
    counts = {kind: math.ceil(share * pairs) for kind, share in SHARES.items()}
    many = (
        6 * sum(counts.values()) // (len(MODALITIES) if source == "phantom" else 1) + 6
    )  # phantoms have all
    asked: dict[str, Any] = {"role": "test", "per_modality": many}
    table = sources.load(source, **asked).remove_columns("image").to_pandas()
    items = draw_items(table, counts, seed)
    made = [item for item in items if item["kind"] in ("pair", "synthetic")]
    pictures = synthetic_images(generator, made, seed)
    side = int(
        np.clip(pictures.shape[1], *getattr(sources.source_module(source), "SIZES", sources.SIZES))
    )
    kept = sources.load(source, **asked, size=side)
    for item in items:
        shown = [] if item["kind"] == "synthetic" else item["rows"]
        item["images"] = (
            [data_uri(image, side) for image in load_pixels(kept, shown)] if shown else []
        )
    for item, picture in zip(
        made, pictures, strict=True
    ):  # the last of two is the synthetic one, or called so
        item["images"].append(data_uri(picture, side))
    words: dict[str, Any] = {
        "generator": Path(generator).name,
        "source": data_label(source),
        "seed": seed,
        **counts,
    }
    words |= {"readers": readers, "margin": f"{100 * margin:g}", "size": side}
    words |= {
        "modalities": ", ".join(dict.fromkeys(table["modality"])),
        "power": power_table(margin, readers),
    }
    words["repeats"] = sum(item["repeat"] for item in items)
    study = f"study-{hashlib.sha256(json.dumps([items, words]).encode()).hexdigest()[:10]}"
    key: dict[str, Any] = {
        "format": FORMAT,
        "study": study,
        "margin": margin,
        "settings": words,
        "readers": {},
    }
    for reader in (f"reader-{number + 1}" for number in range(readers)):
        page, key["readers"][reader] = reader_page(study, reader, items, seed)
        store.write_atomic(out / "pages" / f"{reader}.html", page)
    protocol = Template((TEMPLATES / "PROTOCOL.md").read_text("utf-8"))
    store.write_atomic(out / "PROTOCOL.md", protocol.substitute(words, study=study))
    key["items"] = [
        {name: value for name, value in item.items() if name != "images"} for item in items
    ]
    store.write_atomic(out / KEY, json.dumps(key, indent=1))
    (out / "answers").mkdir(exist_ok=True)
    return str(words["power"])
