"""Whether memory grows with the number of images: `python benchmarks/memory_by_rows.py`.

Made-up images of 16 pixels go through what a study does with all of its images: captions are numbered, images decoded
to the disk, read by the batches of a training and described, an index is searched. Each number of rows has a process
of its own, which notes the most memory that was its own (`RssAnon` of Linux; pages of mapped files are not counted)
beyond what it had before. A few minutes.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from PIL import Image

SIDE, WIDTH, BATCH, QUERIES, CAPTIONS = 16, 64, 32, 256, 500
MEGABYTE = 1024  # kB, in which Linux counts


def own_memory() -> int:
    """Return the memory that no file backs, in kB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


class Peak(threading.Thread):
    """Notes the most own memory, a hundred times a second."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.most, self.done = own_memory(), threading.Event()

    def run(self) -> None:
        """Look until told to stop."""
        while not self.done.wait(0.01):
            self.most = max(self.most, own_memory())


def records(n: int) -> Iterator[dict[str, Any]]:
    """Yield images that differ, with captions that repeat."""
    rng = np.random.default_rng(0)
    for row in range(n):
        pixels = rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
        yield {"image": Image.fromarray(pixels), "caption": f"made-up image {row % CAPTIONS}"}


def go_through(n: int) -> dict[str, int]:
    """Return the peak of each step beyond what was there before, in kB."""
    import datasets

    from medisyn_lib.data import records as data_records
    from medisyn_lib.data import sources
    from medisyn_lib.evaluation.neighbours import nearest
    from medisyn_lib.models.tokens import distinct
    from medisyn_lib.pipeline.artifacts import ImageSet, Pixels
    from medisyn_lib.pipeline.index import Index
    from medisyn_lib.training.loop import sample_rows

    place = Path(os.environ["MEDISYN_STORE"]) / "rows"
    data_records.write(place, records, {"n": n})
    dataset = datasets.Dataset.load_from_disk(str(place / "data"))
    images = ImageSet("made-up", "generator", SIDE, n)

    def describe(pixels: np.ndarray) -> np.ndarray:
        return pixels.reshape(len(pixels), -1)[:, :WIDTH] / 255

    def read_batches() -> None:
        pixels = images.pixels()
        for step in range(min(1000, n // BATCH)):
            pixels[sample_rows(0, n, step, BATCH)].mean()

    index = Index({"n": n}, None, images=dataset, describe=describe, describe_code=())
    steps = {
        "captions": lambda: distinct(images.stream("caption")),
        "images": read_batches,
        "their digest": lambda: Pixels(images.pixels()).key(),
        "index": index.ensure,
        "search": lambda: nearest(describe(images.pixels()[:QUERIES]), index.array(), 10),
    }
    peaks = {}
    with (
        patch.object(sources, "load", lambda *a, **k: dataset),
        patch.object(sources, "fingerprint", lambda source: str(n)),
    ):
        for name, step in steps.items():
            before, peak = own_memory(), Peak()
            peak.start()
            step()
            peak.done.set()
            peak.join()
            peaks[name] = max(peak.most, own_memory()) - before
    return peaks


def main() -> None:
    """Compare two numbers of rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 200_000])
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        peaks = go_through(options.one)
        total = own_memory()
        print(
            f"{options.one:9,} rows: {total / MEGABYTE:5.0f} MB at the end; peaks beyond before, MB:"
        )
        print("   " + ", ".join(f"{name} {kb / MEGABYTE:.1f}" for name, kb in peaks.items()))
        return
    for n in options.rows:
        with tempfile.TemporaryDirectory() as store:
            own = os.environ | {"MEDISYN_STORE": store}
            subprocess.run([sys.executable, __file__, "--one", str(n)], env=own, check=True)


if __name__ == "__main__":
    main()
