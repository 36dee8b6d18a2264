"""What a user waits for: the command line's help, the import, the figures; the time and memory of a whole run.

    python benchmarks/whole_runs.py [--runs 5] [--reproduce tiny]

Every go is a process of its own, in processor seconds. Help and import stand beside a bare interpreter, the committed
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
from pathlib import Path
from typing import Any

import pairs

from medisyn_lib.errors import InputError
from medisyn_lib.runtime.paths import project_root

MEDISYN = ("-c", "from medisyn_lib.cli import main; raise SystemExit(main())")
EVERY = 0.2  # seconds between two looks at memory


def seconds(*arguments: str, **settings: str) -> float:
    """Processor seconds of one Python process, from start to end, with some environment variables set."""
    start = children()
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=os.environ | settings
    )
    if done.returncode:
        raise InputError(
            f"{' '.join(arguments)[-60:]}: ended with code {done.returncode}: {done.stderr[-200:].strip()}"
        )
    return children() - start


def children() -> float:
    """Processor seconds of this process's ended children."""
    spent = os.times()
    return spent.children_user + spent.children_system


def whole(profile: str) -> tuple[float, float, float, float]:
    """Minutes and processor minutes of a cold run of all notebooks, and the most GB that it and one process held."""
    import psutil

    with tempfile.TemporaryDirectory() as place:
        command = [
            sys.executable,
            *MEDISYN,
            "reproduce",
            "--profile",
            profile,
            "--out",
            f"{place}/out",
        ]
        before, start, most, greatest = children(), time.perf_counter(), 0, 0
        run = psutil.Popen(
            command, env=os.environ | {"MEDISYN_STORE": f"{place}/store"}, stdout=subprocess.DEVNULL
        )
        while run.poll() is None:
            held = [0]
            for one in [run, *run.children(recursive=True)]:
                with contextlib.suppress(psutil.Error):  # it has just ended
                    held.append(getattr(memory := one.memory_full_info(), "pss", memory.rss))
            most, greatest = max(most, sum(held)), max(greatest, *held)
            time.sleep(EVERY)
    if run.returncode:
        raise InputError(
            f"reproduce --profile {profile}: ended with code {run.returncode}; see above"
        )
    return (
        (time.perf_counter() - start) / 60,
        (children() - before) / 60,
        most / 1e9,
        greatest / 1e9,
    )


def main() -> None:
    """Measures and prints a table."""
    options = arguments()
    clock: list[float] = []
    with tempfile.TemporaryDirectory() as place:
        folder = shutil.copytree(project_root() / "figures", f"{place}/figures")
        number = sum(not path.stem.endswith(".tiles") for path in Path(folder).rglob("*.png"))

        def figures() -> float:
            with tempfile.TemporaryDirectory() as empty:
                start = time.perf_counter()
                spent = seconds(*MEDISYN, "figures", "--results", folder, MEDISYN_STORE=empty)
                clock.append(time.perf_counter() - start)
            return spent

        sides = {
            "bare": ("-c", "pass"),
            "import": ("-c", "import medisyn_lib"),
            "help": (*MEDISYN, "--help"),
            "drawing": ("-c", "import seaborn, matplotlib.figure, pandas, PIL.Image"),
        }
        plain = {name: lambda words=words: seconds(*words) for name, words in sides.items()}
        found = pairs.interleaved(plain | {"figures": figures}, options.runs)
    rows = [
        [
            f"`{name}`",
            pairs.spread(found[key]),
            pairs.spread(pairs.ratios(found[key], found[beside])),
            bare,
            bound,
        ]
        for name, key, beside, bare, bound in (
            ("import medisyn_lib", "import", "bare", "a bare interpreter", "0.3 s"),
            ("medisyn --help", "help", "bare", "a bare interpreter", "0.5 s"),
            (
                "medisyn figures",
                "figures",
                "drawing",
                f"importing seaborn ({number} pictures)",
                "15 s",
            ),
        )
    ]
    print(
        pairs.table(["cold process", "processor seconds", "times", "of", "aimed at, at most"], rows)
    )
    print(f"\n`medisyn figures` took {pairs.spread(clock)} seconds on the clock.")
    if options.reproduce:
        minutes, processor, memory, greatest = whole(options.reproduce)
        print(
            f"\n`medisyn reproduce --profile {options.reproduce}`, cold, one run: {minutes:.1f} minutes "
            f"({processor:.1f} processor minutes), peak memory of its processes together {memory:.2f} GB, "
            f"of one {greatest:.2f} GB."
        )
    print(f"\n{pairs.machine(options.runs)}")


def arguments() -> Any:
    """What the command line asks for."""
    from medisyn_lib.profiles import PROFILES

    parser = pairs.parser(__doc__)
    parser.add_argument("--reproduce", choices=PROFILES, help="also one whole run of this profile")
    return parser.parse_args()


if __name__ == "__main__":
    pairs.run_script(main)
