"""Exact nearest neighbours over a memory-mapped index: seconds and peak anonymous memory, beside faiss where installed.

    python benchmarks/neighbours.py [--n 1000000] [--queries 2000] [--width 1280] [--k 10] [--folder FOLDER]

Each side runs in a process of its own, reads the same index from the disk block by block, and reports the peak of its
anonymous memory (Linux), which leaves out the mapped index. The seconds leave out imports and the making of the index.
faiss-cpu is no dependency: where it is missing that side is left out.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

BLOCK = 8192  # rows handed to faiss at a time


def index_of(folder: Path, n: int, width: int) -> Path:
    """A file of n positive float32 vectors, written in blocks; made once in a folder."""
    path = folder / f"vectors-{n}-{width}.npy"
    if not path.exists():
        made = np.lib.format.open_memmap(path.with_suffix(".tmp.npy"), "w+", np.float32, (n, width))
        for start in range(0, n, BLOCK):
            rows = np.random.default_rng([0, start]).normal(size=(min(BLOCK, n - start), width))
            made[start : start + BLOCK] = np.maximum(rows, 0)
        made.flush()
        path.with_suffix(".tmp.npy").rename(path)
    return path


def anonymous() -> float:
    """Anonymous resident memory of this process in GB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1e6


def ours(queries: np.ndarray, index: np.ndarray, k: int) -> np.ndarray:
    """The library's search."""
    from medisyn_lib.evaluation import neighbours

    return neighbours.nearest(queries, index, k).row


def faiss_blocked(queries: np.ndarray, index: np.ndarray, k: int) -> np.ndarray:
    """faiss' brute-force search over blocks of the index, merged."""
    import faiss

    best = faiss.ResultHeap(len(queries), k)
    for start in range(0, len(index), BLOCK):
        away, number = faiss.knn(queries, np.ascontiguousarray(index[start : start + BLOCK]), k)
        best.add_result(away, number + start)
    best.finalize()
    return best.I


def run_side(side: str, path: Path, count: int, k: int) -> None:
    """Measures one side; prints JSON."""
    index = np.load(path, mmap_mode="r")
    queries = np.maximum(np.random.default_rng(1).normal(size=(count, index.shape[1])), 0).astype(
        np.float32
    )
    search = ours if side == "ours" else faiss_blocked
    search(queries[:4], index[:100], min(k, 100))  # imports
    peak, done = [anonymous()], threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            peak[0] = max(peak[0], anonymous())

    watcher = threading.Thread(target=watch)
    watcher.start()
    wall, processor = time.perf_counter(), time.process_time()
    found = search(queries, index, k)
    took = {
        "seconds": time.perf_counter() - wall,
        "processor_seconds": time.process_time() - processor,
    }
    done.set()
    watcher.join()
    print(
        json.dumps(
            {"side": side, **took, "peak_anonymous_gb": peak[0], "checksum": int(found.sum())}
        )
    )


def main() -> None:
    """Runs both sides and prints a line each."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    for name, value in {"n": 1_000_000, "queries": 2000, "width": 1280, "k": 10}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--side", choices=["ours", "faiss"])
    options = parser.parse_args()
    path = index_of(options.folder, options.n, options.width)
    if options.side:
        run_side(options.side, path, options.queries, options.k)
        return
    sides = ["ours", *(["faiss"] if importlib.util.find_spec("faiss") else [])]
    rest = [
        f"--{name}={getattr(options, name)}" for name in ("n", "queries", "width", "k", "folder")
    ]
    for side in sides:
        subprocess.run([sys.executable, __file__, *rest, f"--side={side}"], check=True)
    if len(sides) == 1:
        print("faiss-cpu is not installed: no comparison")


if __name__ == "__main__":
    main()
