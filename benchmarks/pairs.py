"""What the benchmarks share: arms measured in turn on one machine, their ratio with its spread, the machine's name.

Seconds of a machine that others use as well say little; so every figure is a ratio of runs that followed one another,
in one process tree, over at least five pairs.
"""

from __future__ import annotations

import argparse
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
from typing import Any

from medisyn_lib.cli.options import OneLineParser
from medisyn_lib.errors import InputError
from medisyn_lib.runtime import provenance

LEAST_RUNS = 5
# Of a processor: what decides how fast it multiplies.
FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
VERSIONS = ("python", "torch", "diffusers", "accelerate")


def whole(least: int, most: int = 10**9) -> Callable[[str], int]:
    """Return a type for arguments: a whole number from `least` to `most`."""

    def number(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            fault = f"is {text!r}: give a whole number from {least} to {most}"
            raise argparse.ArgumentTypeError(fault)
        return int(text)

    return number


def plain_parser(about: str | None) -> OneLineParser:
    """Return a parser without arguments whose help is a docstring."""
    return OneLineParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)


def parser(about: str | None) -> OneLineParser:
    """Return a parser with the argument that most benchmarks take."""
    made = plain_parser(about)
    made.add_argument(
        "--runs", type=whole(LEAST_RUNS, 1000), default=LEAST_RUNS, help="pairs (default: 5)"
    )
    return made


def add_study(made: argparse.ArgumentParser, profile: str = "quick") -> None:
    """Add profile and data source."""
    from medisyn_lib.profiles import PROFILES

    made.add_argument("--profile", default=profile, choices=PROFILES)
    made.add_argument("--data", default="phantom", help="a data source, as of `medisyn reproduce`")


def run_script(benchmark: Callable[[], None]) -> None:
    """Run a benchmark; what it refuses is said in one line, with exit code 2."""
    try:
        benchmark()
    except InputError as error:
        print(f"{Path(sys.argv[0]).name}: {error}", file=sys.stderr)
        raise SystemExit(2) from None


def interleaved(arms: Mapping[str, Callable[[], float]], runs: int) -> dict[str, list[float]]:
    """Return each arm's figure in each round; every other round goes backwards, so that a drift favours nobody."""
    figures: dict[str, list[float]] = {name: [] for name in arms}
    for turn in range(runs):
        order = list(arms)
        if turn % 2:
            order.reverse()
        for name in order:
            figures[name].append(arms[name]())
        latest = ", ".join(f"{name} {values[-1]:.4g}" for name, values in figures.items())
        print(f"  round {turn + 1} of {runs}: {latest}", file=sys.stderr)
    return figures


def spread(values: Sequence[float], digits: int = 3) -> str:
    """Return median and range, such as `8.4 (8.1 to 9.0)`."""
    middle, least, most = (
        f"{value:.{digits}g}" for value in (statistics.median(values), min(values), max(values))
    )
    return f"{middle} ({least} to {most})"


def ratios(over: Sequence[float], under: Sequence[float]) -> list[float]:
    """Return the ratio of each round."""
    return [a / b for a, b in zip(over, under, strict=True)]


def start_worker(arguments: Sequence[str]) -> subprocess.Popen[str]:
    """Start a Python process of its own that answers each line with a line of JSON."""
    return subprocess.Popen(
        [sys.executable, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def ask(worker: subprocess.Popen[str]) -> dict[str, float]:
    """Return what a worker answers to one line more."""
    print("next", file=worker.stdin, flush=True)
    return read_answer(worker)


def read_answer(worker: subprocess.Popen[str]) -> dict[str, float]:
    """Return the next line that a worker prints. Raises InputError where there is none."""
    line = worker.stdout.readline() if worker.stdout else ""
    if not line:
        fault = f"ended early, with code {worker.wait()}; see above"
        raise InputError(f"a process of this benchmark {fault}")
    return dict(json.loads(line))


def close_worker(worker: subprocess.Popen[str]) -> None:
    """Tell a worker that no more lines will come."""
    if worker.stdin:
        worker.stdin.close()


def on_gpu() -> bool:
    """Say whether what is measured computes on a GPU."""
    import torch

    return torch.cuda.is_available()


def unit() -> str:
    """Say in words what `clock` counts."""
    return "second" if on_gpu() else "processor second"


def clock() -> float:
    """Return the processor seconds of this process so far; of one that computes on a GPU wall-clock seconds."""
    if not on_gpu():
        return time.process_time()
    import torch

    torch.cuda.synchronize()
    return time.perf_counter()


def timed(work: Callable[[], Any]) -> float:
    """Return the seconds (`clock`) that a call takes."""
    start = clock()
    work()
    return clock() - start


def peak_memory() -> float:
    """Return the most memory that this process has held, in GB: mapped files count while they are in memory."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def anonymous_memory() -> float:
    """Return the memory that this process holds for itself, mapped files left out, in GB (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1e6


def machine(runs: int | None = None) -> str:
    """Return one line of Markdown: processor, cores, threads, load, versions, commit, date."""
    collected = provenance.collect("", "", [], "", 0.0, None)
    name = _processor("model name")
    if hasattr(os, "getloadavg"):
        name += f", load {os.getloadavg()[0]:.1f} when this was written"
    threads = os.environ.get("OMP_NUM_THREADS") or os.cpu_count()
    versions = ", ".join(f"{package} {collected['versions'][package]}" for package in VERSIONS)
    rounds = f"; {runs} pairs, median (least to greatest)" if runs else ""
    return (
        f"*{platform.machine()} {name}; {os.cpu_count()} cores ({_flags()}), "
        f"GPU {collected['gpu'] or 'none'}; threads {threads}; {versions}; "
        f"commit {collected['commit']}; {collected['time'][:10]}{rounds}.*"
    )


def _processor(field: str) -> str:
    """A field of the first processor's description; empty where there is none (not Linux)."""
    description = Path("/proc/cpuinfo")
    if description.exists():
        for line in description.read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == field:
                return value.strip()
    return ""


def _flags() -> str:
    """Which of FLAGS the processor has."""
    present = _processor("flags").split()
    if not present:
        return "flags unknown"
    return ", ".join(f"{flag} {'yes' if flag in present else 'no'}" for flag in FLAGS)


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
