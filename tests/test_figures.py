"""Figures: drawn from their tables, redrawn to the same picture, refused where tiles are missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medisyn_lib import figures
from medisyn_lib.errors import InputError

SHEET = pd.DataFrame({"row": [0, 0, 1, 1], "column": [0, 1, 0, 1], "row_label": list("aabb"), "title": "sheet"})
TILES = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)


def read_back() -> pd.DataFrame:
    rows = [
        {
            "modality": m,
            "images": i,
            "what": w,
            "share": s,
            "low": s - 0.1,
            "high": min(1, s + 0.1),
            "n": 9,
            "title": "t",
        }
        for m in ("ct", "fundus")
        for i, s in (("real", 0.95), ("synthetic", 0.8))
        for w in ("modality", "finding")
    ]
    return pd.DataFrame(rows)


TABLES = {
    "00_modalities": SHEET,
    "00_classes": pd.DataFrame({"modality": ["ct", "ct"], "finding": ["a", "b"], "images": [4, 5], "title": "t"}),
    "01_losses": pd.DataFrame({"model": ["g"] * 3, "images_seen": [1, 2, 3], "loss": [3.0, 2.0, 1.0], "title": "t"}),
    "01_progress": SHEET,
    "01_first_stage": SHEET,
    "01_prompts": SHEET,
    "01_read_back": read_back(),
}


def test_every_figure_is_tried_here() -> None:
    assert set(TABLES) == set(figures.FIGURES)


@pytest.mark.parametrize("name", TABLES)
def test_figure_is_drawn_and_redrawn_the_same(name: str, tmp_path: Path) -> None:
    tiles = TILES if figures.FIGURES[name] is figures.sheet else None
    figures.draw(name, TABLES[name], tmp_path, tiles)
    kinds = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert {f"{name}.png", f"{name}.svg", f"{name}.csv"} <= set(kinds)
    picture = np.asarray(Image.open(tmp_path / f"{name}.png").convert("L"))
    assert picture.std() > 5 and picture.shape[1] == 1400
    (tmp_path / f"{name}.png").unlink()
    assert figures.redraw(tmp_path) == [tmp_path / f"{name}.png"]
    again = np.asarray(Image.open(tmp_path / f"{name}.png").convert("L"))
    assert np.array_equal(picture, again)


def test_sheet_puts_each_tile_in_its_place(tmp_path: Path) -> None:
    figures.draw("01_prompts", SHEET, tmp_path, TILES)
    strip = np.asarray(Image.open(tmp_path / "01_prompts.tiles.png"))
    assert np.array_equal(strip[16:32], TILES[1])
    with pytest.raises(InputError, match="needs 4 tiles, got 3"):
        figures.sheet(SHEET, TILES[:3])


def test_real_images_are_marked(tmp_path: Path) -> None:
    figures.draw("00_modalities", SHEET, tmp_path, TILES, real=True)
    assert all(".real." in path.name for path in tmp_path.iterdir())
    assert figures.redraw(tmp_path) == [tmp_path / "00_modalities.real.png"]


def test_nothing_to_redraw_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no figure's table"):
        figures.redraw(tmp_path)
