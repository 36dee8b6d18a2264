"""`medisyn site`: committed runs for a static host, no real image in it, and how its pages work in a browser."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pandas as pd
import pytest
from browsing import PHONE, contrast, in_browser, left_the_page, press
from made_claims import a_claim
from nbformat.v4 import new_code_cell, new_notebook

from medisyn_lib.claims.results import write_result
from medisyn_lib.cli import main
from medisyn_lib.errors import InputError
from medisyn_lib.reporting.gallery import FIGURES
from medisyn_lib.reporting.render import draw
from medisyn_lib.reporting.site import write_site

ROOT = Path(__file__).resolve().parents[1]
SHEET = pd.DataFrame({"row": [0, 0], "column": [0, 1], "row_label": "a", "title": "t"})
CURVE = pd.DataFrame({"x": [1, 2], "y": [0.25, 0.5], "title": "t"})
TILES = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), np.uint8)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of what is committed."""
    out = tmp_path_factory.mktemp("committed") / "site"
    assert main.main(["site", "--out", str(out)]) == 0
    return out


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a run on real images, whose figures were all left in figures/, real ones too."""
    monkeypatch.setenv("MEDISYN_ROOT", str(tmp_path))
    monkeypatch.setenv("MEDISYN_STORE", str(tmp_path / "store"))
    provenance = {"profile": "full", "data": "npz:panel"}
    claim = a_claim(statement="visually distinct")
    write_result(tmp_path / "results/full-npz-panel/05_memorization.json", provenance, [claim])
    figures = tmp_path / "figures" / "full-npz-panel"
    draw(FIGURES["05_pairs"], SHEET, figures, TILES, real=True)
    draw(FIGURES["05_pairs"], SHEET, figures, TILES)  # of what was learnt from real images
    draw(FIGURES["05_detection"], CURVE, figures)
    stored(tmp_path, "phantom")
    return tmp_path


def stored(project: Path, data: str, **more: Any) -> None:
    """Write a stored notebook whose parameters name a data source."""
    cells = [
        new_code_cell(
            f'profile: str = "quick"\ndata: str = "{data}"', metadata={"tags": ["parameters"]}
        )
    ]
    for tag, source in more.items():
        cells.append(
            new_code_cell(f'data = "{source}"', metadata={"tags": [tag.replace("_", "-")]})
        )
    (project / "notebooks").mkdir(exist_ok=True)
    nbformat.write(new_notebook(cells=cells), project / "notebooks" / "05_memorization.ipynb")


def test_real_images_never_enter_the_site(project: Path) -> None:
    write_site(project / "site")
    files = [path for path in (project / "site").rglob("*") if path.is_file()]
    shown = sorted(path.name for path in files if path.parent.name == "full-npz-panel")
    assert shown == ["05_detection.csv", "05_detection.png", "05_detection.svg"]
    kept_out = [
        path.read_bytes()
        for path in (project / "figures").rglob("05_pairs*")
        if path.suffix != ".csv"
    ]
    assert len(kept_out) == 6
    for path in files:
        assert ".real." not in path.name
        assert path.read_bytes() not in kept_out
        assert path.suffix != ".html" or "05_pairs" not in path.read_text("utf-8")


@pytest.mark.parametrize(
    ("data", "more"), [("npz:panel", {}), ("phantom", {"injected_parameters": "folder:mine"})]
)
def test_a_notebook_that_ran_on_other_data_is_refused(
    project: Path, data: str, more: dict[str, str]
) -> None:
    stored(project, data, **more)
    with pytest.raises(InputError, match=r"notebook 05_memorization: ran with data .*make refresh"):
        write_site(project / "site")
    assert not (project / "site").exists()


def test_an_older_site_is_replaced_and_another_folder_refused(project: Path) -> None:
    write_site(project / "site")
    stale = project / "site" / "figures" / "stale.png"
    stale.write_bytes(b"")
    write_site(project / "site")
    assert not stale.exists()
    (project / "mine").mkdir()
    (project / "mine" / "index.html").write_text("<html>my own</html>")
    with pytest.raises(InputError, match="holds something else than a site"):
        write_site(project / "mine")
    assert (project / "mine" / "index.html").read_text() == "<html>my own</html>"


def test_a_project_without_a_run_is_told_so(project: Path) -> None:
    shutil.rmtree(project / "results")
    with pytest.raises(InputError, match="holds no run; `make publish` one first"):
        write_site(project / "site")


def test_the_committed_site_shows_every_committed_figure(site: Path) -> None:
    page = (site / "index.html").read_text("utf-8")
    folders = {path.parent.name for path in (ROOT / "results").glob("*/[0-9][0-9]_*.json")}
    pictures = [
        path
        for folder in folders
        for path in (ROOT / "figures" / folder).glob("*.png")
        if ".tiles." not in path.name
    ]
    assert len(pictures) > 10
    for path in pictures:
        assert f'src="figures/{path.parent.name}/{path.name}"' in page
        copy = site / "figures" / path.parent.name / path.name
        assert copy.read_bytes() == path.read_bytes()


@in_browser
def test_the_site_opens_from_a_folder_and_asks_nobody(site: Path, browser: Any) -> None:
    for page in (site / "index.html", *sorted((site / "pages").glob("*.html"))):
        browser.get(page.as_uri())
        assert browser.title.endswith("MediSyn companion")
        browser.execute_script("document.querySelectorAll('img').forEach(i => i.loading = 'eager')")
        broken = (
            "const done = arguments[0]; Promise.allSettled([...document.images].map(i => i.decode()))"
            ".then(all => done(all.filter(one => one.status == 'rejected').length))"
        )
        assert browser.execute_async_script(broken) == 0, page.name
    assert left_the_page(browser) == []


@in_browser
def test_a_figure_shows_its_table_by_click_and_by_key(site: Path, browser: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    browser.get((site / "index.html").as_uri())
    press(browser, Keys.TAB)
    assert browser.switch_to.active_element.text == "Skip to the content"
    figure = browser.find_element("id", "quick-phantom-06_gain")
    table = figure.find_element("css selector", "table")
    picture = figure.find_element("css selector", "img")
    assert not table.is_displayed()
    assert picture.accessible_name == FIGURES["06_gain"].shows
    picture.click()
    assert table.is_displayed()
    assert "dermoscopy" in table.text
    browser.execute_script("arguments[0].focus()", figure.find_element("css selector", "summary"))
    press(browser, Keys.ENTER)
    assert not table.is_displayed()
    press(browser, Keys.SPACE)
    assert table.is_displayed()
    press(browser, Keys.TAB)
    assert browser.switch_to.active_element.accessible_name.startswith("Table of figure 06.")


@in_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark_can_be_read_on_a_phone(site: Path, browser: Any, scheme: str) -> None:
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
    preference = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [preference]})
    colours = (
        "const of = (e, what) => getComputedStyle(e)[what]; return ['body', 'a', '.verdict.supported', '.meta', "
        "'figcaption', 'summary', '.number', '.highlight .k', '.highlight .c1', '.highlight .s2']"
        ".map(s => document.querySelector(s)).filter(e => e)"
        ".map(e => [of(e, 'color'), of(e.closest('.highlight') || document.body, 'backgroundColor')])"
    )
    for page in (
        "index.html",
        "pages/05_memorization.html",
        "pages/data-phantom.html",
        "pages/flagship.html",
    ):
        browser.get((site / page).as_uri())
        for pair in browser.execute_script(colours):
            assert contrast(*pair) >= 4.5, (page, pair)
        assert (
            contrast(pair[1], "rgb(0, 0, 0)") > 10
            if scheme == "light"
            else contrast(pair[1], "rgb(0, 0, 0)") < 2
        )
        browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 390, page
