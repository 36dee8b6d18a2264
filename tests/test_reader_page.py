"""The readers' page: a whole study by keyboard, in node and in a real browser, and nothing leaves the page."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsing import PHONE, contrast, in_browser, left_the_page, press
from PIL import Image

from medisyn_lib.cli import main
from medisyn_lib.data import tables
from medisyn_lib.reader_study import analysis, answers

NODE = shutil.which("node")
HARM = (
    '=HYPERLINK("http://harm.example/a","go")',
    "<script>fetch('http://harm.example/b'); document.title = 'harmed'</script>",
    "</script><img src=http://harm.example/c onerror=\"document.title='harmed'\">",
    '"; document.title = "harmed"; //',
    "+1+cmd|' /C calc'!A0",
    "@SUM(1+1)*cmd, 'quoted' and \"quoted\" & <b>bold</b>",
)


def images(folder: Path, seed: int, **columns: str) -> str:
    """A folder of 60 noise images of two modalities whose descriptions try to do harm."""
    folder.mkdir()
    rng, rows = np.random.default_rng(seed), []
    for number in range(120):
        Image.fromarray(rng.integers(0, 256, (40, 40, 3), np.uint8)).save(folder / f"{number}.png")
        row = {
            "file_name": f"{number}.png",
            "text": HARM[number % len(HARM)],
            "modality": ("ct", "=1+1")[number % 2],
        }
        rows.append(
            row
            | {"finding": ("a", "b")[number // 2 % 2], **columns}
            | {"split": ("test", "train")[number > 110]}
        )
    with (folder / "metadata.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)
    return str(folder)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEDISYN_STORE", str(place / "store"))
        patch.setattr(
            tables, "check_text", lambda *_: None
        )  # else what begins as a formula would not get so far
        real, synthetic = images(place / "real", 1), images(place / "synthetic", 2)
        given = [
            "--generator",
            synthetic,
            "--data",
            f"folder:{real}",
            "--readers",
            "2",
            "--pairs",
            "12",
        ]
        assert main.main(["readers", "new", *given, "--out", str(place / "kit")]) == 0
    return place / "kit"


def item_of(driver: Any) -> dict[str, Any]:
    """The item that is shown, as the page has it."""
    return driver.execute_script("return study.items[state.place]")


def downloaded(folder: Path, kind: str) -> str:
    for _ in range(100):
        if found := list(folder.glob(f"*.{kind}")):
            return found[0].read_text("utf-8")
        time.sleep(0.1)
    raise AssertionError(f"no {kind} file was downloaded")


def check_downloads(study: Path, content: str, table: str, total: int) -> None:
    """What a reader of `B`, realism 4 and alignment 2 hands in: harmless cells, answers that are analysed."""
    cells = [cell for row in csv.reader(table.splitlines()) for cell in row]
    assert not [cell for cell in cells if cell[:1] in tuple("=+-@\t\r")] and len(cells) == 10 * (
        total + 1
    )
    (study / "answers" / "reader-1.json").write_text(content)
    assert main.main(["readers", "analyse", str(study)]) == 0
    found = analysis.analyse(answers.read(study)).set_index(["measure", "part"])["value"]
    assert found["chose_first", "all pairs"] == 0  # B is the second
    assert (found["realism", "real"], found["alignment", "synthetic"]) == (4, 2)
    flips = [
        place["flip"] for place in answers.load(study / "key.json")["readers"]["reader-1"].values()
    ]
    assert 0 < np.mean(flips) < 1


@pytest.mark.skipif(not NODE, reason="no node to run the page's script")
def test_a_whole_study_in_node(study: Path) -> None:
    page, script = study / "pages" / "reader-1.html", Path(__file__).with_name("page_in_node.js")
    done = subprocess.run([str(NODE), str(script), str(page)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found, total = (
        json.loads(done.stdout),
        len(answers.load(study / "key.json")["readers"]["reader-1"]),
    )
    assert found["resumed"].endswith(f"item {total // 2 + 1} of {total}")
    assert found["before"].endswith(f"item {total // 2} of {total}")
    assert found["done"] == [f"{total} of {total} answered", ["done"]]
    check_downloads(study, found["json"], found["csv"], total)


def begin(driver: Any) -> None:
    """Agrees, and goes past the instructions."""
    driver.execute_script(
        "at('agree').click(); at('proceed').click(); if (!at('intro').hidden) at('start').click()"
    )


def widths(driver: Any) -> list[float]:
    """Of the images on the screen, once they have their size."""
    script = (
        "return [...document.querySelectorAll('.frame img')]"
        ".map(e => e.style.width ? e.getBoundingClientRect().width : 0)"
    )
    for _ in range(50):
        if all(found := driver.execute_script(script)):
            return found
        time.sleep(0.05)
    raise AssertionError("an image has no size")


def answer_by_keyboard(driver: Any, items: int) -> list[dict[str, Any]]:
    from selenium.webdriver.common.keys import Keys

    seen = []
    for _ in range(items):
        seen.append(item := item_of(driver))
        press(driver, "b" if item["kind"] == "pair" else "42")
        press(driver, Keys.ENTER)
        if driver.execute_script("return !at('break').hidden"):
            press(driver, Keys.ENTER)
    return seen


@in_browser
def test_a_whole_study_by_keyboard_reloaded_half_way(
    study: Path, browser: Any, tmp_path: Path
) -> None:
    from selenium.webdriver.common.keys import Keys

    total = len(answers.load(study / "key.json")["readers"]["reader-1"])
    browser.get((study / "pages" / "reader-1.html").as_uri())
    press(browser, Keys.TAB + Keys.TAB + Keys.ENTER)  # no consent yet: it stays
    assert browser.find_element("id", "consent").is_displayed()
    press(browser, Keys.SHIFT + Keys.TAB + Keys.NULL)
    browser.find_element("id", "agree").send_keys(Keys.SPACE)
    press(browser, Keys.TAB + Keys.ENTER)
    press(browser, Keys.TAB + Keys.ENTER)  # the first thing to reach by keyboard is Start
    seen = answer_by_keyboard(browser, total // 2)
    press(browser, Keys.ENTER)  # nothing is chosen yet: it stays
    browser.refresh()
    assert item_of(browser)["token"] == f"{total // 2 + 1:03d}"
    press(browser, Keys.BACKSPACE)
    assert item_of(browser)["token"] == seen[-1]["token"]
    press(browser, Keys.ENTER)
    seen += answer_by_keyboard(browser, total - total // 2)
    assert browser.find_element("id", "count").text == f"{total} of {total} answered"
    for button in ("json", "csv"):
        browser.find_element("id", button).send_keys(Keys.ENTER)
    content, table = downloaded(tmp_path, "json"), downloaded(tmp_path, "csv")
    assert browser.title == "Reader study" and left_the_page(browser) == []

    captions = {item["caption"] for item in seen}
    assert {text for text in HARM if text in captions} == captions - {""} and len(captions) > 4
    check_downloads(study, content, table, total)


@in_browser
def test_every_control_has_a_name_and_a_place_in_the_order(study: Path, browser: Any) -> None:
    browser.get((study / "pages" / "reader-2.html").as_uri())
    begin(browser)
    while item_of(browser)["kind"] != "rating":
        answer_by_keyboard(browser, 1)
    tree = browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    roles = [
        (n["role"]["value"], n.get("name", {}).get("value", "")) for n in tree if not n["ignored"]
    ]
    reached = {"button", "radio", "image", "group", "progressbar", "ProgressIndicator"}
    assert [role for role, name in roles if role in reached and not name] == []
    assert sum(role == "radio" for role, _ in roles) == 10
    order = browser.execute_script(
        "return [...document.querySelectorAll('button, input')].filter(e => e.offsetParent && !e.disabled)"
        ".filter(e => e.tabIndex !== 0).length"
    )
    assert order == 0  # the order of the document is the order of the focus


@in_browser
def test_contrast_and_size_on_a_phone(study: Path, browser: Any) -> None:
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
    browser.get((study / "pages" / "reader-2.html").as_uri())
    begin(browser)
    pairs = []
    for _ in range(8):
        pairs += [item_of(browser)["kind"] == "pair"]
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
        boxes = widths(browser)
        assert min(boxes) >= 220 and {width % 40 for width in boxes} == {0}  # whole multiples
        targets = browser.execute_script(
            "return [...document.querySelectorAll('button, .choice')].filter(e => e.offsetParent)"
            ".map(e => Math.min(e.offsetWidth, e.offsetHeight))"
        )
        assert min(targets) >= 44
        script = "const s = getComputedStyle(arguments[0]); return [s.color, s.backgroundColor]"
        for element in browser.find_elements(
            "css selector", "#next:enabled, .choice span, #back:enabled, #pause"
        ):
            assert contrast(*browser.execute_script(script, element)) >= 4.5
        answer_by_keyboard(browser, 1)
    assert any(pairs) and not all(pairs)


def tap(driver: Any, selector: str) -> None:
    """Touches the middle of an element with a finger."""
    from selenium.webdriver.common.action_chains import ActionBuilder
    from selenium.webdriver.common.actions.pointer_input import PointerInput

    finger = ActionBuilder(driver, mouse=PointerInput("touch", "finger"))
    finger.pointer_action.move_to(
        driver.find_element("css selector", selector)
    ).pointer_down().pointer_up()
    finger.perform()


@in_browser
def test_touch_zoom_and_pause_on_a_phone(study: Path, browser: Any) -> None:
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
    browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})
    page = (study / "pages" / "reader-2.html").as_uri()
    browser.get(page)
    browser.execute_script(
        "at('agree').click(); at('proceed').click(); window.touched = 0;"
        "document.addEventListener('touchstart', () => window.touched++)"
    )
    tap(browser, "#start")
    while item_of(browser)["kind"] != "pair":
        answer_by_keyboard(browser, 1)
    token, size = (
        item_of(browser)["token"],
        "return document.querySelector('.frame img').getBoundingClientRect().width",
    )
    kept = "return [state.answers[arguments[0]].choice, at('item').hidden, at('paused').hidden]"
    before = widths(browser)[0]
    tap(browser, ".choice input[value='B']")
    tap(browser, "#larger")
    assert browser.execute_script(size) == before + 40  # one more multiple of its own size
    style = "return getComputedStyle(document.querySelector('.frame img')).imageRendering"
    assert browser.execute_script(style) == "pixelated"
    inside = "const f = document.querySelector('.frame'); return [f.scrollHeight > f.clientHeight, f.tabIndex]"
    assert browser.execute_script(inside) == [True, 0], (
        "what is larger than its frame is scrolled there, by keys, too"
    )
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
    press(browser, "-")
    assert browser.execute_script(size) == before
    tap(browser, "#pause")
    press(browser, "a")  # a paused page takes no answer
    assert (
        browser.execute_script(kept, token) == ["B", True, False]
        and browser.execute_script("return touched") == 4
    )
    browser.get(page)  # closed and opened again: on with the item that was shown, its answer kept
    assert item_of(browser)["token"] == token and browser.execute_script(kept, token) == [
        "B",
        False,
        True,
    ]
    tap(browser, "#next")
    assert int(item_of(browser)["token"]) == int(token) + 1 and left_the_page(browser) == []


@in_browser
def test_grey_images_have_a_window_and_a_level(study: Path, browser: Any, tmp_path: Path) -> None:
    page = (study / "pages" / "reader-2.html").read_text()
    assert '"grey": true' not in page  # these are coloured noise
    grey = tmp_path / "grey.html"
    grey.write_text(page.replace('"grey": false', '"grey": true'))
    browser.get(grey.as_uri())
    begin(browser)
    state = "return ['slope', 'intercept'].map(name => Number(at('blue').getAttribute(name)))"
    assert browser.find_element("id", "window").is_displayed()
    assert browser.execute_script(state) == [1, 0]
    style = "return getComputedStyle(document.querySelector('.frame img')).filter"
    assert "#windowed" in browser.execute_script(style)
    drag = "const e = at(arguments[0]); e.value = arguments[1]; e.dispatchEvent(new Event('input'))"
    browser.execute_script(drag, "window", "64")
    browser.execute_script(drag, "level", "96")
    # 96 of 256 becomes middle grey; 64 becomes black and 128 white
    slope, intercept = browser.execute_script(state)
    assert [slope * x / 256 + intercept for x in (64, 96, 128)] == [0, 0.5, 1]
    browser.find_element("id", "reset").click()
    assert browser.execute_script(state) == [1, 0]
    browser.get((study / "pages" / "reader-2.html").as_uri())
    begin(browser)
    assert not browser.find_element("id", "window").is_displayed()
    assert browser.execute_script(style) == "none"


@in_browser
def test_training_comes_first_and_says_what_it_was(study: Path, browser: Any) -> None:
    browser.get((study / "pages" / "reader-2.html").as_uri())
    begin(browser)
    key = answers.load(study / "key.json")
    for token, shown in list(key["readers"]["reader-2"].items())[:5]:
        told = browser.find_element("id", "truth")
        assert not told.is_displayed()
        item = item_of(browser)
        press(browser, "b" if item["kind"] == "pair" else "42")
        training = key["items"][shown["item"]]["training"]
        assert item["token"] == token and told.is_displayed() == training == (int(token) <= 4)
        if training and item["kind"] == "pair":
            assert told.text == f"Image {'BA'[shown['flip']]} is the synthetic one."
        press(browser, "\ue007")


@in_browser
def test_an_edited_page_is_noticed(study: Path, browser: Any, tmp_path: Path) -> None:
    page = (study / "pages" / "reader-2.html").read_text()
    edited = tmp_path / "edited.html"
    edited.write_text(
        page.replace('"modality": "CT', '"modality": "MR').replace(
            '"modality": "Abdominal CT', '"modality": "MR'
        )
    )
    assert edited.read_text() != page
    browser.get(edited.as_uri())
    begin(browser)
    total = len(answers.load(study / "key.json")["readers"]["reader-2"])
    answer_by_keyboard(browser, total)
    content = browser.execute_script(
        "const {format, study: s, reader} = study;"
        "return {format, study: s, reader, consent: state.consent, answers: state.answers}"
    )
    fault = answers.fault_of(content, answers.load(study / "key.json"), 1)
    assert "was edited, or its page" in fault


@in_browser
def test_this_test_sees_a_request(browser: Any, tmp_path: Path) -> None:
    (tmp_path / "bad.html").write_text("<img src='http://127.0.0.1:9/x'>")
    browser.get((tmp_path / "bad.html").as_uri())
    assert any("127.0.0.1:9" in what for what in left_the_page(browser))
