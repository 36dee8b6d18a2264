"""Whether the store has room for what a study fine-tuned from a base leaves there: many whole pipelines."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from medisyn_lib.errors import InputError
from medisyn_lib.profiles import Profile, named_profile
from medisyn_lib.runtime.paths import store_dir

if TYPE_CHECKING:
    from medisyn_lib.models.bases import Base

SNAPSHOTS = 8  # of a long training (`denoisers.snapshot_steps`)
UNTRAINED = 5  # networks of random weights, a control of 01
LEARNERS = 2  # of the eleventh modality
SUITE = "train"  # what `medisyn train` makes
FINISHED = "finished"
GIGABYTE = 1e9
Pipeline = tuple[object, ...]  # what tells one from the others


def pipelines_of(settings: Profile) -> dict[str, set[Pipeline]]:
    """Return which pipelines each notebook samples, by its number: whose, of which seed, after which snapshot."""
    seeds = settings.seeds
    suite: set[Pipeline] = {
        (name, seed) for seed in seeds for name in ("generalist", *settings.specialists)
    }
    first: set[Pipeline] = {("generalist", seeds[0])}
    after = range(1, SNAPSHOTS + 1)
    progress: set[Pipeline] = {("generalist", seeds[0], step) for step in (0, *after)}
    long: set[Pipeline] = {
        ("long", name, step) for name in settings.long_specialists for step in after
    }
    curves: set[Pipeline] = {("generalist", seed, step) for seed in seeds for step in after}
    added: set[Pipeline] = {
        ("added", learner, step) for learner in range(LEARNERS) for step in after
    }
    overfitted: set[Pipeline] = {
        ("overfitted", size, step)
        for size in (0, *settings.memorization.further_overfit_sizes)
        for step in (*after, FINISHED)
    }
    return {
        "01": first | progress | {("untrained", number) for number in range(UNTRAINED)},
        "02": suite | long | {("generalist", seeds[0], 1)},
        "03": suite | curves | added,
        "04": first,
        "05": first | overfitted,
        "06": first,
        "07": first,
        SUITE: suite,
    }


def stored(pipelines: Iterable[Pipeline]) -> list[Pipeline]:
    """Return those that are stored as a folder; the others are assembled in memory to be sampled."""
    return [
        one for one in pipelines if one[0] != "untrained" and (len(one) < 3 or one[-1] == FINISHED)
    ]


def check_room(base: Base, profile: str, parts: Sequence[str]) -> None:
    """Check that the store's disk has room for the pipelines of some notebooks, beside those already there.

    Parameters
    ----------
    base : Base
        What they are fine-tuned from; with the whole denoiser trained, snapshots are as large.
    profile : str
        Name of the run's profile.
    parts : sequence of str
        Numbers of notebooks, or `SUITE`.

    Raises
    ------
    InputError
        Where there is not.
    """
    snapshot = base.size if base.whole else 0
    require_room(profile, parts, base.size, snapshot, f"from base {base.label!r}")


def require_room(profile: str, parts: Sequence[str], each: int, snapshot: int, made: str) -> int:
    """Return the bytes of the pipelines and snapshots of some notebooks, those already in the store included.

    Parameters
    ----------
    profile, parts
        As of `check_room`.
    each : int
        Bytes that one pipeline takes as a folder.
    snapshot : int
        Bytes of the weights that each pipeline is made from.
    made : str
        What they are made from, in words.

    Raises
    ------
    InputError
        Where the store's disk has no room for those that are not there yet.
    """
    assembled = pipelines_of(named_profile(profile))
    sampled = set[Pipeline]().union(*(assembled.get(part, set()) for part in parts))
    pipelines = len(stored(sampled))
    in_all = pipelines * each + len(sampled) * snapshot
    needed = in_all - _already_there()
    place = next(folder for folder in (store_dir(), *store_dir().parents) if folder.exists())
    free = shutil.disk_usage(place).free
    if needed > free:
        fault = (
            f"{pipelines} pipelines of profile {profile!r} {made} and their snapshots take about "
            f"{needed / GIGABYTE:.0f} GB more, and {free / GIGABYTE:.0f} GB are free"
        )
        mend = (
            "free some, set MEDISYN_STORE to another disk, run fewer notebooks, or name fewer seeds and specialists "
            "in profiles.toml"
        )
        raise InputError(f"store {store_dir()}: {fault}; {mend}")
    return in_all


def _already_there() -> int:
    """Bytes of the pipelines in the store."""
    files = store_dir().glob("generator-*/**/*.safetensors")
    return sum(path.stat().st_size for path in files)
