"""Every figure of the project by name, redrawn from stored tables, and their gallery page."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from medisyn_lib.errors import InputError
from medisyn_lib.reporting import render
from medisyn_lib.reporting.figures import (
    benchmarks,
    f00_data_tour,
    f01_training,
    f02_quality,
    f03_compute_efficiency,
    f04_text_alignment,
    f05_memorization,
    f06_augmentation,
    f07_reference_standards,
)
from medisyn_lib.runtime import store

MODULES = (
    f00_data_tour,
    f01_training,
    f02_quality,
    f03_compute_efficiency,
    f04_text_alignment,
    f05_memorization,
    f06_augmentation,
    f07_reference_standards,
    benchmarks,
)
FIGURES: dict[str, render.FigureSpec] = {
    spec.name: spec
    for module in MODULES
    for spec in vars(module).values()
    if isinstance(spec, render.FigureSpec)
}


def redraw(results: Path, jobs: int = 1, *, pdf: bool = False) -> list[Path]:
    """Redraw every figure below a folder from its table, also as `pdf`, and their gallery; return the PNGs.

    `jobs` processes draw. Raises InputError where there is no figure's table.
    """
    tables = [path for path in sorted(results.rglob("*.csv")) if path.name.split(".")[0] in FIGURES]
    if not tables:
        fault = "not there or without figures' tables; run `reproduce` first"
        raise InputError(f"results folder {results}: {fault}")
    import jinja2

    side_by_side: Any = ProcessPoolExecutor(jobs, get_context("spawn")).map if jobs > 1 else map
    pictures = list(side_by_side(_redrawn, tables, ["pdf" if pdf else ""] * len(tables)))
    template = Path(__file__).with_name("gallery.md").read_text("utf-8")
    page = jinja2.Template(template, trim_blocks=True)
    places = [path.relative_to(results) for path in pictures]
    store.write_atomic(results / "README.md", page.render(places=places, figures=FIGURES))
    return pictures


def _redrawn(path: Path, also: str) -> Path:
    import pandas as pd
    import PIL.Image

    stem, tiles = path.name.removesuffix(".csv"), None
    if (kept := path.with_name(f"{stem}.tiles.png")).is_file():
        strip = np.asarray(PIL.Image.open(kept).convert("RGB"))
        tiles = strip.reshape(-1, strip.shape[1], strip.shape[1], 3)
    spec, real = FIGURES[stem.split(".")[0]], stem.endswith(".real")
    render.draw(spec, pd.read_csv(path), path.parent, tiles, real=real, also=also)
    return path.with_suffix(".png")
