"""The page of a run: what it says, where it links to, and that nothing in a notebook harms it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pandas as pd
import pytest
from browsing import in_browser, left_the_page
from made_claims import a_claim
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from medisyn_lib.claims.claim import CONTROL_FAILED, PARTLY, SUPPORTED, Control
from medisyn_lib.claims.results import write_result
from medisyn_lib.cli import main, run_notebooks
from medisyn_lib.data import sources
from medisyn_lib.reporting import card_pages, figure_views, notebook_pages, run_view, web_pages
from medisyn_lib.reporting.gallery import FIGURES
from medisyn_lib.reporting.render import draw
from medisyn_lib.reporting.run_page import write_run_page

CURVE = pd.DataFrame(
    {"x": [1, 2], "y": [0.25, 0.5], "group": ["planted", "=1+1"], "title": "A <b>title</b>"}
)
SHEET = pd.DataFrame({"row": [0, 0], "column": [0, 1], "row_label": "a", "title": "t"})
TILES = np.zeros((2, 16, 16, 3), np.uint8)
HARM = (
    "<style>body { display: none }</style><table style='color: red' onclick='harm()'><tr><th></th>"
    "<td>kept</td></tr></table><script>document.title = 'harmed'</script>"
    "<img src='http://harm.example/a'><iframe src='http://harm.example/b'></iframe>"
)
BLIND = Control("real_images", "positive", "at the ceiling", 0.1, False)
PROVENANCE = {
    "profile": "tiny",
    "data": "phantom",
    "seconds": 2100.0,
    "flops": 1.19e15,
    "time": "2026-11-30T21:41:11+00:00",
    "system": "Linux x86_64",
    "cpu_capability": "AVX512",
    "gpu": None,
    "threads": 1,
    "commit": "0efd74711fd5",
    "versions": {"python": "3.11.7", "torch": "2.14.1"},
    "generator": "flagship",
}


@pytest.fixture(autouse=True)
def own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDISYN_STORE", str(tmp_path / "store"))


def executed(path: Path, *cells: Any, seconds: float = 61.0) -> None:
    """Write an executed notebook as papermill leaves it."""
    first = new_markdown_cell(
        "# 05 Memorization: copies?\n\nAsk <script>why</script> [here](../x.md)"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    made = new_notebook(cells=[first, *cells], metadata={"papermill": {"duration": seconds}})
    nbformat.write(made, path)


def figure_cell(code: str, name: str) -> Any:
    """A cell that shows a figure, as `render.draw` returns it."""
    picture = {"image/jpeg": "/9j/4AAQSkZJRg=="}
    shown = new_output(
        "execute_result", data=picture, metadata={"image/jpeg": {"figure": name}}, execution_count=2
    )
    return new_code_cell(code, outputs=[shown], execution_count=2)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A finished run of notebooks 05, which has figures, and 06, of which 07 failed."""
    folder = tmp_path / "run"
    talk = new_output("stream", name="stdout", text="1 < 2\n")
    chatter = new_output("stream", name="stderr", text="of a library in a folder")
    table = new_output("execute_result", data={"text/html": HARM, "text/plain": "x"})
    executed(
        folder / "notebooks" / "05_memorization.ipynb",
        new_code_cell("print('<b>')", outputs=[talk, chatter, table], execution_count=1),
        figure_cell("figure()", "05_detection"),
    )
    executed(folder / "notebooks" / "06_augmentation.ipynb")
    executed(folder / "notebooks" / "07_reference_standards.failed.ipynb")
    supported = a_claim(SUPPORTED, statement="visually distinct", summary="Few <i>copies</i>.")
    failed = a_claim(None, problem=CONTROL_FAILED, controls=[BLIND], statement="improves")
    write_result(folder / "results" / "05_memorization.json", PROVENANCE, [supported])
    write_result(folder / "results" / "06_augmentation.json", PROVENANCE, [failed])
    draw(FIGURES["05_detection"], CURVE, folder / "figures")
    draw(FIGURES["05_pairs"], SHEET, folder / "figures", TILES)
    (folder / "model_card.md").write_text(
        "---\nlicense: apache-2.0\n---\n# A generator\n\nSmall.\n"
    )
    return folder


def text_of(page: str) -> str:
    """A page's words, on one line."""
    return " ".join(re.sub(r"<[^>]+>", " ", page.partition("<body>")[2]).split())


def test_the_page_says_what_was_found_and_on_what_it_ran(out: Path) -> None:
    page = write_run_page(out, "tiny", "phantom").read_text("utf-8")
    words = text_of(page)
    assert "Supported: 1 Control failed: 1 Not run: 5" in words
    assert "Supported Visually distinct Few &lt;i&gt;copies&lt;/i&gt;." in words
    assert (
        "Exploratory; control failed. Recovered 0.97, 95% interval 0.95 to 0.99, n = 400." in words
    )
    assert "06_augmentation flagship 61 s 35 min 1.2 \u00d7 10¹⁵ Linux x86_64, AVX512 1" in words
    assert "python 3.11.7, torch 2.14.1" in words
    assert "07 reference standards Failed; notebooks/07_reference_standards.failed.log" in words
    assert "Do not pass" not in words


