"""Every figure of the project by name, redrawn from stored tables, and their gallery page."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

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
    """Redraw every figure below a folder from its table, and their gallery page.

    Parameters
    ----------
    results : Path
        The folder.
    jobs : int
        How many processes draw.
    pdf : bool
        Whether each is drawn as PDF, too.

    Returns
    -------
    list of Path
        The PNG files.

    Raises
    ------
    InputError
        Where there is no figure's table.
    """
    tables = [path for path in sorted(results.rglob("*.csv")) if path.name.split(".")[0] in FIGURES]
    if not tables:
        fault = "not there or without figures' tables; run `reproduce` first"
        raise InputError(f"results folder {results}: {fault}")
    formats = ["pdf" if pdf else ""] * len(tables)
    if jobs > 1:
        with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
            pictures = list(pool.map(_redrawn, tables, formats))
    else:
        pictures = [_redrawn(path, also) for path, also in zip(tables, formats, strict=True)]
    _write_page(results, pictures)
    return pictures


def _write_page(results: Path, pictures: list[Path]) -> None:
    """Write the gallery of these pictures, README.md."""
    import jinja2

    template = Path(__file__).with_name("gallery.md").read_text("utf-8")
    page = jinja2.Template(template, trim_blocks=True)
    places = [path.relative_to(results) for path in pictures]
    store.write_atomic(results / "README.md", page.render(places=places, figures=FIGURES))


def _redrawn(path: Path, also: str) -> Path:
    """Redraw the figure of a table, and of the tiles beside it; return its PNG."""
    import pandas as pd
    import PIL.Image

    stem = path.name.removesuffix(".csv")
    strip = path.with_name(f"{stem}.tiles.png")
    tiles = None
    if strip.is_file():
        column = np.asarray(PIL.Image.open(strip).convert("RGB"))
        side = column.shape[1]
        tiles = column.reshape(-1, side, side, 3)
    spec = FIGURES[stem.split(".")[0]]
    is_real = stem.endswith(".real")
    render.draw(spec, pd.read_csv(path), path.parent, tiles, real=is_real, also=also)
    return path.with_suffix(".png")
