"""What a user waits for: the command line's help, the import, the figures; the time and memory of a whole run.

    python benchmarks/whole_runs.py [--runs 5] [--reproduce tiny]

Every run is a process of its own, in processor seconds. Help and import stand beside a bare interpreter, the committed
figures, all drawn anew with an empty store, beside the import of what draws them. `--reproduce PROFILE` adds one cold
run of all notebooks (a store of its own) and the most memory that its processes held together and that one held, pages
shared by several divided among them; it takes minutes and is left out by default.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pairs

from medisyn_lib.errors import InputError
from medisyn_lib.runtime.paths import project_root

MEDISYN = ("-m", "medisyn_lib.cli.main")
EVERY = 0.2  # seconds between two readings of memory
ARMS = {  # what is run, as arguments of Python
    "bare": ("-c", "pass"),
    "import": ("-c", "import medisyn_lib"),
    "help": (*MEDISYN, "--help"),
    "drawing": ("-c", "import seaborn, matplotlib.figure, pandas, PIL.Image"),
}


class Row(NamedTuple):
    """A row of the table: two arms, and how slow the first may be."""

    name: str
    arm: str
    beside: str
    words: str  # of the arm beside
    aimed_at: str


class Memory(NamedTuple):
    """Memory in bytes."""

    together: int  # of a process and its children
    greatest: int  # of one of them


class WholeRun(NamedTuple):
    """What one cold run of all notebooks took."""

    minutes: float
    processor_minutes: float
    memory: Memory


def seconds_of(*arguments: str, **settings: str) -> float:
    """Return the processor seconds of one Python process, with some environment variables set."""
    start = seconds_of_children()
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=os.environ | settings
    )
    if done.returncode:
        command, fault = " ".join(arguments)[-60:], done.stderr[-200:].strip()
        raise InputError(f"{command}: ended with code {done.returncode}: {fault}")
    return seconds_of_children() - start


def seconds_of_children() -> float:
    """Return the processor seconds of this process's ended children."""
    times = os.times()
    return times.children_user + times.children_system


def reproduce(profile: str) -> WholeRun:
    """Run all notebooks once with an empty store."""
    import psutil

    with tempfile.TemporaryDirectory() as place:
        command = [sys.executable, *MEDISYN, "reproduce", f"--profile={profile}"]
        environment = os.environ | {"MEDISYN_STORE": f"{place}/store"}
        before, start, most = seconds_of_children(), time.perf_counter(), Memory(0, 0)
        run = psutil.Popen(
            [*command, f"--out={place}/out"], env=environment, stdout=subprocess.DEVNULL
        )
        while run.poll() is None:
            most = Memory(*map(max, most, memory_of(run)))
            time.sleep(EVERY)
    if run.returncode:
        fault = f"ended with code {run.returncode}; see above"
        raise InputError(f"reproduce --profile {profile}: {fault}")
    minutes = (time.perf_counter() - start) / 60
    return WholeRun(minutes, (seconds_of_children() - before) / 60, most)


def memory_of(run: Any) -> Memory:
    """Return the memory that a process and its children hold now; shared pages are divided where the system says."""
    import psutil

    held = [0]
    for process in [run, *run.children(recursive=True)]:
        with contextlib.suppress(psutil.Error):  # it has just ended
            memory = process.memory_full_info()
            held.append(getattr(memory, "pss", memory.rss))
    return Memory(sum(held), max(held))


def main() -> None:
    """Measure and print a table."""
    options = arguments()
    wall_clock: list[float] = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(shutil.copytree(project_root() / "figures", f"{place}/figures"))

        def draw_figures() -> float:
            with tempfile.TemporaryDirectory() as empty:
                start = time.perf_counter()
                command = (*MEDISYN, "figures", f"--results={folder}")
                spent = seconds_of(*command, MEDISYN_STORE=empty)
                wall_clock.append(time.perf_counter() - start)
            return spent

        arms = {name: partial(seconds_of, *words) for name, words in ARMS.items()}
        rounds = pairs.interleaved({**arms, "figures": draw_figures}, options.runs)
        pictures = [path for path in folder.rglob("*.png") if not path.stem.endswith(".tiles")]
    print(table(rounds, len(pictures)))
    print(f"\n`medisyn figures` took {pairs.spread(wall_clock)} seconds on the clock.")
    if options.reproduce:
        print(f"\n{in_words(options.reproduce, reproduce(options.reproduce))}")
    print(f"\n{pairs.machine(options.runs)}")


def table(rounds: Mapping[str, Sequence[float]], pictures: int) -> str:
    """Return the table of cold processes; `pictures` is how many figures were drawn."""
    bare = "a bare interpreter"
    drawing = f"importing seaborn ({pictures} pictures)"
    lines = []
    for row in (
        Row("import medisyn_lib", "import", "bare", bare, "0.3 s"),
        Row("medisyn --help", "help", "bare", bare, "0.5 s"),
        Row("medisyn figures", "figures", "drawing", drawing, "15 s"),
    ):
        seconds, times = rounds[row.arm], pairs.ratios(rounds[row.arm], rounds[row.beside])
        figures = [pairs.spread(seconds), pairs.spread(times)]
        lines.append([f"`{row.name}`", *figures, row.words, row.aimed_at])
    head = ["cold process", "processor seconds", "times", "of", "aimed at, at most"]
    return pairs.table(head, lines)


def in_words(profile: str, run: WholeRun) -> str:
    """Return a sentence on a whole run."""
    together, greatest = run.memory.together / 1e9, run.memory.greatest / 1e9
    return (
        f"`medisyn reproduce --profile {profile}`, cold, one run: {run.minutes:.1f} minutes "
        f"({run.processor_minutes:.1f} processor minutes), peak memory of its processes together "
        f"{together:.2f} GB, of one {greatest:.2f} GB."
    )


def arguments() -> Any:
    """Return what the command line asks for."""
    from medisyn_lib.profiles import PROFILES

    parser = pairs.parser(__doc__)
    parser.add_argument("--reproduce", choices=PROFILES, help="also one whole run of this profile")
    return parser.parse_args()


if __name__ == "__main__":
    pairs.run_script(main)
