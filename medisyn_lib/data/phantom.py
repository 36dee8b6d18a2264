"""phantom: digital phantoms of all ten modalities. They are drawn, not patients.

Every role is a stream of its own: seed and role together give the
phantoms' seed, so the roles share no patient and the stream of `first_stage` is used nowhere else.
"""

import json
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

from medisyn_lib import phantoms
from medisyn_lib.data.samples import GENERATOR_SHARE, SPLIT_OF_ROLE, Row, sample, share
from medisyn_lib.errors import InputError
from medisyn_lib.store import code_hash

PER_MODALITY = 600
CHUNK = 60  # images a worker takes at a time
SIZES = phantoms.SIZES
KNOWN = ("patient_id", "finding", *phantoms.CAPTION_FACTORS)  # the factors that have a column of their own


def checked_name(source: str) -> None:
    """Raise InputError where something follows the word `phantom`."""
    if source != "phantom":
        raise InputError(f"data source {source!r}: phantoms take no argument, write phantom")


def fingerprint(source: str) -> str:
    """Hash of the code that draws and of the table of findings: the same code draws the same images."""
    return code_hash("medisyn_lib.phantoms", "medisyn_lib.modalities")


def stream(seed: int, role: str) -> int:
    """The phantoms' seed of one role: 32 bits that depend on the user's seed and the role alone."""
    return int(share("phantom", seed, role) * 2**32)


def chunks_of(role: str | None, count: int | None, names: Sequence[str]) -> list[tuple[str, str, int, int]]:
    """The work for some images a modality, by default 600: (modality, role, start, stop); train is dealt 70:30."""
    count = count or PER_MODALITY
    first = round(count * GENERATOR_SHARE)
    return [
        (name, part, start, min(start + CHUNK, many))
        for part, many in ({role: count} if role else {"generator": first, "evaluator": count - first}).items()
        for name in names
        for start in range(0, many, CHUNK)
    ]


def records(chunks: Sequence[tuple[str, str, int, int]], size: int, seed: int) -> Iterator[dict[str, Any]]:
    """The records of index ranges (modality, role, start, stop), drawn one at a time."""
    for modality, role, start, stop in chunks:
        own, split = stream(seed, role), SPLIT_OF_ROLE[role]
        for index in range(start, stop):
            pixels, factors = phantoms.draw(modality, seed=own, index=index, size=size)
            known = {key: factors[key] for key in KNOWN if key in factors}
            name = f"{modality}-{own}-{index}"
            row = Row(name, split=split, modality=modality, place="", identity_known=True, **known)
            words = (own, zlib.crc32(modality.encode()), 2, index)  # 0 and 1 are the phantoms' own
            record = sample(row, pixels, role=role, size=size, seed=words)
            yield record | {"factors": json.dumps(factors, sort_keys=True)}
