"""phantom: digital phantoms of all ten modalities. They are drawn, not patients.

Every role is a stream of its own: seed and role together give the phantoms' seed, so the roles share no
patient and the stream of `first_stage` is used nowhere else.
"""

import json
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from medisyn_lib import phantoms
from medisyn_lib.data.records import sample
from medisyn_lib.data.rows import UNKNOWN, require
from medisyn_lib.data.splits import GENERATOR_FRACTION, SPLIT_OF_ROLE, stable_fraction
from medisyn_lib.runtime.store import code_hash

__all__ = ["SIZES", "Request", "checked_name", "choose", "fingerprint", "records", "stream"]

PER_MODALITY = 600
SIZES = phantoms.SIZES
COLUMNS = ("patient_id", "finding", *phantoms.CAPTION_FACTORS)  # factors with a column of their own
CAPTION_STREAM = 2  # of a modality's random numbers; 0 and 1 are patients and images


class Request(NamedTuple):
    """A phantom to draw."""

    modality: str
    role: str
    number: int  # in the series of its modality and role


def checked_name(source: str) -> None:
    """Check a source `phantom`. Raises InputError where something follows the word."""
    require(
        source == "phantom", f"data source {source!r}: phantoms take no argument, write phantom"
    )


def fingerprint(source: str) -> str:
    """Hash the code that draws and the table of findings: the same code draws the same images."""
    return code_hash("medisyn_lib.phantoms", "medisyn_lib.modalities")


def stream(seed: int, role: str) -> int:
    """Return the phantoms' seed of one role: 32 bits that depend on the user's seed and the role alone."""
    return int(stable_fraction("phantom", seed, role) * 2**32)


def choose(role: str | None, count: int | None, names: Sequence[str]) -> list[Request]:
    """List the phantoms to draw.

    Parameters
    ----------
    role
        Their role; None for all of train, divided 70:30 between generator and evaluator.
    count
        Images per modality; None for 600.
    names
        Keys of the modalities.

    Returns
    -------
    list of Request
        By role, then by modality.
    """
    count = count or PER_MODALITY
    if role:
        counts = {role: count}
    else:
        for_generator = round(count * GENERATOR_FRACTION)
        counts = {"generator": for_generator, "evaluator": count - for_generator}
    return [
        Request(name, part, number)
        for part, total in counts.items()
        for name in names
        for number in range(total)
    ]


def records(chosen: Sequence[Request], size: int, seed: int) -> Iterator[dict[str, Any]]:
    """Draw phantoms and yield their records, one at a time."""
    for modality, role, number in chosen:
        phantom_seed = stream(seed, role)
        pixels, factors = phantoms.draw(modality, seed=phantom_seed, index=number, size=size)
        row = UNKNOWN | {name: factors[name] for name in COLUMNS if name in factors}
        row |= {
            "image_id": f"{modality}-{phantom_seed}-{number}",
            "modality": modality,
            "identity_known": True,
            "split": SPLIT_OF_ROLE[role],
        }
        caption_seed = (phantom_seed, zlib.crc32(modality.encode()), CAPTION_STREAM, number)
        record = sample(row, pixels, role=role, size=size, seed=caption_seed)
        record["factors"] = json.dumps(factors, sort_keys=True)
        yield record
