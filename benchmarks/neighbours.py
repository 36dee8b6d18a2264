"""Exact nearest neighbours over a memory-mapped index: seconds and peak anonymous memory, beside faiss where installed.

    python benchmarks/neighbours.py [--n 1000000] [--queries 2000] [--width 1280] [--k 10] [--folder FOLDER]

Each search runs in a process of its own, reads the same index from the disk block by block, and reports the peak of its
anonymous memory (Linux), which leaves out the mapped index. The seconds leave out imports and the making of the index.
faiss-cpu is no dependency: where it is missing that search is left out.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pairs

BLOCK = 8192  # rows handed to faiss at a time
WATCH_EVERY = 0.02  # seconds between two readings of memory
SEARCHES = ("ours", "faiss")


def make_index(folder: Path, n: int, width: int) -> Path:
    """Return a file of n positive float32 vectors, written in blocks; made once in a folder."""
    path = folder / f"vectors-{n}-{width}.npy"
    if path.exists():
        return path
    part = path.with_suffix(".tmp.npy")
    vectors = np.lib.format.open_memmap(part, "w+", np.float32, (n, width))
    for start in range(0, n, BLOCK):
        rng = np.random.default_rng([0, start])
        block = rng.normal(size=(min(BLOCK, n - start), width))
        vectors[start : start + BLOCK] = np.maximum(block, 0)
    vectors.flush()
    part.rename(path)
    return path


def search_ours(queries: np.ndarray, index: np.ndarray, k: int) -> np.ndarray:
    """Search by the library."""
    from medisyn_lib.evaluation import neighbours

    return neighbours.nearest(queries, index, k).row


def search_faiss(queries: np.ndarray, index: np.ndarray, k: int) -> np.ndarray:
    """Search by faiss, by brute force over blocks of the index, merged."""
    import faiss

    best = faiss.ResultHeap(len(queries), k)
    for start in range(0, len(index), BLOCK):
        block = np.ascontiguousarray(index[start : start + BLOCK])
        distance, number = faiss.knn(queries, block, k)
        best.add_result(distance, number + start)
    best.finalize()
    return best.I


@contextmanager
def watched_memory() -> Iterator[list[float]]:
    """Watch anonymous memory within a `with` block: a list of its peak in GB."""
    peak, done = [pairs.anonymous_memory()], threading.Event()

    def watch() -> None:
        while not done.wait(WATCH_EVERY):
            peak[0] = max(peak[0], pairs.anonymous_memory())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peak
    finally:
        done.set()
        watcher.join()


def run_search(name: str, path: Path, count: int, k: int) -> None:
    """Measure one search; prints JSON."""
    index = np.load(path, mmap_mode="r")
    drawn = np.random.default_rng(1).normal(size=(count, index.shape[1]))
    queries = np.maximum(drawn, 0).astype(np.float32)
    search = search_ours if name == "ours" else search_faiss
    search(queries[:4], index[:100], min(k, 100))  # imports
    with watched_memory() as peak:
        wall_clock, processor = time.perf_counter(), time.process_time()
        rows = search(queries, index, k)
        cost = {
            "seconds": time.perf_counter() - wall_clock,
            "processor_seconds": time.process_time() - processor,
        }
    memory = {"peak_anonymous_gb": peak[0], "checksum": int(rows.sum())}
    print(json.dumps({"side": name, **cost, **memory}))


def main() -> None:
    """Run both searches and print a line each."""
    options = arguments()
    path = make_index(options.folder, options.n, options.width)
    if options.side:
        run_search(options.side, path, options.queries, options.k)
        return
    names = [name for name in SEARCHES if name == "ours" or importlib.util.find_spec(name)]
    passed_on = ("n", "queries", "width", "k", "folder")
    settings = [f"--{name}={getattr(options, name)}" for name in passed_on]
    for name in names:
        command = [sys.executable, __file__, *settings, f"--side={name}"]
        subprocess.run(command, check=True)
    if len(names) == 1:
        print("faiss-cpu is not installed: no comparison")


def arguments() -> Any:
    """Return what the command line asks for."""
    parser = pairs.plain_parser(__doc__)
    parser.add_argument("--n", type=pairs.whole(1), default=1_000_000, help="vectors")
    parser.add_argument("--queries", type=pairs.whole(1), default=2000)
    parser.add_argument("--width", type=pairs.whole(1), default=1280)
    parser.add_argument("--k", type=pairs.whole(1), default=10, help="neighbours of a query")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--side", choices=SEARCHES, help="one search alone, which prints JSON")
    return parser.parse_args()


if __name__ == "__main__":
    pairs.run_script(main)
