"""A miniature run under planted faults, for `test_faults.py`: prints what went wrong, and how many it planted.

The run trains a network with checkpoints and snapshots, makes a second store entry from the first, and writes a
result file and a scorecard. In a forked child it is killed, or told that the disk is full, at its k-th write, flush
or rename; then it runs again undisturbed. Whatever k is, no half-written file may lie under a final name in between,
and the second run must leave, byte for byte, what an undisturbed run leaves.
"""

import errno
import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from made_claims import a_claim

from medisyn_lib.claims import results
from medisyn_lib.claims.claim import measure
from medisyn_lib.claims.results import write_result
from medisyn_lib.claims.scorecard import scorecard, scorecard_markdown
from medisyn_lib.errors import InputError
from medisyn_lib.runtime import store
from medisyn_lib.statistics.estimates import Estimate
from medisyn_lib.training import loop

PLAN = loop.TrainingPlan(steps=6, batch=4, learning_rate=0.1, ema_decay=0.9, checkpoint_every=2)
KILLED, REFUSED = 9, 2


class Objective(torch.nn.Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (super().forward(x) - 1).square().mean()


def run(place: Path) -> None:
    def train(folder: Path) -> None:
        torch.manual_seed(0)
        batch = lambda rows, draws: {"x": draws.normal(3)}  # noqa: E731
        loop.fit(Objective(3, 2), batch, n=8, plan=PLAN, directory=folder, snapshots=(3, 6))

    def follow(folder: Path) -> None:
        (folder / "inner").mkdir(exist_ok=True)
        (folder / "inner" / "weights").write_bytes((first / "step-6.safetensors").read_bytes())

    first = store.cache("trained", {}, train)
    second = store.cache("followed", {}, follow, inputs=[first.name])
    value = float(len((second / "inner" / "weights").read_bytes()))
    measured = [measure("recovered", Estimate(value, value, value, 1))]
    claim = a_claim(measures=measured)
    write_result(place / "out" / "results" / "01_training.json", {}, [claim])
    rows = scorecard(place / "out" / "results")
    store.write_atomic(place / "out" / "scorecard.md", scorecard_markdown(rows))


def plant(k: int, strike: Callable[[], None]) -> list[int]:
    """From now on the k-th write (half of it done), flush or rename strikes; returns the counter."""
    count = [0]

    def watched(module: Any, name: str, torn: bool = False) -> None:
        real = getattr(module, name)

        def call(*given: Any, **how: Any) -> Any:
            count[0] += 1
            if count[0] == k:
                if torn:
                    real(given[0], given[1][: len(given[1]) // 2])
                strike()
            return real(*given, **how)

        setattr(module, name, call)

    watched(Path, "write_bytes", torn=True)
    for name in ("fsync", "rename", "replace"):
        watched(os, name)
    return count


def strike_of(kind: str) -> Callable[[], None]:
    def full() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    return {"killed": lambda: os._exit(KILLED), "full": full}[kind]


def in_child(place: Path, kind: str = "killed", k: int = 0) -> tuple[int, int]:
    """Exit code of the run in a process of its own (0 it ended, 2 refused, 9 killed), and how far it counted."""
    child = os.fork()
    if not child:
        os.environ["MEDISYN_STORE"] = str(place / "store")
        sys.stderr = open(os.devnull, "w")
        count = plant(k, strike_of(kind))
        code = 1
        try:
            run(place)
            code = 0
        except (InputError, OSError):  # outside the store the disk's own error stands
            code = REFUSED
        finally:
            (place / "count").write_text(str(count[0]))
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    counted = place / "count"
    return code, int(counted.read_text()) if counted.exists() else 0


def left(place: Path) -> dict[str, str]:
    """Hashes of what stands under final names: of everything but `.tmp`, locks and the counter."""
    files = [path for path in sorted(place.rglob("*")) if path.is_file() and path.name != "count"]
    files = [
        path
        for path in files
        if ".tmp" not in str(path.relative_to(place)) and path.suffix != ".lock"
    ]
    return {
        str(path.relative_to(place)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def main(root: Path) -> None:
    (root / "first").mkdir()
    (root / "whole").mkdir()
    os.environ["MEDISYN_STORE"] = str(root / "first" / "store")
    run(root / "first")  # here, so that the children need not import anything
    code, points = in_child(root / "whole")
    wanted = left(root / "whole")
    assert code == 0 and len(wanted) == 8, (code, wanted)
    for kind, expected in {"killed": KILLED, "full": REFUSED}.items():
        for k in range(1, points + 1):
            place = root / f"{kind}-{k}"
            place.mkdir()
            code, _ = in_child(place, kind, k)
            found = left(place)
            if code != expected:
                print(f"{kind} at {k}: exit code {code}")
            for name in found.keys() - wanted.keys() | {
                n for n in found if found[n] != wanted.get(n)
            }:
                print(f"{kind} at {k}: {name} stands half-written under its final name")
            code, _ = in_child(place)
            again = left(place)
            if code or again != wanted or list(place.glob("store/**/*.tmp")):
                print(
                    f"{kind} at {k}: run again it ended with {code} and left {sorted(set(again) ^ set(wanted))}"
                )
    print(f"planted {points} of each kind")


def careless(path: Path, data: bytes | str) -> None:
    """What `store.write_atomic` must not be: it writes under the final name at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)


if __name__ == "__main__":
    if sys.argv[2:] == ["careless"]:
        store.write_atomic = results.write_atomic = careless
    main(Path(sys.argv[1]))
