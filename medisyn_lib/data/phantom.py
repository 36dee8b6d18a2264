"""Source `phantom`: digital phantoms, any number of them, with known ground truth. Drawn, not patients.

Every role is a stream of its own: seed and role together give the phantoms' seed, so the roles share
no patient and the stream of `first_stage` is used nowhere else.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from medisyn_lib import phantoms
from medisyn_lib.data.samples import GENERATOR_SHARE, SPLIT_OF_ROLE, Choice, Row, cores, sample, share, write
from medisyn_lib.errors import InputError
from medisyn_lib.modalities import MODALITIES

HELP = "phantom - digital phantoms of all ten modalities, drawn here: any number, every attribute known (the default)"
PER_MODALITY = 600
CHUNK = 60  # images a worker takes at a time
CODE = ("medisyn_lib.phantoms", "medisyn_lib.modalities", "medisyn_lib.data.phantom", "medisyn_lib.data.samples")


def preflight(rest: str) -> None:
    """Raise InputError where something follows the word `phantom`."""
    if rest:
        raise InputError(f"data source 'phantom:{rest}': phantoms take no argument, write phantom")


def fingerprint(rest: str) -> str:
    """Hash of the code that draws: the content of the source, as the same code draws the same images."""
    from medisyn_lib.store import code_hash

    return code_hash("medisyn_lib.phantoms")


def stream(seed: int, role: str) -> int:
    """The phantoms' seed of one role: 32 bits that depend on the user's seed and the role alone."""
    return int(share("phantom", seed, role) * 2**32)


def roles_of(split: str, role: str | None, count: int) -> list[tuple[str, int]]:
    """Which streams make up a split and how many images a modality each gives; train is dealt 70:30."""
    if role:
        return [(role, count)]
    if split != "train":
        return [(next(name for name, home in SPLIT_OF_ROLE.items() if home == split), count)]
    generator = round(count * GENERATOR_SHARE)
    return [(name, n) for name, n in (("generator", generator), ("evaluator", count - generator)) if n]


def records(chunks: Sequence[tuple[str, str, int, int]], size: int, seed: int) -> Iterator[dict[str, Any]]:
    """The records of index ranges (modality, role, start, stop), drawn one at a time."""
    for modality, role, start, stop in chunks:
        stream_seed = stream(seed, role)
        for index in range(start, stop):
            pixels, factors = phantoms.draw(modality, seed=stream_seed, index=index, size=size)
            row = Row(
                image_id=f"{modality}-{stream_seed}-{index}",
                patient_id=factors["patient_id"],
                split=SPLIT_OF_ROLE[role],
                modality=modality,
                finding=factors["finding"],
                place="",
                side=factors.get("side", ""),
                lesion_size=factors.get("lesion_size", ""),
                count=int(factors.get("count", -1)),
                grade=int(factors.get("grade", -1)),
                identity_known=True,
            )
            words = (stream_seed, zlib.crc32(modality.encode()), 2, index)  # 0 and 1 are the phantoms' own
            record = sample(row, pixels, role=role, size=size, seed=words)
            yield record | {"factors": json.dumps(factors, sort_keys=True)}


def build(choice: Choice) -> Path:
    """Draw, or find in the store, the phantoms that are asked for; the folder holds the dataset as `data`."""
    from medisyn_lib.store import keep

    if not phantoms.SIZES[0] <= choice.size <= phantoms.SIZES[1]:
        raise InputError(f"size {choice.size}: phantoms are drawn at {phantoms.SIZES[0]} to {phantoms.SIZES[1]} pixels")
    names = choice.modalities or tuple(MODALITIES)
    for name in names:
        if name not in MODALITIES:
            raise InputError(f"modality {name!r} is unknown: choose among {', '.join(MODALITIES)}")
    parts = roles_of(choice.split, choice.role, choice.per_modality or PER_MODALITY)
    settings = {"source": "phantom", "streams": parts, "size": choice.size, "modalities": names, "seed": choice.seed}
    chunks = [
        (name, part, start, min(start + CHUNK, count))
        for part, count in parts
        for name in names
        for start in range(0, count, CHUNK)
    ]
    # Starting processes takes about a second: not worth it for a few images.
    workers = min(cores(), 2) if len(chunks) > 10 else 1
    arguments = {"chunks": chunks, "size": choice.size, "seed": choice.seed}
    return keep("data", settings, lambda directory: write(directory, records, arguments, workers=workers), code=CODE)
