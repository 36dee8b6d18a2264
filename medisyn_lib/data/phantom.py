"""phantom: digital phantoms of all ten modalities. They are drawn, not patients.

Every role is a stream of its own: seed and role together give the
phantoms' seed, so the roles share no patient and the stream of `first_stage` is used nowhere else.
"""

import json
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

from medisyn_lib import phantoms
from medisyn_lib.data.records import sample
from medisyn_lib.data.rows import UNKNOWN, require
from medisyn_lib.data.splits import GENERATOR_SHARE, SPLIT_OF_ROLE, stable_fraction
from medisyn_lib.runtime.store import code_hash

PER_MODALITY = 600
SIZES = phantoms.SIZES
KNOWN = (
    "patient_id",
    "finding",
    *phantoms.CAPTION_FACTORS,
)  # the factors that have a column of their own


def checked_name(source: str) -> None:
    """Raise InputError where something follows the word `phantom`."""
    require(
        source == "phantom", f"data source {source!r}: phantoms take no argument, write phantom"
    )


def fingerprint(source: str) -> str:
    """Hash of the code that draws and of the table of findings: the same code draws the same images."""
    return code_hash("medisyn_lib.phantoms", "medisyn_lib.modalities")


def stream(seed: int, role: str) -> int:
    """The phantoms' seed of one role: 32 bits that depend on the user's seed and the role alone."""
    return int(stable_fraction("phantom", seed, role) * 2**32)


def choose(role: str | None, count: int | None, names: Sequence[str]) -> list[tuple[str, str, int]]:
    """The phantoms to draw, (modality, role, index): some a modality, by default 600; train is dealt 70:30."""
    count = count or PER_MODALITY
    first = round(count * GENERATOR_SHARE)
    many = {role: count} if role else {"generator": first, "evaluator": count - first}
    return [(name, part, index) for part in many for name in names for index in range(many[part])]


def records(
    chosen: Sequence[tuple[str, str, int]], size: int, seed: int
) -> Iterator[dict[str, Any]]:
    """The records of phantoms (modality, role, index), drawn one at a time."""
    for modality, role, index in chosen:
        own = stream(seed, role)
        pixels, factors = phantoms.draw(modality, seed=own, index=index, size=size)
        row = UNKNOWN | {key: factors[key] for key in KNOWN if key in factors}
        row |= {
            "image_id": f"{modality}-{own}-{index}",
            "modality": modality,
            "identity_known": True,
        }
        words = (own, zlib.crc32(modality.encode()), 2, index)  # 0 and 1 are the phantoms' own
        record = sample(
            row | {"split": SPLIT_OF_ROLE[role]}, pixels, role=role, size=size, seed=words
        )
        yield record | {"factors": json.dumps(factors, sort_keys=True)}
