"""Figures: drawn from their tables, redrawn to the same picture, refused where tiles are missing."""

from __future__ import annotations

import dataclasses
import functools
import io
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from medisyn_lib.errors import InputError
from medisyn_lib.reporting import drawing, panels, render
from medisyn_lib.reporting.gallery import FIGURES, redraw
from medisyn_lib.reporting.render import FigureSpec, draw

SHEET = pd.DataFrame(
    {"row": [0, 0, 1, 1], "column": [0, 1, 0, 1], "row_label": list("aabb"), "title": "sheet"}
)
TILES = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def own_store(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store for each test, so that nothing it draws was drawn before."""
    store = tmp_path_factory.mktemp("store")
    monkeypatch.setenv("MEDISYN_STORE", str(store))
    return store


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


FOREST = pd.DataFrame(
    {
        "label": ["a", "b"],
        "value": [0.3, 0.5],
        "low": [0.1, np.nan],
        "high": [0.5, np.nan],
        "title": "t",
    }
)
CURVES = pd.DataFrame(
    {"x": [1, 2], "y": [0.3, 0.5], "low": [0.1, 0.4], "high": [0.5, 0.7], "title": "t"}
)
TABLES = {
    **dict.fromkeys(("00_modalities", "00_recognised", "04_guided_images", "05_neighbours"), SHEET),
    "00_coins": FOREST,
    "01_lost_detail": pd.DataFrame(
        {"fineness": [5.0, 95.0], "lost": [0.0, 0.8], "modality": ["ct"] * 2, "title": "t"}
    ),
    "06_toy": pd.DataFrame({"n": [10, 20], "auroc": [0.7, 0.8], "arm": ["real"] * 2, "title": "t"}),
    **dict.fromkeys(("04_guidance_toy", "05_ranks"), CURVES),
    "00_classes": pd.DataFrame(
        {"modality": ["ct", "ct"], "finding": ["a", "b"], "images": [4, 5], "title": "t"}
    ),
    "01_losses": pd.DataFrame(
        {"model": ["g"] * 3, "images_seen": [1, 2, 3], "loss": [3.0, 2.0, 1.0], "title": "t"}
    ),
    "01_progress": SHEET,
    "01_first_stage": SHEET,
    "01_prompts": SHEET,
    "01_read_back": read_back(),
    "02_side_by_side": SHEET,
    "04_pairs": SHEET,
    "06_images": SHEET,
    **dict.fromkeys(("06_learning", "06_ratio"), CURVES),
    **dict.fromkeys(
        ("02_measures", "02_log_ratios", "06_gain", "07_kappas", "07_modes", "07_synthetic"), FOREST
    ),
    **dict.fromkeys(("03_frontier", "03_break_even", "03_eleventh"), CURVES),
    **dict.fromkeys(("04_read_back", "04_by_modality", "04_word_by_word", "04_recovered"), FOREST),
    **dict.fromkeys(("04_told_apart", "04_ratings", "04_agreement"), FOREST),
    **dict.fromkeys(("04_guidance", "07_roc", "07_tuning", "07_correlation"), CURVES),
    "05_distances": CURVES.assign(reference=1.5, reference_label="flagged"),
    "05_pairs": SHEET,
    "05_nearest": SHEET,
    **dict.fromkeys(("05_detection", "05_length", "growth"), CURVES),
}


def test_every_figure_is_tried_here() -> None:
    assert set(TABLES) == set(FIGURES)


@pytest.mark.parametrize("name", TABLES)
def test_figure_is_drawn_and_redrawn_the_same(name: str, tmp_path: Path) -> None:
    tiles = TILES if FIGURES[name].draw is drawing.contact_sheet else None
    draw(FIGURES[name], TABLES[name], tmp_path, tiles)
    kinds = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert {f"{name}.png", f"{name}.svg", f"{name}.csv"} <= set(kinds)
    picture = np.asarray(Image.open(tmp_path / f"{name}.png").convert("L"))
    assert picture.std() > 5 and (tiles is not None or picture.shape[1] == 1400)
    (tmp_path / f"{name}.png").unlink()
    assert redraw(tmp_path) == [tmp_path / f"{name}.png"]
    again = np.asarray(Image.open(tmp_path / f"{name}.png").convert("L"))
    assert np.array_equal(picture, again)


def test_redrawing_makes_a_pdf_the_same_bytes_and_a_gallery(
    tmp_path: Path, own_store: Path
) -> None:
    draw(FIGURES["01_read_back"], read_back(), tmp_path / "run")
    draw(FIGURES["05_pairs"], SHEET, tmp_path / "run", TILES, real=True)
    redraw(tmp_path)
    assert not list(tmp_path.rglob("*.pdf")), "takes as long as both other kinds"
    redraw(tmp_path, pdf=True)
    made = {
        path.relative_to(tmp_path).as_posix(): path.read_bytes() for path in tmp_path.rglob("*.*")
    }
    assert (
        made["run/01_read_back.pdf"].startswith(b"%PDF-")
        and b"CreationDate" not in made["run/01_read_back.pdf"]
    )
    shutil.rmtree(own_store)
    redraw(tmp_path, jobs=2, pdf=True)
    assert made == {
        path.relative_to(tmp_path).as_posix(): path.read_bytes() for path in tmp_path.rglob("*.*")
    }
    page = made["README.md"].decode()
    assert (
        "## run" in page and "run/01_read_back.png" in page and "| 01 | `drawing.forest` |" in page
    )
    (marked,) = [
        line for line in page.splitlines() if "Shows real images: not to be passed on" in line
    ]
    assert "run/05_pairs.real.png" in marked and "tiles" not in page


def watched(name: str, monkeypatch: pytest.MonkeyPatch) -> list[pd.DataFrame]:
    """Return a list that is going to hold each table that a figure is drawn from."""
    spec = FIGURES[name]
    drawn: list[pd.DataFrame] = []

    @functools.wraps(spec.draw)
    def watching(table: pd.DataFrame) -> Figure:
        drawn.append(table)
        return spec.draw(table)

    monkeypatch.setitem(FIGURES, name, dataclasses.replace(spec, draw=watching))
    return drawn


def test_files_hold_what_matplotlib_saves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = watched("01_read_back", monkeypatch)
    draw(FIGURES["01_read_back"], read_back(), tmp_path, also="pdf")
    figure = drawing.forest(drawn[0])
    for kind in ("png", "svg", "pdf"):
        figure.savefig(
            saved := io.BytesIO(),
            format=kind,
            dpi=2 * panels.DPI,
            **render.KEYWORDS.get(kind, {}),
        )
        assert (tmp_path / f"01_read_back.{kind}").read_bytes() == saved.getvalue(), kind


def test_what_was_drawn_is_read_and_put_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = watched("01_read_back", monkeypatch)
    shown = draw(FIGURES["01_read_back"], read_back(), tmp_path)
    first = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    (tmp_path / "01_read_back.png").write_bytes(b"spoilt")
    (tmp_path / "01_read_back.svg").unlink()
    assert (
        shown
        and (again := draw(FIGURES["01_read_back"], read_back(), tmp_path))
        and again.data == shown.data
    )
    assert len(drawn) == 1 and first == {
        path.name: path.read_bytes() for path in tmp_path.iterdir()
    }
    other = read_back()
    other.loc[0, "share"] += 1e-9  # less than the CSV shows
    draw(FIGURES["01_read_back"], other, tmp_path)
    draw(FIGURES["01_read_back"], read_back().assign(title="t2"), tmp_path)
    other_label = dataclasses.replace(FIGURES["01_read_back"], labels={"xlabel": "x"})
    monkeypatch.setitem(FIGURES, "01_read_back", other_label)
    draw(FIGURES["01_read_back"], read_back(), tmp_path)
    assert len(drawn) == 4
    redraw(tmp_path)
    redraw(tmp_path)
    assert len(drawn) == 5


def test_every_committed_figure_is_in_the_gallery() -> None:
    """`make figures` writes the page."""
    home = Path(__file__).resolve().parents[1] / "figures"
    page = (home / "README.md").read_text()
    shown = re.findall(
        r"\| \[<img src=\"([^\"]+)\" width=\"360\" alt=\"([^\"]+)\">\]\(\1\) `(\w+)` \| ", page
    )
    drawn = [
        path.relative_to(home).as_posix()
        for path in sorted(home.rglob("*.png"))
        if ".tiles." not in path.name
    ]
    assert [place for place, _, _ in shown] == drawn and len(drawn) == page.count("<img")
    assert all(words == FIGURES[name].shows for _, words, name in shown)


def test_sheet_puts_each_tile_in_its_place(tmp_path: Path) -> None:
    draw(FIGURES["01_prompts"], SHEET, tmp_path, TILES)
    strip = np.asarray(Image.open(tmp_path / "01_prompts.tiles.png"))
    assert np.array_equal(strip[16:32], TILES[1])
    assert shown_in(tmp_path / "01_prompts.png", TILES[1])
    with pytest.raises(InputError, match="needs 4 tiles, got 3"):
        drawing.contact_sheet(SHEET, TILES[:3])


def shown_in(path: Path, tile: np.ndarray) -> bool:
    """Whether a picture holds a tile magnified by a whole factor, pixel by pixel."""
    picture = np.asarray(Image.open(path).convert("RGB"))
    for factor in range(2, 40):
        magnified = tile.repeat(factor, 0).repeat(factor, 1)
        first = (picture[:, :] == magnified[0, 0]).all(-1)
        for row, column in np.argwhere(first):
            part = picture[row : row + len(magnified), column : column + len(magnified)]
            if part.shape == magnified.shape and np.array_equal(part, magnified):
                return True
    return False


def test_real_images_are_marked(tmp_path: Path) -> None:
    draw(FIGURES["00_modalities"], SHEET, tmp_path, TILES, real=True)
    assert all(".real." in path.name for path in tmp_path.iterdir())
    assert redraw(tmp_path) == [tmp_path / "00_modalities.real.png"]


def test_nothing_to_redraw_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="without figures' tables"):
        redraw(tmp_path)


def forest() -> pd.DataFrame:
    """Two labels by two groups in two panels; the last estimate has no interval, the margin differs by label."""
    table = pd.MultiIndex.from_product(
        [["p", "q"], ["ct", "brain_mri"], ["a", "b"]], names=["panel", "label", "group"]
    )
    table = table.to_frame(index=False).assign(
        value=[0.2, 0.3, 0.1, -0.2, 0.2, 0.3, 0.1, -0.2], title="t", xlabel="x (%)"
    )
    table["low"], table["high"] = table["value"] - 0.1, table["value"] + 0.1
    table.loc[7, ["low", "high"]] = np.nan
    return table.assign(
        reference=table["label"].map({"ct": -0.05, "brain_mri": -0.15}), reference_label="margin"
    )


def test_forest_draws_intervals_margins_and_missing_intervals() -> None:
    figure = drawing.forest(forest())
    first, second = (axis for axis in figure.axes if axis.get_visible())
    assert [text.get_text() for text in first.get_yticklabels()] == ["CT", "brain MRI"]
    *intervals, margins = [[line[:, 0] for line in c.get_segments()] for c in first.collections]
    assert np.allclose(intervals[0], [[0.1, 0.3], [0.0, 0.2]]) and np.allclose(
        intervals[1], [[0.2, 0.4], [-0.3, -0.1]]
    )
    assert np.allclose(np.unique(margins), [-0.15, -0.05])
    hollow = [line.get_xdata() for line in second.lines if line.get_color() == "white"]
    assert np.allclose(np.concatenate(hollow), [-0.2])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b", "margin"]
    assert first.get_xlim() == second.get_xlim()


def test_curves_draw_few_points_with_bars_and_many_with_a_band() -> None:
    x = np.geomspace(1, 100, drawing.FEW_POINTS + 1)
    table = pd.DataFrame(
        {"x": x, "y": 5.0, "low": 4.0, "high": 6.0, "xscale": "log", "group": "long", "title": "t"}
    )
    figure = drawing.curves(
        pd.concat([table, table[1:].assign(group="short", y=8.0, low=7.0, high=9.0)])
    )
    (axis,) = figure.axes
    band, bars = axis.collections
    assert band.get_paths()[0].get_extents().intervaly.tolist() == [4, 6]
    assert np.allclose([line[:, 1] for line in bars.get_segments()], [7, 9])
    assert axis.get_xscale() == "log" and axis.get_ylim()[0] < 0, "the axis reaches zero"
    far = drawing.curves(table.assign(y=10.0, low=9.0, high=11.0)).axes[0]
    assert far.get_ylim()[0] > 8, "zero would waste most of the axis"


@pytest.mark.parametrize("make", [drawing.forest, drawing.curves])
def test_a_new_figure_is_one_line(
    make: Callable[..., Figure], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = FigureSpec("09_new", make, shows="Something new.")
    monkeypatch.setitem(FIGURES, "09_new", spec)
    table = forest().assign(x=1.0, y=2.0, panel="").drop(columns="group")
    draw(FIGURES["09_new"], table, tmp_path)
    first = (tmp_path / "09_new.png").read_bytes()
    assert redraw(tmp_path) == [tmp_path / "09_new.png"]
    assert (tmp_path / "09_new.png").read_bytes() == first
