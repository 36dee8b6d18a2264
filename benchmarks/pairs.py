"""What the benchmarks share: two sides in turn on one machine, their ratio with its spread, and the machine's name.

Seconds of a machine that others use as well say little; so every figure is a ratio of runs that followed one another,
in one process tree, over at least five pairs.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from medisyn_lib.errors import InputError
from medisyn_lib.runtime import provenance

LEAST_RUNS = 5
FLAGS = (
    "avx2 avx512f avx512_bf16 amx_bf16".split()
)  # of a processor: what decides how fast it multiplies


class Parser(argparse.ArgumentParser):
    """Arguments of a benchmark; a wrong one ends in one line and exit code 2."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def whole(least: int, most: int = 10**9) -> Callable[[str], int]:
    """A type for arguments: a whole number from `least` to `most`."""

    def number(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(
                f"is {text!r}: give a whole number from {least} to {most}"
            )
        return int(text)

    return number


def parser(about: str | None) -> Parser:
    """The arguments that all benchmarks take."""
    made = Parser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument(
        "--runs", type=whole(LEAST_RUNS, 1000), default=LEAST_RUNS, help="pairs (default: 5)"
    )
    return made


def run_script(benchmark: Callable[[], None]) -> None:
    """Runs a benchmark; what it refuses is said in one line, with exit code 2."""
    try:
        benchmark()
    except InputError as error:
        print(f"{Path(sys.argv[0]).name}: {error}", file=sys.stderr)
        raise SystemExit(2) from None


def interleaved(sides: Mapping[str, Callable[[], float]], runs: int) -> dict[str, list[float]]:
    """Each side's figure in each round; every other round goes backwards, so that a drift favours nobody."""
    found: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(runs):
        for name in list(sides)[:: -1 if turn % 2 else 1]:
            found[name].append(sides[name]())
        print(
            f"  round {turn + 1} of {runs}: {', '.join(f'{n} {v[-1]:.4g}' for n, v in found.items())}",
            file=sys.stderr,
        )
    return found


def spread(values: Sequence[float], digits: int = 3) -> str:
    """Median and range, such as `8.4 (8.1 to 9.0)`."""
    return "{:.{d}g} ({:.{d}g} to {:.{d}g})".format(
        statistics.median(values), min(values), max(values), d=digits
    )


def ratios(over: Sequence[float], under: Sequence[float]) -> list[float]:
    """Round by round."""
    return [a / b for a, b in zip(over, under, strict=True)]


def waiting(arguments: Sequence[str]) -> subprocess.Popen[str]:
    """A Python process of its own that answers each line with a line of JSON."""
    return subprocess.Popen(
        [sys.executable, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def asked(process: subprocess.Popen[str]) -> dict[str, float]:
    """What such a process answers to one line more."""
    print("go", file=process.stdin, flush=True)
    return answer(process)


def answer(process: subprocess.Popen[str]) -> dict[str, float]:
    """The next line that such a process prints. Raises InputError where there is none."""
    if not process.stdout or not (line := process.stdout.readline()):
        raise InputError(
            f"a process of this benchmark ended early, with code {process.wait()}; see above"
        )
    return dict(json.loads(line))


def on_gpu() -> bool:
    """Whether what is measured computes on a GPU."""
    import torch

    return torch.cuda.is_available()


def unit() -> str:
    """What `spent` counts, in words."""
    return "second" if on_gpu() else "processor second"


def spent() -> float:
    """Processor seconds of this process so far; of one that computes on a GPU, which is its own, those on the clock."""
    if not on_gpu():
        return time.process_time()
    import torch

    torch.cuda.synchronize()
    return time.perf_counter()


def closed(process: subprocess.Popen[str]) -> None:
    """Tells such a process that no more lines will come."""
    if process.stdin:
        process.stdin.close()


def peak() -> float:
    """The most memory that this process has held, in GB: mapped files count while they are in memory."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def anonymous() -> float:
    """The memory that this process holds for itself, mapped files left out, in GB (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1e6


def machine(runs: int | None = None) -> str:
    """One line of Markdown: processor, cores, threads, load, versions, commit, date."""
    found = provenance.collect("", "", [], "", 0.0, None)
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    name = next(
        (line.partition(":")[2].strip() for line in info.splitlines() if "model name" in line), ""
    )
    has = set(
        next(
            (
                line.partition(":")[2].split()
                for line in info.splitlines()
                if line.startswith("flags")
            ),
            [],
        )
    )
    with contextlib.suppress(OSError):
        name += f", load {os.getloadavg()[0]:.1f} when this was written"
    flags = (
        ", ".join(f"{flag} {'yes' if flag in has else 'no'}" for flag in FLAGS)
        if has
        else "flags unknown"
    )
    versions = ", ".join(
        f"{name} {found['versions'][name]}"
        for name in ("python", "torch", "diffusers", "accelerate")
    )
    rounds = f"; {runs} pairs, median (least to greatest)" if runs else ""
    return (
        f"*{platform.machine()} {name}; {os.cpu_count()} cores ({flags}), GPU {found['gpu'] or 'none'}; threads "
        f"{os.environ.get('OMP_NUM_THREADS') or os.cpu_count()}; {versions}; commit {found['commit']}; "
        f"{found['time'][:10]}{rounds}.*"
    )


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