def test_a_figure_lies_in_the_page_with_its_table_and_leads_to_its_cell(out: Path) -> None:
    page = write_run_page(out, "tiny", "phantom").read_text("utf-8")
    (figure,) = re.findall(r'<figure id="tiny-phantom-05_detection">.*?</figure>', page, re.DOTALL)
    assert 'src="data:image/png;base64,' in figure
    assert 'href="pages/05_memorization.html#cell-3"' in figure
    assert 'href="figures/05_detection.csv"' in figure
    assert "<dt>title</dt><dd>A &lt;b&gt;title&lt;/b&gt;</dd>" in figure
    assert '<td class="n">0.25</td><td>planted</td>' in figure
    (other,) = re.findall(r'<figure id="tiny-phantom-05_pairs">.*?</figure>', page, re.DOTALL)
    assert 'href="pages/05_memorization.html">Notebook 05<' in other
    notebook = (out / "pages" / "05_memorization.html").read_text("utf-8")
    assert 'id="cell-3"' in notebook
    assert f'alt="{FIGURES["05_detection"].shows}"' in notebook


def test_every_link_of_the_pages_leads_somewhere(out: Path) -> None:
    pages = [write_run_page(out, "tiny", "phantom"), *(out / "pages").glob("*.html")]
    names = {path.name for path in pages}
    assert {"index.html", "05_memorization.html", "model_card.html", "data-phantom.html"} <= names
    for path in pages:
        html = path.read_text("utf-8")
        for link in re.findall(r'(?:href|src)="([^"]+)"', html):
            place, _, anchor = link.partition("#")
            if not re.match(r"data:|https?:", place):
                target = path.parent / place if place else path
                assert target.is_file(), f"{path.name}: {link}"
                assert not anchor or f'id="{anchor}"' in target.read_text("utf-8"), link


def test_real_images_are_marked(out: Path) -> None:
    draw(FIGURES["05_pairs"], SHEET, out / "figures", TILES, real=True)
    page = write_run_page(out, "tiny", "npz:panel").read_text("utf-8")
    assert "Do not pass these pages on" in page
    (real,) = re.findall(
        r'<figure id="tiny-npz-panel-05_pairs.real" class="real">\n<p.*?</p>', page
    )
    assert "Not to be passed on" in real
    assert "shows real images" in (out / "pages" / "05_memorization.html").read_text("utf-8")


def test_only_the_tables_of_an_output_are_kept() -> None:
    kept = notebook_pages.tables_only(HARM)
    assert kept == "<table><tr><td></td><td>kept</td></tr></table>"


def test_links_into_the_repository_become_words() -> None:
    html = web_pages.markdown_html("[a](../a.md) [b](https://b.example/) ![c](c.png) <i>d</i>")
    assert html == '<p>a <a href="https://b.example/">b</a> c &lt;i&gt;d&lt;/i&gt;</p>\n'


def test_a_table_sets_apart_what_is_the_same_in_every_row(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('a,b,c,d\n1,x,"t, u",2\n,y,"t, u",3\n')
    table = figure_views.read_table(tmp_path / "t.csv")
    assert table.columns == ["a", "b", "d"]
    assert list(table.rows) == [("1", "x", "2"), ("", "y", "3")]
    assert (table.numeric, table.constants) == ({0, 2}, {"c": "t, u"})


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, ""), (42.4, "42 s"), (89, "89 s"), (2100, "35 min"), (7500, "2 h 5 min")],
)
def test_durations_in_words(seconds: float | None, words: str) -> None:
    assert run_view.in_words(seconds) == words


def test_outcomes_are_counted_verdicts_first(tmp_path: Path) -> None:
    claims = [
        a_claim(PARTLY, statement="s"),
        a_claim(None, problem=CONTROL_FAILED, controls=[BLIND], statement="s"),
    ]
    write_result(tmp_path / "05_memorization.json", PROVENANCE, [*claims[::-1], claims[0]])
    run = run_view.run_view("n", "phantom", tmp_path, {}, [])
    assert list(run.tally.items()) == [(PARTLY, 2), (CONTROL_FAILED, 1), ("not run", 6)]
    assert len(run.told) == 3 and len(run.untold) == 6


@pytest.mark.parametrize(
    ("source", "files"),
    [
        ("phantom", ["data-phantom.html"]),
        ("medmnist:bloodmnist,octmnist@64", ["data-bloodmnist.html", "data-octmnist.html"]),
        ("npz:panel", []),
    ],
)
def test_a_run_has_the_cards_of_its_data(source: str, files: list[str]) -> None:
    assert [card.file for card in card_pages.data_cards(source)] == files


def test_reproduce_names_the_page_at_the_end(
    out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    outcomes = [run_notebooks.Outcome("05_memorization", 1.0)]
    monkeypatch.setattr(run_notebooks, "reproduce", lambda *_, **__: outcomes)
    monkeypatch.setattr(sources, "preflight", lambda _: None)
    assert main.main(["reproduce", "05", "--profile", "tiny", "--out", str(out)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"open {out / 'index.html'}"


def test_an_older_page_goes_before_notebooks_run(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = write_run_page(out, "tiny", "phantom")
    monkeypatch.setattr(run_notebooks, "run_side_by_side", lambda *_: iter(()))
    run_notebooks.reproduce(["05"], profile="tiny", data="phantom", generator="", out=out)
    assert not page.exists()


@in_browser
def test_nothing_in_a_notebook_gets_out_in_a_browser(out: Path, browser: Any) -> None:
    write_run_page(out, "tiny", "phantom")
    for page in (out / "index.html", *(out / "pages").glob("*.html")):
        browser.get(page.as_uri())
        assert "MediSyn companion" in browser.title
    browser.get((out / "pages" / "05_memorization.html").as_uri())
    assert browser.find_element("css selector", "table").text == "kept"
    assert "of a library in a folder" not in browser.page_source
    assert left_the_page(browser) == []
